"""Dense guidance and agent diversity against their formulas."""

import pytest
import torch

from sdme.losses.agents import agent_diversity_loss
from sdme.losses.guidance import dense_guidance_loss


def maps(batch, height=9, width=7, seed=0):
    return torch.rand(batch, 1, height, width, generator=torch.Generator().manual_seed(seed))


def guidance_by_formula(repeatability, structure, gain):
    distances = []
    for r, s in zip(repeatability[:, 0].double(), structure[:, 0].double(), strict=True):
        inverted = 1 - (s - s.min()) / (s.max() - s.min())
        positive = (1 + torch.exp(max(gain, 0.0) * inverted)).log()
        distances.append((r - positive / (1 + positive)).square().sum().sqrt())
    return torch.stack(distances).mean()


@pytest.mark.parametrize("gain", [1.0, 3.5, 0.0, -2.0])
def test_guidance_equals_its_formula(gain):
    repeatability, structure = maps(3), 0.3 * maps(3, seed=1) + 0.1
    found = dense_guidance_loss(repeatability, structure, torch.tensor(gain))
    expected = guidance_by_formula(repeatability, structure, gain)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)


def test_guidance_moves_the_detector_and_the_gain_but_not_the_structure():
    repeatability, structure = maps(2).requires_grad_(), maps(2, seed=1).requires_grad_()
    gain = torch.ones((), requires_grad=True)
    dense_guidance_loss(repeatability, structure, gain).backward()
    assert structure.grad is None
    assert gain.grad.abs() > 1e-3 and repeatability.grad.abs().sum() > 0
    step = 1e-3
    up, down = (
        guidance_by_formula(repeatability.detach(), structure.detach(), 1 + s)
        for s in (step, -step)
    )
    assert gain.grad.item() == pytest.approx(((up - down) / (2 * step)).item(), rel=1e-3)


def test_guidance_wants_keypoints_where_the_structure_map_is_low():
    structure = torch.ones(1, 1, 8, 8)
    structure[..., 3, 5] = 0
    repeatability = torch.full((1, 1, 8, 8), 0.5, requires_grad=True)
    dense_guidance_loss(repeatability, structure, torch.tensor(2.0)).backward()
    assert repeatability.grad.flatten().argmin() == 3 * 8 + 5


def test_guidance_on_a_flat_structure_map_is_finite():
    repeatability = maps(1).requires_grad_()
    loss = dense_guidance_loss(repeatability, torch.full((1, 1, 9, 7), 0.4), torch.tensor(1.0))
    loss.backward()
    assert loss.isfinite() and repeatability.grad.isfinite().all()


def test_guidance_has_a_finite_gradient_at_its_target():
    repeatability = torch.full((1, 1, 4, 4), 0.0, requires_grad=True)
    structure = maps(1, 4, 4)
    target = torch.tensor(0.0)
    spread = (structure - structure.min()) / (structure.max() - structure.min())
    exact = torch.nn.functional.softplus(torch.relu(target) * (1 - spread))
    repeatability.data.copy_(exact / (1 + exact))
    dense_guidance_loss(repeatability, structure, target).backward()
    assert repeatability.grad.isfinite().all()


def diversity_by_loops(agents):
    total, count = 0.0, 0
    for image in agents.double():
        for i, one in enumerate(image):
            for j, two in enumerate(image):
                if i != j:
                    total += (one @ two / (one.norm() * two.norm())).item()
                    count += 1
    return total / count


def test_diversity_equals_loops():
    agents = torch.randn(3, 6, 10, generator=torch.Generator().manual_seed(0)) + 0.5
    found = agent_diversity_loss(agents).item()
    assert found == pytest.approx(diversity_by_loops(agents), abs=1e-6)


def test_diversity_of_equal_and_of_perpendicular_agents():
    assert agent_diversity_loss(torch.ones(2, 5, 8)).item() == pytest.approx(1)
    assert agent_diversity_loss(3 * torch.eye(5)[None]).item() == pytest.approx(0)
    opposite = torch.tensor([[[1.0, 0], [-2.0, 0]]])
    assert agent_diversity_loss(opposite).item() == pytest.approx(-1)
