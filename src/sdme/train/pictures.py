"""Example pictures of a run: what the network sees in a few pairs, always the same ones."""

import cv2
import numpy as np
import torch
from torch import Tensor

from sdme.config import DataSettings
from sdme.data.batches import make_batch
from sdme.data.store import ImageStore
from sdme.geometry.sampling import warp
from sdme.model.network import SdmeNetwork
from sdme.refine.lucas_kanade import refine
from sdme.report.overlay import Picture, checkerboard
from sdme.train.validate import draw_starts, evaluating

COLUMNS = (
    "fixed",
    "moving",
    "fixed: repeatability",
    "moving: repeatability",
    "fixed: structure",
    "moving: structure",
    "before refinement",
    "after refinement",
)
_GAP, _CAPTION = 4, 20
_PAPER, _INK = 32, (255, 255, 255)


@torch.no_grad()
def example_sheet(
    network: SdmeNetwork, store: ImageStore, settings: DataSettings, pairs: int = 4
) -> Picture:
    """One row a pair, with :data:`COLUMNS`; maps are stretched to their own range.

    The last two are checkerboards of both images, before and after dense refinement from a start
    up to 4 px off in each corner.
    """
    with evaluating(network, seed=1):
        batch = make_batch(store, pairs, settings)
        start = draw_starts(batch.H, settings.fixed_side)
        fixed, moving = network(batch.fixed), network(batch.moving)
        found = refine(
            fixed.structure, moving.structure, start, fixed.repeatability, moving.repeatability
        )
    images = [list(as_colours(batch.fixed)), list(as_colours(batch.moving))]
    for maps in ("repeatability", "structure"):
        images += [list(stretched(getattr(f, maps))) for f in (fixed, moving)]
    images += [checkerboards(batch.fixed, batch.moving, H) for H in (start, found.matrix)]
    return table(images, COLUMNS)


def as_colours(images: Tensor) -> np.ndarray:
    """RGB tensors in [0, 1] as 8-bit pictures."""
    return (images * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def stretched(maps: Tensor) -> np.ndarray:
    """Each one-channel map over its own range, as a grey picture."""
    low, high = maps.amin((1, 2, 3), keepdim=True), maps.amax((1, 2, 3), keepdim=True)
    return as_colours(((maps - low) / (high - low).clamp(min=1e-12)).expand(-1, 3, -1, -1))


def checkerboards(fixed: Tensor, moving: Tensor, H: Tensor) -> list[Picture]:
    """Fixed images in turn with the moving ones laid over them through ``H``."""
    warped, mask = warp(moving, H, fixed.shape[-1], fixed.shape[-2])
    valid = mask[:, 0].cpu().numpy() > 0
    rows = zip(as_colours(fixed), as_colours(warped), valid, strict=True)
    return [checkerboard(*row) for row in rows]


def table(columns: list[list[Picture]], captions: tuple[str, ...]) -> Picture:
    """Columns of pictures of one width each, in rows that begin at one height, with captions."""
    widths = [column[0].shape[1] + _GAP for column in columns]
    step = max(column[0].shape[0] for column in columns) + _GAP
    height = _CAPTION + step * len(columns[0])
    sheet = np.full((height, _GAP + sum(widths), 3), _PAPER, np.uint8)
    left, font = _GAP, cv2.FONT_HERSHEY_SIMPLEX
    longest = max(
        cv2.getTextSize(caption, font, 1, 1)[0][0] / (width - _GAP)
        for caption, width in zip(captions, widths, strict=True)
    )
    scale = min(0.4, 1 / longest)
    for caption, column, width in zip(captions, columns, widths, strict=True):
        place = (left, _CAPTION - 6)
        cv2.putText(sheet, caption, place, font, scale, _INK, 1, cv2.LINE_AA)
        for row, picture in enumerate(column):
            top = _CAPTION + row * step
            sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
        left += width
    return sheet
