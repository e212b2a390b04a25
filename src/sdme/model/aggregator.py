"""The middle stage: what all cells together say about a better homography.

Around where the present homography puts each cell of the fixed image, its correlation with the
moving image is looked up (as in RAFT, Teed and Deng 2020, and, for homographies, in MCNet, Zhu et
al. 2024). A small convolutional network turns the windows into a shift of every cell and the 2x2
information on it; the increment of the homography solves the normal equations of all of them.
From the same evidence it says how large the error of the homography was that it was given.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sdme.config import FastSettings
from sdme.geometry.homography import apply_homography, normalise
from sdme.geometry.increments import increment, increment_grid, solve_spd
from sdme.geometry.sampling import cell_centres, pixel_grid, sample
from sdme.model.strided import Residual

CELL = 8  # pixels
LARGEST_STEP = 0.5  # of an increment's entries, on scaled coordinates
LARGEST_TILT = 0.3  # of its last two, so that no corner comes near the horizon
UNIT_SIDE = 128  # errors are told as if the fixed image had sides of about this many pixels
LEAST_ERROR = 0.1  # px of it; smaller errors are all alike
UNKNOWN_ERROR = 32.0  # px of it; what is believed before anything was learnt


@dataclass(frozen=True)
class Volume:
    """Correlation of every fixed cell with the moving image, at one or more scales.

    Each map of ``scales`` has the fixed cells (row by row) in its batch dimension.
    """

    scales: list[Float[Tensor, "bn 1 _h _w"]]
    width: int
    height: int


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
    """Cells vote for a better homography; all turns share the weights."""

    def __init__(self, settings: FastSettings) -> None:
        super().__init__()
        self.radius, self.scales = settings.radius, settings.scales
        channels, side = settings.aggregator_channels, 2 * settings.radius + 1
        inputs = settings.scales * side**2 + 2 * settings.context_channels + 3
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

    def volume(self, fixed: Float[Tensor, "b c h w"], moving: Float[Tensor, "b c h2 w2"]) -> Volume:
        """Inner products of all fixed with all moving cells, and coarser copies of them."""
        height, width = fixed.shape[-2:]
        ours, scales = fixed.flatten(2).mT, []
        with torch.autocast(fixed.device.type, enabled=False):
            for _ in range(self.scales):
                values = ours @ moving.flatten(2)
                scales.append(values.flatten(0, 1).unflatten(1, (1, *moving.shape[-2:])))
                # the mean of products is the product with the mean
                moving = F.avg_pool2d(moving, 2, ceil_mode=True)
        return Volume(scales, width, height)

    def forward(
        self,
        volume: Volume,
        contexts: tuple[Float[Tensor, "b e h w"], Float[Tensor, "b e h2 w2"]],
        H: Float[Tensor, "b 3 3"],
        moving_size: tuple[int, int],
        fixed_size: tuple[int, int],
        valid: tuple[Tensor | None, Tensor | None] = (None, None),
    ) -> Vote:
        """One turn from ``H``, which maps fixed to moving pixels; sizes are (width, height).

        There may be several ``H`` for each pair of a volume, one after the other. ``valid`` are the
        shares of the fixed and of the moving cells that hold data, where not all do.
        """
        with torch.autocast(H.device.type, enabled=False):
            width, height = volume.width, volume.height
            cells = cell_centres(width, height, CELL, like=H)
            windows, offsets = self._look_up(volume, cells, H)
            middle = apply_homography(H, cells[None])
            there = sample(contexts[1], (middle + 0.5) / CELL - 0.5).unflatten(2, (height, width))
            inside = _is_inside(middle, moving_size) & _is_inside(cells[None], fixed_size)
            inside = inside.to(H.dtype).view(-1, 1, height, width)
            if valid[0] is not None:
                inside = inside * valid[0]
            if valid[1] is not None:
                share = valid[1].expand(len(H), -1, -1, -1)
                inside = inside * sample(share, (middle + 0.5) / CELL - 0.5).view_as(inside)
            expected, certainty = self._expected_shift(windows[:, : len(offsets)], offsets)
            entered = torch.cat([windows, contexts[0], there, expected / CELL, inside], dim=1)
            hidden = self.read(entered)
            shift, information = self._believed(self.vote(hidden), expected, certainty, inside)
            matrix = self._solve(H, shift, information)
            pooled = [hidden.mean((2, 3)), _mean_where(hidden, inside)]
            # how alike the cells are there is lost in the norms, and tells strangers from partners
            alike = windows[:, len(offsets) // 2, None], certainty
            pooled += [_mean_where(values, inside) for values in alike]
            spread = (information[:, 0] + information[:, 2]).mean((1, 2)), inside.mean((1, 2, 3))
            evidence = torch.cat([*pooled, torch.stack(spread, -1)], dim=-1)
            return Vote(matrix, shift, self.judge(evidence)[:, 0])

    def _look_up(
        self, volume: Volume, cells: Tensor, H: Tensor
    ) -> tuple[Float[Tensor, "b k h w"], Float[Tensor, "o 2"]]:
        """Correlations in windows that are upright in the fixed image; and their offsets, px."""
        offsets = CELL * (pixel_grid(2 * self.radius + 1, 2 * self.radius + 1, H) - self.radius)
        count, windows = len(offsets), []
        pairs = len(volume.scales[0]) // len(cells)
        for scale, values in enumerate(volume.scales):
            there = _around(H, cells, offsets * 2**scale)
            there = (there + 0.5) / (CELL * 2**scale) - 0.5
            # the volume is large: what is looked up for all H of a pair is looked up at once
            there = there.view(pairs, -1, len(cells), count, 2).transpose(1, 2)
            there = there.reshape(pairs * len(cells), -1, 2)
            seen = sample(values, there.clamp(-1e4, 1e4)).view(pairs, len(cells), -1, count)
            seen = seen.transpose(1, 2).reshape(len(H), volume.height, volume.width, count)
            windows.append(seen.permute(0, 3, 1, 2))
        return torch.cat(windows, dim=1), offsets

    def _expected_shift(
        self, windows: Float[Tensor, "b o h w"], offsets: Float[Tensor, "o 2"]
    ) -> tuple[Float[Tensor, "b 2 h w"], Float[Tensor, "b 1 h w"]]:
        """Mean of the offsets under the softmax of the window, px, and its largest share."""
        share = (windows * inverse_temperature(self.sharpness)).softmax(1)
        expected = torch.einsum("bohw,oc->bchw", share, offsets)
        return expected, share.amax(1, keepdim=True)

    def _believed(
        self, vote: Tensor, expected: Tensor, certainty: Tensor, inside: Tensor
    ) -> tuple[Float[Tensor, "b 2 h w"], Float[Tensor, "b 3 h w"]]:
        """Shift, px, and information (xx, xy, yy) of every cell; none on what is out of view."""
        reach = CELL * (self.radius + 1)
        shift = expected + reach * torch.tanh(vote[:, :2] / 4)
        a, b, c = vote[:, 2:].unbind(1)
        a, c = F.softplus(a), F.softplus(c)  # a triangular root, so that it is never negative
        information = torch.stack([a * a, a * b, b * b + c * c], dim=1) * certainty * inside
        return shift, information

    def _solve(self, H: Tensor, shift: Tensor, information: Tensor) -> Float[Tensor, "b 3 3"]:
        height, width = shift.shape[-2:]
        grid = increment_grid(width, height, CELL, H.device)
        sx, sy = (shift / grid.half[:, None, None]).unbind(1)
        xx, xy, yy = information.unbind(1)
        fields = torch.stack([xx, xy, yy, xx * sx + xy * sy, xy * sx + yy * sy], dim=1)
        hessian, gradient = grid.equations(fields / (height * width))
        damping = (hessian.diagonal(dim1=-2, dim2=-1) + 1e-3) * self.damping.clamp(-12, 4).exp()
        step = solve_spd(hessian + torch.diag_embed(damping + 1e-6), gradient)
        step = torch.nan_to_num(step).clamp(-LARGEST_STEP, LARGEST_STEP)
        step = torch.cat([step[:, :6], step[:, 6:].clamp(-LARGEST_TILT, LARGEST_TILT)], dim=1)
        return normalise(H @ grid.from_unit @ increment(step) @ grid.to_unit)


def _around(
    H: Float[Tensor, "b 3 3"], cells: Float[Tensor, "n 2"], offsets: Float[Tensor, "o 2"]
) -> Float[Tensor, "b n o 2"]:
    """Images of all ``cells + offsets``, which are one sum away from those of either."""
    middle = cells @ H[..., :2].mT + H[:, None, :, 2]
    mapped = middle[:, :, None] + (offsets @ H[..., :2].mT)[:, None]
    return mapped[..., :2] / mapped[..., 2:].clamp(min=1e-6)


def _is_inside(points: Float[Tensor, "b n 2"], size: tuple[int, int]) -> Tensor:
    x, y = points.unbind(-1)
    return (x >= 0) & (y >= 0) & (x <= size[0] - 1) & (y <= size[1] - 1)


def _mean_where(values: Float[Tensor, "b c h w"], mask: Float[Tensor, "b 1 h w"]) -> Tensor:
    return (values * mask).sum((2, 3)) / (mask.sum((2, 3)) + 1e-3)
