"""Losses of the alignment branch against loops over draws, signs and pixels."""

import math

import pytest
import torch
import torch.nn.functional as F

from sdme.losses.convergence import alignment_losses, draw_perturbations


def value_at(image, x, y):
    """Bilinear look-up, zeros outside."""
    height, width = image.shape
    total = 0.0
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(x), math.floor(x) + 1):
            if 0 <= row < height and 0 <= column < width:
                share = (1 - abs(x - column)) * (1 - abs(y - row))
                total += share * image[row, column].item()
    return total


def energy(maps, H, at_truth=None):
    """Mean over fixed pixels of w0 w1 (S0 - S1)^2, and the mean weight."""
    structure0, structure1, weight0, weight1 = maps
    height, width = structure0.shape
    total, weights = 0.0, 0.0
    for y in range(height):
        for x in range(width):
            u, v, w = (H.double() @ torch.tensor([x, y, 1], dtype=torch.float64)).tolist()
            weight = weight0[y, x].item() * value_at(weight1, u / w, v / w)
            difference = structure0[y, x].item() - value_at(structure1, u / w, v / w)
            total, weights = total + weight * difference**2, weights + weight
    count = height * width
    return total / count / (at_truth or 1), weights / count


def losses_by_loops(structures, weights, H, perturbations, unit_weights):
    brightness, too_flat, too_steep = 0.0, 0.0, 0.0
    for b in range(len(H)):
        maps = [t[b, 0] for t in (*structures, *weights)]
        scale = energy(maps, H[b])[1] if unit_weights else None
        at_truth = energy(maps, H[b], scale)[0]
        brightness += at_truth
        for perturbation in perturbations[b]:
            s = perturbation.square().sum().item()
            for sign in (-1, 1):
                near = energy(maps, H[b] + sign * perturbation * H[b], scale)[0]
                far = energy(maps, H[b] + 2 * sign * perturbation * H[b], scale)[0]
                too_flat += max(0, s - (near - at_truth))
                too_steep += max(0, far - near - 3 * s)
    return brightness / len(H), (too_flat / len(H), too_steep / len(H))


def random_maps(batch, height, width, seed):
    return torch.rand(batch, 1, height, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("unit_weights", [True, False])
def test_losses_equal_loops(unit_weights):
    torch.manual_seed(0)
    structures = [10 * random_maps(2, 6, 8, 1), 10 * random_maps(2, 11, 10, 2)]
    weights = [random_maps(2, 6, 8, 3), random_maps(2, 11, 10, 4)]
    H = torch.eye(3) + 0.1 * torch.randn(2, 3, 3) * torch.tensor(
        [[1, 1, 9], [1, 1, 9], [0.05, 0.05, 0]]
    )
    perturbations = draw_perturbations(2, H)[:, :2]
    found = alignment_losses(*structures, *weights, H, perturbations, unit_weights=unit_weights)
    brightness, kinds = losses_by_loops(structures, weights, H, perturbations, unit_weights)
    assert found[0].item() == pytest.approx(brightness, rel=1e-4)
    assert found[1].item() == pytest.approx(sum(kinds), rel=1e-4)
    assert min(kinds) > 0, "one of the two terms of convexity takes no part"


def test_both_convexity_terms_take_part():
    """A landscape that is too flat, and one that rises too fast further out."""
    ones = torch.ones(1, 1, 24, 24)
    H, perturbations = torch.eye(3)[None], torch.zeros(1, 1, 3, 3)
    perturbations[..., 0, 0] = 1 / 12
    bound = 1 / 144
    flat = alignment_losses(ones, ones, ones, ones, H, perturbations, unit_weights=False)
    ramp = torch.linspace(0, 1, 24).expand(1, 1, 24, 24)
    steep = alignment_losses(20 * ramp, 20 * ramp, ones, ones, H, perturbations, unit_weights=False)
    mild = alignment_losses(ramp, ramp, ones, ones, H, perturbations, unit_weights=False)
    assert flat[0] == 0 and bound < flat[1] < 2 * bound + 1e-6  # never rises: s for both signs
    assert 0.5 * bound < mild[1] < 1.5 * bound  # rises by about s / 3 only
    assert steep[1] > 10 * bound  # from d = 1 to 2 by far more than 3 s


def test_convention_brightness_is_zero_at_the_truth_only():
    moving = F.interpolate(random_maps(1, 8, 8, 0), (48, 48), mode="bicubic")
    fixed, weight0, weight1 = (
        moving[..., 6:38, 11:43],
        torch.ones(1, 1, 32, 32),
        torch.ones_like(moving),
    )
    H = torch.eye(3)[None].clone()
    perturbations = draw_perturbations(1, H)

    def brightness(dx, dy):
        H[0, 0, 2], H[0, 1, 2] = dx, dy
        weights = (weight0, weight1)
        return alignment_losses(fixed, moving, *weights, H, perturbations, unit_weights=True)[0]

    assert brightness(11, 6) < 1e-10
    for wrong in ((6, 11), (-11, -6), (10, 6), (11, 7)):
        assert brightness(*wrong) > 1e-4


@pytest.mark.parametrize("unit_weights", [True, False])
def test_weights_get_no_gradient_and_structures_do(unit_weights):
    structures = [random_maps(2, 8, 8, s).requires_grad_() for s in (1, 2)]
    weights = [random_maps(2, 8, 8, s).requires_grad_() for s in (3, 4)]
    H = torch.eye(3).repeat(2, 1, 1)
    losses = alignment_losses(
        *structures, *weights, H, draw_perturbations(2, H), unit_weights=unit_weights
    )
    sum(losses).backward()
    assert weights[0].grad is None and weights[1].grad is None
    for leaf in structures:
        assert leaf.grad.isfinite().all() and leaf.grad.abs().sum() > 0


def test_unit_weights_make_the_level_of_the_detector_irrelevant():
    structures, H = [random_maps(1, 8, 8, s) for s in (1, 2)], torch.eye(3)[None]
    perturbations, weight = draw_perturbations(1, H), random_maps(1, 8, 8, 3)

    def losses(scale, unit_weights):
        weights = (scale * weight, weight)
        return torch.stack(
            alignment_losses(*structures, *weights, H, perturbations, unit_weights=unit_weights)
        )

    torch.testing.assert_close(losses(0.01, True), losses(1, True))
    torch.testing.assert_close(losses(0.5, False)[0], losses(1, False)[0] / 2)
    assert losses(0.01, True)[0] > 10 * losses(0.01, False)[0]


def test_pixels_without_weight_do_not_count():
    structure, H = random_maps(1, 8, 8, 1), torch.eye(3)[None]
    other, weight = structure.clone(), torch.ones(1, 1, 8, 8)
    other[..., 4:] = 9
    weight[..., 4:] = 0
    none = torch.zeros(1, 1, 3, 3)
    for weights in ((weight, torch.ones_like(weight)), (torch.ones_like(weight), weight)):
        assert alignment_losses(structure, other, *weights, H, none, unit_weights=False)[0] == 0
    unseen = torch.zeros(1, 1, 8, 8)
    losses = alignment_losses(structure, other, unseen, unseen, H, none, unit_weights=True)
    assert losses[0] == 0 and losses[1].isfinite()


def test_perturbations_stay_in_their_bounds():
    torch.manual_seed(0)
    draws = draw_perturbations(2000, torch.zeros(1))
    assert draws.shape == (2000, 4, 3, 3)
    assert (draws[..., 2, 2] == 0).all()
    others = draws.flatten(2)[..., :8]
    assert others.abs().max() <= 1 / 12 and others.abs().min() >= 0.02
    assert (others > 0).float().mean().item() == pytest.approx(0.5, abs=0.01)
    # Uniform apart from the smallest ones, which are moved to the bound.
    assert (others.abs() == 0.02).float().mean().item() == pytest.approx(0.02 * 12, abs=0.01)
    assert (others.abs() > 0.05).float().mean().item() == pytest.approx(1 - 0.05 * 12, abs=0.01)
