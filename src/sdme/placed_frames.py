"""Which parts of two images the network looks at where it is known how they lie."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from sdme.geometry.mapping import frame_centre, map_points
from sdme.io.read import MIN_SIDE

Matrix = Float[np.ndarray, "3 3"]
_MARGIN = 0.15
_MAX_ENLARGEMENT = 2


class Patch(NamedTuple):
    """A frame of ``size`` (width, height) px that shows a part of an image.

    ``frame_from_image`` maps pixels of the image to those of the frame. All that it shows is in
    ``box`` (x, y, width, height) of the image, which is to be shrunk by ``shrink`` before it is
    sampled.
    """

    size: tuple[int, int]
    frame_from_image: Matrix
    box: tuple[int, int, int, int]
    shrink: float


def patches(
    placement: Matrix, fixed_size: tuple[int, int], moving_size: tuple[int, int], max_side: int
) -> tuple[Patch, Patch] | None:
    """Frames of the common part of two images, both on the fixed grid.

    That of the fixed image covers the moving one and 15 % around, that of the moving image another
    15 %, as the placement may be wrong. Pixels of the frames are not smaller than those of the
    fixed image, and at most twice as dense as those of the moving one. ``None`` where a frame would
    be smaller than 32 px, or nothing is common.
    """
    moving_box = _box_of(np.linalg.inv(placement), moving_size)
    whole = np.array([[0.0, 0.0], fixed_size])
    if moving_box is None:
        return None
    common = _cut(moving_box, whole)
    if common is None:
        return None
    margin = _MARGIN * (common[1] - common[0]).max() * np.array([[-1], [1]])
    fixed_part = _cut(_whole_pixels(common + margin), whole)
    assert fixed_part is not None
    moving_part = _cut(_whole_pixels(fixed_part + margin), _whole_pixels(moving_box))
    if moving_part is None:
        return None
    density = _density(placement, (common[0] + common[1]) / 2)
    sides = np.concatenate([part[1] - part[0] for part in (fixed_part, moving_part)])
    scale = min(1.0, density * _MAX_ENLARGEMENT, max_side / sides.max())
    sizes = [np.rint((part[1] - part[0]) * scale) for part in (fixed_part, moving_part)]
    if not np.isfinite(scale) or min(size.min() for size in sizes) < MIN_SIDE:
        return None
    first = _part_matrix(fixed_part, sizes[0])
    second = _part_matrix(moving_part, sizes[1]) @ np.linalg.inv(placement)
    box = _pixels_of(np.linalg.inv(second), sizes[1], moving_size)
    if box is None:
        return None
    return (
        Patch(_size(sizes[0]), first, _pixels(fixed_part), min(1.0, scale)),
        Patch(_size(sizes[1]), second / second[2, 2], box, min(1.0, scale / density)),
    )


def _box_of(matrix: Matrix, size: tuple[int, int]) -> np.ndarray | None:
    """Bounds, from edges of pixels, of an image's outline under a map."""
    right, bottom = size[0] - 0.5, size[1] - 0.5
    outline = np.array([[-0.5, -0.5], [right, -0.5], [right, bottom], [-0.5, bottom]])
    mapped = map_points(matrix, outline, frame_centre(size)) + 0.5
    if not np.isfinite(mapped).all():
        return None
    return np.stack([mapped.min(axis=0), mapped.max(axis=0)])


def _cut(box: np.ndarray, limits: np.ndarray) -> np.ndarray | None:
    low, high = np.maximum(box[0], limits[0]), np.minimum(box[1], limits[1])
    return np.stack([low, high]) if (high - low).min() >= 1 else None


def _whole_pixels(box: np.ndarray) -> np.ndarray:
    return np.stack([np.floor(box[0]), np.ceil(box[1])])


def _density(matrix: Matrix, point: np.ndarray) -> float:
    """Side of a fixed pixel in moving pixels, at a point."""
    beside = np.stack([point, point + [1, 0], point + [0, 1]])
    there = map_points(matrix, beside, point)
    return float(np.sqrt(abs(np.linalg.det(there[1:] - there[0]))))


def _part_matrix(box: np.ndarray, size: np.ndarray) -> Matrix:
    """Pixels of a frame for those of the image of which it shows a part, resized."""
    scale = size / (box[1] - box[0])
    matrix = np.diag([*scale, 1.0])
    matrix[:2, 2] = (0.5 - box[0]) * scale - 0.5
    return matrix


def _pixels_of(
    image_from_frame: Matrix, size: np.ndarray, image_size: tuple[int, int]
) -> tuple[int, int, int, int] | None:
    box = _box_of(image_from_frame, _size(size))
    if box is None:
        return None
    cut = _cut(_whole_pixels(box + [[-4], [4]]), np.array([[0.0, 0.0], image_size]))
    return None if cut is None else _pixels(cut)


def _pixels(box: np.ndarray) -> tuple[int, int, int, int]:
    x, y, right, bottom = (round(float(v)) for v in box.ravel())
    return x, y, right - x, bottom - y


def _size(size: np.ndarray) -> tuple[int, int]:
    return round(float(size[0])), round(float(size[1]))
