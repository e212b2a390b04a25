"""Run methods over cases: each in worker processes of its own, which may hang or crash.

A hang, a crash or an exception is a failed case of the method, with a note. A case that cannot be
drawn is no method's failure: it is listed with the run's problems, for all methods alike. Whatever
is in the run's folder already is not computed again.
"""

import contextlib
import math
import multiprocessing
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, replace
from multiprocessing.context import BaseContext
from typing import Any

from pebble import ProcessExpired, ProcessPool

from sdme.data.pairs import Problem
from sdme.errors import InputError
from sdme.evaluate import worker
from sdme.evaluate.case import CaseKey
from sdme.evaluate.drawn_cases import case_store
from sdme.evaluate.methods import method_label
from sdme.evaluate.protocol import Protocol
from sdme.evaluate.score import Score
from sdme.evaluate.store import RunFolder
from sdme.evaluate.worker import Job

Progress = Callable[[int, int, str], object]
"""``progress(done, total, method)``: how many of the cases have been run, and on what method."""

# Every library that a method may bring has its own name for one and the same limit.
_THREAD_LIMITS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)
_WAITING = 4  # tasks handed out ahead for each worker
_START_TIMEOUT = 600.0  # seconds to load a method


def run_methods(
    methods: Sequence[str],
    keys: Sequence[CaseKey],
    protocol: Protocol,
    folder: RunFolder,
    *,
    device: str = "cpu",
    workers: int = 1,
    timeout: float = 60.0,
    threads: int = 1,
    progress: Progress | None = None,
) -> None:
    """Run every method on every case and store the scores in the folder.

    Methods run one after the other, each in ``workers`` processes of ``threads`` threads.
    ``timeout`` is the seconds that a case may take, reading its images included. An interruption
    (``KeyboardInterrupt``, ``SystemExit``) ends the processes at once and passes on; the same call
    then goes on where it stopped.

    Raises:
        InputError: a method cannot be had, which is found before any of them runs, or the folder
            cannot be written to.
    """
    report = progress or (lambda done, total, method: None)
    _check_labels([*folder.methods, *methods])
    left = {method: _missing(folder, method, keys) for method in methods}
    jobs = {method: Job(method, protocol, device, threads) for method in methods if left[method]}
    survivors = _warm(list(jobs.values()), timeout)
    folder.add_methods(methods)
    unreadable: set[str] = set()
    with case_store(folder.path) as store:
        for method, missing in left.items():
            wanted = [key for key in missing if key.name not in unreadable]
            done = len(keys) - len(wanted)
            report(done, len(keys), method)
            if not wanted:
                continue
            job = replace(
                jobs[method],
                warm_up=method in survivors,
                store=store if len(jobs) > 1 else None,
                answers=store,
            )
            with contextlib.closing(_answers(job, wanted, workers, timeout)) as answers:
                for count, (key, answer) in enumerate(answers, done + 1):
                    if isinstance(answer, Problem):
                        folder.add_unreadable(key.name, answer.why)
                        unreadable.add(key.name)
                    else:
                        folder.add(method, key.name, answer)
                    report(count, len(keys), method)


def _missing(folder: RunFolder, method: str, keys: Iterable[CaseKey]) -> list[CaseKey]:
    done = folder.done(method)
    return [key for key in keys if key.name not in done]


def _check_labels(methods: Iterable[str]) -> None:
    """Two methods under one name would be one method in the tables."""
    named: dict[str, str] = {}
    for method in methods:
        other = named.setdefault(method_label(method), method)
        if other != method:
            raise InputError(
                f"{other} and {method} would both be called "
                f"{method_label(method)}; rename one of the files, or its folder"
            )


@dataclass(frozen=True)
class _Task:
    """A case to run, or to note as failed where ``note`` says that its process did not survive.

    ``seconds`` is the time limit where that is what ended it: the method took at least so long.
    """

    key: CaseKey
    note: str = ""
    seconds: float = math.nan


def _warm(jobs: Sequence[Job], timeout: float) -> set[str]:
    """Build every method once, in a process apart; returns which ones survive a first call.

    Raises:
        InputError: a method cannot be built.
    """
    survivors = set()
    left = deque(jobs)
    while left:
        with _pool(1, left[0].threads, worker.begin, left[0].threads) as pool:
            while left and pool.active:
                job = left.popleft()
                _check_build(pool, job)
                with contextlib.suppress(FutureTimeoutError, ProcessExpired, BrokenExecutor):
                    pool.schedule(worker.warm_up, timeout=timeout).result()
                    survivors.add(job.method)
    return survivors


def _check_build(pool: ProcessPool, job: Job) -> None:
    try:
        failure = pool.schedule(worker.build, (job,), timeout=_START_TIMEOUT).result()
    except FutureTimeoutError:
        failure = InputError(f"method {job.method} does not load within {_START_TIMEOUT:g} s")
    except ProcessExpired as error:
        failure = InputError(f"method {job.method} cannot be loaded: {_end_in_words(error)}")
    except BrokenExecutor:
        failure = _start_failure(job)
    if failure is not None:
        raise failure


def _answers(
    job: Job, keys: Iterable[CaseKey], workers: int, timeout: float
) -> Generator[tuple[CaseKey, list[Score] | Problem], None, None]:
    """Scores of every case as they come, or why a case cannot be drawn."""
    left = {key.name: _Task(key) for key in keys}
    futile = 0
    while left:
        before = len(left)
        try:
            with _pool(min(workers, before), job.threads, worker.begin_job, job) as pool:
                for key, answer in _outcomes(pool, job, left.values(), workers, timeout):
                    del left[key.name]
                    yield key, answer
        except BrokenExecutor:  # all workers ended between two cases, for instance for memory
            futile = 0 if len(left) < before else futile + 1
            if futile == 3:
                raise _start_failure(job) from None


def _outcomes(
    pool: ProcessPool, job: Job, tasks: Iterable[_Task], workers: int, timeout: float
) -> Iterator[tuple[CaseKey, list[Score] | Problem]]:
    waiting = deque(tasks)
    running: dict[Future[Any], _Task] = {}
    while waiting or running:
        while waiting and len(running) < workers * _WAITING:
            task = waiting.popleft()
            running[_schedule(pool, job, task, timeout)] = task
        done, _ = wait(running, timeout=1, return_when=FIRST_COMPLETED)
        if not done and not pool.active:
            raise BrokenExecutor
        for future in done:
            task = running.pop(future)
            answer = _answer(future, timeout)
            if not isinstance(answer, str):
                yield task.key, answer
            elif task.note:
                yield task.key, Problem(task.key.name, f"cannot be drawn: {answer}")
            else:
                seconds = timeout if isinstance(future.exception(), TimeoutError) else math.nan
                waiting.appendleft(_Task(task.key, answer, seconds))


def _schedule(pool: ProcessPool, job: Job, task: _Task, timeout: float) -> Future[Any]:
    if task.note:
        return pool.schedule(
            worker.fail_case, (job, task.key, task.note, task.seconds), timeout=timeout
        )
    return pool.schedule(worker.run_case, (job, task.key), timeout=timeout)


def _answer(future: Future[Any], timeout: float) -> list[Score] | Problem | str:
    """What the process answered, or how it ended."""
    try:
        return future.result()
    except FutureTimeoutError:
        return f"timed out after {timeout:g} s"
    except ProcessExpired as error:
        return _end_in_words(error)


def _end_in_words(error: ProcessExpired) -> str:
    code = error.exitcode or 0
    if code == -signal.SIGKILL:
        return "its process was killed, perhaps for want of memory"
    if code < 0:
        return f"its process was ended by {signal.Signals(-code).name}"
    return f"its process ended with exit code {code}"


def _start_failure(job: Job) -> InputError:
    return InputError(
        f"processes of method {job.method} end before they have begun; use fewer workers, or see "
        "whether the method works by itself"
    )


@contextlib.contextmanager
def _pool(
    workers: int, threads: int, initializer: Callable[..., object], argument: object
) -> Iterator[ProcessPool]:
    """Processes that are gone, whatever they were doing, when the block is left."""
    pool = ProcessPool(
        workers, initializer=initializer, initargs=(argument,), context=_start_context()
    )
    with _thread_limits(threads):
        try:
            with _without_interrupts():
                _ = pool.active  # starts it
            yield pool
        finally:
            pool.stop()
            pool.join()


def _start_context() -> BaseContext:
    """How processes start: on Linux as copies of one that has loaded the libraries once.

    Loading them takes seconds, and every hang and every crash costs a process. Elsewhere copies of
    a process are not safe, and each starts from nothing.
    """
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([worker.__name__])
    return context


@contextlib.contextmanager
def _thread_limits(threads: int) -> Iterator[None]:
    """What processes started meanwhile find in their environment before they load a library."""
    before = {name: os.environ.get(name) for name in _THREAD_LIMITS}
    os.environ.update(dict.fromkeys(_THREAD_LIMITS, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Threads and processes started meanwhile never see Ctrl-C; this thread sees it afterwards.

    Otherwise a process that is just starting would answer it with a traceback.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
