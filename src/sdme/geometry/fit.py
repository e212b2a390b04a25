"""Least-squares transforms through points, of each kind, and the nearest one of a kind.

Everything is numpy in float64; matrices map the first points to the second ones.
"""

import cv2
import numpy as np
from jaxtyping import Float64

from sdme.config import Kind
from sdme.geometry.mapping import Matrix, frame_centre, map_points

POINTS_NEEDED: dict[Kind, int] = {
    "translation": 1,
    "euclidean": 2,
    "similarity": 2,
    "affine": 3,
    "homography": 4,
}
_GRID = 9
_LEAST_SPREAD = 1e-9  # of the points' extent: less is one point, or one line


def fit_points(
    points0: Float64[np.ndarray, "n 2"], points1: Float64[np.ndarray, "n 2"], kind: Kind
) -> Matrix | None:
    """The transform of a kind with the least squared distances ``|M(p0) - p1|``.

    ``None`` where the points do not fix one: too few, all in one place, on a line for an affine
    map or a homography, not finite. Euclidean maps and similarities never mirror (Umeyama,
    "Least-squares estimation of transformation parameters between two point patterns", 1991).
    """
    finite = np.isfinite(points0).all() and np.isfinite(points1).all()
    if len(points0) < POINTS_NEEDED[kind] or not finite:
        return None
    if kind == "homography":
        return _homography(points0, points1)
    centre0, centre1 = points0.mean(0), points1.mean(0)
    linear = _linear(points0 - centre0, points1 - centre1, kind)
    if linear is None:
        return None
    matrix = np.eye(3)
    matrix[:2, :2], matrix[:2, 2] = linear, centre1 - linear @ centre0
    return matrix


def nearest_of_kind(matrix: Matrix, kind: Kind, fixed_size: tuple[int, int]) -> Matrix:
    """The transform of a kind that is closest to another one over the fixed image.

    Closest in the mean square over a grid of 9 x 9 points, in pixels of the moving image. What is
    of the kind already comes back the same but for rounding; a homography comes back as it is.
    """
    if kind == "homography":
        return matrix
    x, y = (np.linspace(0, side - 1, _GRID) for side in fixed_size)
    points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    mapped = map_points(matrix, points, frame_centre(fixed_size))
    seen = np.isfinite(mapped).all(1)
    found = fit_points(points[seen], mapped[seen], kind)
    if found is None:  # nothing of the image is seen: only the shift of its middle means anything
        found = np.eye(3)
        found[:2, 2] = matrix[:2, 2] / matrix[2, 2]
    return found


def _linear(
    points0: Float64[np.ndarray, "n 2"], points1: Float64[np.ndarray, "n 2"], kind: Kind
) -> Float64[np.ndarray, "2 2"] | None:
    """The part without shift, between points whose means are zero."""
    if kind == "translation":
        return np.eye(2)
    spread = np.linalg.svd(points0, compute_uv=False)
    needed = spread[0 if kind != "affine" else -1]
    if needed <= _LEAST_SPREAD * max(1.0, spread[0]):
        return None
    if kind == "affine":
        return np.linalg.lstsq(points0, points1, rcond=None)[0].T
    first, second = points0 @ [1, 1j], points1 @ [1, 1j]
    product = np.vdot(first, second)
    if abs(product) <= _LEAST_SPREAD * spread[0] ** 2:
        return None
    factor = product / (abs(product) if kind == "euclidean" else np.vdot(first, first).real)
    return np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])


def _homography(
    points0: Float64[np.ndarray, "n 2"], points1: Float64[np.ndarray, "n 2"]
) -> Matrix | None:
    spread = [np.linalg.svd(p - p.mean(0), compute_uv=False) for p in (points0, points1)]
    if any(s[1] <= _LEAST_SPREAD * max(1.0, s[0]) for s in spread):
        return None
    try:
        matrix, _ = cv2.findHomography(
            np.ascontiguousarray(points0), np.ascontiguousarray(points1), 0
        )
    except cv2.error:
        return None
    if matrix is None or not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < 1e-12:
        return None
    return matrix / matrix[2, 2]
