"""The stages of a network of the preset ``fast``, each with its answer and its time."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

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
class _Voted:
    """The candidate that votes made of one start, and in how many seconds."""

    start: Matrix
    candidate: Candidates
    seconds: float

    @property
    def matrix(self) -> Matrix:
        return self.candidate.matrices[0].double().cpu().numpy()


class _Stages:
    """Votes and refinement on one pair; from each start votes are taken once."""

    def __init__(self, views: Views, settings: RegisterSettings, clock: Clock) -> None:
        self.views, self.settings, self.clock = views, settings, clock
        self._known: list[_Voted] = []

    def voted(self, start: Matrix) -> _Voted:
        for known in self._known:
            if np.allclose(known.start, start):
                return known
        began = self.clock.elapsed()
        candidate = vote(self.views, [start], self.settings.fast)
        self._known.append(_Voted(start, candidate, self.clock.elapsed() - began))
        return self._known[-1]

    def refined(self, these: Sequence[_Voted], sparse: Sparse | None) -> tuple[Prediction, float]:
        """The best of these, refined, and the seconds that it and its votes took."""
        began = self.clock.elapsed()
        candidates = joined([voted.candidate for voted in these])
        candidates = refine_candidates(self.views, candidates, self.settings)
        best = best_of(self.views.pair, candidates, sparse, self.settings)
        return best, self.clock.elapsed() - began + sum(voted.seconds for voted in these)

    def aligned(self, begun: Sequence[Matrix]) -> list[Matrix]:
        """Where refinement alone ends from each start, all in pixels of the images."""
        pair = self.views.pair
        with torch.inference_mode():
            H = self.views.on_device([pair.in_frames(start) for start in begun])
            ends = self.views.align(H, self.settings.fast.steps).double().cpu().numpy()
        return [pair.in_images(end) for end in ends]


def run_fast(
    network: FastNetwork,
    pair: Pair,
    initial: Matrix,
    settings: RegisterSettings,
    clock: Clock,
) -> MethodResult:
    """All stages between two frames that are not blank; see :func:`network_method`.

    ``clock`` began when the pair was given. The network runs once, however many stages need it.
    """
    views = Views(network, pair)
    seen = clock.elapsed()
    sparse = match_cells(views, settings, Clock())
    matched = clock.elapsed()

    run = _Stages(views, settings, clock)
    placed = run.voted(pair.in_frames(initial))
    from_matches = [run.voted(start) for start in starts(pair, sparse, [], settings)]
    guessed = [run.voted(guess) for guess in pair.guesses(None)]
    first = [*from_matches, placed][0]
    dense_only, dense_seconds = run.refined([placed], None)
    chosen, chosen_seconds = run.refined([*from_matches, *guessed], sparse)
    final, final_seconds = run.refined([*from_matches, placed], sparse)
    verdict = judge_prediction(chosen, pair.fixed.size, pair.moving.size, settings)
    seen_cells = [cells.points for cells in views.cells(settings.fast.cells)]
    answers = {
        SPARSE: (sparse.evidence.matrix, matched),
        VOTED: (first.matrix, matched + first.seconds),
        DENSE_ONLY: (dense_only.matrix, seen + dense_seconds),
        REGISTERED: (verdict.matrix, matched + chosen_seconds),
        REFINED: (final.matrix, matched + final_seconds),
    }
    return MethodResult(
        stages={k: None if m is None else pair.in_images(m) for k, (m, _) in answers.items()},
        matching=matching_of(pair, sparse, seen_cells),
        seconds={stage: seconds for stage, (_, seconds) in answers.items()},
        verdict=verdict.status.value,
        refine=run.aligned,
    )


def joined(candidates: Sequence[Candidates]) -> Candidates:
    """Candidates of several votes as those of one."""
    return Candidates(
        torch.cat([c.matrices for c in candidates]),
        torch.cat([c.log_errors for c in candidates]),
        torch.cat([c.refined for c in candidates]),
    )


def matching_of(pair: Pair, sparse: Sparse, seen: Sequence[Tensor]) -> Matching:
    """Matches and all points of the fixed and of the moving frame, in pixels of the images."""
    fixed, moving = (points.double().cpu().numpy() for points in seen)
    return Matching(
        fixed=pair.fixed.in_image(sparse.fixed),
        moving=pair.moving.in_image(sparse.moving),
        inlier=sparse.inlier,
        fixed_keypoints=pair.fixed.in_image(fixed),
        moving_keypoints=pair.moving.in_image(moving),
    )
