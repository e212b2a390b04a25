"""The stages of a registration with a network of the preset ``fast``.

:func:`sdme.register` runs them in turn. Matrices map pixels of the fixed frame to pixels of the
moving one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sdme.config import PAPER_SIDE, FastRegisterSettings, RegisterSettings
from sdme.errors import InputError
from sdme.fast_verdict import Prediction
from sdme.frames import Frame, Matrix, Pair, shrunk
from sdme.geometry.family import Family
from sdme.geometry.homography import normalise
from sdme.geometry.sampling import cell_centres
from sdme.match import mutual_nearest_neighbours
from sdme.model.aggregator import CELL, UNIT_SIDE, Vote, error_of
from sdme.model.fast import (
    DESCRIPTORS,
    FastFeatures,
    FastNetwork,
    cells_inside,
    share_of_cells,
)
from sdme.refine.unrolled import refine_unrolled
from sdme.stages import Clock, Sparse, device_of, fit
from sdme.verdict import is_plausible

Steps = tuple[int, int, int]  # of Lucas-Kanade at 1/2, 1/4 and 1/8
# of an image, at 1/8; 1280x960 px take ten seconds and a gigabyte, more was not tried
MOST_CELLS = 20_000


@dataclass(frozen=True)
class Cells:
    """The cells of a frame that are matched: their centres, px, and descriptors."""

    points: Float[Tensor, "k 2"]
    descriptors: Float[Tensor, "k c"]


class Views:
    """What the network sees in two frames, in the light of each other.

    ``family`` is what votes and alignment keep to, given matrices of it. ``seen`` is what the
    network told of the two where it was asked before, with others in a batch.
    """

    def __init__(
        self,
        network: FastNetwork,
        pair: Pair,
        family: Family | None = None,
        seen: tuple[FastFeatures, FastFeatures] | None = None,
    ) -> None:
        check_size(pair)
        device = device_of(network)
        frames = (pair.fixed, pair.moving)
        told = seen or network(*(frame.pixels.to(device) for frame in frames))
        self.network, self.pair, self.family = network, pair, family
        self.fixed, self.moving = (
            features.masked(frame.valid.to(device))
            for features, frame in zip(told, frames, strict=True)
        )
        self._scales = [v.scales(self.fixed.cells, self.moving.cells) for v in network.votes]

    def cells(self, most: int) -> tuple[Cells, Cells]:
        """The best cells of the fixed and of the moving frame."""
        fixed, moving = self.pair.fixed, self.pair.moving
        return best_cells(self.fixed, fixed, most), best_cells(self.moving, moving, most)

    def vote(self, H: Float[Tensor, "n 3 3"], stage: int = -1) -> Vote:
        """One turn of a stage that votes, the finest if none is named, from each matrix."""
        contexts = (
            self.fixed.context.expand(len(H), -1, -1, -1),
            self.moving.context.expand(len(H), -1, -1, -1),
        )
        valid = self.fixed.valid, self.moving.valid
        sizes = self.moving.size, self.fixed.size
        votes = self.network.votes[stage]
        return votes(self._scales[stage], contexts, H, *sizes, valid, self.family)

    def align(self, H: Float[Tensor, "n 3 3"], steps: Steps) -> Float[Tensor, "n 3 3"]:
        """Lucas-Kanade from each matrix."""
        pair = self.fixed.repeated(len(H)), self.moving.repeated(len(H))
        return refine_unrolled(*pair, H, self.network.damping, steps, self.family)[-1]

    def on_device(self, matrices: Sequence[Matrix]) -> Float[Tensor, "n 3 3"]:
        """Matrices as the network takes them."""
        stacked = torch.from_numpy(np.stack(matrices)).to(self.fixed.context)
        return normalise(stacked)


def look_at(network: FastNetwork, pairs: Sequence[Pair]) -> list[Views]:
    """Views of several pairs, in their order; those of the same sizes are seen in one batch."""
    groups: dict[Any, list[int]] = {}
    for k, pair in enumerate(pairs):
        groups.setdefault((pair.fixed.size, pair.moving.size), []).append(k)
    views: dict[int, Views] = {}
    for members in groups.values():
        check_size(pairs[members[0]])
        batch = (
            torch.cat([getattr(pairs[k], name).pixels for k in members]).to(device_of(network))
            for name in ("fixed", "moving")
        )
        seen = zip(*(features.each() for features in network(*batch)), strict=True)
        for k, (fixed, moving) in zip(members, seen, strict=True):
            views[k] = Views(network, pairs[k], seen=(fixed, moving))
    return [views[k] for k in range(len(pairs))]


def check_size(pair: Pair) -> None:
    """Refuse frames larger than what was tried.

    Raises:
        InputError: they have more than ``MOST_CELLS``, in the geometric mean of the two.
    """
    sizes = pair.fixed.size, pair.moving.size
    if _cells_of(sizes) <= MOST_CELLS:
        return
    longest = max(max(size) for size in sizes)
    sides = (
        s for s in range(longest, 31, -1) if _cells_of([shrunk(z, s) for z in sizes]) <= MOST_CELLS
    )
    fitting = next(sides, None)
    advice = "crop them" if fitting is None else f"set max_side (--max-side) to at most {fitting}"
    fixed, moving = (f"{width}x{height}" for width, height in sizes)
    raise InputError(
        f"images of {fixed} and {moving} px are too large for a network of the preset fast, which "
        f"takes up to {MOST_CELLS} cells of {CELL}x{CELL} px an image; {advice}"
    )


def _cells_of(sizes: Sequence[tuple[int, int]]) -> float:
    """Cells at 1/8 of two images, in the geometric mean."""
    return math.sqrt(math.prod(math.ceil(side / CELL) for size in sizes for side in size))


def longest_side(network: nn.Module, settings: RegisterSettings) -> int:
    """Side, px, that larger images are shrunk to for the network."""
    suited = settings.fast.max_side if isinstance(network, FastNetwork) else PAPER_SIDE
    return settings.max_side or suited


@dataclass(frozen=True)
class Candidates:
    """Homographies, the logarithm of the error that each is believed to have, and their origin."""

    matrices: Float[Tensor, "n 3 3"]
    log_errors: Float[Tensor, " n"]
    refined: Bool[Tensor, " n"]


def best_cells(features: FastFeatures, frame: Frame, most: int) -> Cells:
    """The cells with the best scores among those that lie on data, in row order."""
    height, width = features.score.shape[-2:]
    centres = cell_centres(width, height, DESCRIPTORS, features.score)
    kept = cells_inside(features.size, DESCRIPTORS, features.score)
    kept = kept & (share_of_cells(frame.valid.to(kept.device), DESCRIPTORS) > 0.999)
    index: Int[Tensor, " k"] = torch.nonzero(kept.flatten())[:, 0]
    if len(index) > most:
        best = features.score.flatten()[index].topk(most).indices
        index = index[best].sort().values
    return Cells(centres[index], features.descriptors[0].flatten(1)[:, index].T)


def match_cells(views: Views, settings: RegisterSettings, clock: Clock) -> Sparse:
    """Match the cells of two frames and fit a transform to the matches."""
    fast = settings.fast
    with clock.stage("match"):
        fixed, moving = views.cells(fast.cells)
        found = mutual_nearest_neighbours(fixed.descriptors, moving.descriptors)
        points0 = fixed.points[found.indices0].double().cpu().numpy()
        points1 = moving.points[found.indices1].double().cpu().numpy()
        score = found.scores.cpu().numpy()
    with clock.stage("estimate"):
        counts, points = (len(fixed.points), len(moving.points)), (points0, points1)
        rules, kind = (fast.estimate, settings.verdict), settings.transform
        return fit(views.pair, points, score, counts, *rules, matched="cells", kind=kind)


def starts(
    pair: Pair, sparse: Sparse | None, guesses: Sequence[Matrix], settings: RegisterSettings
) -> list[Matrix]:
    """Where votes begin: at the matches' matrix, however few agree on it, and at the guesses."""
    found = None if sparse is None else sparse.evidence.matrix
    sizes = pair.fixed.size, pair.moving.size
    if found is None or not is_plausible(found, *sizes, settings.verdict):
        return list(guesses)
    return [found, *guesses]


def vote(views: Views, begun: Sequence[Matrix], settings: FastRegisterSettings) -> Candidates:
    """Let the cells improve each start; a last turn says how good each has become."""
    H = views.on_device(begun)
    for turn in range(settings.turns):
        voted = views.vote(H, stage=0)
        H = voted.matrix
        # the second turn is the first to know what a vote made of the starts
        if turn == 1 and settings.survivors is not None and settings.survivors < len(H):
            H = H[_believed(voted).topk(settings.survivors, largest=False).indices]
    if views.network.fine is not None:
        for _ in range(settings.fine_turns):
            H = views.vote(H).matrix
    return Candidates(H, _believed(views.vote(H)), torch.zeros(len(H), dtype=torch.bool))


def refine_candidates(views: Views, voted: Candidates, settings: RegisterSettings) -> Candidates:
    """The best candidates, refined, except where that is believed to harm them.

    The others are dropped: what votes believe of themselves is no measure of what is refined, whose
    last pixel cells are too coarse to see.
    """
    chosen = ranking(views.pair, voted, settings)[: settings.fast.refined]
    before, believed = voted.matrices[chosen], voted.log_errors[chosen]
    H = views.align(before, settings.fast.steps)
    after = _believed(views.vote(H))
    helps = (after <= believed + settings.fast.max_harm) & after.isfinite()
    helps &= torch.tensor(_plausible(views.pair, H, settings), device=helps.device)
    return Candidates(
        torch.where(helps[:, None, None], H, before),
        torch.where(helps, after, believed),
        helps.cpu(),
    )


def ranking(pair: Pair, found: Candidates, settings: RegisterSettings) -> Int[Tensor, " n"]:
    """Candidates from best to worst: plausible ones first, then by predicted error."""
    plausible = _plausible(pair, found.matrices, settings)
    errors = found.log_errors.cpu().tolist()
    return torch.tensor(sorted(range(len(errors)), key=lambda k: (not plausible[k], errors[k])))


def best_of(
    pair: Pair, found: Candidates, sparse: Sparse | None, settings: RegisterSettings
) -> Prediction:
    """The best candidate, with what is known of it."""
    best = int(ranking(pair, found, settings)[0])
    matrix = found.matrices[best].double().cpu().numpy()
    log_error = found.log_errors[best].cpu()
    matches = agreeing = None
    if sparse is not None:
        matches = len(sparse.fixed)
        agreeing = _count_agreeing(matrix, sparse, settings.fast.estimate.threshold)
    return Prediction(
        matrix,
        error=error_of(log_error, (UNIT_SIDE, UNIT_SIDE)).item(),
        unit=math.sqrt(math.prod(pair.fixed.size)) / UNIT_SIDE * pair.moving.pixel,
        refined=bool(found.refined[best]),
        matches=matches,
        agreeing=agreeing,
    )


def _plausible(
    pair: Pair, matrices: Float[Tensor, "n 3 3"], settings: RegisterSettings
) -> list[bool]:
    sizes, rule = (pair.fixed.size, pair.moving.size), settings.verdict
    return [is_plausible(m, *sizes, rule) for m in matrices.double().cpu().numpy()]


def _believed(voted: Vote) -> Float[Tensor, " n"]:
    """Logarithm of the error of what was voted on; infinite where the network has no word on it."""
    return torch.where(voted.log_error.isfinite(), voted.log_error, torch.inf)


def _count_agreeing(matrix: Matrix, sparse: Sparse, threshold: float) -> int:
    if not len(sparse.fixed):
        return 0
    return int((sparse.distances(matrix) < threshold).sum())
