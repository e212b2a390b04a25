"""One training step: both tasks' losses, their balance, and the gradients of all parameters."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdme.config import LossSettings
from sdme.data.batches import Batch
from sdme.losses.agents import agent_diversity_loss
from sdme.losses.average_precision import average_precision_loss
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


LossFunction = Callable[
    [SdmeNetwork, list[Tensor], list[Tensor], Tensor, LossSettings], tuple[Tensor, Tensor, Tensor]
]


@dataclass(frozen=True)
class StepReport:
    """Numbers of a step, still on the device: losses by name (unweighted) and matching's share."""

    losses: Float[Tensor, " names"]
    share: Float[Tensor, ""]


def compute_gradients(
    network: SdmeNetwork,
    batch: Batch,
    settings: LossSettings,
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
    """
    device = batch.fixed.device.type
    with torch.autocast(device, torch.bfloat16, enabled=bfloat16):
        shared = [network.encode(batch.fixed), network.encode(batch.moving)]
        for_matching = [z.detach().requires_grad_() for z in shared]
        for_alignment = [z.detach().requires_grad_() for z in shared]
        matching, alignment, losses = losses_of(
            network, for_matching, for_alignment, batch.H, settings
        )
    (matching + alignment).backward()
    first, second = _gradients(for_matching), _gradients(for_alignment)
    if settings.matching_share is None:
        share = min_norm_share(first, second, matching, alignment)
    else:
        share = torch.full_like(matching, settings.matching_share)
    combined = [
        (share * a + (1 - share) * b).to(z.dtype)
        for a, b, z in zip(first, second, shared, strict=True)
    ]
    with torch.no_grad():
        for parameter in network.alignment.parameters():
            _scale_gradient(parameter, 1 - share)
        for parameter in matching_parameters(network):
            _scale_gradient(parameter, share)
    torch.autograd.backward(shared, combined)
    return StepReport(losses, share.detach())


def branch_losses(
    network: SdmeNetwork,
    for_matching: list[Tensor],
    for_alignment: list[Tensor],
    H: Float[Tensor, "b 3 3"],
    settings: LossSettings,
) -> tuple[Tensor, Tensor, Tensor]:
    """Run both branches on shared features of both images; then :func:`task_losses`."""
    matchings = [network.match(z) for z in for_matching]
    structures = [network.align(z) for z in for_alignment]
    with torch.autocast(H.device.type, enabled=False):
        return task_losses(network, matchings, structures, H, settings)


def task_losses(
    network: SdmeNetwork,
    matchings: list[Matching],
    structures: list[Tensor],
    H: Float[Tensor, "b 3 3"],
    settings: LossSettings,
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss of the matching task, of the alignment task, and all terms by ``NAMES``."""
    one, two = matchings
    zero = H.new_zeros(())
    terms = [
        average_precision_loss(one.descriptors, two.descriptors, H),
        cosine_repeatability_loss(one.repeatability, two.repeatability, H),
        (peakiness_loss(one.repeatability) + peakiness_loss(two.repeatability)) / 2,
        dense_guidance_loss(one.repeatability, structures[0], network.guidance_gain)
        + dense_guidance_loss(two.repeatability, structures[1], network.guidance_gain),
        zero,
    ]
    if one.agents is not None and two.agents is not None:
        terms[-1] = (agent_diversity_loss(one.agents) + agent_diversity_loss(two.agents)) / 2
    weights = [torch.ones_like(m.repeatability) for m in matchings]
    if settings.weighted_alignment:
        weights = [m.repeatability for m in matchings]
    brightness, convexity = alignment_losses(
        structures[0],
        structures[1],
        weights[0],
        weights[1],
        H,
        draw_perturbations(len(H), H),
        unit_weights=settings.unit_weights,
    )
    weights_of_terms = (
        settings.average_precision,
        settings.repeatability,
        settings.peakiness,
        settings.guidance,
        settings.agents,
    )
    matching = sum((w * t for w, t in zip(weights_of_terms, terms, strict=True)), zero)
    losses = torch.stack([t.detach() for t in (*terms, brightness, convexity)])
    alignment = settings.brightness * brightness + settings.convexity * convexity
    return matching, alignment, losses


def matching_parameters(network: SdmeNetwork) -> list[torch.nn.Parameter]:
    """Parameters that only the matching task uses."""
    modules = [network.matching, network.repeatability, network.agent_block]
    parameters = [p for m in modules if m is not None for p in m.parameters()]
    return [*parameters, network.guidance_gain]


def _gradients(leaves: list[Tensor]) -> list[Tensor]:
    return [torch.zeros_like(z) if z.grad is None else z.grad for z in leaves]


def _scale_gradient(parameter: torch.nn.Parameter, factor: Tensor) -> None:
    if parameter.grad is not None:
        parameter.grad *= factor
