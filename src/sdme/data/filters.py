"""Small filters for batches ``(b, c, h, w)``, reflecting at the border and moving nothing.

They are sums of shifted slices: a compiler fuses those with what comes before and after, and on a
CPU they are several times faster than convolutions of one channel or pooling.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Image = Float[Tensor, "b c h w"]


def gaussian_blur(image: Image, sigma: float) -> Image:
    """Blur with a fixed standard deviation in pixels; sides of more than 2.5 of it are needed."""
    reach = max(2, math.ceil(2.5 * sigma))
    weights = [math.exp(-0.5 * (k / sigma) ** 2) for k in range(reach + 1)]
    total = 2 * sum(weights) - weights[0]
    return _symmetric(image, [weight / total for weight in weights])


def varied_blur(image: Image, sigma: Float[Tensor, "b 1 1 1"], reach: int) -> Image:
    """Blur each sample with a deviation of its own; kernels end ``reach`` pixels off the middle."""
    weights = [torch.exp(-0.5 * (k / sigma).square()) for k in range(reach + 1)]
    total = 2 * sum(weights) - weights[0]
    return _symmetric(image, [weight / total for weight in weights])


def _symmetric(image: Image, weights: Sequence[float | Tensor]) -> Image:
    reach = len(weights) - 1
    for axis, border in ((-1, (reach, reach, 0, 0)), (-2, (0, 0, reach, reach))):
        padded, side = F.pad(image, border, mode="reflect"), image.shape[axis]
        image = padded.narrow(axis, reach, side) * weights[0]
        for k in range(1, reach + 1):
            pair = padded.narrow(axis, reach - k, side) + padded.narrow(axis, reach + k, side)
            image.add_(pair.mul_(weights[k]))
    return image


def box_mean(image: Image) -> Image:
    """Mean of the 17 x 17 pixels around each, by doubling sums."""
    for axis, border in ((-1, (8, 8, 0, 0)), (-2, (0, 0, 8, 8))):
        padded = total = F.pad(image, border, mode="reflect")
        for width in (1, 2, 4, 8):
            kept = total.shape[axis] - width
            total = total.narrow(axis, 0, kept) + total.narrow(axis, width, kept)
        side = image.shape[axis]
        image = (total.narrow(axis, 0, side) + padded.narrow(axis, 16, side)) / 17
    return image


def slopes(image: Image) -> tuple[Image, Image]:
    """Differences of the two neighbours along x and along y; 0 at the border across it."""
    dx = F.pad(image[..., 2:] - image[..., :-2], (1, 1, 0, 0))
    dy = F.pad(image[..., 2:, :] - image[..., :-2, :], (0, 0, 1, 1))
    return dx, dy
