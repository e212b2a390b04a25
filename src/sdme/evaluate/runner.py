"""Run methods over packs: cases in, answers out.

::

    python -m sdme.evaluate --packs pairs/val photos/val --methods identity,sift,ours --out results
"""

import functools
import multiprocessing
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from sdme.data.packs import list_packs
from sdme.errors import InputError
from sdme.evaluate.answers import Answer, Outcome, answers_of
from sdme.evaluate.protocol import Case, PaperProtocol, cases_from_pack

OURS = "ours"


def load_cases(folders: Iterable[str | Path], count: int, protocol: PaperProtocol) -> list[Case]:
    """``count`` cases of every pack of the folders, in the order of folders and names.

    Raises:
        InputError: a folder holds no pack, or two packs share a name.
    """
    paths = [path for folder in folders for path in list_packs(folder)]
    names = [path.stem for path in paths]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"two packs are named {', '.join(twice)}; rename one of them")
    return [case for path in paths for case in cases_from_pack(path, count, protocol)]


def run_baseline(
    method: str, cases: Sequence[Case], protocol: PaperProtocol, workers: int = 1
) -> Iterator[Answer]:
    """Answers of a baseline in the order of the cases, computed by ``workers`` processes."""
    run = functools.partial(_baseline_outcome, method, protocol)
    if workers <= 1:
        yield from _scored(map(run, cases), cases, protocol)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        yield from _scored(pool.map(run, cases, chunksize=8), cases, protocol)


def run_network(
    weights: str | None, cases: Sequence[Case], protocol: PaperProtocol, device: str, batch: int
) -> Iterator[Answer]:
    """Answers of every stage of the package's own method; ``weights`` is a name or a file.

    The weights are loaded at once, the answers computed as they are asked for.

    Raises:
        InputError: the weights or the device cannot be had.
    """
    from sdme.evaluate.network import evaluate_network
    from sdme.model.weights import DEFAULT_MODEL, load_network

    place = chosen_device(device)
    network = load_network(weights or DEFAULT_MODEL, place)
    return _scored(evaluate_network(network, cases, place, batch), cases, protocol)


def chosen_device(name: str) -> str:
    """The device to use; ``auto`` is CUDA where there is one.

    Raises:
        InputError: the device does not exist here.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError):
        raise InputError(f"device {name!r} cannot be used here; give auto, cpu or cuda") from None
    return name


def _baseline_outcome(method: str, protocol: PaperProtocol, case: Case) -> Outcome:
    """What a baseline gives on a case; whatever it raises is a failure with a note.

    OpenCV runs on one thread, since the order of its sums, and so its answer, depends on threads.
    """
    import cv2

    from sdme.evaluate.baselines import BASELINES

    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    began = time.perf_counter()
    try:
        stages = BASELINES[method](case.fixed, case.moving, protocol.initial)
    except Exception as error:  # a baseline's crash is its failure, not the end of the evaluation
        note = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return Outcome({method: None}, time.perf_counter() - began, note)
    finally:
        cv2.setNumThreads(threads)
    return Outcome(stages, time.perf_counter() - began)


def _scored(
    outcomes: Iterable[Outcome], cases: Sequence[Case], protocol: PaperProtocol
) -> Iterator[Answer]:
    for case, outcome in zip(cases, outcomes, strict=True):
        yield from answers_of(case, outcome, protocol.initial)
