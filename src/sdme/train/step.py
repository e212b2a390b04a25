"""One training step: both tasks' losses, their balance, and the gradients of all parameters."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from sdme import parallel
from sdme.config import DataSettings, LossSettings
from sdme.data.batches import Batch
from sdme.losses.agents import agent_diversity_loss
from sdme.losses.average_precision import (
    average_precision_loss,
    draw_distractors,
    draw_queries,
)
from sdme.losses.convergence import alignment_losses, draw_perturbations
from sdme.losses.guidance import dense_guidance_loss
from sdme.losses.min_norm import min_norm_share
from sdme.losses.repeatability import cosine_repeatability_loss, peakiness_loss
from sdme.model.network import Matching, SdmeNetwork

NAMES = (
    "average_precision",
    "repeatability",
    "peakiness",
    "guidance",
    "agents",
    "brightness",
    "convexity",
)
# compiling its pools takes longer than that ever saves
_peakiness = cast("Callable[[Tensor], Tensor]", torch.compiler.disable(peakiness_loss))
MATCHING_TERMS = 5  # the first of NAMES; the others belong to alignment


LossFunction = Callable[
    [SdmeNetwork, list[Tensor], list[Tensor], Batch, "Objective"], tuple[Tensor, Tensor, Tensor]
]


def draw(H: Float[Tensor, "b 3 3"], settings: DataSettings) -> dict[str, Tensor]:
    """Random tensors of the losses.

    ``queries`` are fixed and ``distractors`` moving pixels of the average precision,
    ``perturbations`` those of :func:`~sdme.losses.convergence.alignment_losses`.
    """
    fixed, moving = settings.fixed_side, settings.moving_side
    return {
        "queries": draw_queries(len(H), fixed, fixed, H.device),
        "distractors": draw_distractors(len(H), moving, moving, H.device),
        "perturbations": draw_perturbations(len(H), H),
    }


@dataclass(frozen=True)
class Objective:
    """The loss settings as the device sees them.

    Weights are a tensor, so that runs with other weights share one compiled step. ``weights`` go
    by ``NAMES``; ``guided`` is 1 where repeatability weights the alignment losses, else 0.
    """

    weights: Float[Tensor, " names"]
    guided: Float[Tensor, ""]
    unit_weights: bool
    matching_share: Float[Tensor, ""] | None

    @staticmethod
    def of(settings: LossSettings, device: torch.device) -> "Objective":
        """From settings, once a run: each call copies to the device."""
        share = settings.matching_share
        return Objective(
            torch.tensor([getattr(settings, name) for name in NAMES], device=device),
            torch.tensor(float(settings.weighted_alignment), device=device),
            settings.unit_weights,
            None if share is None else torch.tensor(share, device=device),
        )


@dataclass(frozen=True)
class StepReport:
    """Numbers of a step, still on the device: losses by name (unweighted) and matching's share.

    The losses are those of this process's pairs; the share is that of all.
    """

    losses: Float[Tensor, " names"]
    share: Float[Tensor, ""]


def compute_gradients(
    network: SdmeNetwork,
    batch: Batch,
    objective: Objective,
    *,
    bfloat16: bool,
    losses_of: LossFunction,
) -> StepReport:
    """Set the gradients of all parameters, with one forward and one backward pass.

    They must be ``None`` before (``zero_grad``).

    The graph is cut at the shared features of both images. Each task works on its own copy; the
    gradients that reach the copies are combined (MGDA-UB, or a fixed share) and go through the
    encoder once, and each task's own parameters get its gradient times its share. That equals
    differentiating the combined loss. ``losses_of`` is :func:`branch_losses`,
    compiled or not.

    With several processes the gradients are those of the loss over all their pairs. They are
    averaged once, here, in one piece of 4 MB: DDP's hooks would average each task's before they get
    their share, and its overlap of communication with two backward passes has little to win.
    """
    device = batch.fixed.device.type
    with torch.autocast(device, torch.bfloat16, enabled=bfloat16):
        shared = [network.encode(batch.fixed), network.encode(batch.moving)]
        for_matching = [z.detach().requires_grad_() for z in shared]
        for_alignment = [z.detach().requires_grad_() for z in shared]
        matching, alignment, losses = losses_of(
            network, for_matching, for_alignment, batch, objective
        )
    (matching + alignment).backward()
    first, second = _gradients(for_matching), _gradients(for_alignment)
    share = objective.matching_share
    if share is None:
        share = min_norm_share(first, second, matching, alignment)
    combined = [
        (share * a + (1 - share) * b).to(z.dtype)
        for a, b, z in zip(first, second, shared, strict=True)
    ]
    with torch.no_grad():
        _scale_gradients(network.alignment.parameters(), 1 - share)
        _scale_gradients(matching_parameters(network), share)
    torch.autograd.backward(shared, combined)
    parallel.average_([p.grad for p in network.parameters() if p.grad is not None])
    return StepReport(losses, share.detach())


def branch_losses(
    network: SdmeNetwork,
    for_matching: list[Tensor],
    for_alignment: list[Tensor],
    batch: Batch,
    objective: Objective,
    *,
    compiled: "Parts | None" = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Run both branches on shared features of both images; then :func:`task_losses`."""
    parts = compiled or Parts(network.match, network.align, task_losses)
    matchings = [parts.match(z) for z in for_matching]
    structures = [parts.align(z) for z in for_alignment]
    with torch.autocast(batch.H.device.type, enabled=False):
        return parts.losses(network, matchings, structures, batch, objective)


@dataclass(frozen=True)
class Parts:
    """The functions that make up :func:`branch_losses`."""

    match: Callable[[Tensor], Matching]
    align: Callable[[Tensor], Tensor]
    losses: Callable[..., tuple[Tensor, Tensor, Tensor]]

    @staticmethod
    def compiled(network: SdmeNetwork) -> "Parts":
        """Compiled one by one at their first use; as one graph they would take minutes."""
        return Parts(
            torch.compile(network.match, dynamic=False),
            torch.compile(network.align, dynamic=False),
            torch.compile(task_losses, dynamic=False),
        )


def task_losses(
    network: SdmeNetwork,
    matchings: list[Matching],
    structures: list[Tensor],
    batch: Batch,
    objective: Objective,
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss of the matching task, of the alignment task, and all terms by ``NAMES``."""
    one, two = matchings
    diversity = batch.H.new_zeros(())
    if one.agents is not None and two.agents is not None:
        diversity = (agent_diversity_loss(one.agents) + agent_diversity_loss(two.agents)) / 2
    weights = [objective.guided * m.repeatability + (1 - objective.guided) for m in matchings]
    terms = torch.stack(
        [
            average_precision_loss(
                one.descriptors,
                two.descriptors,
                batch.H,
                batch.draws["queries"],
                batch.draws["distractors"],
            ),
            cosine_repeatability_loss(one.repeatability, two.repeatability, batch.H),
            (_peakiness(one.repeatability) + _peakiness(two.repeatability)) / 2,
            dense_guidance_loss(one.repeatability, structures[0], network.guidance_gain)
            + dense_guidance_loss(two.repeatability, structures[1], network.guidance_gain),
            diversity,
            *alignment_losses(
                structures[0],
                structures[1],
                weights[0],
                weights[1],
                batch.H,
                batch.draws["perturbations"],
                unit_weights=objective.unit_weights,
            ),
        ]
    )
    # what is switched off may be anything, NaN too
    weighted = torch.where(objective.weights > 0, objective.weights * terms, 0)
    return weighted[:MATCHING_TERMS].sum(), weighted[MATCHING_TERMS:].sum(), terms.detach()


def matching_parameters(network: SdmeNetwork) -> list[torch.nn.Parameter]:
    """Parameters that only the matching task uses."""
    modules = [network.matching, network.repeatability, network.agent_block]
    parameters = [p for m in modules if m is not None for p in m.parameters()]
    return [*parameters, network.guidance_gain]


def _gradients(leaves: list[Tensor]) -> list[Tensor]:
    return [torch.zeros_like(z) if z.grad is None else z.grad for z in leaves]


def _scale_gradients(parameters: Iterable[torch.nn.Parameter], factor: Tensor) -> None:
    gradients = [p.grad for p in parameters if p.grad is not None]
    torch._foreach_mul_(gradients, factor)  # pyright: ignore[reportPrivateImportUsage]
