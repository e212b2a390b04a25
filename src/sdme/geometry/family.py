"""Families of transforms as directions that a homography may be improved in.

The translations, euclidean transforms, similarities, affine maps and homographies between two
images are groups. Between frames that show the images resized or turned, by ``F0`` and ``F1``, the
matrices ``F1 @ M @ inv(F0)`` are to be found instead, and what improves one of them from the right
is of the group ``F0 @ G @ inv(F0)``. It depends on nothing but the part of ``F0`` without shift,
because all these groups hold the translations. So an increment along the columns of a basis keeps
the family, exactly but for rounding, however the frames are stretched.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from sdme.config import Kind
from sdme.geometry.increments import IncrementGrid, increment, solve_spd


@dataclass(frozen=True)
class Family:
    """The transforms of a ``kind`` between two images, seen between their frames.

    ``frame`` are the four numbers ``xx, xy, yx, yy`` of the 2x2 matrix, at any scale, that maps
    directions in the fixed image to directions in its frame.
    """

    kind: Kind = "homography"
    frame: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 1.0)

    @property
    def is_everything(self) -> bool:
        """Whether all homographies belong to it."""
        return self.kind == "homography"

    def basis(self, grid: IncrementGrid, like: Tensor) -> Float[Tensor, "8 k"]:
        """Increments on the grid's scaled coordinates that stay in the family, as columns."""
        return _basis(self.kind, self.frame, grid.size, like.device, like.dtype)

    def step(
        self,
        hessian: Float[Tensor, "b 8 8"],
        gradient: Float[Tensor, "b 8"],
        grid: IncrementGrid,
        largest: float,
    ) -> Float[Tensor, "b 8"]:
        """The best increment within the family, shortened until no entry exceeds ``largest``."""
        basis = self.basis(grid, hessian)
        step = solve_spd(basis.T @ hessian @ basis, gradient @ basis) @ basis.T
        step = torch.nan_to_num(step)
        return step * (largest / step.abs().amax(1, keepdim=True).clamp(min=largest))

    def increment(self, step: Float[Tensor, "b 8"]) -> Float[Tensor, "b 3 3"]:
        """The homography of a step along the basis; to first order ``I + D``."""
        out = increment(step)
        if self.kind != "euclidean":
            return out
        # a turn by atan(d) and not a turn that also enlarges
        determinant = out[:, 0, 0] * out[:, 1, 1] - out[:, 0, 1] * out[:, 1, 0]
        size = torch.ones_like(out)
        size[:, :2, :2] = determinant.sqrt()[:, None, None]
        return out / size


@lru_cache(maxsize=64)
def _basis(
    kind: Kind,
    frame: tuple[float, float, float, float],
    size: tuple[int, int],
    device: torch.device,
    dtype: torch.dtype,
) -> Float[Tensor, "8 k"]:
    """Columns are entries of ``D``, row by row, on coordinates scaled to [-1, 1]."""
    with torch.inference_mode(False):
        every = torch.eye(8, dtype=torch.float64)
        turn = torch.tensor([[0.0, -1], [1, 0]], dtype=torch.float64)
        units = torch.tensor([size[0] - 1, size[1] - 1], dtype=torch.float64)
        directions = torch.tensor(frame, dtype=torch.float64).view(2, 2) / units[:, None]
        turn = directions @ turn @ torch.linalg.inv(directions)
        turned = torch.zeros(8, dtype=torch.float64)
        turned[:2], turned[3:5] = turn
        shifts = [every[2], every[5]]
        columns = {
            "translation": shifts,
            "euclidean": [*shifts, turned],
            "similarity": [*shifts, turned, every[0] + every[4]],
            "affine": list(every[:6]),
            "homography": list(every),
        }[kind]
        return torch.stack(columns, dim=1).to(device, dtype)
