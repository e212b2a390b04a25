"""Losses that teach cells of two images to find each other: the matching task of ``fast``."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from sdme.geometry.homography import apply_homography
from sdme.geometry.sampling import inside, sample


@dataclass(frozen=True)
class CellMatching:
    """How well cells find their partners.

    ``loss`` is the negative log-likelihood of the true partners, both ways, a mean over all
    queries; ``found`` tells of each query whether its most similar cell lies next to the truth,
    ``in_view`` whether it has a partner at all.
    """

    loss: Float[Tensor, ""]
    found: Bool[Tensor, "b q"]
    in_view: Bool[Tensor, "b q"]


def cell_matching(
    fixed: Float[Tensor, "b c h w"],
    moving: Float[Tensor, "b c h2 w2"],
    H: Float[Tensor, "b 3 3"],
    queries: Int64[Tensor, "b q"],
    cell: int,
    factor: Float[Tensor, ""],
    sizes: tuple[tuple[int, int], tuple[int, int]],
    weight: Float[Tensor, " b"] | None = None,
) -> CellMatching:
    """Softmax over all cells of the other image, for some fixed cells and their partners.

    ``queries`` are fixed cells by their number in row order; a partner lies between the centres of
    up to four moving cells, which share the probability bilinearly. The other way, the moving
    descriptor between the cells has to find its fixed cell. Similarities are multiplied by
    ``factor``. van den Oord et al., "Contrastive Predictive Coding", 2018.

    ``sizes`` are (width, height) of the fixed and the moving images: beyond them a map shows
    padding, which has no partner and is none. ``weight`` is that of each pair.

    Queries without a partner in view cost nothing and count in the mean, so that the mean over
    several batches is that of one large one.
    """
    width = fixed.shape[-1]
    height2, width2 = moving.shape[-2:]
    centres = (torch.stack([queries % width, queries // width], -1).to(H.dtype) + 0.5) * cell - 0.5
    pixels = apply_homography(H, centres)
    there = (pixels + 0.5) / cell - 0.5
    x, y = there.unbind(-1)
    in_view = (x >= 0) & (y >= 0) & (x <= width2 - 1) & (y <= height2 - 1)
    in_view &= inside(centres, *sizes[0]) & inside(pixels, *sizes[1])
    there = torch.where(in_view[..., None], there, torch.zeros_like(there))
    ours = fixed.flatten(2).gather(2, queries[:, None].expand(-1, fixed.shape[1], -1))
    logits = (ours.mT @ moving.flatten(2)).float() * factor
    forth = _partner_log_likelihood(logits.log_softmax(-1), there, width2)
    theirs = F.normalize(sample(moving, there), dim=1)
    back_logits = (theirs.mT @ fixed.flatten(2)).float() * factor
    back = back_logits.log_softmax(-1).gather(-1, queries[..., None])[..., 0]
    counted = in_view.to(forth.dtype)
    if weight is not None:
        counted = counted * weight[:, None]
    loss = -((forth + back) * counted).mean() / 2
    best = logits.argmax(-1)
    gap = torch.stack([best % width2, best // width2], -1) - there
    return CellMatching(loss, (gap.abs().amax(-1) <= 1) & in_view, in_view)


def _partner_log_likelihood(
    log_share: Float[Tensor, "b q n"], there: Float[Tensor, "b q 2"], width: int
) -> Float[Tensor, "b q"]:
    """Bilinear mean of the log-likelihoods of the four cells around a point."""
    corner = there.floor()
    share_x, share_y = (there - corner).unbind(-1)
    rows = log_share.shape[-1] // width
    out = torch.zeros_like(share_x)
    for right, along_x in ((0, 1 - share_x), (1, share_x)):
        for below, along_y in ((0, 1 - share_y), (1, share_y)):
            x = (corner[..., 0] + right).clamp(max=width - 1)
            y = (corner[..., 1] + below).clamp(max=rows - 1)
            index = (y * width + x).long()
            out = out + along_x * along_y * log_share.gather(-1, index[..., None])[..., 0]
    return out
