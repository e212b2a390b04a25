"""Robust fits of transforms to matches.

Homographies and affine maps: MAGSAC (Barath et al. 2019) as OpenCV has it. OpenCV has none for the
smaller kinds; for those, transforms through two matches (one for a translation) are drawn, and the
one with the least squared distances, cut off at the threshold, is fitted to all matches within it
until they stay the same (MSAC: Torr and Zisserman, "MLESAC", 2000).
"""

import math
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Bool, Complex, Float

from sdme.config import EstimateSettings, Kind
from sdme.geometry.fit import POINTS_NEEDED, fit_points

Shortfall = Literal["too_few_matches", "no_model", "too_few_inliers"]
_DRAWN_AT_ONCE = 256
_REFITS = 20


@dataclass(frozen=True)
class Estimate:
    """A transform and the matches that agree with it, or the reason why there is none.

    ``matrix`` maps the first points to the second ones, ``matrix[2, 2] = 1``; it is ``None``
    exactly when ``reason`` is not. ``inlier`` says which matches agree, also with a transform
    that was dropped for having too few of them.
    """

    matrix: Float[np.ndarray, "3 3"] | None
    inlier: Bool[np.ndarray, " n"]
    reason: Shortfall | None


_Found = tuple[np.ndarray | None, np.ndarray]


def estimate_homography(
    points0: Float[np.ndarray, "n 2"],
    points1: Float[np.ndarray, "n 2"],
    settings: EstimateSettings | None = None,
) -> Estimate:
    """Fit ``points1 ~ H(points0)`` in the presence of wrong matches.

    The same points always give the same answer.
    """
    return estimate(points0, points1, "homography", settings)


def estimate(
    points0: Float[np.ndarray, "n 2"],
    points1: Float[np.ndarray, "n 2"],
    kind: Kind,
    settings: EstimateSettings | None = None,
) -> Estimate:
    """Fit ``points1 ~ M(points0)`` with a transform of a kind in the presence of wrong matches.

    The same points always give the same answer. The threshold is in pixels of the second points.
    """
    settings = settings or EstimateSettings()
    if len(points0) < settings.min_matches:
        return Estimate(None, np.zeros(len(points0), bool), "too_few_matches")
    fit = _magsac if kind in ("affine", "homography") else _consensus
    matrix, inlier = fit(points0, points1, kind, settings)
    if matrix is None:
        return Estimate(None, inlier, "no_model")
    if inlier.sum() < settings.min_inliers:
        return Estimate(None, inlier, "too_few_inliers")
    return Estimate(matrix / matrix[2, 2], inlier, None)


def _magsac(
    points0: np.ndarray, points1: np.ndarray, kind: Kind, settings: EstimateSettings
) -> _Found:
    """OpenCV's answer; what it cannot use or leaves without a finite matrix is no model."""
    nothing = None, np.zeros(len(points0), bool)
    fit = cv2.findHomography if kind == "homography" else cv2.estimateAffine2D
    try:
        matrix, inlier = fit(
            np.ascontiguousarray(points0, dtype=np.float64),
            np.ascontiguousarray(points1, dtype=np.float64),
            method=cv2.USAC_MAGSAC,
            ransacReprojThreshold=settings.threshold,
            maxIters=settings.iterations,
            confidence=settings.confidence,
        )
    except cv2.error:
        return nothing
    if matrix is not None and len(matrix) == 2:
        matrix = np.vstack([matrix, [0.0, 0.0, 1.0]])
    if matrix is None or not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < 1e-12:
        return nothing
    return matrix, inlier.ravel().astype(bool)


def _consensus(
    points0: np.ndarray, points1: np.ndarray, kind: Kind, settings: EstimateSettings
) -> _Found:
    """The drawn transform that the matches agree with best, fitted to those that do."""
    nothing = None, np.zeros(len(points0), bool)
    if not (np.isfinite(points0).all() and np.isfinite(points1).all()):
        return nothing
    first, second = points0 @ [1, 1j], points1 @ [1, 1j]
    least, agreeing, drawn = math.inf, nothing[1], 0
    rng = np.random.default_rng(0)
    while drawn < _draws_needed(agreeing.mean(), kind, settings):
        factors, shifts = _drawn(first, second, kind, rng)
        gaps = np.abs(factors[:, None] * first + shifts[:, None] - second)
        costs = (np.minimum(gaps, settings.threshold) ** 2).sum(1)
        drawn += _DRAWN_AT_ONCE
        if len(costs) and costs.min() < least:
            least, agreeing = costs.min(), gaps[costs.argmin()] < settings.threshold
    return _refitted(points0, points1, agreeing, kind, settings.threshold)


def _draws_needed(share: float, kind: Kind, settings: EstimateSettings) -> float:
    """So many draws hold one of right matches alone, if that share of them is right."""
    hits = share ** POINTS_NEEDED[kind]
    if hits >= settings.confidence:
        return 1
    if hits <= 0:
        return settings.iterations
    return min(settings.iterations, math.log(1 - settings.confidence) / math.log(1 - hits))


def _drawn(
    first: Complex[np.ndarray, " n"],
    second: Complex[np.ndarray, " n"],
    kind: Kind,
    rng: np.random.Generator,
) -> tuple[Complex[np.ndarray, " d"], Complex[np.ndarray, " d"]]:
    """Maps ``z -> factor z + shift`` of the complex plane through matches drawn at random."""
    i, j = rng.integers(0, len(first), (2, _DRAWN_AT_ONCE))
    if kind == "translation":
        return np.ones(len(i), complex), second[i] - first[i]
    apart = (first[i] != first[j]) & (second[i] != second[j])
    i, j = i[apart], j[apart]
    factors = (second[i] - second[j]) / (first[i] - first[j])
    if kind == "euclidean":
        factors = factors / np.abs(factors)
    return factors, (second[i] + second[j] - factors * (first[i] + first[j])) / 2


def _refitted(
    points0: np.ndarray, points1: np.ndarray, agreeing: np.ndarray, kind: Kind, threshold: float
) -> _Found:
    """Least squares through the matches that agree, until those are the same."""
    matrix = None
    for _ in range(_REFITS):
        matrix = fit_points(points0[agreeing], points1[agreeing], kind)
        if matrix is None:
            return None, np.zeros(len(points0), bool)
        mapped = points0 @ matrix[:2, :2].T + matrix[:2, 2]
        closer = np.linalg.norm(mapped - points1, axis=1) < threshold
        if np.array_equal(closer, agreeing):
            break
        agreeing = closer
    return matrix, agreeing
