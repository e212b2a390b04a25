"""A quick look at the preset ``fast`` while training runs, on pairs that training never sees."""

from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from sdme.config import DataSettings, FastRegisterSettings
from sdme.data.batches import Batch, make_batch
from sdme.data.store import ImageStore
from sdme.geometry.homography import apply_homography, corner_error, corners
from sdme.geometry.random_warp import homography_from_shifts
from sdme.losses.cells import cell_matching
from sdme.model.aggregator import inverse_temperature
from sdme.model.fast import DESCRIPTORS, FastFeatures, FastNetwork
from sdme.refine.unrolled import refine_unrolled
from sdme.report.overlay import Picture
from sdme.train.fast_step import Turns, from_corners
from sdme.train.pictures import as_colours, checkerboards, stretched, table
from sdme.train.validate import evaluating, measured_batches

_DEFAULT = FastRegisterSettings()
TURNS, STEPS = (_DEFAULT.turns, _DEFAULT.fine_turns), _DEFAULT.steps
COLUMNS = (
    "fixed",
    "moving",
    "fixed: score",
    "moving: score",
    "fixed: weight 1/4",
    "moving: weight 1/4",
    "middle",
    "votes",
    "refined",
)


@dataclass(frozen=True)
class FastValidation:
    """Shares of held-out crops, and two more figures.

    ``matched``: fixed cells at 1/4 whose best cell in the moving image is next to the truth;
    ``voted_below_3`` and ``_below_10``: pairs whose corner error is below so many px after the
    votes, which start with the fixed image in the middle of the moving one; ``end_below_1`` and
    ``_below_3``: after Lucas-Kanade from there; ``basin_8``: below 1 px from corners 8 px off.
    ``drift`` is the median error, px, after a start at the truth, and ``judged`` the rank
    correlation of believed and true errors at the end.
    """

    matched: float
    voted_below_3: float
    voted_below_10: float
    end_below_1: float
    end_below_3: float
    basin_8: float
    drift: float
    judged: float


@dataclass(frozen=True)
class _Outcome:
    """Where the stages led."""

    middle: Float[Tensor, "b 3 3"]
    voted: Float[Tensor, "b 3 3"]
    refined: Float[Tensor, "b 3 3"]
    believed: Float[Tensor, " b"]


@torch.no_grad()
def fast_validate(
    network: FastNetwork, store: ImageStore, settings: DataSettings, pairs: int
) -> FastValidation:
    """Measure a network on the same ``pairs`` random crops at every call, keeping its mode."""
    matched, voted, end, basin, drift, believed = measured_batches(
        network, store, settings, pairs, partial(_measure, network)
    )

    def share(errors: Tensor, limit: float) -> float:
        return (errors < limit).float().mean().item()

    return FastValidation(
        matched=matched.mean().item(),
        voted_below_3=share(voted, 3),
        voted_below_10=share(voted, 10),
        end_below_1=share(end, 1),
        end_below_3=share(end, 3),
        basin_8=share(basin, 1),
        drift=drift.median().item(),
        judged=_rank_correlation(believed, end),
    )


@torch.no_grad()
def fast_example_sheet(
    network: FastNetwork, store: ImageStore, settings: DataSettings, pairs: int = 4
) -> Picture:
    """One row a pair, with :data:`COLUMNS`; maps are stretched to their own range.

    The last three are checkerboards of both images: as the votes found them, with the fixed image
    in the middle of the moving one; after the votes; after dense refinement.
    """
    with evaluating(network, seed=1):
        batch = make_batch(store, pairs, settings)
        fixed, moving = network(batch.fixed, batch.moving)
        outcome = _stages(network, fixed, moving, batch)
    images = [list(as_colours(batch.fixed)), list(as_colours(batch.moving))]
    images += [list(stretched(_enlarged(f.score))) for f in (fixed, moving)]
    images += [list(stretched(_enlarged(f.levels[1].weight))) for f in (fixed, moving)]
    for H in (outcome.middle, outcome.voted, outcome.refined):
        images.append(checkerboards(batch.fixed, batch.moving, H))
    return table(images, COLUMNS)


def _enlarged(cells: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h4 w4"]:
    """Every cell at 1/4 as so many pixels."""
    return cells.repeat_interleave(DESCRIPTORS, -1).repeat_interleave(DESCRIPTORS, -2)


def _stages(
    network: FastNetwork, fixed: FastFeatures, moving: FastFeatures, batch: Batch
) -> _Outcome:
    none = torch.zeros(len(batch.H), 4, 2, device=batch.H.device)
    middle = homography_from_shifts(none, fixed.size, moving.size)
    voted, related = middle, torch.ones_like(batch.H[:, 0, 0])
    stages = [Turns(votes, fixed, moving, batch.H, related) for votes in network.votes]
    for turns, count in zip(stages, TURNS[: len(stages)], strict=True):
        voted = turns.run(voted, count)
    refined = refine_unrolled(fixed, moving, voted, network.damping, STEPS)[-1]
    return _Outcome(middle, voted, refined, stages[-1].look(refined).log_error)


def _measure(network: FastNetwork, batch: Batch) -> list[Tensor]:
    """Columns of :func:`fast_validate`."""
    fixed, moving = network(batch.fixed, batch.moving)
    outcome = _stages(network, fixed, moving, batch)
    cells = torch.arange(fixed.descriptors[0, 0].numel(), device=batch.H.device)
    matching = cell_matching(
        fixed.descriptors,
        moving.descriptors,
        batch.H,
        cells.expand(len(batch.H), -1),
        DESCRIPTORS,
        inverse_temperature(network.sharpness),
        (fixed.size, moving.size),
    )
    angle = 2 * torch.pi * torch.rand(len(batch.H), 4, device=batch.H.device)
    shifts = 8 * torch.stack([angle.cos(), angle.sin()], dim=-1)
    square = apply_homography(batch.H, corners(*fixed.size, like=batch.H))
    off = from_corners(square + shifts, fixed.size)

    def error(H: Tensor) -> Tensor:
        return corner_error(H, batch.H, *fixed.size)

    def refined(H: Tensor) -> Tensor:
        return error(refine_unrolled(fixed, moving, H, network.damping, STEPS)[-1])

    found = matching.found[matching.in_view].float()
    end = error(outcome.refined)
    return [found, error(outcome.voted), end, refined(off), refined(batch.H), outcome.believed]


def _rank_correlation(one: Float[Tensor, " n"], two: Float[Tensor, " n"]) -> float:
    """Spearman's; 0 where there is nothing to compare."""
    if len(one) < 2:
        return 0.0
    ranks = torch.stack([x.argsort(stable=True).argsort().double() for x in (one, two)])
    return 0.0 if one.min() == one.max() else torch.corrcoef(ranks)[0, 1].item()
