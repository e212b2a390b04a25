"""Losses that make keypoints repeatable and salient (R2D2, Revaud et al. 2019)."""

from collections.abc import Callable

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from sdme.geometry.sampling import warp

WINDOW = 16


def cosine_repeatability_loss(
    repeatability0: Float[Tensor, "b 1 h w"],
    repeatability1: Float[Tensor, "b 1 h2 w2"],
    H: Float[Tensor, "b 3 3"],
) -> Float[Tensor, ""]:
    """1 - mean cosine of 16x16 patches (stride 8) of both maps, the moving one warped to fixed."""
    height, width = repeatability0.shape[-2:]
    warped, mask = warp(repeatability1, H, width, height)

    def patches(image: Tensor) -> Tensor:
        return F.normalize(F.unfold(image * mask, WINDOW, stride=WINDOW // 2), dim=1)

    return 1 - (patches(repeatability0) * patches(warped)).sum(1).mean()


def peakiness_loss(repeatability: Float[Tensor, "b 1 h w"]) -> Float[Tensor, ""]:
    """1 - mean(max - mean) over 17x17 windows of the lightly smoothed map: wants lone peaks."""
    smooth = F.avg_pool2d(repeatability, 3, stride=1, padding=1)
    highest, mean = _pool(F.max_pool2d, smooth), _pool(F.avg_pool2d, smooth)
    return 1 - (highest - mean).mean()


def _pool(pool: Callable[..., Tensor], image: Float[Tensor, "b 1 h w"]) -> Tensor:
    """Pool over 17x17 windows, along columns and then along rows: the same, and far cheaper."""
    size = WINDOW + 1
    columns = pool(image, (size, 1), stride=1, padding=(size // 2, 0))
    return pool(columns, (1, size), stride=1, padding=(0, size // 2))
