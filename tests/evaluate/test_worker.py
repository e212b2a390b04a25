import json
import subprocess
import sys

import cv2
import numpy as np
import pytest

from sdme.data.pairs import ImageFile, ImagePair
from sdme.errors import InputError
from sdme.evaluate import worker
from sdme.evaluate.case import CaseKey
from sdme.evaluate.figures import figures_of
from sdme.evaluate.protocol import PROTOCOLS
from sdme.evaluate.runner import run_methods
from sdme.evaluate.store import RunFolder
from sdme.evaluate.worker import Job

CROOKED = """
from __future__ import annotations
from dataclasses import dataclass
import numpy as np
from sdme.evaluate.method import Matching, MethodResult

@dataclass
class Unused:
    x: int | None = None

def register(fixed, moving):
    points = np.zeros((5, 2))
    matching = Matching(points, points, np.ones(3, bool), points, points)
    return MethodResult({"only": np.eye(3)}, matching)
"""
UNPRINTABLE = "def register(fixed, moving):\n    raise OSError('\\udcff')\n"


REFINED = """
from __future__ import annotations
import os, time
import numpy as np
from sdme.evaluate.method import MethodResult

def refine(starts):
    END
    return starts

def register(fixed, moving):
    return MethodResult({"first": None, "last": np.eye(3)}, refine=refine)
"""


@pytest.fixture
def key(tmp_path):
    picture = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    cv2.imwrite(str(tmp_path / "x.png"), picture)
    file = ImageFile(tmp_path / "x.png")
    return CaseKey(ImagePair("d", "x", file, file, np.eye(3)), 0)


@pytest.mark.parametrize(("text", "note"), [(CROOKED, "IndexError"), (UNPRINTABLE, "OSError: ?")])
def test_whatever_a_method_answers_is_a_score_that_can_be_stored(tmp_path, key, text, note):
    method = tmp_path / "own.py"
    method.write_text(text)
    job = Job(str(method), PROTOCOLS["real"])
    assert worker.build(job) is None
    (score,) = worker.run_case(job, key)
    assert score.error == np.inf
    assert score.note.startswith(note)
    with RunFolder.start(tmp_path / "run", PROTOCOLS["real"], [key]) as folder:
        folder.add_methods([str(method)])
        folder.add(str(method), key.name, [score])
    (stored,) = RunFolder.read(tmp_path / "run").scores()
    assert (stored.error, stored.note) == (score.error, score.note)


@pytest.mark.parametrize(
    ("end", "remark"),
    [
        ("raise ValueError('no')", "refinement alone: ValueError: no"),
        ("raise SystemExit(3)", "refinement alone: SystemExit: 3"),
        ("return None", "refinement alone: TypeError: "),
        ("return [np.eye(2)] * 5", "refinement alone: "),
        ("time.sleep(0)", ""),
    ],
)
def test_what_refinement_alone_raises_does_not_spoil_the_answer(tmp_path, key, end, remark):
    method = tmp_path / "own.py"
    method.write_text(REFINED.replace("END", end))
    job = Job(str(method), PROTOCOLS["real"], answers=tmp_path)
    before = set(tmp_path.iterdir())
    assert worker.build(job) is None
    first, last = worker.run_case(job, key)
    assert (last.error, last.note, first.remark) == (0, "", "")
    assert last.remark.startswith(remark) and bool(last.remark) == bool(remark)
    assert (last.convergence is None) == bool(remark)
    assert first.convergence is None
    assert set(tmp_path.iterdir()) == before
    assert figures_of([first, last]).crashes == ()


@pytest.mark.parametrize(
    ("end", "why"), [("time.sleep(100)", "timed out after 3 s"), ("os._exit(7)", "exit code 7")]
)
def test_nor_does_it_if_the_process_does_not_survive_it(tmp_path, key, end, why):
    method = tmp_path / "own.py"
    method.write_text(REFINED.replace("END", end))
    with RunFolder.start(tmp_path / "run", PROTOCOLS["real"], [key]) as folder:
        run_methods([str(method)], [key], PROTOCOLS["real"], folder, timeout=3)
        _, last = folder.scores()
    assert (last.error, last.note, last.convergence) == (0, "", None)
    assert last.seconds < 3
    assert last.remark.startswith("refinement alone: ") and why in last.remark


def test_a_case_that_ran_out_of_time_took_at_least_the_limit(key):
    (score,) = worker.fail_case(Job("own.py", PROTOCOLS["real"]), key, "timed out after 7 s", 7.0)
    assert score.seconds == 7
    assert score.error == np.inf


def test_scores_without_a_record_are_left_alone(tmp_path, key):
    (tmp_path / "scores.jsonl").write_text("somebody's one line")
    with pytest.raises(InputError, match=r"without its run\.json"):
        RunFolder.start(tmp_path, PROTOCOLS["real"], [key])
    assert (tmp_path / "scores.jsonl").read_text() == "somebody's one line"


def test_what_a_method_prints_is_not_in_the_answer(tmp_path, key):
    (tmp_path / "loud.py").write_text(
        "import os\ndef register(fixed, moving):\n    print('loud')\n    os.write(1, b'loud')\n"
    )
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("fixed,moving,matrix\nx.png,x.png,1 0 0 0 1 0 0 0 1\n")
    command = [sys.executable, "-m", "sdme", "compare", str(pairs), "--json", "--workers", "1"]
    command += ["--methods", str(tmp_path / "loud.py"), "-o", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert json.loads(done.stdout)["protocol"] == "real"
