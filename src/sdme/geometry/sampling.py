"""Bilinear sampling, warping and resizing with pixel centres at integers.

Convention: tensors are ``B C H W``; points are ``(x, y)``, origin at the centre of the top-left
pixel; resizing an image by ``scale`` moves a point ``p`` to ``(p + 0.5) * scale - 0.5``.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from sdme.geometry.homography import apply_homography


def pixel_grid(width: int, height: int, like: Tensor) -> Float[Tensor, "n 2"]:
    """All pixel centres of a ``width x height`` image in row order, on ``like``'s device."""
    y, x = torch.meshgrid(
        torch.arange(height, dtype=like.dtype, device=like.device),
        torch.arange(width, dtype=like.dtype, device=like.device),
        indexing="ij",
    )
    return torch.stack([x, y], dim=-1).flatten(0, 1)


def cell_centres(width: int, height: int, cell: int, like: Tensor) -> Float[Tensor, "n 2"]:
    """Pixels in the middle of the ``cell x cell`` px cells of a map, in row order."""
    return (pixel_grid(width, height, like=like) + 0.5) * cell - 0.5


def resize_matrix(scale_x: float, scale_y: float) -> Float[Tensor, "3 3"]:
    """Matrix (float64) of the point map ``p -> (p + 0.5) * scale - 0.5`` of a resized image."""
    return torch.tensor(
        [[scale_x, 0, (scale_x - 1) / 2], [0, scale_y, (scale_y - 1) / 2], [0, 0, 1]],
        dtype=torch.float64,
    )


def resize_points(
    points: Float[Tensor, "*batch n 2"], scale_x: float, scale_y: float
) -> Float[Tensor, "*batch n 2"]:
    """Where points of an image lie after it was resized by ``scale_x``, ``scale_y``."""
    return apply_homography(resize_matrix(scale_x, scale_y).to(points), points)


def resize_image(
    image: Float[Tensor, "b c h w"], width: int, height: int
) -> Float[Tensor, "b c h2 w2"]:
    """Resize bilinearly, low-pass filtered when shrinking."""
    if image.shape[-2:] == (height, width):
        return image
    return F.interpolate(
        image, size=(height, width), mode="bilinear", align_corners=False, antialias=True
    )


def sample(
    image: Float[Tensor, "b c h w"], points: Float[Tensor, "b n 2"], padding: str = "zeros"
) -> Float[Tensor, "b c n"]:
    """Bilinear values at points; ``padding`` is ``zeros``, ``border`` or ``reflection``."""
    height, width = image.shape[-2:]
    size = torch.full_like(points[:1, :1], float(height))
    size[..., 0] = width
    grid = (points + 0.5) * (2 / size) - 1
    return F.grid_sample(image, grid[:, None], padding_mode=padding, align_corners=False)[:, :, 0]


def inside(points: Float[Tensor, "*batch 2"], width: int, height: int) -> Bool[Tensor, "*batch"]:
    """Whether points lie on the image, between the centres of its border pixels."""
    x, y = points.unbind(-1)
    tolerance = 1e-3
    return (
        (x >= -tolerance)
        & (y >= -tolerance)
        & (x <= width - 1 + tolerance)
        & (y <= height - 1 + tolerance)
    )


def warp(
    moving: Float[Tensor, "b c h w"],
    H: Float[Tensor, "b 3 3"],
    width: int,
    height: int,
    padding: str = "zeros",
) -> tuple[Float[Tensor, "b c h2 w2"], Bool[Tensor, "b 1 h2 w2"]]:
    """Lay the moving image on a ``width x height`` fixed grid by inverse look-up through ``H``.

    Returns the warped image and the mask of fixed pixels that fall on the moving image.
    """
    points = apply_homography(H, pixel_grid(width, height, like=H)[None])
    values = sample(moving, points.to(moving.dtype), padding)
    mask = inside(points, moving.shape[-1], moving.shape[-2])
    return values.unflatten(2, (height, width)), mask.unflatten(1, (1, height, width))
