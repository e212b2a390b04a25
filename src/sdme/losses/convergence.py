"""Losses that shape the landscape on which Lucas-Kanade descends.

Brightness constancy and convexity of Zhao et al., CVPR 2021, weighted by repeatability (paper,
section 3.3).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from sdme.geometry.homography import apply_homography
from sdme.geometry.sampling import pixel_grid, sample

DRAWS = 4
REACH, SMALLEST = 1 / 12, 0.02


def draw_perturbations(batch: int, like: Tensor) -> Float[Tensor, "b draws 3 3"]:
    """Random relative changes of a homography's entries, 0 for the last one.

    Uniform in +-1/12; none of the eight is smaller than 0.02 in magnitude.
    """
    values = (torch.rand(batch, DRAWS, 9, device=like.device) * 2 - 1) * REACH
    values = torch.where(values < 0, values.clamp(max=-SMALLEST), values.clamp(min=SMALLEST))
    values[..., 8] = 0
    return values.unflatten(-1, (3, 3))


def alignment_losses(
    structure0: Float[Tensor, "b 1 h w"],
    structure1: Float[Tensor, "b 1 h2 w2"],
    weight0: Float[Tensor, "b 1 h w"],
    weight1: Float[Tensor, "b 1 h2 w2"],
    H: Float[Tensor, "b 3 3"],
    perturbations: Float[Tensor, "b draws 3 3"],
    *,
    unit_weights: bool,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Brightness constancy ``E(0)`` and convexity of ``E`` around the truth, means over the batch.

    ``E(d)`` is the mean over fixed pixels of ``w0 w1 (S0 - S1)^2`` with the moving maps looked up
    through ``H + d * perturbation * H``. With ``s`` the squared length of the perturbation, the
    energy has to rise by ``s`` or more from d = 0 to d = +-1, and by no more than ``3 s`` from
    there to d = +-2. The weights pass no gradient. ``unit_weights`` scales each pair's weights
    to a mean of one at the truth, which keeps the energy and ``s`` comparable however sparse the
    detector is; without it the energy is exactly the paper's.
    """
    height, width = structure0.shape[-2:]
    away = torch.arange(1, 3, device=H.device, dtype=H.dtype)
    steps = torch.cat([-away.flip(0), away]).view(1, 1, 4, 1, 1)  # -2, -1, 1, 2
    moved = H[:, None, None] * (1 + steps * perturbations[:, :, None])
    candidates = torch.cat([H[:, None], moved.flatten(1, 2)], dim=1)
    grid = pixel_grid(width, height, like=H)
    points = apply_homography(candidates, grid[None, None]).flatten(1, 2)
    maps = torch.cat([structure1, weight1.detach()], dim=1)
    looked_up = sample(maps, points).unflatten(2, (-1, height * width))
    weights = weight0.detach().flatten(2) * looked_up[:, 1]
    if unit_weights:
        weights = weights / weights[:, :1].mean(-1, keepdim=True).clamp(min=1e-6)
    energy = (weights * (structure0.flatten(2) - looked_up[:, 0]).square()).mean(-1)
    at_truth, around = energy[:, :1, None], energy[:, 1:].unflatten(1, (-1, 4))
    bound = perturbations.square().sum((2, 3))[..., None]
    near, far = around[..., 1:3], around[..., 0::3]
    rises = F.relu(bound - (near - at_truth))
    stays = F.relu((far - near) - 3 * bound)
    return energy[:, 0].mean(), (rises + stays).sum((1, 2)).mean()
