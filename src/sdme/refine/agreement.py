"""How well two maps agree under a homography, and how well unrelated maps would."""

import torch
from jaxtyping import Float
from torch import Tensor

from sdme.config import RefineSettings
from sdme.geometry.family import Family
from sdme.geometry.sampling import warp
from sdme.refine.lucas_kanade import refine

_FLIPS = ((-1,), (-2,), (-1, -2))


@torch.no_grad()
def agreement(
    fixed_map: Float[Tensor, "b 1 h w"],
    moving_map: Float[Tensor, "b 1 h2 w2"],
    H: Float[Tensor, "b 3 3"],
    fixed_weight: Float[Tensor, "b 1 h w"],
    moving_weight: Float[Tensor, "b 1 h2 w2"],
) -> Float[Tensor, " b"]:
    """Weighted correlation of the fixed and the warped moving map over their overlap, -1 to 1.

    Weights are those of the refinement. It is 0 where nothing overlaps or a map is flat.
    """
    height, width = fixed_map.shape[-2:]
    moving = torch.cat([moving_map, moving_weight], dim=1)
    warped, mask = warp(moving, H.to(moving.dtype), width, height, padding="border")
    weight = (fixed_weight * warped[:, 1:] * mask).flatten(1).double()
    values = torch.cat([fixed_map, warped[:, :1]], dim=1).flatten(2).double()
    share = (weight / weight.sum(-1, keepdim=True).clamp(min=1e-12))[:, None]
    centred = values - (share * values).sum(-1, keepdim=True)
    covariance = (share * centred) @ centred.mT
    spread = (covariance[:, 0, 0] * covariance[:, 1, 1]).sqrt()
    return torch.where(spread > 1e-12, covariance[:, 0, 1] / spread, 0.0)


@torch.no_grad()
def chance_agreement(
    fixed_map: Float[Tensor, "1 1 h w"],
    moving_map: Float[Tensor, "1 1 h2 w2"],
    initial: Float[Tensor, "1 3 3"],
    fixed_weight: Float[Tensor, "1 1 h w"],
    moving_weight: Float[Tensor, "1 1 h2 w2"],
    settings: RefineSettings | None = None,
    family: Family | None = None,
) -> Float[Tensor, "3"]:
    """Agreement that refinement reaches on maps that have nothing to do with each other.

    They are the same maps with the fixed one mirrored in x, in y and in both: such a map has the
    statistics of the true one, so what refinement makes of it is what chance gives.
    """
    mirrored = torch.cat([fixed_map.flip(axes) for axes in _FLIPS])
    mirrored_weight = torch.cat([fixed_weight.flip(axes) for axes in _FLIPS])
    count = len(_FLIPS)
    moving_map, moving_weight = (
        moving_map.expand(count, -1, -1, -1),
        moving_weight.expand(count, -1, -1, -1),
    )
    maps, weights = (mirrored, moving_map), (mirrored_weight, moving_weight)
    found = refine(*maps, initial.expand(count, -1, -1), *weights, settings, family)
    return agreement(*maps, found.matrix, *weights)
