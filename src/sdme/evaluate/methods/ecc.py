"""Enhanced correlation coefficient (Evangelidis and Psarakis 2008), OpenCV's, coarse to fine.

It goes down a pyramid and gives the transform more freedom at each step: a homography at full
resolution alone seldom converges from 32 px. A step that does not converge leaves the estimate as
it was; no step converging is no answer.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float32

from sdme.evaluate.method import Image, Matrix, Method, MethodResult
from sdme.evaluate.methods.features import build_sift
from sdme.evaluate.metrics import corner_error
from sdme.geometry.sampling import resize_matrix

Map = Float32[np.ndarray, "h w"]

_COARSEST_SIDE = 32
_STOP = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-6)
_INTENSITY_BLUR, _GRADIENT_BLUR = 5, 3
_LEAST_INLIERS = 8
_MOST_CHANGE = 2.0
_COARSEST = (cv2.MOTION_TRANSLATION, cv2.MOTION_EUCLIDEAN, cv2.MOTION_AFFINE)
_NEXT = (cv2.MOTION_AFFINE, cv2.MOTION_HOMOGRAPHY)
_FINE = (cv2.MOTION_HOMOGRAPHY,)


@dataclass(frozen=True)
class _Level:
    """A level of the pyramid: how far the images are shrunk, and what is fitted there in turn."""

    shrink: int
    motions: tuple[int, ...]


def build_ecc_intensity(device: str) -> Method:
    """ECC of grey values: the method as it was published, for images of one kind."""
    return _ecc_alone("ecc-intensity", _intensity, _INTENSITY_BLUR)


def build_ecc_gradient(device: str) -> Method:
    """ECC of gradient magnitude, since grey values of two sensors do not correlate."""
    return _ecc_alone("ecc-gradient", _gradient_magnitude, _GRADIENT_BLUR)


def build_sift_ecc(device: str) -> Method:
    """SIFT, and from its answer ECC of gradient magnitude at full resolution.

    An answer of SIFT with fewer than 8 inliers is more often wrong than not, so that ECC then
    starts from the initial placement with the whole pyramid. From an answer with more, ECC may
    move the corners by 2 px in the mean: what goes further has slipped off.
    """
    sift = build_sift(device)

    def register(fixed: Image, moving: Image, initial: Matrix) -> MethodResult:
        started = time.perf_counter()
        first = sift(fixed, moving, initial)
        rough = first.stages["sift"]
        inliers = 0 if first.matching is None else int(first.matching.inlier.sum())
        levels, is_sure = _levels(max(fixed.shape[:2])), inliers >= _LEAST_INLIERS
        start = rough if rough is not None and is_sure else initial
        refined = _coarse_to_fine(
            _gradient_magnitude(fixed),
            _gradient_magnitude(moving),
            start,
            [_Level(1, _FINE)] if is_sure else levels,
            initial,
            _GRADIENT_BLUR,
        )
        size = fixed.shape[1], fixed.shape[0]
        if refined is None or (is_sure and corner_error(refined, start, size) > _MOST_CHANGE):
            refined = rough
        return MethodResult(
            stages={"sift": rough, "sift+ecc": refined},
            matching=first.matching,
            seconds=first.seconds | {"sift+ecc": time.perf_counter() - started},
        )

    return register


def _ecc_alone(name: str, feature: Callable[[Image], Map], blur: int) -> Method:
    def register(fixed: Image, moving: Image, initial: Matrix) -> MethodResult:
        started = time.perf_counter()
        levels = _levels(max(fixed.shape[:2]))
        H = _coarse_to_fine(feature(fixed), feature(moving), initial, levels, initial, blur)
        return MethodResult({name: H}, seconds={name: time.perf_counter() - started})

    return register


def _levels(longer_side: int) -> list[_Level]:
    """From about 32 px on the longer side to full resolution, halving each time; two at least."""
    depth = max(1, round(math.log2(longer_side / _COARSEST_SIDE)))
    motions = [_COARSEST, _NEXT] + [_FINE] * (depth - 1)
    return [_Level(2 ** (depth - k), kinds) for k, kinds in enumerate(motions)]


def _coarse_to_fine(
    fixed: Map, moving: Map, start: Matrix, levels: list[_Level], initial: Matrix, blur: int
) -> Matrix | None:
    """Refine ``start``; ``None`` where no step converges.

    The moving image is brought to the fixed one's scale as far as ``initial`` knows it, since
    OpenCV's euclidean motion has none.
    """
    stretch = np.linalg.norm(initial[:2, :2], axis=0)
    H, converged = start, False
    for level in levels:
        small_fixed, to_fixed = _shrunk(fixed, level.shrink, level.shrink)
        small_moving, to_moving = _shrunk(moving, *(level.shrink * stretch))
        for motion in level.motions:
            guess = np.linalg.inv(to_moving) @ H @ to_fixed
            found = _step(small_fixed, small_moving, guess / guess[2, 2], motion, blur)
            if found is not None:
                H, converged = to_moving @ found @ np.linalg.inv(to_fixed), True
    return H / H[2, 2] if converged else None


def _step(fixed: Map, moving: Map, start: Matrix, motion: int, blur: int) -> Matrix | None:
    """One call of OpenCV's ECC; ``None`` where it does not converge."""
    rows = 3 if motion == cv2.MOTION_HOMOGRAPHY else 2
    matrix = start[:rows].astype(np.float32)
    everywhere = np.ones(moving.shape, np.uint8)
    try:
        _, matrix = cv2.findTransformECC(fixed, moving, matrix, motion, _STOP, everywhere, blur)
    except cv2.error:
        return None
    H = np.eye(3)
    H[:rows] = matrix
    return H if np.isfinite(H).all() and abs(np.linalg.det(H)) > 1e-12 else None


def _shrunk(image: Map, factor_x: float, factor_y: float) -> tuple[Map, Matrix]:
    """The image shrunk by about these factors, and where its pixels lie in the original."""
    height, width = image.shape
    size = max(1, round(width / factor_x)), max(1, round(height / factor_y))
    kernel = cv2.INTER_AREA if size[0] * size[1] < width * height else cv2.INTER_LINEAR
    small = cv2.resize(image, size, interpolation=kernel)
    return small, resize_matrix(width / size[0], height / size[1]).numpy()


def _intensity(image: Image) -> Map:
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)


def _gradient_magnitude(image: Image) -> Map:
    """In whole numbers up to the square root, so that it is the same to the last bit every time."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.uint16) * 256
    smooth = cv2.GaussianBlur(grey, (0, 0), 0.7)
    gx, gy = cv2.Sobel(smooth, cv2.CV_64F, 1, 0), cv2.Sobel(smooth, cv2.CV_64F, 0, 1)
    return (np.sqrt(gx * gx + gy * gy) / 256).astype(np.float32)
