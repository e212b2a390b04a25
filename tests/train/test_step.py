"""One step's gradients against differentiating the combined loss the long way."""

import pytest
import torch
import torch.nn.functional as F

from sdme.config import DataSettings, LossSettings, NetworkSettings
from sdme.data.batches import Batch
from sdme.losses.min_norm import min_norm_share
from sdme.model.network import SdmeNetwork
from sdme.train import step
from sdme.train.step import (
    NAMES,
    Objective,
    branch_losses,
    compute_gradients,
    draw,
    matching_parameters,
    task_losses,
)

CPU = torch.device("cpu")
SMALL = NetworkSettings(descriptor_channels=32, agents=4, agent_heads=2)
LIGHT = {"average_precision": 0.1, "repeatability": 0.1, "peakiness": 0.05, "guidance": 0.001}
BALANCED = LossSettings(**LIGHT, agents=0.05)  # both losses of a size: the share is not clipped


@pytest.fixture(scope="module")
def batch():
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(2, 3, 9, 9, generator=generator)
    moving = F.interpolate(coarse, (56, 56), mode="bicubic").clamp(0, 1)
    H = torch.tensor([[[1.0, 0, 8], [0, 1, 8], [0, 0, 1]]]).repeat(2, 1, 1)
    noise = torch.rand(2, 3, 40, 40, generator=generator)
    fixed = (0.6 - 0.3 * moving[..., 8:48, 8:48]) * noise
    torch.manual_seed(2)
    return Batch(fixed, moving, H, draw(H, DataSettings(fixed_side=40, moving_side=56)))


def new_network(use_agents=True):
    """Branches apart, a detector that is not flat, training mode."""
    torch.manual_seed(1)
    network = SdmeNetwork(SMALL.model_copy(update={"use_agents": use_agents})).train()
    with torch.no_grad():
        network.repeatability.weight.mul_(20)
        for parameter in network.alignment.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    return network


def losses_and_features(network, batch, settings):
    """Both tasks' losses by an uncut forward pass."""
    shared = [network.encode(batch.fixed), network.encode(batch.moving)]
    matchings = [network.match(z) for z in shared]
    structures = [network.align(z) for z in shared]
    matching, alignment, _ = task_losses(
        network, matchings, structures, batch, Objective.of(settings, CPU)
    )
    return shared, matching, alignment


def reference_gradients(network, batch, settings):
    """Two passes: one for the share, one for the gradient of the combined loss."""
    shared, matching, alignment = losses_and_features(network, batch, settings)
    share = settings.matching_share
    if share is None:
        first = torch.autograd.grad(matching, shared, retain_graph=True)
        second = torch.autograd.grad(alignment, shared)
        share = min_norm_share(first, second, matching, alignment).item()
    _, matching, alignment = losses_and_features(network, batch, settings)
    network.zero_grad()
    (share * matching + (1 - share) * alignment).backward()
    return share, {name: p.grad for name, p in network.named_parameters()}


def one_pass_gradients(network, batch, settings):
    network.zero_grad()
    objective = Objective.of(settings, CPU)
    report = compute_gradients(network, batch, objective, bfloat16=False, losses_of=branch_losses)
    return report, {name: p.grad for name, p in network.named_parameters()}


def by_module(gradients):
    """Gradients of a module's weight and bias in one vector; a bias before a norm has none."""
    modules = {}
    for name, gradient in gradients.items():
        if gradient is not None:
            modules.setdefault(name.rpartition(".")[0], []).append(gradient.flatten())
    return {name: torch.cat(parts) for name, parts in modules.items()}


@pytest.mark.parametrize(
    "settings, clipped",
    [
        (BALANCED, False),
        (LossSettings(average_precision=10), True),
        (LossSettings(matching_share=0.3), False),
        (LossSettings(unit_weights=True, peakiness=0, guidance=0.001, repeatability=1), False),
        (BALANCED.model_copy(update={"weighted_alignment": False}), False),
    ],
    ids=["mgda", "mgda clipped", "fixed share", "other terms", "unweighted"],
)
def test_one_pass_equals_differentiating_the_combined_loss(batch, settings, clipped):
    network = new_network()
    expected_share, expected = reference_gradients(network, batch, settings)
    report, found = one_pass_gradients(network, batch, settings)
    assert report.share.item() == pytest.approx(expected_share, rel=1e-4)
    assert (not 0.0011 < expected_share < 0.9989) == clipped
    found, expected = by_module(found), by_module(expected)
    assert len(found) == len(expected) > 20
    for name, gradient in expected.items():
        assert gradient.norm() > 0, name
        gap = (found[name] - gradient).norm() / gradient.norm()
        assert gap < 1e-3, (name, gap.item())


def test_balance_sees_the_gradients_at_the_features_of_both_images(batch, monkeypatch):
    network, seen = new_network(), []
    shared, matching, alignment = losses_and_features(network, batch, BALANCED)
    expected = [
        torch.autograd.grad(loss, shared, retain_graph=True) for loss in (matching, alignment)
    ]

    def recorded(*arguments):
        seen.append(arguments)
        return min_norm_share(*arguments)

    monkeypatch.setattr(step, "min_norm_share", recorded)
    one_pass_gradients(network, batch, BALANCED)
    ((first, second, loss1, loss2),) = seen
    assert len(first) == len(second) == 2
    for found, true in zip((*first, *second), (*expected[0], *expected[1]), strict=True):
        assert (found - true).norm() < 1e-3 * true.norm()
    torch.testing.assert_close((loss1, loss2), (matching, alignment), rtol=1e-4, atol=0)


def test_each_extreme_share_trains_one_branch_only(batch):
    network = new_network()
    for share, idle in ((1.0, network.alignment.parameters()), (0.0, matching_parameters(network))):
        one_pass_gradients(network, batch, LossSettings(matching_share=share))
        assert all(p.grad is None or p.grad.abs().max() == 0 for p in idle)
        assert all(p.grad.abs().max() > 0 for p in network.encoder.parameters() if p.ndim == 4)


def test_parameters_belong_to_encoder_matching_or_alignment_once():
    network = new_network()
    parts = [network.encoder.parameters(), network.alignment.parameters()]
    parts = [p for part in (*parts, matching_parameters(network)) for p in part]
    assert len(parts) == len({id(p) for p in parts}) == len(list(network.parameters()))


def test_report_and_total_agree(batch):
    network = new_network()
    settings = LossSettings(
        average_precision=2, repeatability=3, peakiness=0.5, guidance=0.1, agents=0.7
    )
    report, _ = one_pass_gradients(network, batch, settings)
    _, matching, alignment = losses_and_features(network, batch, settings)
    terms = dict(zip(NAMES, report.losses.tolist(), strict=True))
    weighted = sum(getattr(settings, n) * terms[n] for n in NAMES[:5])
    assert weighted == pytest.approx(matching.item(), rel=1e-4)
    total = sum(getattr(settings, n, 1) * terms[n] for n in NAMES[5:])
    assert total == pytest.approx(alignment.item(), rel=1e-4)
    assert not report.losses.requires_grad and not report.share.requires_grad


def test_without_agents(batch):
    report, found = one_pass_gradients(new_network(use_agents=False), batch, BALANCED)
    assert report.losses[NAMES.index("agents")] == 0
    assert all(g is not None and g.isfinite().all() for g in found.values())


def test_bfloat16_is_close(batch):
    network = new_network()
    report, expected = one_pass_gradients(network, batch, LossSettings(matching_share=0.5))
    network.zero_grad()
    objective = Objective.of(LossSettings(matching_share=0.5), CPU)
    rough = compute_gradients(network, batch, objective, bfloat16=True, losses_of=branch_losses)
    torch.testing.assert_close(rough.losses, report.losses, rtol=0.1, atol=0.02)
    found = {name: p.grad for name, p in network.named_parameters()}
    name = "encoder.0.weight"
    cosine = F.cosine_similarity(found[name].flatten(), expected[name].flatten(), dim=0)
    assert cosine > 0.9 and found[name].dtype == torch.float32


def test_alignment_does_not_pull_on_the_detector(batch):
    """Its weights are looked at, not learned from: only matching moves the repeatability."""
    network = new_network()
    _, matching, alignment = losses_and_features(network, batch, LossSettings(guidance=1))
    for loss, untouched in (
        (alignment, network.repeatability.parameters()),
        (matching, network.alignment.parameters()),
    ):
        pulled = torch.autograd.grad(loss, list(untouched), retain_graph=True, allow_unused=True)
        assert all(g is None or not g.any() for g in pulled)


def test_a_term_that_is_switched_off_may_be_anything(batch, monkeypatch):
    monkeypatch.setattr(step, "cosine_repeatability_loss", lambda *_: torch.tensor(torch.nan))
    network = new_network()
    report, found = one_pass_gradients(network, batch, LossSettings(repeatability=0))
    assert report.losses.isnan().sum() == 1
    assert all(g is None or g.isfinite().all() for g in found.values())
    assert any(g is not None and g.any() for g in found.values())
