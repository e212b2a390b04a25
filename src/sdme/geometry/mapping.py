"""Points through a homography in numpy, and the error that registrations are judged by.

Everything that judges a transform maps points here, so that there is one rule for the horizon.
Points are ``(x, y)``, pixel centres at integers; a matrix maps fixed to moving pixels, at any
scale.
"""

import math

import numpy as np
from jaxtyping import Float64

Matrix = Float64[np.ndarray, "3 3"]


def map_points(
    H: Matrix, points: Float64[np.ndarray, "*n 2"], seen_from: Float64[np.ndarray, "2"]
) -> Float64[np.ndarray, "*n 2"]:
    """Images of points; NaN for those on the horizon or on its other side.

    A homography tears the plane along the line that it sends to infinity. ``seen_from`` is the
    point that says which side counts; where it lies on the horizon itself, nothing has an image.
    """
    with np.errstate(all="ignore"):
        mapped = points @ H[:, :2].T + H[:, 2]
        side = np.sign(H[2, :2] @ seen_from + H[2, 2])
        depth = mapped[..., 2:]
        return mapped[..., :2] / np.where(side * depth > 0, depth, np.nan)


def frame_corners(size: tuple[int, int]) -> Float64[np.ndarray, "4 2"]:
    """Centres of an image's corner pixels, clockwise from the top left; ``size`` is (w, h)."""
    right, bottom = size[0] - 1, size[1] - 1
    return np.array([[0, 0], [right, 0], [right, bottom], [0, bottom]], dtype=np.float64)


def frame_centre(size: tuple[int, int]) -> Float64[np.ndarray, "2"]:
    """The middle of an image, which lies before the horizon by convention."""
    return np.array([(size[0] - 1) / 2, (size[1] - 1) / 2])


def mean_distance(first: Float64[np.ndarray, "n 2"], second: Float64[np.ndarray, "n 2"]) -> float:
    """Mean distance of corresponding points; infinite where one of them has no image."""
    with np.errstate(all="ignore"):
        distance = float(np.linalg.norm(first - second, axis=-1).mean())
    return distance if math.isfinite(distance) else math.inf


def mean_corner_error(H: Matrix, H_true: Matrix, fixed_size: tuple[int, int]) -> float:
    """Mean distance of the fixed image's corners under both maps, in moving pixels (ACE).

    Infinite where a corner is on the horizon or beyond it, seen from the fixed image's centre.
    """
    square, centre = frame_corners(fixed_size), frame_centre(fixed_size)
    return mean_distance(map_points(H, square, centre), map_points(H_true, square, centre))
