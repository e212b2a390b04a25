"""What a worker process does: build the method once, then draw, run and score cases."""

import contextlib
import hashlib
import math
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from pathlib import Path

import numpy as np

from sdme.data.pairs import Problem
from sdme.errors import InputError
from sdme.evaluate.case import Case, CaseKey
from sdme.evaluate.convergence import convergence_score
from sdme.evaluate.drawn_cases import stored_case
from sdme.evaluate.method import Method, MethodResult
from sdme.evaluate.methods import build_method, method_label
from sdme.evaluate.metrics import score_result
from sdme.evaluate.protocol import Protocol
from sdme.evaluate.score import ConvergenceScore, Score


@dataclass(frozen=True)
class Job:
    """One method on the cases of one protocol.

    ``device`` is a device of PyTorch, ``threads`` how many each worker may use. ``warm_up`` says
    whether the method is called once before the first case, as first calls are slow. ``store`` is
    a folder for drawn cases, if they are to be kept for other methods, and ``answers`` one for the
    scores of answers while more is asked of the method than an answer.
    """

    method: str
    protocol: Protocol
    device: str = "cpu"
    threads: int = 1
    warm_up: bool = False
    store: Path | None = None
    answers: Path | None = None


class _Worker:
    """What this process keeps from one case to the next: the method, or why it is not to be had."""

    method: Method | None = None
    failure: InputError | None = None


def begin(threads: int) -> None:
    """Limit the threads of this process, and tie its life to that of its parent."""
    import cv2

    cv2.setNumThreads(threads)
    os.dup2(2, 1)  # what a method prints is not the command's answer
    if os.name == "posix":
        _end_with_parent()


def begin_job(job: Job) -> None:
    """Begin, build the method and warm it up; a failure is kept for :func:`run_case` to tell."""
    begin(job.threads)
    _Worker.failure = build(job)
    if job.warm_up:
        warm_up()


def build(job: Job) -> InputError | None:
    """Build the method; returns what is wrong where it cannot be built."""
    _Worker.method = None
    try:
        _Worker.method = build_method(job.method, job.device)
    except InputError as error:
        return error
    except Exception as error:
        return InputError(f"method {job.method} cannot be built ({_said(error)})")
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(job.threads)
    return None


def warm_up() -> None:
    """Call the method on noise; what it makes of it does not matter."""
    noise = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    if _Worker.method is not None:
        with contextlib.suppress(BaseException):  # SystemExit would reach the evaluation
            _Worker.method(noise[0], noise[1], np.eye(3))


def run_case(job: Job, key: CaseKey) -> list[Score] | Problem:
    """Scores of the method on a case, or why the case cannot be drawn.

    Whatever the method raises is its failure, with a note. Once there is an answer, whatever its
    refinement alone raises is a remark.

    Raises:
        InputError: the method could not be built.
    """
    if _Worker.method is None:
        raise _Worker.failure or RuntimeError("run_case needs begin_job")
    case = _drawn(key, job)
    if isinstance(case, Problem):
        return case
    _forget_peak_memory()
    label = method_label(job.method)
    began, seconds = time.perf_counter(), math.nan
    try:
        result = _Worker.method(case.fixed, case.moving, case.initial)
        seconds = time.perf_counter() - began
        _check_result(result)
        scores = score_result(case, label, result, seconds, peak_memory())
    except BaseException as error:  # SystemExit too: a method cannot end the evaluation
        return score_result(case, label, None, math.nan, peak_memory(), _said(error))
    return _with_convergence(scores, job, case, result)


def fail_case(job: Job, key: CaseKey, note: str, seconds: float) -> list[Score] | Problem:
    """Scores of a case on which the method's process did not survive ``seconds``.

    An answer that it had given before stands.
    """
    if answered := _kept_scores(job, key):
        return _concluded(answered, None, note)
    case = _drawn(key, job)
    if isinstance(case, Problem):
        return case
    return score_result(case, method_label(job.method), None, seconds, math.nan, note)


def _with_convergence(
    scores: list[Score], job: Job, case: Case, result: MethodResult
) -> list[Score]:
    """The scores, and with the final one where refinement alone ends.

    They are kept on disk until then, for this may take the process down or too long.
    """
    if result.refine is None:
        return scores
    kept = _kept(job, case.key)
    if kept is not None:
        with contextlib.suppress(OSError):
            kept.write_bytes(pickle.dumps(scores))
    try:
        return _concluded(scores, convergence_score(case, result), "")
    except BaseException as error:  # SystemExit too
        return _concluded(scores, None, _said(error))
    finally:
        if kept is not None:
            kept.unlink(missing_ok=True)


def _concluded(
    scores: list[Score], convergence: ConvergenceScore | None, why_not: str
) -> list[Score]:
    """The scores, the final one with what is known of refinement alone."""
    remark = f"refinement alone: {why_not}" if why_not else ""
    known = {"convergence": convergence, "remark": remark}
    return [replace(score, **known) if score.is_final else score for score in scores]


def _kept(job: Job, key: CaseKey) -> Path | None:
    name = hashlib.sha256(f"{job.method}\n{key.name}".encode()).hexdigest()[:32]
    return None if job.answers is None else job.answers / f"{name}.scores"


def _kept_scores(job: Job, key: CaseKey) -> list[Score] | None:
    """The scores of an answer after which the process did not survive; ``None`` without one."""
    kept = _kept(job, key)
    if kept is None:
        return None
    with contextlib.suppress(OSError, EOFError, pickle.UnpicklingError):  # or half-written
        return pickle.loads(kept.read_bytes())
    return None


def peak_memory() -> float:
    """The most memory that this process has held so far, MiB; NaN where it cannot be known."""
    # Linux counts the peak of the process that started this one into ``ru_maxrss``.
    with contextlib.suppress(OSError, ValueError, IndexError):
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024
    try:
        import resource
    except ImportError:
        return math.nan
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024


def _forget_peak_memory() -> None:
    """Let the peak begin at what is held now, so that drawing the case is not the method's."""
    with contextlib.suppress(OSError):  # only Linux can
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _drawn(key: CaseKey, job: Job) -> Case | Problem:
    try:
        return stored_case(key, job.protocol, job.store)
    except InputError as error:
        return Problem(key.name, str(error))
    except Exception as error:  # whatever a decoder makes of a damaged file
        return Problem(key.name, _said(error))


def _check_result(result: object) -> None:
    if not isinstance(result, MethodResult) or not result.stages:
        raise TypeError(f"the method gave {type(result).__name__}, not a MethodResult with stages")
    for stage, matrix in result.stages.items():
        if matrix is not None and np.asarray(matrix, np.float64).shape != (3, 3):
            raise TypeError(f"stage {stage} gave shape {np.shape(matrix)}, not a 3x3 matrix")


def _said(error: BaseException) -> str:
    text = f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")
    return text.encode(errors="replace").decode()


def _end_with_parent() -> None:
    """Kill this process when it is told to end, or its parent is gone, and all that it started.

    A thread waits for that, because a method within native code lets no signal handler run.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    os.setpgrp()
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.signal(signal.SIGTERM, lambda *_: _kill_group())
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    watched = [parent.sentinel, reader]
    threading.Thread(target=_wait_for_end, args=(watched,), daemon=True).start()


def _wait_for_end(watched: list[int]) -> None:
    parent, reader = watched
    while parent not in wait(watched) and signal.SIGTERM not in os.read(reader, 64):
        pass
    _kill_group()


def _kill_group() -> None:
    os.killpg(os.getpgrp(), signal.SIGKILL)
