"""Small homographies that explain where the points of a grid should move.

A fixed image's coordinates are scaled to ``u = (x, y)`` in [-1, 1]. To first order the homography
``I + D``, with ``D = [[d0 d1 d2] [d3 d4 d5] [d6 d7 0]]``, moves a point by ``J d`` with::

    J = [x y 1 0 0 0 -x^2 -xy]
        [0 0 0 x y 1 -xy -y^2]

(Baker and Matthews, "Lucas-Kanade 20 Years On", 2004, section 3). Where every point wants to move
by ``s`` and is believed with the 2x2 information ``W``, the best increment solves the normal
equations ``sum(J' W J) d = sum(J' W s)``. They are linear in the moments ``sum f x^i y^j`` of the
five fields ``W_xx, W_xy, W_yy, (W s)_x, (W s)_y``, which two small matrix products give.

Lucas-Kanade has ``W = grad f0 grad f0'`` and ``W s = grad f0 (f1 - f0)``; a network may just as
well say shifts and how sure it is of them.
"""

from functools import lru_cache

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import FunctionCtx

from sdme.geometry.homography import invert

FIELDS = 5


class IncrementGrid:
    """The grid of a fixed image (or of its feature map), ready to set up normal equations on.

    ``to_unit`` maps pixels of the image, ``cell`` of which make up the side of a cell of the grid,
    to scaled coordinates, ``from_unit`` back. All of it is float32; use :func:`increment_grid`,
    which remembers it.
    """

    def __init__(self, width: int, height: int, cell: int, device: torch.device) -> None:
        self.size = width, height
        self._hessian, self._gradient = (t.to(device, torch.float32) for t in _terms())
        self._powers_x, self._powers_y = (_powers(n).to(device) for n in (width, height))
        from_cells = torch.eye(3) * torch.tensor([cell, cell, 1.0])
        from_cells[:2, 2] = (cell - 1) / 2
        of_cells = to_unit(width, height, like=from_cells)
        self.to_unit = (of_cells @ invert(from_cells)).to(device)
        self.from_unit = (from_cells @ invert(of_cells)).to(device)
        self.half = torch.diagonal(self.from_unit)[:2]

    def moments(self, fields: Float[Tensor, "b 5 h w"]) -> Float[Tensor, "b 5 5 5"]:
        """``sum f x^i y^j`` for each field, by powers of y, then of x, from 0 to 4."""
        return self._powers_y.T @ (fields @ self._powers_x)

    def equations(
        self, fields: Float[Tensor, "b 5 h w"], dtype: torch.dtype | None = None
    ) -> tuple[Float[Tensor, "b 8 8"], Float[Tensor, "b 8"]]:
        """Hessian and right-hand side of the normal equations, in ``dtype`` from the moments on."""
        moments = self.moments(fields)
        moments = moments if dtype is None else moments.to(dtype)
        hessian = moments[:, :3].flatten(1) @ self._hessian.to(moments.dtype)
        gradient = moments[:, 3:, :3, :3].flatten(1) @ self._gradient.to(moments.dtype)
        return hessian.unflatten(1, (8, 8)), gradient


@lru_cache(maxsize=64)
def increment_grid(width: int, height: int, cell: int, device: torch.device) -> IncrementGrid:
    """The grid of that size, made once: a captured graph must not copy from the host."""
    with torch.inference_mode(False):
        return IncrementGrid(width, height, cell, device)


def increment(step: Float[Tensor, "b 8"]) -> Float[Tensor, "b 3 3"]:
    """The homography ``I + D`` of a step, on scaled coordinates."""
    eye = torch.eye(3, dtype=step.dtype, device=step.device)
    return eye + F.pad(step, (0, 1)).unflatten(1, (3, 3))


def to_unit(width: int, height: int, like: Tensor) -> Float[Tensor, "3 3"]:
    """Matrix from pixels of a ``width x height`` grid to coordinates in [-1, 1]."""
    out = torch.zeros(3, 3, dtype=like.dtype, device=like.device)
    out[0, 0], out[1, 1], out[2, 2] = 2 / (width - 1), 2 / (height - 1), 1
    out[:2, 2] = -1
    return out


def solve_spd(hessian: Float[Tensor, "b n n"], right: Float[Tensor, "b n"]) -> Float[Tensor, "b n"]:
    """Solve positive definite systems without ever waiting for the device.

    On CUDA by eliminations that a compiler fuses and a graph may capture; elsewhere by LAPACK. What
    is not positive definite gives numbers without meaning, possibly NaN.
    """
    if not hessian.is_cuda:
        return torch.cholesky_solve(right[..., None], torch.linalg.cholesky_ex(hessian).L)[..., 0]
    return eliminated(hessian, right)


def eliminated(
    hessian: Float[Tensor, "b n n"], right: Float[Tensor, "b n"]
) -> Float[Tensor, "b n"]:
    """Solve by Gauss-Jordan elimination without pivoting, all systems at a time.

    A few launches an unknown; the gradient takes one more solution, not a way back through all.
    """
    return _Elimination.apply(hessian, right)


class _Elimination(torch.autograd.Function):
    """``x`` with ``A x = b``; then ``db`` solves ``A' db = dx`` and ``dA = -db x'``."""

    @staticmethod
    def forward(ctx: FunctionCtx, hessian: Tensor, right: Tensor) -> Tensor:
        found = _gauss_jordan(hessian, right)
        ctx.save_for_backward(hessian, found)
        return found

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        hessian, found = ctx.saved_tensors  # type: ignore[attr-defined]
        back = _gauss_jordan(hessian.mT, gradient)
        return -back[..., None] * found[:, None], back


def _gauss_jordan(
    hessian: Float[Tensor, "b n n"], right: Float[Tensor, "b n"]
) -> Float[Tensor, "b n"]:
    rows = torch.cat([hessian, right[..., None]], dim=-1)
    own = torch.eye(rows.shape[1], dtype=torch.bool, device=rows.device)[..., None]
    for k in range(hessian.shape[-1]):
        pivot = rows[:, k, None] / rows[:, k, k, None, None]
        others = torch.addcmul(rows, rows[:, :, k, None], pivot, value=-1)
        rows = torch.where(own[k], pivot, others)
    return rows[..., -1]


def _powers(size: int) -> Float[Tensor, "size 5"]:
    """Powers 0 to 4 of pixel positions scaled to [-1, 1]."""
    positions = torch.linspace(-1, 1, size, dtype=torch.float64)
    return (positions[:, None] ** torch.arange(5)).float()


def _terms() -> tuple[Float[Tensor, "75 64"], Float[Tensor, "18 8"]]:
    """Which moments (field, power of y, power of x) make up J'WJ and J'Ws, and with which sign."""
    along_x, along_y = torch.zeros(2, 8, 3, 3, dtype=torch.float64)
    for row, offset in ((along_x, 0), (along_y, 3)):
        row[offset, 0, 1] = row[offset + 1, 1, 0] = row[offset + 2, 0, 0] = 1
    along_x[6, 0, 2] = along_x[7, 1, 1] = along_y[6, 1, 1] = along_y[7, 2, 0] = -1

    def product(p: Tensor, q: Tensor) -> Tensor:
        out = torch.zeros(8, 8, 5, 5, dtype=torch.float64)
        for i in range(3):
            for j in range(3):
                out[:, :, i : i + 3, j : j + 3] += p[:, None, i, j, None, None] * q
        return out

    mixed = product(along_x, along_y) + product(along_y, along_x)
    hessian = torch.stack([product(along_x, along_x), mixed, product(along_y, along_y)])
    gradient = torch.stack([along_x, along_y])
    hessian, gradient = hessian.movedim((1, 2), (-2, -1)), gradient.movedim(1, -1)
    return hessian.reshape(75, 64), gradient.reshape(18, 8)
