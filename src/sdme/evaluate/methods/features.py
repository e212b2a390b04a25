"""SIFT, AKAZE and ORB keypoints of OpenCV, mutual nearest neighbours, ratio test and MAGSAC.

Small images are enlarged first (cubic): their detectors were made for photos, and find little in
128 px. One factor is used for both images; all points are mapped back to the pixels of the images
as given before anything is fitted to them. These methods do not use the initial placement.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float32, Int64

from sdme.errors import InputError
from sdme.evaluate.method import Image, Matrix, Method, MethodResult, Points
from sdme.evaluate.methods.robust_fit import enlarged, matching_result

_ENLARGED_SIDE = 512
_THRESHOLD = 2.0
_ORB_OCTAVE = 1.2


@dataclass(frozen=True)
class _Features:
    """Keypoints in pixels of the original image and the vectors that they are matched by."""

    points: Points
    vectors: Float32[np.ndarray, "n c"]


@dataclass(frozen=True)
class _Kind:
    """A detector, how its descriptors are compared, and how far small images are enlarged.

    ``vectors`` turns OpenCV's descriptors into vectors that are compared by their squared distance;
    ``ratio`` is the most that the best one may be of the second best. ``octave`` is the factor
    between octaves of a detector that takes their pixels' corners for their centres, else 1.
    """

    name: str
    detector: Any
    vectors: Callable[[np.ndarray], Float32[np.ndarray, "n c"]]
    ratio: float
    most_enlarged: float
    octave: float = 1.0


def build_sift(device: str) -> Method:
    """SIFT (Lowe 2004), compared by the Hellinger kernel.

    The contrast threshold is a quarter of OpenCV's default, as 128 px pictures otherwise give too
    few keypoints; ``enable_precise_upscale`` since without it every keypoint is off by a fraction
    of a pixel.
    """
    detector = cv2.SIFT.create(nfeatures=1500, contrastThreshold=0.01, enable_precise_upscale=True)
    return _method(_Kind("sift", detector, _hellinger, ratio=0.85**2, most_enlarged=2))


def build_akaze(device: str) -> Method:
    """AKAZE (Alcantarilla 2013) with its binary descriptor.

    Raises:
        InputError: this OpenCV has no AKAZE (from version 5 on, only the contrib build has it).
    """
    home: Any = cv2 if hasattr(cv2, "AKAZE") else getattr(cv2, "xfeatures2d", None)
    if home is None:
        raise InputError(
            f"method akaze: OpenCV {cv2.__version__} has it in its contrib build only; put "
            "opencv-contrib-python-headless in the place of opencv-python-headless"
        )
    detector = home.AKAZE.create(threshold=1e-4, max_points=1500)
    return _method(_Kind("akaze", detector, _bits, ratio=0.9, most_enlarged=3))


def build_orb(device: str) -> Method:
    """ORB (Rublee 2011); keypoints of its higher octaves are moved to where they were seen."""
    detector = cv2.ORB.create(nfeatures=2000, fastThreshold=5, scaleFactor=_ORB_OCTAVE)
    return _method(_Kind("orb", detector, _bits, ratio=0.85, most_enlarged=4, octave=_ORB_OCTAVE))


def _method(kind: _Kind) -> Method:
    def register(fixed: Image, moving: Image, initial: Matrix) -> MethodResult:
        started = time.perf_counter()
        factor = min(kind.most_enlarged, max(1.0, _ENLARGED_SIDE / max(fixed.shape[:2])))
        found = [_features(image, kind, factor) for image in (fixed, moving)]
        pairs = _mutual_with_ratio(found[0].vectors, found[1].vectors, kind.ratio)
        return matching_result(
            kind.name, found[0].points, found[1].points, pairs, _THRESHOLD, started
        )

    return register


def _features(image: Image, kind: _Kind, factor: float) -> _Features:
    large = enlarged(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), factor)
    keypoints, descriptors = kind.detector.detectAndCompute(large.pixels, None)
    points = np.array([keypoint.pt for keypoint in keypoints], np.float64).reshape(-1, 2)
    octaves = np.array([[keypoint.octave] for keypoint in keypoints]).reshape(-1, 1)
    points += (kind.octave**octaves - 1) / 2
    if descriptors is None:
        return _Features(points[:0], np.zeros((0, 1), np.float32))
    return _Features(large.original_points(points), kind.vectors(descriptors))


def _hellinger(descriptors: np.ndarray) -> Float32[np.ndarray, "n c"]:
    """RootSIFT (Arandjelovic and Zisserman 2012)."""
    total = np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-12)
    return np.sqrt(descriptors / total)


def _bits(descriptors: np.ndarray) -> Float32[np.ndarray, "n c"]:
    """Bits as 0 and 1: their squared Euclidean distance is the Hamming distance."""
    return np.unpackbits(descriptors, axis=1).astype(np.float32)


def _mutual_with_ratio(
    fixed: Float32[np.ndarray, "n c"], moving: Float32[np.ndarray, "m c"], ratio: float
) -> Int64[np.ndarray, "k 2"]:
    """Rows that are each other's nearest and pass Lowe's ratio test from the fixed side."""
    if len(fixed) == 0 or len(moving) < 2:
        return np.zeros((0, 2), np.int64)
    squares = (fixed**2).sum(1)[:, None] + (moving**2).sum(1) - 2 * fixed @ moving.T
    nearest, back, rows = squares.argmin(1), squares.argmin(0), np.arange(len(fixed))
    best, second = np.partition(squares, 1, axis=1)[:, :2].T
    passed = (back[nearest] == rows) & (best < ratio * second)
    return np.stack([rows, nearest], axis=1)[passed]
