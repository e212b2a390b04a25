"""Batched inverse-compositional Lucas-Kanade on feature maps (METHOD: registration, refine).

Minimises the weighted squared difference of two maps over homographies, or over a family of them
(:mod:`sdme.geometry.family`). The increment acts on the fixed image (Baker and Matthews,
"Lucas-Kanade 20 Years On", 2004, section 3.2), so its Jacobian is computed once;
:mod:`sdme.geometry.increments` has the normal equations. They are solved in float64.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sdme.config import RefineSettings
from sdme.geometry.family import Family
from sdme.geometry.homography import apply_homography, corners, invert, normalise
from sdme.geometry.increments import increment_grid, to_unit
from sdme.geometry.sampling import inside, pixel_grid, sample

_MIN_SIDE = 4
_MIN_OVERLAP = 0.5
_DAMPING_STEP = 10.0
_FIRST_RAISE = 1e-3


@dataclass(frozen=True)
class Refinement:
    """Outcome of :func:`refine` for each pair of the batch.

    ``matrix`` is the matrix to use: ``proposed`` where the refinement was ``accepted``, the initial
    one elsewhere. Residuals are weighted mean squared differences over the overlap at the initial
    and at the proposed matrix, infinite where nothing overlaps.
    """

    matrix: Float[Tensor, "b 3 3"]
    residual_before: Float[Tensor, " b"]
    residual_after: Float[Tensor, " b"]
    iterations: Int[Tensor, " b"]
    accepted: Bool[Tensor, " b"]
    proposed: Float[Tensor, "b 3 3"]


@torch.no_grad()
def refine(
    fixed_map: Float[Tensor, "b c h w"],
    moving_map: Float[Tensor, "b c h2 w2"],
    initial: Float[Tensor, "b 3 3"],
    fixed_weight: Float[Tensor, "b 1 h w"] | None = None,
    moving_weight: Float[Tensor, "b 1 h2 w2"] | None = None,
    settings: RefineSettings | None = None,
    family: Family | None = None,
) -> Refinement:
    """Improve homographies so that the moving map, warped, looks like the fixed map.

    Convention: matrices map fixed to moving pixels, ``(x, y)``, pixel centres at integers. The
    weight of a fixed pixel ``x`` is ``fixed_weight(x) * moving_weight(H x)``, zero outside the
    moving image; a pixel of weight zero may hold anything, also NaN, and touches no result.

    A step that raises the residual, halves the overlap or turns the image inside out is undone and
    tried again with ten times the damping (Levenberg-Marquardt); good steps are lengthened by up
    to ``settings.max_gain`` as the change of the gradient suggests. A pair stops by itself when a
    step moves no corner by ``settings.tolerance`` px. Where nothing overlaps, or the fixed map is
    flat, there is nothing to refine: ``accepted`` is False and the initial matrix stands.

    A ``family`` that holds the initial matrices also holds the refined ones.
    """
    settings = settings or RefineSettings()
    with torch.autocast(fixed_map.device.type, enabled=False):
        problem = _Problem(fixed_map, moving_map, fixed_weight, moving_weight)
        return _minimise(problem, initial, settings, family or Family())


@dataclass(frozen=True)
class _Equations:
    """Gauss-Newton system at one matrix: residual, weight of the overlap, J'wJ and J'wr."""

    residual: Float[Tensor, " b"]
    overlap: Float[Tensor, " b"]
    hessian: Float[Tensor, "b 8 8"]
    gradient: Float[Tensor, "b 8"]

    def where(self, mask: Bool[Tensor, " b"], other: "_Equations") -> "_Equations":
        """These equations where ``mask``, the other ones elsewhere."""
        return _Equations(
            torch.where(mask, self.residual, other.residual),
            torch.where(mask, self.overlap, other.overlap),
            torch.where(mask[:, None, None], self.hessian, other.hessian),
            torch.where(mask[:, None], self.gradient, other.gradient),
        )


class _Problem:
    """What stays the same over the iterations: maps, weights, gradients, coordinates."""

    def __init__(
        self,
        fixed_map: Tensor,
        moving_map: Tensor,
        fixed_weight: Tensor | None,
        moving_weight: Tensor | None,
    ) -> None:
        self.height, self.width = fixed_map.shape[-2:]
        if min(self.height, self.width) < _MIN_SIDE:
            raise ValueError(f"maps of {self.width}x{self.height} px are too small to refine on")
        fixed, self.weight = _masked(fixed_map.float(), fixed_weight)
        moving, moving_weight = _masked(moving_map.float(), moving_weight)
        self.moving = torch.cat([moving, moving_weight], dim=1)
        self.values = fixed
        half_height, half_width = (self.height - 1) / 2, (self.width - 1) / 2
        gy, gx = torch.gradient(fixed, dim=(-2, -1))
        self.gx, self.gy = gx * half_width, gy * half_height
        products = [self.gx * self.gx, self.gx * self.gy, self.gy * self.gy]
        self.tensor = torch.stack([p.sum(1) for p in products], dim=1)
        self.to_unit = to_unit(
            self.width, self.height, like=fixed.new_empty(0, dtype=torch.float64)
        )
        self.points = apply_homography(
            self.to_unit.float(), pixel_grid(self.width, self.height, like=fixed)
        )[None]
        self.grid = increment_grid(self.width, self.height, 1, fixed.device)

    def equations(self, from_unit: Float[Tensor, "b 3 3"]) -> _Equations:
        """The system at matrices that map scaled fixed coordinates to moving pixels."""
        points = apply_homography(from_unit.float(), self.points)
        looked_up = sample(self.moving, points, padding="border")
        looked_up = looked_up.unflatten(2, (self.height, self.width))
        mask = inside(points, self.moving.shape[-1], self.moving.shape[-2])
        weight = self.weight * looked_up[:, -1:] * mask.view_as(self.weight)
        difference = looked_up[:, :-1] - self.values
        overlap = weight.sum((1, 2, 3))
        squared = (weight * difference.square()).sum((1, 2, 3))
        slopes = [(g * difference).sum(1, keepdim=True) for g in (self.gx, self.gy)]
        fields = weight * torch.cat([self.tensor, *slopes], dim=1)
        hessian, gradient = self.grid.equations(fields, torch.float64)
        residual = torch.where(overlap > 0, squared / overlap, torch.inf)
        return _Equations(residual, overlap, hessian, gradient)


def _minimise(
    problem: _Problem, initial: Tensor, settings: RefineSettings, family: Family
) -> Refinement:
    from_unit = initial.double() @ invert(problem.to_unit)
    square = 2 * corners(2, 2, like=from_unit) - 1
    sign = _determinant(from_unit).sign()
    basis = None if family.is_everything else family.basis(problem.grid, like=from_unit)
    first = here = problem.equations(from_unit)
    usable = _is_sane(from_unit, square, sign) & first.residual.isfinite()
    usable &= first.hessian.diagonal(dim1=-2, dim2=-1).amin(-1) > 0
    active = usable.clone()
    damping = torch.full_like(first.gradient[:, 0], settings.damping)
    gain = torch.ones_like(damping)
    iterations = torch.zeros_like(active, dtype=torch.int64)
    for _ in range(settings.iterations):
        if not active.any():
            break
        step = gain[:, None] * _gauss_newton_step(here, damping, basis)
        trial = from_unit @ invert(family.increment(step))
        moved = apply_homography(trial, square) - apply_homography(from_unit, square)
        there = problem.equations(trial)
        better = active & _is_sane(trial, square, sign) & (there.residual <= here.residual)
        better &= there.overlap >= _MIN_OVERLAP * first.overlap
        secant = _secant_gain(gain, step, here, there, settings.max_gain)
        gain = torch.where(better, secant, 1.0)
        from_unit = torch.where(better[:, None, None], trial, from_unit)
        here = there.where(better, here)
        raised = (damping * _DAMPING_STEP).clamp(min=_FIRST_RAISE)
        damping = torch.where(better, damping / _DAMPING_STEP, raised)
        iterations += active
        active &= moved.norm(dim=-1).amax(-1) > settings.tolerance
    proposed = normalise(from_unit @ problem.to_unit).to(initial.dtype)
    return Refinement(
        matrix=torch.where(usable[:, None, None], proposed, initial),
        residual_before=first.residual,
        residual_after=here.residual,
        iterations=iterations,
        accepted=usable,
        proposed=proposed,
    )


def _gauss_newton_step(
    equations: _Equations, damping: Float[Tensor, " b"], basis: Float[Tensor, "8 k"] | None
) -> Float[Tensor, "b 8"]:
    """The damped step, among the combinations of the basis's columns if there is one."""
    hessian, gradient = equations.hessian, equations.gradient
    if basis is not None:
        hessian, gradient = basis.T @ hessian @ basis, gradient @ basis
    diagonal = hessian.diagonal(dim1=-2, dim2=-1)
    damped = hessian + torch.diag_embed(diagonal * damping[:, None])
    factor = torch.linalg.cholesky_ex(damped).L
    step = torch.cholesky_solve(gradient[..., None], factor)[..., 0]
    return step if basis is None else step @ basis.T


def _secant_gain(
    gain: Tensor, step: Tensor, before: _Equations, after: _Equations, limit: float
) -> Float[Tensor, " b"]:
    """Factor by which the step should have been longer, from how the gradient changed over it.

    What only one of the two maps shows (noise, another sensor's texture) adds to the Hessian but
    not to the slope of the residual, which makes plain steps several times too short. Along a
    step ``s = gain * inv(H) g`` the true curvature is ``s'(g_before - g_after) / s's``.
    """
    slope = before.gradient / before.overlap[:, None]
    next_slope = after.gradient / after.overlap[:, None]
    assumed = (step * slope).sum(-1)
    seen = (step * (slope - next_slope)).sum(-1)
    longer = torch.where(seen > 0, gain * assumed / seen, limit)
    return longer.clamp(1, limit)


def _is_sane(from_unit: Tensor, square: Tensor, sign: Tensor) -> Bool[Tensor, " b"]:
    """Whether the whole fixed image lies before the horizon and keeps its handedness."""
    depth = square @ from_unit[:, 2, :2, None] + from_unit[:, 2:, 2:]
    kept = _determinant(from_unit).sign() == sign
    return (depth > 0).all(-2).all(-1) & kept & from_unit.isfinite().all(-1).all(-1)


def _determinant(matrix: Float[Tensor, "b 3 3"]) -> Float[Tensor, " b"]:
    first, second, third = matrix.unbind(-2)
    return (first * torch.linalg.cross(second, third)).sum(-1)


def _masked(values: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """Map without what has no weight, and the weight without the rim that such pixels touch.

    A gradient and a bilinear look-up use direct neighbours, so neighbours of a pixel without
    weight lose theirs too.
    """
    if weight is None:
        return values, torch.ones_like(values[:, :1])
    weight = weight.float()
    empty = weight <= 0
    rim = F.max_pool2d(empty.float(), 3, stride=1, padding=1) > 0
    return values.masked_fill(empty, 0), weight.masked_fill(rim, 0)
