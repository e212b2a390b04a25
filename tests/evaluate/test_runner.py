"""Methods here are files of the user's, since worker processes know nothing of a test's patches."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from sdme.data.pairs import ImageFile, ImagePair, Problem
from sdme.errors import InputError
from sdme.evaluate import worker
from sdme.evaluate.case import CaseKey
from sdme.evaluate.method import MethodResult
from sdme.evaluate.protocol import RealProtocol
from sdme.evaluate.runner import run_methods
from sdme.evaluate.store import RunFolder
from sdme.evaluate.worker import Job

TRUTH = np.array([[1.0, 0, 3], [0, 1, -2], [0, 0, 1]])
PROTOCOL = RealProtocol()

# What it does on a case is written in the first pixel of the fixed image.
MOODY = """
import os, signal, time
import cv2
import numpy as np

RIGHT = np.array([[1.0, 0, 3], [0, 1, -2], [0, 0, 1]])

def register(fixed, moving):
    mood = int(fixed[0, 0, 0])
    if mood == 1:
        while True:
            time.sleep(100)
    if mood == 2:
        os._exit(7)
    if mood == 3:
        raise RuntimeError("out of\\nluck")
    if mood == 4:
        os.kill(os.getpid(), signal.SIGSEGV)
    if mood == 5:
        raise SystemExit(3)
    if mood == 6:
        return None
    if mood == 7:
        import torch
        threads = cv2.getNumThreads(), torch.get_num_threads(), os.environ["MKL_NUM_THREADS"]
        assert [int(n) for n in threads] == [1, 1, 1], threads
    return RIGHT
"""
SLOW = """
import subprocess, sys, time
import numpy as np

def register(fixed, moving):
    if fixed.shape[0] == 40:
        subprocess.run([sys.executable, "-c", "import time; time.sleep(WAIT)"])
    return np.eye(3) + 0.01 * fixed[0, 0, 0]
"""
RUN = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import test_runner as tests

if __name__ == "__main__":
    folder, method = Path(sys.argv[2]), sys.argv[3]
    keys = tests.make_keys(folder, [0] * 6)
    with tests.RunFolder.start(folder / "run", tests.PROTOCOL, keys) as run:
        tests.run_methods([method], keys, tests.PROTOCOL, run, workers=2)
"""


def make_keys(folder, moods):
    """A pair for each mood; ``None`` is one whose image cannot be decoded."""
    keys = []
    for number, mood in enumerate(moods):
        path = folder / f"{number}.png"
        pixels = np.random.default_rng(number).integers(0, 256, (40, 48, 3), np.uint8)
        pixels[0, 0] = number if mood is None else mood
        cv2.imwrite(str(path), pixels)
        if mood is None:
            path.write_bytes(b"no image")
        moving = ImageFile(folder / "moving.png")
        keys.append(CaseKey(ImagePair("set", str(number), ImageFile(path), moving, TRUTH), number))
    cv2.imwrite(str(folder / "moving.png"), np.zeros((50, 60, 3), np.uint8))
    return keys


@pytest.fixture(scope="module")
def moody(tmp_path_factory):
    """A run of a method that fails in every way, and what was said of its progress."""
    folder = tmp_path_factory.mktemp("moody")
    method = folder / "moody.py"
    method.write_text(MOODY)
    keys = make_keys(folder, [0, 1, 2, 3, 4, 5, 6, None, 7])
    told = []
    np.ones(80_000_000)  # this process has once been larger than any worker
    with RunFolder.start(folder / "run", PROTOCOL, keys) as run:
        run_methods(
            [str(method)], keys, PROTOCOL, run, workers=2, timeout=4,
            progress=lambda done, total, name: told.append((done, total, name)),
        )  # fmt: skip
        yield run, keys, told, str(method)


def by_index(scores):
    return {score.index: score for score in scores}


def test_every_way_to_fail_is_a_failed_case_with_a_note(moody):
    run, *_ = moody
    scores = by_index(run.scores())
    assert {index: score.note for index, score in scores.items()} == {
        0: "",
        1: "timed out after 4 s",
        2: "its process ended with exit code 7",
        3: "RuntimeError: out of luck",
        4: "its process was ended by SIGSEGV",
        5: "SystemExit: 3",
        6: "",
        8: "",  # the limits of threads are as it asserts
    }
    errors = [scores[index].error for index in (0, 1, 2, 3, 4, 5, 6, 8)]
    assert errors == [0, *[np.inf] * 6, 0]


def test_time_and_memory_are_the_methods_own(moody):
    run, *_ = moody
    scores = by_index(run.scores())
    assert 0 < scores[0].seconds < 4
    assert 20 < scores[0].memory < worker.peak_memory()
    assert np.isnan([scores[2].seconds, scores[2].memory]).all()


def test_unreadable_case_is_a_problem_and_no_failure(moody):
    run, keys, *_ = moody
    assert [problem.where for problem in run.problems] == [keys[7].name]
    assert "7.png" in run.problems[0].why
    assert 7 not in by_index(run.scores())


def test_progress_counts_every_case_once(moody):
    _, keys, told, method = moody
    assert told == [(count, len(keys), method) for count in range(len(keys) + 1)]


def test_further_methods_join_a_run_and_nothing_runs_twice(moody):
    run, keys, _, method = moody
    still = Path(method).with_name("still.py")
    still.write_text("import numpy as np\ndef register(fixed, moving):\n    return np.eye(3)\n")
    file = run.path / "scores.jsonl"
    before, told = file.read_bytes(), []
    run_methods(
        [method, str(still)], keys, PROTOCOL, run,
        progress=lambda *what: told.append(what),
    )  # fmt: skip
    assert told[0] == (8, 9, method)
    assert told[-1] == (9, 9, str(still))
    after = file.read_bytes()
    assert after.startswith(before)
    assert after[len(before) :].count(b"\n") == 8
    scores = run.scores([str(still)])
    assert [score.index for score in scores] == [0, 1, 2, 3, 4, 5, 6, 8]
    assert {score.error for score in scores} == {np.hypot(3, 2)}


def test_method_that_cannot_be_had_is_found_before_any_runs(tmp_path):
    keys = make_keys(tmp_path, [0])
    (tmp_path / "still.py").write_text("def register(fixed, moving): pass")
    (tmp_path / "dies.py").write_text("import os; os._exit(3)")
    with RunFolder.start(tmp_path / "run", PROTOCOL, keys) as run:
        with pytest.raises(InputError, match=r"dies.py cannot be loaded: .* exit code 3"):
            run_methods(
                [str(tmp_path / "still.py"), str(tmp_path / "dies.py")], keys, PROTOCOL, run
            )
        assert run.methods == []


@pytest.mark.parametrize(
    ("result", "note"),
    [
        ("hello", "TypeError: the method gave str, not a MethodResult with stages"),
        (MethodResult({}), "TypeError: the method gave MethodResult, not a MethodResult"),
        (MethodResult({"one": np.eye(2)}), "TypeError: stage one gave shape (2, 2)"),
        (MethodResult({"one": np.full((3, 3), "x")}), "ValueError: "),
    ],
)
def test_answers_that_are_none_are_failures(tmp_path, monkeypatch, result, note):
    monkeypatch.setattr(worker._Worker, "method", lambda *_: result)
    (key,) = make_keys(tmp_path, [0])
    (score,) = worker.run_case(Job("mine", PROTOCOL), key)
    assert score.error == np.inf
    assert score.note.startswith(note)


def test_missing_image_is_a_problem_of_the_case(tmp_path, monkeypatch):
    monkeypatch.setattr(worker._Worker, "method", lambda *_: pytest.fail("was called"))
    (key,) = make_keys(tmp_path, [0])
    key.pair.moving.path.unlink()
    problem = worker.run_case(Job("mine", PROTOCOL), key)
    assert isinstance(problem, Problem)
    assert "moving.png" in problem.why


def begin(folder, wait):
    """A run of a slow method in a session of its own, of six cases."""
    (folder / "slow.py").write_text(SLOW.replace("WAIT", str(wait)))
    (folder / "run.py").write_text(RUN)
    arguments = [Path(__file__).parent, folder, folder / "slow.py"]
    return subprocess.Popen(
        [sys.executable, "run.py", *map(str, arguments)],
        cwd=folder, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def session_of(process):
    """Command lines of the processes that the run has started, itself included."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if int((entry / "stat").read_text().rpartition(")")[2].split()[3]) == process.pid:
                found.append((entry / "cmdline").read_text())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return [line for line in found if line]  # zombies have none


def until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert condition()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").exists(), reason="needs /proc to see processes")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_the_run(tmp_path, number):
    process = begin(tmp_path, wait=1000)
    until(lambda: sum("sleep(1000)" in line for line in session_of(process)) == 2)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does
    else:
        process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert process.returncode == -number
    assert err.count("Traceback") == (number == signal.SIGINT)
    until(lambda: not session_of(process), 10)


@pytest.mark.slow
def test_killed_run_goes_on_and_ends_as_if_it_had_not_been(tmp_path):
    process = begin(tmp_path, wait=0.5)
    lines = tmp_path / "run" / "scores.jsonl"
    until(lambda: lines.exists() and lines.read_bytes().count(b"\n") >= 2)
    process.kill()
    process.communicate()
    keys, method = make_keys(tmp_path, [0] * 6), str(tmp_path / "slow.py")
    tables = []
    for name in ("run", "whole"):
        with RunFolder.start(tmp_path / name, PROTOCOL, keys) as run:
            if name == "run":
                assert 2 <= len(run.done(method)) < 6
            run_methods([method], keys, PROTOCOL, run)
            tables.append([(s.case, s.stage, s.error, s.matrix) for s in run.scores()])
    assert len(tables[0]) == 6
    assert tables[0] == tables[1]
