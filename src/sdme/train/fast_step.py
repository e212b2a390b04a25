"""Losses of the preset ``fast``: matching, votes and alignment, each on what it is used for."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from sdme.config import FastLossSettings
from sdme.geometry.homography import apply_homography, corners, invert
from sdme.geometry.random_warp import homography_from_shifts
from sdme.geometry.sampling import cell_centres, inside
from sdme.losses.cells import cell_matching
from sdme.model.aggregator import CELL, Aggregator, Vote, inverse_temperature, log_error_of
from sdme.model.fast import DESCRIPTORS, FastFeatures, FastNetwork, padded_side
from sdme.refine.unrolled import refine_unrolled

FAST_NAMES = ("matching", "score", "correlation", "votes", "flow", "alignment", "judgement")
MEASURED = ("matched", "voted_below_3", "aligned_below_1")
QUERIES = 256
_LARGEST_ERROR = 200.0  # px; what is further off is as wrong as can be


@dataclass(frozen=True)
class Draws:
    """Everything random that the losses use.

    ``queries`` are fixed cells at 1/4. ``shifts`` in [-1, 1] move the corners of a wrong first
    guess and of wrong starts of votes at 1/4 and of alignment, ``strengths`` in [0, 1] say how far,
    and ``choices`` in [0, 1] which kind of guess and of starts a pair gets. ``strangers`` in [0, 1]
    decide which fixed images get another pair's moving image, see :func:`with_strangers`.
    """

    queries: Int64[Tensor, "b q"]
    shifts: Float[Tensor, "b 3 4 2"]
    strengths: Float[Tensor, "b 3 1 1"]
    choices: Float[Tensor, "b 3 1 1"]
    strangers: Float[Tensor, " b"]


def draw(count: int, fixed_side: int, device: torch.device) -> Draws:
    """Random numbers for so many pairs."""
    side, width = fixed_side // DESCRIPTORS, padded_side(fixed_side) // DESCRIPTORS
    queries = torch.rand(count, side**2, device=device).topk(min(QUERIES, side**2), dim=-1).indices
    queries = queries // side * width + queries % side  # maps are wider by the images' padding
    return Draws(
        queries,
        torch.rand(count, 3, 4, 2, device=device) * 2 - 1,
        torch.rand(count, 3, 1, 1, device=device),
        torch.rand(count, 3, 1, 1, device=device),
        torch.rand(count, device=device),
    )


def with_strangers(
    moving: Float[Tensor, "b 3 h w"], draws: Draws, settings: FastLossSettings
) -> tuple[Float[Tensor, "b 3 h w"], Float[Tensor, " b"]]:
    """Moving images, of which a share show another scene; and 1 for those that do not, else 0.

    Nothing can be learnt from a stranger but that it is one. A single pair keeps its image.
    """
    related = (draws.strangers >= settings.strangers) | (len(moving) == 1)
    chosen = torch.where(related[:, None, None, None], moving, moving.roll(1, 0))
    return chosen.contiguous(memory_format=torch.channels_last), related.to(moving.dtype)


def fast_losses(
    network: FastNetwork,
    pair: tuple[FastFeatures, FastFeatures],
    H: Float[Tensor, "b 3 3"],
    draws: Draws,
    settings: FastLossSettings,
    related: Float[Tensor, " b"] | None = None,
) -> tuple[Float[Tensor, " terms"], Float[Tensor, " measured"]]:
    """All terms, unweighted, by ``FAST_NAMES``; and what is measured on the way, by ``MEASURED``.

    Pairs whose ``related`` is 0 count in the judgement alone; without it all are 1.

    Votes at 1/8 start in the middle of the moving image or from a wrong guess; those at 1/4, and
    Lucas-Kanade, at the truth (they should stay), where the stage before has led, or off the truth.
    """
    fixed, moving = pair
    sizes = fixed.size, moving.size
    related = torch.ones_like(H[:, 0, 0]) if related is None else related
    matching = cell_matching(
        fixed.descriptors,
        moving.descriptors,
        H,
        draws.queries,
        DESCRIPTORS,
        inverse_temperature(network.sharpness),
        sizes,
        related,
    )
    score = fixed.score.flatten(1).gather(1, draws.queries)
    found = matching.found & (related > 0)[:, None]
    everywhere = torch.arange(fixed.correlation[0, 0].numel(), device=H.device)
    correlation = cell_matching(
        fixed.correlation,
        moving.correlation,
        H,
        everywhere.expand(len(H), -1),
        CELL,
        inverse_temperature(network.aggregator.sharpness),
        sizes,
        related,
    )
    coarse = Turns(network.aggregator, fixed, moving, H, related)
    stages, square = [coarse], coarse.square
    guess = first_guess(fixed.size, moving.size, square, draws, settings)
    voted = coarse.run(guess, settings.turns)
    error = bounded_corner_error(voted, square, fixed.size)
    right, counted = error < 3, related
    if network.fine is not None:
        fine = Turns(network.fine, fixed, moving, H, related)
        stages.append(fine)
        start, from_votes = next_start(H, voted, error, square, draws, 1, settings, fixed.size)
        voted = fine.run(start, settings.fine_turns)
        counted = related * from_votes
        reached = error < settings.start_shift
        error = bounded_corner_error(voted, square, fixed.size)
        right = (error < 3) & reached
    start, _ = next_start(H, voted, error, square, draws, 2, settings, fixed.size)
    iterates = refine_unrolled(fixed, moving, start, network.damping, settings.steps)
    errors = torch.stack([bounded_corner_error(x, square, fixed.size) for x in iterates])
    stages[-1].look(iterates[-1].detach())
    terms = [
        matching.loss,
        F.binary_cross_entropy_with_logits(score, found.to(score.dtype)),
        correlation.loss,
        torch.stack([stage.error(settings) for stage in stages]).sum(),
        torch.stack([stage.flow() for stage in stages]).sum(),
        faded(errors, settings, related),
        torch.stack([stage.judgement() for stage in stages]).sum(),
    ]
    measured = [
        found.sum() / (matching.in_view * related[:, None]).sum().clamp(min=1),
        (right * counted).sum() / counted.sum().clamp(min=1),
        ((errors[-1] < 1) * related).sum() / related.sum().clamp(min=1),
    ]
    return torch.stack(terms), torch.stack(measured).detach()


class Turns:
    """Turns of the aggregator, each from a matrix that is taken as given, and how well they did."""

    def __init__(
        self,
        aggregator: Aggregator,
        fixed: FastFeatures,
        moving: FastFeatures,
        H: Float[Tensor, "b 3 3"],
        related: Float[Tensor, " b"],
    ) -> None:
        self.aggregator, self.related = aggregator, related
        self.sizes, self.contexts = (moving.size, fixed.size), (fixed.context, moving.context)
        self.scales = aggregator.scales(fixed.cells, moving.cells)
        self.square = apply_homography(H, corners(*fixed.size, like=H))
        cells = cell_centres(fixed.context.shape[-1], fixed.context.shape[-2], CELL, H)
        self.cells, self.goals = cells, apply_homography(H, cells[None])
        self.given: list[Tensor] = []
        self.votes: list[Vote] = []
        self.looked: list[tuple[Tensor, Vote]] = []

    def run(self, H: Float[Tensor, "b 3 3"], count: int) -> Float[Tensor, "b 3 3"]:
        """So many turns; returns the last matrix, detached."""
        for _ in range(count):
            self.given.append(H)
            self.votes.append(self.look(H))
            H = self.votes[-1].matrix.detach()
        return H

    def look(self, H: Float[Tensor, "b 3 3"]) -> Vote:
        """What is believed of a matrix; where its vote leads, nobody goes."""
        vote = self.aggregator(self.scales, self.contexts, H, *self.sizes)
        self.looked.append((H, vote))
        return vote

    def error(self, settings: FastLossSettings) -> Tensor:
        """Of where the turns have led."""
        size = self.sizes[1]
        errors = [bounded_corner_error(v.matrix, self.square, size) for v in self.votes]
        return faded(torch.stack(errors), settings, self.related)

    def flow(self) -> Tensor:
        """Mean distance of every cell's shift from the right one, in the smallest cells.

        What is out of view or out of reach costs nothing and counts in the mean.
        """
        out = []
        for H, vote in zip(self.given, self.votes, strict=True):
            goal = apply_homography(invert(H), self.goals) - self.cells
            gap = (vote.shift.flatten(2).mT - goal) / self.aggregator.cells[0]
            kept = goal.abs().amax(-1) < self.aggregator.reach
            kept &= inside(self.goals, *self.sizes[0]) & inside(self.cells, *self.sizes[1])
            kept &= (self.related > 0)[:, None]
            # chosen before the root: what is not finite has no gradient, not even times zero
            distance = torch.where(kept[..., None], gap, 0).square().sum(-1).add(1e-4).sqrt()
            out.append((distance * kept).mean())
        return torch.stack(out).mean()

    def judgement(self) -> Tensor:
        """Of what the aggregator believes to be the error of what it was given."""
        size, out = self.sizes[1], []
        for H, vote in self.looked:
            error = bounded_corner_error(H, self.square, size)
            error = torch.where(self.related > 0, error, _LARGEST_ERROR)
            out.append(F.smooth_l1_loss(vote.log_error, log_error_of(error, size)))
        return torch.stack(out).mean()


def bounded_corner_error(
    H: Float[Tensor, "b 3 3"], square: Float[Tensor, "b 4 2"], size: tuple[int, int]
) -> Float[Tensor, " b"]:
    """Mean distance of the fixed corners from where they belong, ``square``; px, always finite."""
    gap = apply_homography(H, corners(*size, like=H)) - square
    error = gap.square().sum(-1).add(1e-8).sqrt().mean(-1)
    return torch.nan_to_num(error, nan=_LARGEST_ERROR).clamp(max=_LARGEST_ERROR)


def faded(
    errors: Float[Tensor, "k b"], settings: FastLossSettings, weight: Float[Tensor, " b"]
) -> Float[Tensor, ""]:
    """Mean of the errors' logarithms times each pair's weight; later iterates weigh more."""
    count = len(errors)
    weights = torch.stack(
        [errors.new_full((), settings.fading ** (count - 1 - k)) for k in range(count)]
    )
    values = (torch.log(errors + settings.knee) * weight).mean(1)
    return (weights * values).sum() / weights.sum()


def first_guess(
    fixed_size: tuple[int, int],
    moving_size: tuple[int, int],
    square: Float[Tensor, "b 4 2"],
    draws: Draws,
    settings: FastLossSettings,
) -> Float[Tensor, "b 3 3"]:
    """The middle of the moving image, or corners that are off the truth."""
    middle = homography_from_shifts(torch.zeros_like(square), fixed_size, moving_size)
    off = square + draws.shifts[:, 0] * settings.guess_shift * draws.strengths[:, 0]
    centred = draws.choices[:, 0] < settings.centred
    return torch.where(centred, middle, from_corners(off, fixed_size))


def next_start(
    H: Float[Tensor, "b 3 3"],
    before: Float[Tensor, "b 3 3"],
    error: Float[Tensor, " b"],
    square: Float[Tensor, "b 4 2"],
    draws: Draws,
    stage: int,
    settings: FastLossSettings,
    size: tuple[int, int],
) -> tuple[Float[Tensor, "b 3 3"], Float[Tensor, " b"]]:
    """The truth, what the stage before gave unless it is beyond reach, or corners off the truth.

    Also which pairs had what was given chosen for them, 1 or 0, whether or not it was in reach.
    """
    strength = settings.start_shift * draws.strengths[:, stage] ** 2
    start = from_corners(square + draws.shifts[:, stage] * strength, size)
    choice, reached = draws.choices[:, stage], (error < settings.start_shift)[:, None, None]
    chosen = (choice >= settings.at_truth) & (choice < settings.at_truth + settings.voted)
    start = torch.where(chosen & reached, before, start)
    start = torch.where(choice < settings.at_truth, H, start)
    return start, chosen[:, 0, 0].to(H.dtype)


def from_corners(square: Float[Tensor, "b 4 2"], size: tuple[int, int]) -> Tensor:
    """Homographies that take the fixed image's corners there."""
    return homography_from_shifts(square - corners(*size, like=square), size, size)
