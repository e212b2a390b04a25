"""Families of transforms as directions that a homography may be improved in.

The translations, euclidean transforms, similarities, affine maps and homographies between two
images are groups. Between frames that show the images resized, by ``scale0`` and ``scale1``, the
matrices ``scale1 @ M @ inv(scale0)`` are to be found instead, and what improves one of them from
the right is of the group ``scale0 @ G @ inv(scale0)``. On coordinates scaled to [-1, 1] (see
:mod:`sdme.geometry.increments`) that group depends on nothing but how much more the fixed image is
stretched in x than in y, because all these groups hold the translations. So an increment along the
columns of a basis keeps the family, exactly but for rounding, however the frames are stretched.
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

    ``stretch`` is by how much more the fixed image was enlarged in x than in y to make its frame.
    """

    kind: Kind = "homography"
    stretch: float = 1.0

    @property
    def is_everything(self) -> bool:
        """Whether all homographies belong to it."""
        return self.kind == "homography"

    def basis(self, grid: IncrementGrid, like: Tensor) -> Float[Tensor, "8 k"]:
        """Increments on the grid's scaled coordinates that stay in the family, as columns."""
        width, height = grid.size
        ratio = self.stretch * (height - 1) / (width - 1)
        return _basis(self.kind, ratio, like.device, like.dtype)

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
    kind: Kind, ratio: float, device: torch.device, dtype: torch.dtype
) -> Float[Tensor, "8 k"]:
    """Columns are entries of ``D``, row by row; ``ratio`` is the unit of y over that of x."""
    across, down = {2: 1.0}, {5: 1.0}
    turn, grow = {1: -ratio, 3: 1 / ratio}, {0: 1.0, 4: 1.0}
    every = [{entry: 1.0} for entry in range(8)]
    columns = {
        "translation": [across, down],
        "euclidean": [across, down, turn],
        "similarity": [across, down, turn, grow],
        "affine": every[:6],
        "homography": every,
    }[kind]
    with torch.inference_mode(False):
        out = torch.zeros(8, len(columns), dtype=torch.float64)
        for place, column in enumerate(columns):
            for entry, value in column.items():
                out[entry, place] = value
        return out.to(device, dtype)
