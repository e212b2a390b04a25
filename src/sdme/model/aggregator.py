"""The middle stage: what all cells together say about a better homography.

Around where the present homography puts each cell of the fixed image, it is correlated with the
moving image (as in RAFT, Teed and Deng 2020, and, for homographies, in MCNet, Zhu et al. 2024). A
small convolutional network turns the windows into a shift of every cell and the 2x2 information on
it; the increment of the homography solves the normal equations of all of them. From the same
evidence it says how large the error of the homography was that it was given.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sdme.config import FastSettings
from sdme.geometry.family import Family
from sdme.geometry.homography import apply_homography, normalise
from sdme.geometry.increments import increment_grid, solve_spd
from sdme.geometry.sampling import cell_centres, pixel_grid, sample
from sdme.model.strided import Residual

CELL = 8  # pixels
LARGEST_STEP = 0.5  # of an increment's entries, on scaled coordinates
LARGEST_TILT = 0.3  # of its last two, so that no corner comes near the horizon
UNIT_SIDE = 128  # errors are told as if the fixed image had sides of about this many pixels
LEAST_ERROR = 0.1  # px of it; smaller errors are all alike
UNKNOWN_ERROR = 32.0  # px of it; what is believed before anything was learnt
_STRIP = 16  # cells


@dataclass(frozen=True)
class Scale:
    """Cells of ``cell`` px of the fixed image, and what they are compared with.

    The entries of a window lie ``step`` cells apart, and so large are the moving image's cells.
    """

    fixed: Float[Tensor, "b c h w"]
    moving: Float[Tensor, "b c h2 w2"]
    cell: int
    step: int


@dataclass(frozen=True)
class Evidence:
    """The shift, px, that the correlation of the cells of ``CELL`` px speaks for, and how surely.

    ``alike`` is the correlation where they are sent.
    """

    shift: Float[Tensor, "b 2 h w"]
    certainty: Float[Tensor, "b 1 h w"]
    alike: Float[Tensor, "b 1 h w"]


@dataclass(frozen=True)
class Vote:
    """Outcome of one turn.

    ``matrix`` is the better homography; ``shift`` is where each fixed cell should move, px of the
    fixed image (H applied after it); ``log_error`` is the logarithm of the corner error that the
    *given* homography is believed to have, see :func:`log_error_of`.
    """

    matrix: Float[Tensor, "b 3 3"]
    shift: Float[Tensor, "b 2 h w"]
    log_error: Float[Tensor, " b"]


def inverse_temperature(sharpness: Float[Tensor, ""]) -> Float[Tensor, ""]:
    """The factor of similarities in a softmax, from its logarithm; at most 100."""
    return sharpness.clamp(max=math.log(100)).exp()


def log_error_of(error: Float[Tensor, " *b"], size: tuple[int, int]) -> Float[Tensor, " *b"]:
    """Logarithm of a corner error, px, for fixed images scaled to 128 px a side."""
    scale = UNIT_SIDE / (size[0] * size[1]) ** 0.5
    return torch.log(error * scale + LEAST_ERROR)


def error_of(log_error: Float[Tensor, " *b"], size: tuple[int, int]) -> Float[Tensor, " *b"]:
    """The corner error, px, that has this logarithm."""
    scale = UNIT_SIDE / (size[0] * size[1]) ** 0.5
    return (log_error.exp() - LEAST_ERROR).clamp(min=0) / scale


class Aggregator(nn.Module):
    """Cells vote for a better homography; all turns share the weights.

    ``cells`` are the sizes, px, of those that are compared, finest first; the windows of the finest
    say where the votes begin.
    """

    def __init__(self, settings: FastSettings, cells: tuple[int, ...]) -> None:
        super().__init__()
        self.radius, self.cells = settings.radius, cells
        channels, side = settings.aggregator_channels, 2 * settings.radius + 1
        entries = sum(max(CELL // cell, 1) ** 2 for cell in cells) * side**2
        inputs = entries + 2 * settings.context_channels + 3
        dilations = [(1, 2)[k % 2] for k in range(settings.aggregator_depth)]
        self.read = nn.Sequential(
            nn.Conv2d(inputs, channels, 1),
            nn.GroupNorm(8, channels),
            nn.SiLU(),
            *(Residual(channels, d) for d in dilations),
            nn.GroupNorm(8, channels),
            nn.SiLU(),
        )
        self.vote = nn.Conv2d(channels, 5, 1)
        for parameter in self.vote.parameters():
            nn.init.zeros_(parameter)
        last = nn.Linear(64, 1)
        nn.init.normal_(last.weight, std=0.01)
        nn.init.constant_(
            last.bias, math.log(UNKNOWN_ERROR)
        )  # who has learnt nothing, knows nothing
        self.judge = nn.Sequential(nn.Linear(2 * channels + 4, 64), nn.SiLU(), last)
        self.sharpness = nn.Parameter(torch.tensor(2.3))
        self.damping = nn.Parameter(torch.full((8,), -6.0))

    @property
    def reach(self) -> float:
        """The largest shift of a cell that votes speak for, px."""
        return self.cells[0] * (self.radius + 1)

    def scales(self, fixed: Mapping[int, Tensor], moving: Mapping[int, Tensor]) -> list[Scale]:
        """What is compared, of maps by the size of their cells, px.

        Of what is larger than all of them, the moving image's cells are means.
        """
        out = []
        for cell in self.cells:
            base = max(known for known in fixed if known <= cell)
            step, values = cell // base, moving[base]
            if step > 1:  # the product with a mean is the mean of products
                values = F.avg_pool2d(values, step, ceil_mode=True)
            out.append(Scale(fixed[base], values, base, step))
        return out

    def forward(
        self,
        scales: Sequence[Scale],
        contexts: tuple[Float[Tensor, "b e h w"], Float[Tensor, "b e h2 w2"]],
        H: Float[Tensor, "b 3 3"],
        moving_size: tuple[int, int],
        fixed_size: tuple[int, int],
        valid: tuple[Tensor | None, Tensor | None] = (None, None),
        family: Family | None = None,
    ) -> Vote:
        """One turn from ``H``, which maps fixed to moving pixels; sizes are (width, height).

        There may be several ``H`` for each pair of the scales, one after the other. ``valid`` are
        the shares of the fixed and of the moving cells that hold data, where not all do. A
        ``family`` that holds ``H`` also holds the better one, but for rounding.
        """
        with torch.autocast(H.device.type, enabled=False):
            height, width = contexts[0].shape[-2:]
            cells = cell_centres(width, height, CELL, like=H)
            windows = [self._windows(scale, H) for scale in scales]
            middle = apply_homography(H, cells[None])
            there = sample(contexts[1], (middle + 0.5) / CELL - 0.5).unflatten(2, (height, width))
            inside = _is_inside(middle, moving_size) & _is_inside(cells[None], fixed_size)
            inside = inside.to(H.dtype).view(-1, 1, height, width)
            if valid[0] is not None:
                inside = inside * valid[0]
            if valid[1] is not None:
                share = valid[1].expand(len(H), -1, -1, -1)
                inside = inside * sample(share, (middle + 0.5) / CELL - 0.5).view_as(inside)
            found = self._evidence(windows[0], scales[0])
            seen = [_gathered(w, scale.cell) for w, scale in zip(windows, scales, strict=True)]
            seen += [contexts[0], there, found.shift / CELL, inside]
            hidden = self.read(torch.cat(seen, dim=1))
            shift, information = self._believed(self.vote(hidden), found, inside)
            matrix = self._solve(H, shift, information, family)
            pooled = [hidden.mean((2, 3)), _mean_where(hidden, inside)]
            # how alike the cells are there is lost in the norms, and tells strangers from partners
            pooled += [_mean_where(x, inside) for x in (found.alike, found.certainty)]
            spread = (information[:, 0] + information[:, 2]).mean((1, 2)), inside.mean((1, 2, 3))
            evidence = torch.cat([*pooled, torch.stack(spread, -1)], dim=-1)
            return Vote(matrix, shift, self.judge(evidence)[:, 0])

    def _windows(self, scale: Scale, H: Float[Tensor, "b 3 3"]) -> Float[Tensor, "b k _h _w"]:
        """Correlations in windows that are upright in the fixed image, of the scale's cells."""
        each = len(H) // len(scale.fixed)
        fixed, moving = (
            x[:, None].expand(-1, each, -1, -1, -1).flatten(0, 1)
            for x in (scale.fixed, scale.moving)
        )
        laid = _laid_out(moving, H, scale, margin=self.radius * scale.step)
        return correlation_windows(fixed, laid, self.radius, scale.step)

    def _evidence(self, windows: Float[Tensor, "b k _h _w"], scale: Scale) -> Evidence:
        share = (windows * inverse_temperature(self.sharpness)).softmax(1)
        side = 2 * self.radius + 1
        offsets = scale.cell * scale.step * (pixel_grid(side, side, share) - self.radius)
        shift = torch.einsum("bohw,oc->bchw", share, offsets)
        told = shift, share.amax(1, keepdim=True), windows[:, len(offsets) // 2, None]
        finer = CELL // scale.cell
        return Evidence(*(told if finer == 1 else (F.avg_pool2d(x, finer) for x in told)))

    def _believed(
        self, vote: Tensor, found: Evidence, inside: Tensor
    ) -> tuple[Float[Tensor, "b 2 h w"], Float[Tensor, "b 3 h w"]]:
        """Shift, px, and information (xx, xy, yy) of every cell; none on what is out of view."""
        shift = found.shift + self.reach * torch.tanh(vote[:, :2] / 4)
        a, b, c = vote[:, 2:].unbind(1)
        a, c = F.softplus(a), F.softplus(c)  # a triangular root, so that it is never negative
        information = torch.stack([a * a, a * b, b * b + c * c], dim=1)
        return shift, information * found.certainty * inside

    def _solve(
        self, H: Tensor, shift: Tensor, information: Tensor, family: Family | None = None
    ) -> Float[Tensor, "b 3 3"]:
        family = family or Family()
        height, width = shift.shape[-2:]
        grid = increment_grid(width, height, CELL, H.device)
        sx, sy = (shift / grid.half[:, None, None]).unbind(1)
        xx, xy, yy = information.unbind(1)
        fields = torch.stack([xx, xy, yy, xx * sx + xy * sy, xy * sx + yy * sy], dim=1)
        hessian, gradient = grid.equations(fields / (height * width))
        damping = (hessian.diagonal(dim1=-2, dim2=-1) + 1e-3) * self.damping.clamp(-12, 4).exp()
        damped = hessian + torch.diag_embed(damping + 1e-6)
        if family.is_everything:
            step = torch.nan_to_num(solve_spd(damped, gradient)).clamp(-LARGEST_STEP, LARGEST_STEP)
            step = torch.cat([step[:, :6], step[:, 6:].clamp(-LARGEST_TILT, LARGEST_TILT)], dim=1)
        else:
            step = family.step(damped, gradient, grid, LARGEST_STEP)
        return normalise(H @ grid.from_unit @ family.increment(step) @ grid.to_unit)


def correlation_windows(
    fixed: Float[Tensor, "b c h w"], laid: Float[Tensor, "b c h2 w2"], radius: int, step: int = 1
) -> Float[Tensor, "b k h w"]:
    """Inner products of every cell with the ``(2 radius + 1)^2`` cells around it in another map.

    ``laid`` has the same grid and goes on by ``radius * step`` cells on each side; the window's
    entries lie ``step`` cells apart, and stand in row order.
    """
    height, width = fixed.shape[-2:]
    margin, side = radius * step, 2 * radius + 1
    strip = min(width, _STRIP)  # a strip's cells are all multiplied with all of a row
    excess = -width % strip
    if excess:
        fixed, laid = F.pad(fixed, (0, excess)), F.pad(laid, (0, excess))
    rows = laid.unfold(2, 2 * margin + 1, 1)[..., ::step].unfold(3, strip + 2 * margin, strip)
    rows = rows.permute(0, 2, 3, 1, 4, 5)  # b, row, strip, c, entry in y, cells beside the strip
    ours = fixed.unflatten(3, (-1, strip)).permute(0, 2, 3, 4, 1)  # b, row, strip, cell, c
    products = (ours @ rows.flatten(-2)).flatten(-2)
    # one more entry a row, and what was a diagonal is a column
    each = side * (strip + 2 * margin)
    skewed = F.pad(products, (0, strip)).unflatten(-1, (strip, each + 1))[..., :each]
    found = skewed.unflatten(-1, (side, -1))[..., : 2 * margin + 1 : step]
    found = found.permute(0, 4, 5, 1, 2, 3).reshape(len(fixed), side**2, height, width + excess)
    return found[..., :width]


def _laid_out(
    moving: Float[Tensor, "b c h2 w2"], H: Float[Tensor, "b 3 3"], scale: Scale, margin: int
) -> Float[Tensor, "b c _h _w"]:
    """The moving cells on the grid of the fixed ones, and as far beyond as windows look."""
    height, width = (side + 2 * margin for side in scale.fixed.shape[-2:])
    points = cell_centres(width, height, scale.cell, like=H) - margin * scale.cell
    there = (apply_homography(H, points[None]) + 0.5) / (scale.cell * scale.step) - 0.5
    return sample(moving, there.clamp(-1e4, 1e4)).unflatten(2, (height, width))


def _gathered(windows: Float[Tensor, "b k _h _w"], cell: int) -> Float[Tensor, "b _k h w"]:
    """Windows of all cells of that size in one of ``CELL`` px, as its channels."""
    return windows if cell == CELL else F.pixel_unshuffle(windows, CELL // cell)


def _is_inside(points: Float[Tensor, "b n 2"], size: tuple[int, int]) -> Tensor:
    x, y = points.unbind(-1)
    return (x >= 0) & (y >= 0) & (x <= size[0] - 1) & (y <= size[1] - 1)


def _mean_where(values: Float[Tensor, "b c h w"], mask: Float[Tensor, "b 1 h w"]) -> Tensor:
    return (values * mask).sum((2, 3)) / (mask.sum((2, 3)) + 1e-3)
