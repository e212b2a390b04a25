"""Mutual information of two images under a homography, and its gradient by the moved corners.

As Mattes (2003) has it: grey values of the fixed image fall into bins, those of the moving image
are spread over bins by a cubic B-spline, so that the measure is smooth in the transform.
"""

import math

import cv2
import numpy as np
from jaxtyping import Float64, UInt8

from sdme.evaluate.method import Matrix
from sdme.geometry.sampling import resize_matrix

Grey = UInt8[np.ndarray, "h w"]
Corners = Float64[np.ndarray, "4 2"]

_BINS = 32
_MARGIN = 2
_LEAST_OVERLAP = 0.5
_MOST_SAMPLES = 3000
_NUDGE = 1e-4
_EMPTY = 1e-12


class MattesMeasure:
    """The measure on images shrunk so that the fixed one's longer side is ``side`` px at most.

    Transforms and corners are those of the images as given; information is in nats. Where less
    than half of the fixed image lies on the moving one, there is none.
    """

    def __init__(self, fixed: Grey, moving: Grey, side: int) -> None:
        factor = min(1.0, side / max(fixed.shape))
        small_fixed, small_from_fixed = _prepared(fixed, factor)
        self._moving, self._small_from_moving = _prepared(moving, factor)
        self._slopes = [
            cv2.Sobel(self._moving, cv2.CV_32F, *axis, scale=1 / 8) for axis in ((1, 0), (0, 1))
        ]
        step = max(1, math.ceil(small_fixed.size / _MOST_SAMPLES))
        self._bin = np.round(small_fixed).astype(np.int64).ravel()[::step]
        right, bottom = fixed.shape[1] - 1, fixed.shape[0] - 1
        self._corners = np.array([[0, 0], [right, 0], [right, bottom], [0, bottom]], np.float64)
        y, x = np.indices(small_fixed.shape).reshape(2, -1)[:, ::step]
        self._points = np.linalg.inv(small_from_fixed) @ np.stack([x, y, np.ones_like(x)])

    def moved_corners(self, H: Matrix) -> Corners:
        """Where ``H`` puts the fixed image's corners."""
        return cv2.perspectiveTransform(self._corners[None], H)[0]

    def homography(self, quad: Corners) -> Matrix:
        """The transform that puts the fixed image's corners there."""
        return _through_corners(self._corners, quad[None])[0]

    def value(self, H: Matrix) -> float:
        """Mutual information under ``H``."""
        return -self.loss_and_gradient(self.moved_corners(H).ravel())[0]

    def loss_and_gradient(
        self, coordinates: Float64[np.ndarray, " 8"]
    ) -> tuple[float, Float64[np.ndarray, " 8"]]:
        """Negative information for the corners moved to ``x0 y0 x1 y1 ...``, and its gradient."""
        nudged = coordinates + np.vstack([np.zeros(8), _NUDGE * np.eye(8)])
        H = self._small_from_moving @ _through_corners(self._corners, nudged.reshape(9, 4, 2))
        x, y, depth = H[0] @ self._points
        ahead = np.maximum(depth, _EMPTY)
        place = (x / ahead).astype(np.float32), (y / ahead).astype(np.float32)
        height, width = self._moving.shape
        on = (depth > _EMPTY) & (np.abs(place[0] / (width - 1) - 0.5) <= 0.5)
        on &= np.abs(place[1] / (height - 1) - 0.5) <= 0.5
        if on.mean() < _LEAST_OVERLAP:
            return 0.0, np.zeros(8)
        x, y, depth, points = place[0][on], place[1][on], depth[on], self._points[:, on]
        values, slope_x, slope_y = (
            cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).ravel()
            for image in (self._moving, *self._slopes)
        )
        information, by_value = _information(self._bin[on], values)
        by_x, by_y = by_value * slope_x / depth, by_value * slope_y / depth
        by_matrix = np.stack([by_x, by_y, -by_x * x - by_y * y]) @ points.T
        return -information, -((H[1:] - H[0]) / _NUDGE * by_matrix).sum((1, 2))


def _prepared(image: Grey, factor: float) -> tuple[np.ndarray, Matrix]:
    """The image shrunk, blurred, from 0 to the last bin, and where its pixels come to lie."""
    height, width = image.shape
    size = max(2, round(width * factor)), max(2, round(height * factor))
    small = cv2.resize(image.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), 1)
    low, high = float(small.min()), float(small.max())
    small = (small - low) * ((_BINS - 1) / max(high - low, _EMPTY))
    return small, resize_matrix(size[0] / width, size[1] / height).numpy()


def _through_corners(
    corners: Corners, quads: Float64[np.ndarray, "n 4 2"]
) -> Float64[np.ndarray, "n 3 3"]:
    """The homographies that take four corners to each of the quads, by their linear equations."""
    x, y = np.broadcast_to(corners, quads.shape).transpose(2, 0, 1)
    u, v = quads.transpose(2, 0, 1)
    one, zero = np.ones_like(u), np.zeros_like(u)
    rows_u = np.stack([x, y, one, zero, zero, zero, -u * x, -u * y], axis=-1)
    rows_v = np.stack([zero, zero, zero, x, y, one, -v * x, -v * y], axis=-1)
    right = np.concatenate([u, v], axis=1)[..., None]
    entries = np.linalg.solve(np.concatenate([rows_u, rows_v], axis=1), right)[..., 0]
    return np.concatenate([entries, np.ones((len(quads), 1))], axis=1).reshape(-1, 3, 3)


def _information(
    fixed_bin: np.ndarray, values: np.ndarray
) -> tuple[float, Float64[np.ndarray, " n"]]:
    """Mutual information of samples, and its derivative by the moving value of each of them."""
    wide = _BINS + 2 * _MARGIN
    first = np.floor(values).astype(np.int64)
    t = (values - first).astype(np.float64)
    first += fixed_bin * wide + _MARGIN - 1
    t2, s2 = t * t, (1 - t) * (1 - t)
    spread = np.stack([(1 - t) * s2, (3 * t - 6) * t2 + 4, 1 + 3 * (t + t2 - t * t2), t * t2])
    change = np.stack([-s2, (3 * t - 4) * t, 1 + (2 - 3 * t) * t, t2]) / 2
    cells = first + np.arange(4)[:, None]
    joint = np.bincount(cells.ravel(), spread.ravel() / (6 * len(values)), _BINS * wide)
    joint = np.maximum(joint.reshape(_BINS, wide), _EMPTY)
    moving = joint.sum(0)
    by_cell = np.log(joint / moving)
    information = (joint * (by_cell - np.log(joint.sum(1, keepdims=True)))).sum()
    return float(information), (change * by_cell.ravel()[cells]).sum(0) / len(values)
