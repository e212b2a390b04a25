"""Classical methods that an evaluation compares with, at settings that are kind to them.

Each takes a fixed and a moving RGB patch (uint8) and an initial 3x3 matrix that maps fixed to
moving pixels, and returns the answer of each of its stages by name: a 3x3 matrix, or ``None`` where
the stage gave none. The settings that mattered were chosen on the training packs only.
"""

from collections.abc import Callable

import cv2
import numpy as np
from jaxtyping import UInt8

from sdme.evaluate.answers import Matrix, Stages
from sdme.geometry.sampling import resize_matrix

Image = UInt8[np.ndarray, "h w 3"]
Method = Callable[[Image, Image, Matrix], Stages]

_RATIO = 0.8
_SIFT_CONTRAST = 0.01
_SIFT_THRESHOLD = 2.0
_ENLARGED_SIDE = 512
_ECC_STEPS = ((4, cv2.MOTION_TRANSLATION), (4, cv2.MOTION_AFFINE), (2, cv2.MOTION_AFFINE),
              (2, cv2.MOTION_HOMOGRAPHY), (1, cv2.MOTION_HOMOGRAPHY))  # fmt: skip
_ECC_STOP = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-6)


def identity(fixed: Image, moving: Image, initial: Matrix) -> Stages:
    """No registration: the initial placement itself."""
    return {"identity": initial}


def sift(fixed: Image, moving: Image, initial: Matrix) -> Stages:
    """SIFT keypoints, mutual nearest neighbours with Lowe's ratio test 0.8, and MAGSAC.

    The contrast threshold is a quarter of OpenCV's default, because 128 px patches otherwise give
    too few keypoints, and the first octave is aligned exactly (``enable_precise_upscale``), as
    without it every keypoint is off by a fraction of a pixel.
    """
    return {"sift": _sift_homography(_grey(fixed), _grey(moving), _SIFT_THRESHOLD)}


def sift_enlarged(fixed: Image, moving: Image, initial: Matrix) -> Stages:
    """The same on patches enlarged (cubic) by one factor, the fixed one to 512 px.

    The inlier threshold grows with the images; the answer is mapped back to patch pixels.
    """
    scale = _ENLARGED_SIDE / max(fixed.shape[:2])
    enlarged = [
        cv2.resize(_grey(image), None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        for image in (fixed, moving)
    ]
    H = _sift_homography(enlarged[0], enlarged[1], _SIFT_THRESHOLD * scale)
    large_from_small = resize_matrix(scale, scale).numpy()
    if H is not None:
        H = np.linalg.inv(large_from_small) @ H @ large_from_small
    return {"sift512": H}


def ecc(fixed: Image, moving: Image, initial: Matrix) -> Stages:
    """Enhanced correlation coefficient (Evangelidis and Psarakis 2008) on gradient magnitude.

    Gradient magnitude, since grey values of two sensors do not correlate. Coarse to fine from the
    initial placement, with more freedom at each step: a homography at full resolution alone
    seldom converges from 32 px. OpenCV's own blur (5 px) did as well as any other. A step that does
    not converge leaves the estimate as it was.
    """
    edges = _gradient_magnitude(fixed), _gradient_magnitude(moving)
    H, converged = initial.copy(), False
    for shrink, motion in _ECC_STEPS:
        small = [_shrunk(image, shrink) for image in edges]
        to_small = resize_matrix(1 / shrink, 1 / shrink).numpy()
        start = to_small @ H @ np.linalg.inv(to_small)
        found = _ecc_step(small[0], small[1], start / start[2, 2], motion)
        if found is not None:
            H, converged = np.linalg.inv(to_small) @ found @ to_small, True
    return {"ecc": H / H[2, 2] if converged else None}


BASELINES: dict[str, Method] = {
    "identity": identity,
    "sift": sift,
    "sift512": sift_enlarged,
    "ecc": ecc,
}


def _grey(image: Image) -> UInt8[np.ndarray, "h w"]:
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


def _sift_homography(fixed: np.ndarray, moving: np.ndarray, threshold: float) -> Matrix | None:
    detector = cv2.SIFT.create(contrastThreshold=_SIFT_CONTRAST, enable_precise_upscale=True)
    points0, features0 = detector.detectAndCompute(fixed, None)
    points1, features1 = detector.detectAndCompute(moving, None)
    if min(len(points0), len(points1)) < 4:
        return None
    pairs = _mutual_with_ratio(features0, features1)
    if len(pairs) < 4:
        return None
    from_points = np.array([points0[i].pt for i, _ in pairs])
    to_points = np.array([points1[j].pt for _, j in pairs])
    H, _ = cv2.findHomography(
        from_points, to_points, cv2.USAC_MAGSAC, threshold, maxIters=10_000, confidence=0.999
    )
    return H


def _mutual_with_ratio(features0: np.ndarray, features1: np.ndarray) -> list[tuple[int, int]]:
    """Index pairs that are each other's nearest and pass the ratio test from the fixed side."""
    matcher = cv2.BFMatcher(cv2.NORM_L2)
    back = {m.queryIdx: m.trainIdx for m in matcher.match(features1, features0)}
    return [
        (best.queryIdx, best.trainIdx)
        for best, second in matcher.knnMatch(features0, features1, k=2)
        if best.distance < _RATIO * second.distance and back[best.trainIdx] == best.queryIdx
    ]


def _gradient_magnitude(image: Image) -> np.ndarray:
    """In whole numbers up to the square root, so that it is the same to the last bit every time."""
    smooth = cv2.GaussianBlur(_grey(image).astype(np.uint16) * 256, (0, 0), 1)
    gx, gy = cv2.Sobel(smooth, cv2.CV_64F, 1, 0), cv2.Sobel(smooth, cv2.CV_64F, 0, 1)
    return (np.sqrt(gx * gx + gy * gy) / 256).astype(np.float32)


def _shrunk(image: np.ndarray, factor: int) -> np.ndarray:
    size = image.shape[1] // factor, image.shape[0] // factor
    return image if factor == 1 else cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _ecc_step(fixed: np.ndarray, moving: np.ndarray, start: Matrix, motion: int) -> Matrix | None:
    """One call of OpenCV's ECC; ``None`` where it does not converge."""
    rows = 3 if motion == cv2.MOTION_HOMOGRAPHY else 2
    matrix = start[:rows].astype(np.float32)
    try:
        _, matrix = cv2.findTransformECC(fixed, moving, matrix, motion, _ECC_STOP)
    except cv2.error:
        return None
    out = np.eye(3)
    out[:rows] = matrix
    return out if np.isfinite(out).all() else None
