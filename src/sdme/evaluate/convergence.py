"""Whether a method's refinement stays at the truth, and from how far away it finds there.

Both are asked for apart from everything that a method does before: how good its answers are depends
on where refinement begins, but this does not.
"""

import math
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from sdme.evaluate.case import Case, Matrix
from sdme.evaluate.method import MethodResult
from sdme.evaluate.score import ConvergenceScore
from sdme.geometry.homography import from_four_points
from sdme.geometry.mapping import frame_centre, frame_corners, map_points, mean_corner_error

START_ERRORS = (4, 8, 12, 16)
CONVERGED = (1.0, 3.0)


@dataclass(frozen=True)
class ConvergenceSummary:
    """Refinement alone over ``cases``.

    ``drift`` is the median of the corner errors, px, after a start at the truth, ``stays`` the
    share of them below 1 px; ``reached[k][t]`` is the share of cases that end below ``t`` px from a
    start that is ``k`` px off.
    """

    cases: int
    drift: float
    stays: float
    reached: dict[int, dict[float, float]]


def convergence_score(case: Case, result: MethodResult) -> ConvergenceScore | None:
    """Where the method's refinement ends from known starts; ``None`` if that cannot be told.

    It cannot for a method without refinement, and where the truth is not a homography.
    """
    if result.refine is None or case.H_true is None:
        return None
    starts = {k: start_off(case, k) for k in START_ERRORS}
    ends = result.refine([case.H_true, *starts.values()])
    drift, *errors = (_error(end, case) for end in ends)
    return ConvergenceScore(drift, dict(zip(starts, errors, strict=True)))


def start_off(case: Case, error: float) -> Matrix:
    """A homography that sends every corner of the fixed image ``error`` px off the truth.

    Each in a direction of its own, the same ones for every method and every error of a case.
    """
    assert case.H_true is not None, "the truth is known"
    angles = np.random.default_rng(zlib.crc32(case.key.name.encode())).uniform(0, 2 * math.pi, 4)
    square = frame_corners(case.fixed_size)
    there = map_points(case.H_true, square, frame_centre(case.fixed_size))
    moved = there + error * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    return from_four_points(torch.from_numpy(square), torch.from_numpy(moved)).numpy()


def summarise_convergence(scores: Iterable[ConvergenceScore]) -> ConvergenceSummary:
    """Shares and the median over cases, each counting the same; there must be one."""
    scores = list(scores)
    drifts = np.array([score.drift for score in scores])

    def share(errors: Iterable[float], limit: float) -> float:
        return float((np.array(list(errors)) < limit).mean())

    return ConvergenceSummary(
        cases=len(scores),
        drift=float(np.median(drifts)),
        stays=share(drifts, CONVERGED[0]),
        reached={
            k: {limit: share((s.reached[k] for s in scores), limit) for limit in CONVERGED}
            for k in START_ERRORS
        },
    )


def _error(end: Matrix, case: Case) -> float:
    assert case.H_true is not None, "the truth is known"
    end = np.asarray(end, np.float64)
    return mean_corner_error(end, case.H_true, case.fixed_size)
