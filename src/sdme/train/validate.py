"""A quick look at both tasks while training runs, on pairs that training never sees."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sdme.config import DataSettings
from sdme.data.batches import Batch, make_batch
from sdme.data.store import ImageStore
from sdme.geometry.homography import apply_homography, corner_error
from sdme.geometry.random_warp import homography_from_shifts
from sdme.geometry.sampling import inside
from sdme.model.network import SdmeNetwork
from sdme.refine.lucas_kanade import refine

QUERY_STEP = 8
START_SHIFT = 4.0
BATCH = 32


@dataclass(frozen=True)
class Validation:
    """Shares of held-out crops.

    ``matched``: fixed pixels whose best descriptor in the whole moving image lies within 3 px of
    the truth; ``start_below_3``, ``end_below_1``, ``end_below_3``: pairs whose corner error is
    below so many px before and after Lucas-Kanade from random starts up to 4 px off; ``drift`` is
    the median corner error, px, after a start at the truth.
    """

    matched: float
    start_below_3: float
    end_below_1: float
    end_below_3: float
    drift: float


@torch.no_grad()
def validate(
    network: SdmeNetwork, store: ImageStore, settings: DataSettings, pairs: int
) -> Validation:
    """Measure a network on the same ``pairs`` random crops at every call, keeping its mode."""
    measure = partial(_measure, network, settings.fixed_side)
    matched, start, end, drift = measured_batches(network, store, settings, pairs, measure)
    return Validation(
        matched=matched.mean().item(),
        start_below_3=(start < 3).float().mean().item(),
        end_below_1=(end < 1).float().mean().item(),
        end_below_3=(end < 3).float().mean().item(),
        drift=drift.median().item(),
    )


def measured_batches(
    network: nn.Module,
    store: ImageStore,
    settings: DataSettings,
    pairs: int,
    measure: Callable[[Batch], Sequence[Tensor]],
) -> list[Tensor]:
    """What a measure yields, joined over batches of real pairs that are the same at every call."""
    settings = as_they_are(settings)
    with evaluating(network, seed=0):
        rows = [
            measure(make_batch(store, min(BATCH, pairs - start), settings))
            for start in range(0, pairs, BATCH)
        ]
    return [torch.cat(column) for column in zip(*rows, strict=True)]


def as_they_are(settings: DataSettings) -> DataSettings:
    """Settings for real pairs alone, none of them turned or in an invented modality."""
    real = {"pair_share": 1.0, "photo_synthesis": 0.0, "pair_synthesis": 0.0, "turned_share": 0.0}
    return settings.model_copy(update=real)


@contextlib.contextmanager
def evaluating(network: nn.Module, seed: int) -> Iterator[None]:
    """Evaluation mode, not compiled, and random numbers of its own; all is put back afterwards."""
    was_training, device = network.training, next(network.parameters()).device
    network.eval()
    with (
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
        torch.compiler.set_stance("force_eager"),  # sizes that come once are not worth compiling
    ):
        torch.manual_seed(seed)
        yield
    network.train(was_training)


def draw_starts(truth: Float[Tensor, "b 3 3"], side: int) -> Float[Tensor, "b 3 3"]:
    """Homographies whose corners are up to ``START_SHIFT`` px off the truth in x and y."""
    shifts = (torch.rand(len(truth), 4, 2, device=truth.device) * 2 - 1) * START_SHIFT
    return truth @ homography_from_shifts(shifts, (side, side), (side, side))


def _measure(
    network: SdmeNetwork, side: int, batch: Batch
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    fixed, moving = network(batch.fixed), network(batch.moving)
    truth = batch.H
    start = draw_starts(truth, side)

    def after(initial: Tensor) -> Tensor:
        maps = fixed.structure, moving.structure
        found = refine(*maps, initial, fixed.repeatability, moving.repeatability)
        return corner_error(found.matrix, truth, side, side)

    return (
        _matched(fixed.descriptors, moving.descriptors, truth),
        corner_error(start, truth, side, side),
        after(start),
        after(truth),
    )


def _matched(fixed: Tensor, moving: Tensor, H: Tensor) -> Tensor:
    """Whether the best match of each pixel of a coarse grid is right; pixels in view only."""
    height, width = moving.shape[-2:]
    line = torch.arange(QUERY_STEP // 2, fixed.shape[-1], QUERY_STEP, device=fixed.device)
    points = torch.cartesian_prod(line, line).flip(-1)
    query = fixed[..., points[:, 1], points[:, 0]]
    best = torch.stack(
        [(q.T @ m.flatten(1)).argmax(-1) for q, m in zip(query, moving, strict=True)]
    )
    found = torch.stack([best % width, best // width], dim=-1).float()
    truth = apply_homography(H, points.float()[None])
    return ((found - truth).norm(dim=-1) < 3)[inside(truth, width, height)].float()
