"""What georeferences say of two images before anything is compared, and how wrong they were."""

from dataclasses import dataclass

import cv2
import numpy as np

from sdme.errors import InputError
from sdme.geometry.mapping import frame_centre, frame_corners, map_points
from sdme.io.georeference import Georeference, Matrix
from sdme.io.raster import Raster
from sdme.transform import Transform

_GRID = 17
_NEEDED = 12
_POOR = 0.5


@dataclass(frozen=True)
class Placement:
    """The fixed grid in the moving image, by the places of both on the ground.

    ``matrix`` is the homography that fits best over their common part, from fixed to moving pixels;
    ``misfit`` is its largest distance from the exact map there, in moving pixels: between two
    coordinate systems no homography is exact. ``note`` says so where it matters.
    """

    matrix: Matrix
    misfit: float
    note: str = ""


@dataclass(frozen=True)
class Correction:
    """How far a registration moves the moving image from where its georeference puts it.

    Means over the corners of the fixed image, in pixels of the moving image and metres.
    """

    pixels: float
    metres: float

    def __str__(self) -> str:
        return f"the georeference is corrected by {self.pixels:.1f} px, {self.metres:.1f} m"


def place(fixed: Raster, moving: Raster) -> tuple[Placement | None, tuple[str, ...]]:
    """Where the georeferences lay the fixed grid in the moving image, and notes on it.

    ``None`` where one of them has none, or the two have next to nothing in common.
    """
    if fixed.georeference is None or moving.georeference is None:
        return None, ()
    try:
        found = fit_placement(fixed.georeference, fixed.size, moving.georeference, moving.size)
    except InputError as error:
        return None, (f"the georeferences are not used: {error}",)
    if found is None:
        return None, (
            "the georeferences are not used: by them the two images do not show the same ground",
        )
    return found, (found.note,) if found.note else ()


def fit_placement(
    fixed: Georeference,
    fixed_size: tuple[int, int],
    moving: Georeference,
    moving_size: tuple[int, int],
) -> Placement | None:
    """Fit a homography to the map between the images through their coordinate systems."""
    points = _common_points(fixed, fixed_size, moving, moving_size)
    if points is None:
        return None
    there = fixed.pixels_in(moving, points)
    matrix = _fitted(points, there)
    if matrix is None:
        return None
    gap = np.linalg.norm(map_points(matrix, points, frame_centre(fixed_size)) - there, axis=1)
    misfit = float(gap.max())
    if not np.isfinite(misfit):
        return None
    note = ""
    if misfit > _POOR:
        note = (
            f"between the two coordinate systems a homography is up to {misfit:.1f} px of the "
            "moving image off; reproject it (gdalwarp) for better"
        )
    return Placement(matrix, misfit, note)


def correction(transform: Transform, fixed: Raster, moving: Raster) -> Correction | None:
    """How far a transform is from what the georeferences say; ``None`` if they say nothing."""
    if fixed.georeference is None or moving.georeference is None:
        return None
    corners = frame_corners(fixed.size)
    try:
        before = fixed.georeference.pixels_in(moving.georeference, corners)
        after = transform.apply(corners)
        known = np.isfinite(before).all(axis=1) & np.isfinite(after).all(axis=1)
        if not known.any():
            return None
        gap = np.linalg.norm(after - before, axis=1)[known]
        metres = moving.georeference.metres_between(before[known], after[known])
    except InputError:
        return None
    if not np.isfinite(metres).all():
        return None
    return Correction(float(gap.mean()), float(metres.mean()))


def _common_points(
    fixed: Georeference,
    fixed_size: tuple[int, int],
    moving: Georeference,
    moving_size: tuple[int, int],
) -> np.ndarray | None:
    """A grid of fixed pixels over the part that both images show; ``None`` if that is too little.

    The part is searched from coarse to fine, as it may be a small corner of the fixed image.
    """
    low, high = np.zeros(2), np.array(fixed_size, np.float64) - 1
    for _ in range(3):
        points = _grid(low, high)
        inside = _inside(fixed.pixels_in(moving, points), moving_size)
        if inside.sum() >= _NEEDED:
            return points[inside]
        centre = _seen_from(moving, moving_size, fixed, low, high)
        if centre is None:
            return None
        low, high = centre
    return None


def _seen_from(
    moving: Georeference,
    moving_size: tuple[int, int],
    fixed: Georeference,
    low: np.ndarray,
    high: np.ndarray,
) -> tuple[np.ndarray, np.ndarray] | None:
    """The box of the moving image's pixels in the fixed one, cut to a box of it."""
    spread = _grid(np.zeros(2), np.array(moving_size, np.float64) - 1)
    back = moving.pixels_in(fixed, spread)
    back = back[np.isfinite(back).all(axis=1)]
    if not len(back):
        return None
    low, high = np.maximum(low, back.min(axis=0)), np.minimum(high, back.max(axis=0))
    return (low, high) if (high - low).min() > 1 else None


def _grid(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    x, y = (np.linspace(a, b, _GRID) for a, b in zip(low, high, strict=True))
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)


def _inside(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        within = (points > -0.5) & (points < np.array(size) - 0.5)
    return np.asarray(within.all(axis=1) & np.isfinite(points).all(axis=1))


def _fitted(points: np.ndarray, there: np.ndarray) -> Matrix | None:
    """An affine map where that is as good; a homography is left to where it is needed."""
    design = np.column_stack([points, np.ones(len(points))])
    solution, _, rank, _ = np.linalg.lstsq(design, there, rcond=None)
    if rank < 3:
        return None
    affine = np.vstack([solution.T, [0, 0, 1]])
    gap = np.linalg.norm(design @ solution - there, axis=1).max()
    if gap < 0.01:
        return affine
    matrix, _ = cv2.findHomography(points, there, 0)
    return matrix if matrix is not None and np.isfinite(matrix).all() else affine
