"""Pixel-wise average precision of descriptors.

R2D2 (Revaud et al. 2019) with the soft histogram of He et al. 2018, "Local descriptors optimized
for average precision".
"""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from sdme import parallel
from sdme.geometry.homography import apply_homography
from sdme.geometry.sampling import inside

BORDER, STEP = 16, 8
POSITIVE_RADIUS, NEGATIVE_RADII = 3, (5, 7)
BINS = 20


def disc(inner: float, outer: int, like: Tensor) -> tuple[Float[Tensor, "n 2"], Bool[Tensor, " n"]]:
    """Whole-pixel offsets of a square window, and which are ``inner`` to ``outer`` px long.

    The window is kept whole, since a shape that depended on the values could not be compiled.
    """
    line = torch.arange(-outer, outer + 1, device=like.device, dtype=like.dtype)
    offsets = torch.stack(torch.meshgrid(line, line, indexing="ij"), dim=-1).flatten(0, 1)
    distance = offsets.square().sum(-1)
    return offsets, (distance >= inner**2) & (distance <= outer**2)


def soft_average_precision(
    positive: Float[Tensor, " n"],
    others: Float[Tensor, "n m"],
    valid: Bool[Tensor, "n m"],
    bins: int = BINS,
) -> Float[Tensor, " n"]:
    """Average precision of one positive score among valid others, by a soft histogram on [0, 1].

    A score falls into two neighbouring bins by triangular weights; scores under 0 fall into the
    last bin. Summed from the best bin down, a triangular weight becomes a clamped ramp.
    """
    levels = torch.arange(bins - 2, -1, -1, device=positive.device)
    ramps = (positive[:, None] * (bins - 1) - levels).clamp(0, 1)
    below = torch.cat([ramps, torch.ones_like(positive)[:, None]], dim=1)
    share = torch.diff(below, dim=1, prepend=torch.zeros_like(below[:, :1]))
    precision = below / (below + _RampSums.apply(others, valid, bins)).clamp(min=1e-12)
    return (share * precision).sum(1)


class _RampSums(torch.autograd.Function):
    """Sums of the ramps of all valid scores of a row, by bins.

    Nothing but the scores is kept for the way back: a score lies on the slope of one ramp only, so
    its gradient is looked up.
    """

    @staticmethod
    def forward(ctx: Any, scores: Tensor, valid: Tensor, bins: int) -> Tensor:  # pyright: ignore
        ctx.save_for_backward(scores, valid)
        ctx.bins = bins
        scaled = scores * (bins - 1)
        sums = [((scaled - k).clamp(0, 1) * valid).sum(1) for k in range(bins - 2, -1, -1)]
        return torch.stack([*sums, valid.sum(1).to(scores.dtype)], dim=1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore
        scores, valid = ctx.saved_tensors
        steps = ctx.bins - 1
        scaled = scores * steps
        on_slope = (scaled > 0) & (scaled < steps) & valid
        ramp = (steps - 1 - scaled.floor().long()).clamp(0, steps - 1)
        slope = gradient.gather(1, ramp) * steps
        return torch.where(on_slope, slope, torch.zeros_like(slope)), None, None


def average_precision_loss(
    descriptors0: Float[Tensor, "b c h w"],
    descriptors1: Float[Tensor, "b c h2 w2"],
    H: Float[Tensor, "b 3 3"],
    queries: Float[Tensor, "b n 2"],
    distractors: Float[Tensor, "b m 2"],
) -> Float[Tensor, ""]:
    """1 - AP of fixed pixels spread over the image, averaged over those that the moving image sees.

    ``queries`` are whole fixed pixels (:func:`draw_queries`). The positive is the best score within
    3 px of the truth; negatives lie 5 to 7 px away, and on the grid of ``distractors``
    (:func:`draw_distractors`) over the whole batch, those within 5 px of the truth left out.
    Descriptors have unit length. With several processes the batch is that of all of them, and the
    mean of their values is the loss.
    """
    height1, width1 = descriptors1.shape[-2:]
    truth = apply_homography(H, queries)
    seen = inside(truth, width1, height1)
    query = _look_up(descriptors0, queries)
    scores = query @ descriptors1.flatten(2)
    exact = torch.promote_types(scores.dtype, torch.float32)

    def scores_near(inner: float, outer: int) -> tuple[Tensor, Tensor]:
        offsets, member = disc(inner, outer, truth)
        places = truth.round()[:, :, None] + offsets
        found = scores.gather(2, _flat_index(places, width1, height1))
        return found.to(exact), inside(places, width1, height1) & member

    near, near_valid = scores_near(0, POSITIVE_RADIUS)
    positive = near.masked_fill(~near_valid, -1).amax(-1)
    ring, ring_valid = scores_near(*NEGATIVE_RADII)
    everywhere = parallel.gathered(_look_up(descriptors1, distractors))
    far = query.flatten(0, 1) @ everywhere.flatten(0, 1).T
    gap = (truth[:, :, None] - distractors[:, None]).square().sum(-1) > NEGATIVE_RADII[0] ** 2
    images = torch.arange(len(everywhere), device=H.device)
    own = images[parallel.rank() * len(H) :][: len(H)]
    other = (own[:, None] != images)[:, None, :, None]
    far_valid = (other | gap[:, :, None]).flatten(2).flatten(0, 1)
    others = torch.cat([ring.flatten(0, 1), far.to(exact)], dim=1)
    valid = torch.cat([ring_valid.flatten(0, 1), far_valid], dim=1)
    precision = soft_average_precision(positive.flatten(), others, valid)
    weight = seen.flatten().to(precision.dtype)
    counted = parallel.total(weight.sum()).clamp(min=1) / parallel.count()
    return 1 - (precision * weight).sum() / counted


def draw_queries(
    batch: int, width: int, height: int, device: torch.device | str
) -> Float[Tensor, "b n 2"]:
    """One random pixel in each 8x8 cell of each fixed image, 16 px from its edge or more."""
    return _spread(batch, width, height, BORDER, device)


def draw_distractors(
    batch: int, width: int, height: int, device: torch.device | str
) -> Float[Tensor, "b m 2"]:
    """One random pixel in each 8x8 cell of each moving image."""
    return _spread(batch, width, height, 0, device)


def _spread(
    batch: int, width: int, height: int, border: int, device: torch.device | str
) -> Float[Tensor, "b n 2"]:
    rows, columns = (height - 2 * border) // STEP, (width - 2 * border) // STEP
    y, x = torch.meshgrid(
        torch.arange(rows, device=device), torch.arange(columns, device=device), indexing="ij"
    )
    cells = torch.stack([x, y], dim=-1).flatten(0, 1)
    jitter = torch.randint(0, STEP, (batch, rows * columns, 2), device=device)
    return (cells * STEP + jitter + border).float()


def _flat_index(points: Float[Tensor, "*n 2"], width: int, height: int) -> Int64[Tensor, "*n"]:
    """Place of whole-pixel points in a flattened image; those outside are moved to the border."""
    x, y = points[..., 0].long().clamp(0, width - 1), points[..., 1].long().clamp(0, height - 1)
    return y * width + x


def _look_up(image: Float[Tensor, "b c h w"], points: Float[Tensor, "b n 2"]) -> Tensor:
    """Features (b, n, c) at whole-pixel points."""
    height, width = image.shape[-2:]
    index = _flat_index(points, width, height)[..., None].expand(-1, -1, image.shape[1])
    return image.flatten(2).mT.gather(1, index)
