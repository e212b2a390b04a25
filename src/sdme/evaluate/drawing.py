"""Fixed and moving pictures under a random homography, cut from two images on one pixel grid.

Each picture is resampled at most once, straight from the original image.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float64, UInt8

from sdme.geometry.homography import apply_homography, centred_placement, corners, from_four_points
from sdme.geometry.random_warp import homography_from_shifts
from sdme.geometry.sampling import pixel_grid, resize_matrix

_SHRINK_BEYOND = 1.25
_MIN_CORNER_SINE = 0.05
_ROWS_AT_ONCE = 512

Image = UInt8[np.ndarray, "h w 3"]


@dataclass(frozen=True)
class Cut:
    """One draw: two pictures, and ``H_true`` from fixed to moving pixels."""

    fixed: Image
    moving: Image
    H_true: Float64[np.ndarray, "3 3"]

    def is_usable(self, min_contrast: float) -> bool:
        """Whether the fixed picture is seen as a convex quadrangle and neither one is blank."""
        size = self.fixed.shape[1], self.fixed.shape[0]
        contrast = min(_contrast(self.fixed), _contrast(self.moving))
        return _is_convex(self.H_true, size) and contrast >= min_contrast


def cut_patches(
    fixed_image: Image,
    moving_image: Image,
    rng: np.random.Generator,
    *,
    fixed_side: int,
    moving_side: int,
    max_shift: float,
    max_short_side: int,
) -> Cut:
    """Square patches; the fixed one lies centrally in the moving one, corners moved at random.

    The images are scaled so that their short side is between that of the moving patch and
    ``max_short_side``; corners move by up to ``max_shift`` px in x and y (METHOD section 4).
    """
    height, width = moving_image.shape[:2]
    short = min(height, width)
    scale = max(min(short, max_short_side), moving_side) / short
    work_width, work_height = round(width * scale), round(height * scale)
    left = rng.integers(0, work_width - moving_side, endpoint=True)
    top = rng.integers(0, work_height - moving_side, endpoint=True)
    shifts = torch.from_numpy(rng.uniform(-max_shift, max_shift, (1, 4, 2)))

    sizes = (fixed_side, fixed_side), (moving_side, moving_side)
    H_true = homography_from_shifts(shifts, *sizes)[0]
    work_from_moving = torch.eye(3, dtype=torch.float64)
    work_from_moving[0, 2], work_from_moving[1, 2] = int(left), int(top)
    work_from_original = resize_matrix(work_width / width, work_height / height)
    original_from_moving = torch.linalg.inv(work_from_original) @ work_from_moving
    moving = resample(moving_image, original_from_moving, sizes[1])
    fixed = resample(fixed_image, original_from_moving @ H_true, sizes[0])
    return Cut(fixed, moving, H_true.numpy())


def cut_view(
    fixed_image: Image,
    moving_image: Image,
    rng: np.random.Generator,
    *,
    rotation: float,
    scales: tuple[float, float],
    perspective: float,
    coverage: float,
) -> Cut:
    """A turned, scaled and slightly tilted view as fixed picture; the moving image stays whole.

    The view is turned by up to ``rotation`` degrees, a pixel of it is ``scales`` moving pixels
    wide (uniform in the logarithm), and its corners move by up to ``perspective`` of its sides. It
    lies inside the moving image, at a random place, and covers at most ``coverage`` of its sides.
    """
    height, width = moving_image.shape[:2]
    angle = np.deg2rad(rng.uniform(-rotation, rotation))
    scale = float(np.exp(rng.uniform(*np.log(scales))))
    tilt = rng.uniform(-perspective, perspective, (4, 2))
    place = rng.uniform(0, 1, 2)

    half = np.array([width - 1, height - 1]) / 2
    quad = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) + 2 * tilt
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    quad = (quad * half) @ turn.T
    extent = quad.max(0) - quad.min(0)
    share = min(coverage, float((2 * half / extent).min()))
    size = _view_size(share * 2 * half / scale)
    quad *= share
    low, high = -quad.min(0), 2 * half - quad.max(0)
    quad += low + place * (high - low)
    square = corners(*size, like=torch.zeros((), dtype=torch.float64))
    H_true = from_four_points(square, torch.from_numpy(quad))
    return Cut(resample(fixed_image, H_true, size), moving_image, H_true.numpy())


def resample(
    image: Image, image_from_picture: torch.Tensor, size: tuple[int, int]
) -> UInt8[np.ndarray, "h w 3"]:
    """Cubic inverse look-up; the image is shrunk first where it would alias. ``size`` (w, h)."""
    height, width = image.shape[:2]
    pixels = image.astype(np.float32)
    step = _pixels_a_step(image_from_picture, size)
    if step > _SHRINK_BEYOND:
        small = round(width / step), round(height / step)
        pixels = cv2.resize(pixels, small, interpolation=cv2.INTER_AREA)
        image_from_picture = resize_matrix(small[0] / width, small[1] / height) @ image_from_picture
    extent = torch.tensor(pixels.shape[1::-1], dtype=torch.float64)
    source = torch.from_numpy(pixels).double().permute(2, 0, 1)[None]
    rows = []
    for top in range(0, size[1], _ROWS_AT_ONCE):
        count = min(_ROWS_AT_ONCE, size[1] - top)
        below = torch.eye(3, dtype=torch.float64)
        below[1, 2] = top
        grid = pixel_grid(size[0], count, like=below)
        points = apply_homography(image_from_picture @ below, grid)
        points = ((points + 0.5) * (2 / extent) - 1).view(1, count, size[0], 2)
        values = F.grid_sample(
            source, points, mode="bicubic", padding_mode="border", align_corners=False
        )
        rows.append(values[0].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8).numpy())
    return np.concatenate(rows)


def _view_size(sides: np.ndarray) -> tuple[int, int]:
    """Width and height in whole pixels of a view whose corner pixels are ``sides`` apart."""
    return max(2, round(sides[0]) + 1), max(2, round(sides[1]) + 1)


def _pixels_a_step(image_from_picture: torch.Tensor, size: tuple[int, int]) -> float:
    """Image pixels that one pixel of the picture advances, on average over the picture."""
    x, y = _quad(image_from_picture, size).unbind(-1)
    area = (x * y.roll(-1) - y * x.roll(-1)).sum().abs() / 2
    return float(area.sqrt()) / ((size[0] - 1) * (size[1] - 1)) ** 0.5


def _quad(H: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return apply_homography(H, corners(*size, like=H))


def _is_convex(H: np.ndarray, size: tuple[int, int]) -> bool:
    """Whether the mapped picture keeps its sense of rotation at every corner, by a margin."""
    quad = _quad(torch.from_numpy(H), size)
    along = F.normalize(quad.roll(-1, 0) - quad, dim=-1)
    turn = along.roll(1, 0)[:, 0] * along[:, 1] - along.roll(1, 0)[:, 1] * along[:, 0]
    return bool((turn > _MIN_CORNER_SINE).all())


def _contrast(picture: Image) -> float:
    return float(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).std())


def resting_placement(
    fixed_size: tuple[int, int], moving_size: tuple[int, int], *, is_stretched: bool
) -> Float64[np.ndarray, "3 3"]:
    """Where every method starts: the fixed image on the middle of the moving one, or over it all.

    Sizes are ``(width, height)``.
    """
    if is_stretched:
        scales = moving_size[0] / fixed_size[0], moving_size[1] / fixed_size[1]
        return resize_matrix(*scales).numpy()
    return centred_placement(fixed_size, moving_size).double().numpy()
