"""What the pages for users show really works: the example runs, commands and links exist."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from sdme import Reason, Transform

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLE = ROOT / "examples" / "register.py"


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.M | re.S)


def commands(program):
    """Commands of one program in fenced and indented blocks, as (page, words)."""
    found = []
    for page in PAGES:
        indented = re.findall(r"^ {4}(.*)$", page.read_text(), re.M)
        fenced = "".join(blocks(page, "sh")).splitlines()
        for line in indented + fenced:
            words = shlex.split(line, comments=True) if re.match(r"\S*\b" + program, line) else []
            if words and Path(words[0]).name == program:
                found.append((page.name, words))
    return found


def test_example_is_the_one_in_the_readme():
    assert blocks(PAGES[0], "python") == [EXAMPLE.read_text()]
    assert len(EXAMPLE.read_text().splitlines()) == 5


def test_example_runs(tmp_path):
    (tmp_path / "samples").symlink_to(ROOT / "samples")
    done = subprocess.run(
        [sys.executable, EXAMPLE], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("aligned ")
    assert (tmp_path / "out" / "report.html").stat().st_size > 10_000
    assert (tmp_path / "out" / "transform.json").exists()


@pytest.mark.parametrize(("page", "words"), commands("sdme"), ids=lambda v: " ".join(v)[:60])
def test_commands_are_understood(page, words):
    from sdme.cli.app import app

    command, bound, _ = app.parse_args(words[1:], exit_on_error=False, print_error=False)
    assert command.__name__ == words[1]
    assert bound.arguments or not words[2:]


def test_commands_are_found():
    named = {words[1] for _, words in commands("sdme")}
    others = {"apply", "calibrate", "compare", "doctor", "evaluate", "export", "models", "refine"}
    assert named == {"register", "finetune", "train", *others}
    assert {words[1] for _, words in commands("make")} == {"demo", "test"}


@pytest.mark.parametrize(("page", "words"), commands("make"), ids=lambda v: " ".join(v)[:60])
def test_make_knows_its_targets(page, words):
    subprocess.run(
        ["make", "--dry-run", *words[1:]], cwd=ROOT, check=True, capture_output=True, text=True
    )


def test_transform_file_on_its_page_can_be_read():
    (text,) = blocks(ROOT / "docs" / "transform-format.md", "json")
    content = json.loads(text)
    assert Transform.from_dict(content).to_dict() == content


def test_every_reason_is_on_the_page_of_usage():
    named = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "usage.md").read_text(), re.M))
    assert named >= {reason.value for reason in Reason} - {"none"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [t for t in targets if not (page.parent / t).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_tests_exist(page):
    sources = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    names = re.findall(r"`(test_\w+[a-z])`", page.read_text())
    assert [name for name in names if f"def {name}(" not in sources] == []
