import json

import cv2
import numpy as np
import pytest

from sdme.cli.app import main

NOTHING = "def register(fixed, moving):\n    return None\n"
IDENTITY = "import numpy as np\ndef register(fixed, moving):\n    return np.eye(3)\n"


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Two pairs in a folder, each with the identity as its truth."""
    folder = tmp_path_factory.mktemp("cli") / "pairs"
    folder.mkdir()
    for i in range(2):
        picture = np.random.default_rng(i).integers(0, 255, (64, 64), np.uint8)
        for side in "ab":
            cv2.imwrite(str(folder / f"p{i}.{side}.png"), picture)
        (folder / f"p{i}.txt").write_text("1 0 0\n0 1 0\n0 0 1\n")
    (folder.parent / "own.py").write_text(IDENTITY)
    (folder.parent / "none.py").write_text(NOTHING)
    return folder


@pytest.fixture(scope="module")
def run(pairs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli_run") / "run"
    methods = f"{pairs.parent / 'own.py'},{pairs.parent / 'none.py'}"
    code = main(["compare", str(pairs), "--methods", methods, "-o", str(folder), "--workers", "1"])
    return code, folder, methods


def test_compare_writes_a_run(run, capsys):
    code, folder, _ = run
    assert code == 0
    assert (folder / "report.html").is_file()
    assert "own.py" in (folder / "table.md").read_text()


def test_json_of_a_finished_run_is_one_object_and_nothing_else(run, pairs, capsys):
    _, folder, methods = run
    arguments = ["compare", str(pairs), "--methods", methods, "-o", str(folder), "--json"]
    assert main(arguments) == 0
    captured = capsys.readouterr()
    content = json.loads(captured.out)
    assert content["protocol"] == "real"
    lines = {
        line["method"].rpartition("/")[2]: line
        for line in content["lines"]
        if line["kind"] == "total" and line["population"] == "all"
    }
    assert lines["own.py"]["below"]["0.5"] == 1
    assert lines["none.py"]["below"]["20"] == 0
    assert lines["none.py"]["failures"] == 2


def test_terminal_output_names_methods_and_the_page(run, pairs, capsys):
    _, folder, methods = run
    assert main(["compare", str(pairs), "--methods", methods, "-o", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "PE<3" in out
    assert str(folder / "report.html") in out.replace("\n", "")
    assert main(["compare", str(pairs), "--methods", methods, "-o", str(folder), "--quiet"]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate"], "no input was given"),
        (["evaluate", "nowhere"], "nowhere does not exist"),
        (["evaluate", "PAIRS", "--protocol", "native"], "choose real"),
        (["evaluate", "PAIRS", "--protocol", "easy"], "easy"),
        (["evaluate", "PAIRS", "--model", "nobody"], "no model 'nobody'"),
        (["evaluate", "PAIRS", "--device", "abacus"], "abacus"),
        (["evaluate", "PAIRS", "--workers", "0"], "workers"),
        (["evaluate", "PAIRS", "--against", "PAIRS"], "holds no run"),
        (["compare", "PAIRS", "--methods", ","], "no method was named"),
        (["compare", "PAIRS", "--methods", "nobody"], "nobody"),
        (["compare", "PAIRS", "--methods", "missing.py"], "missing.py"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, pairs, tmp_path, capsys):
    given = [str(pairs) if word == "PAIRS" else word for word in arguments]
    assert main([*given, "-o", str(tmp_path / "out")]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert not (tmp_path / "out").exists()


def test_another_run_in_the_folder_is_not_overwritten(run, pairs, capsys):
    _, folder, methods = run
    before = (folder / "run.json").read_text()
    arguments = ["compare", str(pairs), "--methods", methods, "-o", str(folder), "--seed", "7"]
    assert main(arguments) == 2
    assert "seed" in capsys.readouterr().err
    assert (folder / "run.json").read_text() == before


def test_list_of_methods(capsys):
    assert main(["compare", "--list", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert {"identity", "sift", "akaze", "orb", "ecc-intensity", "ecc-gradient"} <= set(rows)
    assert rows["sift"]["available"] == "yes"
    assert rows["sift"]["kind"] == "classical"


def test_the_users_own_files_are_not_replaced(pairs, tmp_path, capsys):
    manifest = tmp_path / "pairs.csv"
    manifest.write_text(
        f"fixed,moving,matrix\n{pairs}/p0.a.png,{pairs}/p0.b.png,1 0 0 0 1 0 0 0 1\n"
    )
    before = manifest.read_text()
    assert main(["compare", str(manifest), "--methods", "identity", "-o", str(tmp_path)]) == 2
    assert "would be replaced" in capsys.readouterr().err
    assert manifest.read_text() == before
    other = tmp_path / "other"
    other.mkdir()
    (other / "report.html").write_text("mine")
    assert main(["compare", str(manifest), "--methods", "identity", "-o", str(other)]) == 2
    assert "not from a run" in capsys.readouterr().err
    assert (other / "report.html").read_text() == "mine"


def test_a_method_that_leaves_is_a_failed_case(pairs, tmp_path, capsys):
    (tmp_path / "leaves.py").write_text(
        "import sys\ndef register(fixed, moving):\n    sys.exit(0)\n"
    )
    arguments = ["compare", str(pairs), "--methods", str(tmp_path / "leaves.py"), "--json"]
    assert main([*arguments, "-o", str(tmp_path / "run")]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["crashes"][0]["message"] == "SystemExit: 0"
    assert content["crashes"][0]["count"] == 2


def test_runs_without_a_common_method_are_refused_before_anything_runs(
    run, pairs, tmp_path, capsys
):
    _, folder, _ = run
    arguments = ["compare", str(pairs), "--methods", "identity,sift", "--against", str(folder)]
    assert main([*arguments, "-o", str(tmp_path / "run")]) == 2
    assert "none of identity, sift" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_an_interruption_says_where_to_go_on(pairs, tmp_path, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("sdme.evaluate.evaluation.evaluate", interrupted)
    folder = tmp_path / "run"
    assert main(["compare", str(pairs), "--methods", "identity", "-o", str(folder)]) == 130
    said = capsys.readouterr().err
    assert said.startswith(f"error: interrupted: what was done is kept in {folder}")
    assert said.count("\n") == 1
