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
from sdme.evaluate.protocol import PROTOCOLS
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
