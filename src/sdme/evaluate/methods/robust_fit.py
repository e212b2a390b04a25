"""What all methods that match points share: enlarged images, and the answer from their matches."""

import time
from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from sdme.config import EstimateSettings
from sdme.estimate import Estimate, estimate_homography
from sdme.evaluate.method import Matching, MethodResult, Points
from sdme.geometry.sampling import resize_matrix

_ITERATIONS = 10_000
_CONFIDENCE = 0.999
_SINGULAR = 1e-12


@dataclass(frozen=True)
class EnlargedImage:
    """An image resized for a detector; ``scale`` is its size over the original one, in x and y."""

    pixels: UInt8[np.ndarray, "h w *channels"]
    scale: tuple[float, float]

    def original_points(self, points: Float[np.ndarray, "n 2"]) -> Points:
        """Where points of the enlarged image lie in the original one."""
        to_original = np.linalg.inv(resize_matrix(*self.scale).numpy())
        return np.asarray(points, np.float64) @ to_original[:2, :2].T + to_original[:2, 2]


def enlarged(
    image: UInt8[np.ndarray, "h w *channels"], scale: float, multiple: int = 1
) -> EnlargedImage:
    """The image resized by ``scale``, its sides rounded to multiples of ``multiple`` pixels.

    Enlarged with a cubic, shrunk by area averages.
    """
    height, width = image.shape[:2]
    size = [max(1, round(side * scale / multiple)) * multiple for side in (width, height)]
    if size == [width, height]:
        return EnlargedImage(image, (1.0, 1.0))
    kernel = cv2.INTER_CUBIC if min(size[0] / width, size[1] / height) >= 1 else cv2.INTER_AREA
    pixels = cv2.resize(image, (size[0], size[1]), interpolation=kernel)
    return EnlargedImage(pixels, (size[0] / width, size[1] / height))


def fit(
    fixed_points: Float[np.ndarray, "n 2"],
    moving_points: Float[np.ndarray, "n 2"],
    threshold: float,
) -> Estimate:
    """The homography of matches in the presence of wrong ones, by MAGSAC; 4 matches suffice.

    ``threshold`` is in moving pixels. The fit is finished by least squares over the inliers, since
    OpenCV's MAGSAC stops at a model that is right but not the most exact: on training pairs, SIFT
    had a quarter more pairs below 0.5 px. The same points always give the same answer.
    """
    settings = EstimateSettings(
        threshold=threshold,
        iterations=_ITERATIONS,
        confidence=_CONFIDENCE,
        min_matches=4,
        min_inliers=4,
    )
    estimate = estimate_homography(fixed_points, moving_points, settings)
    if estimate.matrix is None:
        return estimate
    exact, _ = cv2.findHomography(fixed_points[estimate.inlier], moving_points[estimate.inlier])
    if exact is None or not np.isfinite(exact).all() or abs(np.linalg.det(exact)) < _SINGULAR:
        return estimate
    return replace(estimate, matrix=exact / exact[2, 2])


def matching_result(
    stage: str,
    fixed_keypoints: Points,
    moving_keypoints: Points,
    pairs: Int[np.ndarray, "n 2"],
    threshold: float,
    started: float,
) -> MethodResult:
    """The answer of a method that matches keypoints, all in original pixels.

    ``pairs`` are the matches, as rows of the fixed and of the moving keypoints; ``started`` is
    ``time.perf_counter()`` when the method began.
    """
    pairs = np.asarray(pairs, np.int64).reshape(-1, 2)
    fixed, moving = fixed_keypoints[pairs[:, 0]], moving_keypoints[pairs[:, 1]]
    estimate = fit(fixed, moving, threshold)
    return MethodResult(
        stages={stage: estimate.matrix},
        matching=Matching(fixed, moving, estimate.inlier, fixed_keypoints, moving_keypoints),
        seconds={stage: time.perf_counter() - started},
    )
