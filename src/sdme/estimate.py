"""Robust fit of a homography to matches: MAGSAC (Barath et al. 2019) as OpenCV has it."""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Bool, Float

from sdme.config import EstimateSettings

Shortfall = Literal["too_few_matches", "no_model", "too_few_inliers"]


@dataclass(frozen=True)
class Estimate:
    """A homography and the matches that agree with it, or the reason why there is none.

    ``matrix`` maps the first points to the second ones, ``matrix[2, 2] = 1``; it is ``None``
    exactly when ``reason`` is not. ``inlier`` says which matches agree, also with a homography
    that was dropped for having too few of them.
    """

    matrix: Float[np.ndarray, "3 3"] | None
    inlier: Bool[np.ndarray, " n"]
    reason: Shortfall | None


def estimate_homography(
    points0: Float[np.ndarray, "n 2"],
    points1: Float[np.ndarray, "n 2"],
    settings: EstimateSettings | None = None,
) -> Estimate:
    """Fit ``points1 ~ H(points0)`` in the presence of wrong matches.

    The same points always give the same answer.
    """
    settings = settings or EstimateSettings()
    if len(points0) < settings.min_matches:
        return Estimate(None, np.zeros(len(points0), bool), "too_few_matches")
    matrix, inlier = _magsac(points0, points1, settings)
    if matrix is None:
        return Estimate(None, inlier, "no_model")
    if inlier.sum() < settings.min_inliers:
        return Estimate(None, inlier, "too_few_inliers")
    return Estimate(matrix / matrix[2, 2], inlier, None)


def _magsac(
    points0: np.ndarray, points1: np.ndarray, settings: EstimateSettings
) -> tuple[np.ndarray | None, np.ndarray]:
    """OpenCV's answer; what it cannot use or leaves without a finite matrix is no model."""
    nothing = None, np.zeros(len(points0), bool)
    try:
        matrix, inlier = cv2.findHomography(
            np.ascontiguousarray(points0, dtype=np.float64),
            np.ascontiguousarray(points1, dtype=np.float64),
            cv2.USAC_MAGSAC,
            settings.threshold,
            maxIters=settings.iterations,
            confidence=settings.confidence,
        )
    except cv2.error:
        return nothing
    if matrix is None or not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < 1e-12:
        return nothing
    return matrix, inlier.ravel().astype(bool)
