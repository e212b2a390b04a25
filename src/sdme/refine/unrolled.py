"""Lucas-Kanade on a network's maps, coarse to fine, with gradients through every iteration.

Inverse compositional, as :mod:`sdme.refine.lucas_kanade`, but with a fixed number of damped steps,
so that training can ask for the corner error of each of them. A pixel counts by both maps' learned
weights and by ``1 / (1 + |r|^2)^2`` of its residual ``r`` (Geman-McClure), and not at all where
the moving map is not seen.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from sdme.geometry.family import Family
from sdme.geometry.homography import apply_homography, normalise
from sdme.geometry.increments import IncrementGrid, increment_grid, solve_spd
from sdme.geometry.sampling import cell_centres, sample
from sdme.model.fast import LEVELS, FastFeatures, Level, cells_inside

_LARGEST_STEP = 0.3  # of an increment's entries, on scaled coordinates
_LEAST_CURVATURE = 1e-5  # added to the diagonal of a mean over pixels


def refine_unrolled(
    fixed: FastFeatures,
    moving: FastFeatures,
    H: Float[Tensor, "b 3 3"],
    damping: Float[Tensor, "levels 8"],
    steps: tuple[int, int, int],
    family: Family | None = None,
) -> list[Float[Tensor, "b 3 3"]]:
    """All iterates from ``H``, which maps fixed to moving pixels, the best one last.

    ``damping`` is the logarithm of the Levenberg factor of each parameter, finest level first, and
    ``steps`` the number of iterations at 1/2, 1/4 and 1/8. What overlaps nowhere stays as it is.
    A ``family`` that holds ``H`` also holds all iterates, but for rounding.
    """
    iterates = []
    with torch.autocast(H.device.type, enabled=False):
        for k in reversed(range(len(LEVELS))):
            levels = fixed.levels[k], moving.levels[k]
            level = _Alignment(*levels, fixed.size, moving.size, LEVELS[k], family or Family())
            factor = damping[k].clamp(-12, 4).exp()
            for _ in range(steps[k]):
                H = level.better(H, factor)
                iterates.append(H)
    return iterates


@torch.no_grad()
def residual(
    fixed: FastFeatures, moving: FastFeatures, H: Float[Tensor, "b 3 3"]
) -> Float[Tensor, " b"]:
    """Weighted mean of the bounded squared difference of the finest maps where they overlap.

    ``r^2 / (1 + r^2)``, of which alignment goes down the slope; infinite where nothing overlaps.
    """
    with torch.autocast(H.device.type, enabled=False):
        return _Alignment(
            fixed.levels[0], moving.levels[0], fixed.size, moving.size, LEVELS[0], Family()
        ).residual(H)


def likeness(
    fixed: FastFeatures, moving: FastFeatures, H: Float[Tensor, "b 3 3"], level: int
) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
    """How alike two maps are where ``H`` lays them on each other, and how much they count there.

    ``level`` is 0 for the maps at 1/2, 1 for 1/4, 2 for 1/8. The first is the mean inner product,
    in [-1, 1], of the pixels by their weight; the second the mean weight, in (0, 1), which is 0 on
    what is not seen.
    """
    levels, sizes = (fixed.levels[level], moving.levels[level]), (fixed.size, moving.size)
    with torch.autocast(H.device.type, enabled=False):
        alignment = _Alignment(*levels, *sizes, LEVELS[level], Family())
        difference, weight = alignment.compared(H)
        products = (alignment.values * (alignment.values + difference)).sum(1, keepdim=True)
        total = weight.sum((1, 2, 3))
        return (products * weight).sum((1, 2, 3)) / (total + 1e-6), total / weight[0].numel()


class _Alignment:
    """One level: everything that stays the same over its iterations."""

    def __init__(
        self,
        fixed: Level,
        moving: Level,
        fixed_size: tuple[int, int],
        moving_size: tuple[int, int],
        cell: int,
        family: Family,
    ) -> None:
        self.values, self.cell, self.family = fixed.values, cell, family
        height, width = fixed.values.shape[-2:]
        self.grid: IncrementGrid = increment_grid(width, height, cell, fixed.values.device)
        self.points = cell_centres(width, height, cell, like=fixed.values)[None]
        seen = cells_inside(moving_size, cell, moving.weight).to(moving.weight.dtype)
        ones = seen.expand_as(moving.weight)
        self.moving = torch.cat([moving.values, moving.weight, ones], dim=1)
        self.weight = fixed.weight * cells_inside(fixed_size, cell, fixed.weight)
        gy, gx = torch.gradient(fixed.values, dim=(-2, -1))
        self.gx, self.gy = (g * h / cell for g, h in zip((gx, gy), self.grid.half, strict=True))
        products = [self.gx * self.gx, self.gx * self.gy, self.gy * self.gy]
        self.tensor = torch.stack([p.sum(1) for p in products], dim=1)

    def compared(self, H: Float[Tensor, "b 3 3"]) -> tuple[Tensor, Tensor]:
        """Difference of the maps, and how much each pixel counts; nothing where it is not seen."""
        there = (apply_homography(H, self.points) + 0.5) / self.cell - 0.5
        looked_up = sample(self.moving, there.clamp(-1e4, 1e4)).unflatten(2, self.values.shape[-2:])
        difference = looked_up[:, :-2] - self.values
        visible = (looked_up[:, -1:] > 0.99).to(difference.dtype)
        return difference, self.weight * looked_up[:, -2:-1] * visible

    def residual(self, H: Float[Tensor, "b 3 3"]) -> Float[Tensor, " b"]:
        """Weighted mean of the bounded squared difference."""
        difference, weight = self.compared(H)
        squared = difference.square().sum(1, keepdim=True)
        total = weight.sum((1, 2, 3))
        found = (weight * squared / (1 + squared)).sum((1, 2, 3)) / total
        return torch.where(total > 0, found, torch.inf)

    def better(self, H: Float[Tensor, "b 3 3"], factor: Float[Tensor, "8"]) -> Tensor:
        """One damped Gauss-Newton step."""
        difference, weight = self.compared(H)
        robust = (1 + difference.square().sum(1, keepdim=True)).square().reciprocal()
        weight = weight * robust
        slopes = [(g * difference).sum(1, keepdim=True) for g in (self.gx, self.gy)]
        fields = weight * torch.cat([self.tensor, *slopes], dim=1)
        # mean over the pixels: the damping means the same at every size
        hessian, gradient = self.grid.equations(fields / self.points.shape[1])
        diagonal = hessian.diagonal(dim1=-2, dim2=-1)
        least = _LEAST_CURVATURE + 1e-6 * diagonal.amax(1, keepdim=True)
        damped = hessian + torch.diag_embed(diagonal * factor + least)
        if self.family.is_everything:
            step = torch.nan_to_num(solve_spd(damped, gradient))
            step = step.clamp(-_LARGEST_STEP, _LARGEST_STEP)
        else:
            step = self.family.step(damped, gradient, self.grid, _LARGEST_STEP)
        moved = H @ self.grid.from_unit @ self.family.increment(-step) @ self.grid.to_unit
        return normalise(moved)
