"""The stages of a network of the preset ``fast``, each with its answer and its time."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from sdme.config import RegisterSettings
from sdme.evaluate.method import Matching, Matrix, MethodResult
from sdme.fast_stages import (
    Candidates,
    Views,
    best_of,
    match_cells,
    refine_candidates,
    starts,
    vote,
)
from sdme.fast_verdict import Prediction, judge_prediction
from sdme.frames import Pair
from sdme.model.fast import FastNetwork
from sdme.stages import Clock, Sparse

SPARSE, VOTED, DENSE_ONLY, REGISTERED, REFINED = FAST_STAGES = (
    "sparse",
    "voted",
    "dense-only",
    "registered",
    "refined",
)


@dataclass(frozen=True)
class _Timed:
    """The candidate that votes made of one start, and in how many seconds."""

    start: Matrix
    candidate: Candidates
    seconds: float


def run_fast(
    network: FastNetwork,
    pair: Pair,
    initial: Matrix,
    settings: RegisterSettings,
    elapsed: Callable[[], float],
) -> MethodResult:
    """All stages between two frames that are not blank; see :func:`network_method`.

    ``elapsed`` tells the seconds since the pair was given. The network runs once, and the votes
    once from each start, however many stages need it.
    """
    views = Views(network, pair)
    seen = elapsed()
    sparse = match_cells(views, settings, Clock())
    seconds = {SPARSE: elapsed()}

    def voted(start: Matrix, known: Sequence[_Timed] = ()) -> _Timed:
        for other in known:
            if np.allclose(other.start, start):
                return other
        began = time.perf_counter()
        candidate = vote(views, [start], settings.fast)
        return _Timed(start, candidate, time.perf_counter() - began)

    def refined(these: Sequence[_Timed], matches: Sparse | None) -> tuple[Prediction, float]:
        began = time.perf_counter()
        found = refine_candidates(views, joined([t.candidate for t in these]), settings)
        best = best_of(pair, found, matches, settings)
        return best, time.perf_counter() - began + sum(t.seconds for t in these)

    placed = voted(pair.in_frames(initial))
    matched = [voted(m) for m in starts(pair, sparse, [], settings)]
    guessed = [voted(guess, [placed]) for guess in pair.guesses(None)]
    first = (matched or [placed])[0]
    dense_only, dense_seconds = refined([placed], None)
    chosen, chosen_seconds = refined([*matched, *guessed], sparse)
    final, final_seconds = refined([*matched, placed], sparse)
    verdict = judge_prediction(chosen, pair.fixed.size, pair.moving.size, settings)
    seconds |= {
        VOTED: seconds[SPARSE] + first.seconds,
        DENSE_ONLY: seen + dense_seconds,
        REGISTERED: seconds[SPARSE] + chosen_seconds,
        REFINED: seconds[SPARSE] + final_seconds,
    }
    matrices = {
        SPARSE: sparse.evidence.matrix,
        VOTED: first.candidate.matrices[0].double().cpu().numpy(),
        DENSE_ONLY: dense_only.matrix,
        REGISTERED: verdict.matrix,
        REFINED: final.matrix,
    }
    stages = {k: None if m is None else pair.in_images(m) for k, m in matrices.items()}

    def refine(begun: Sequence[Matrix]) -> list[Matrix]:
        with torch.inference_mode():
            H = views.on_device([pair.in_frames(start) for start in begun])
            ends = views.align(H, settings.fast.steps).double().cpu().numpy()
        return [pair.in_images(end) for end in ends]

    matching = _matching(views, sparse, settings)
    return MethodResult(stages, matching, seconds, verdict.status.value, refine)


def joined(candidates: Sequence[Candidates]) -> Candidates:
    """Candidates of several votes as those of one."""
    return Candidates(
        torch.cat([c.matrices for c in candidates]),
        torch.cat([c.log_errors for c in candidates]),
        torch.cat([c.refined for c in candidates]),
    )


def _matching(views: Views, sparse: Sparse, settings: RegisterSettings) -> Matching:
    pair = views.pair
    fixed, moving = (c.points.double().cpu().numpy() for c in views.cells(settings.fast.cells))
    return Matching(
        fixed=pair.fixed.in_image(sparse.fixed),
        moving=pair.moving.in_image(sparse.moving),
        inlier=sparse.inlier,
        fixed_keypoints=pair.fixed.in_image(fixed),
        moving_keypoints=pair.moving.in_image(moving),
    )
