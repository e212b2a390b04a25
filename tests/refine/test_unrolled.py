"""Unrolled Lucas-Kanade on maps whose truth is known."""

import math
from dataclasses import replace

import pytest
import torch

from sdme.config import FastLossSettings, FastRegisterSettings
from sdme.geometry.homography import apply_homography, corner_error, corners, invert
from sdme.geometry.increments import eliminated, solve_spd
from sdme.geometry.random_warp import homography_from_shifts
from sdme.geometry.sampling import pixel_grid
from sdme.model.fast import LEVELS, FastFeatures, Level
from sdme.refine.unrolled import refine_unrolled

STEPS, TRAINING_STEPS = FastRegisterSettings().steps, FastLossSettings().steps

FIXED, MOVING = (96, 80), (128, 112)
ODD = (101, 77), (133, 90)
DAMPING = torch.full((3, 8), -6.0)


def truths(count, fixed=FIXED, moving=MOVING, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shifts = (torch.rand(count, 4, 2, generator=generator) - 0.5) * 16
    return homography_from_shifts(shifts, fixed, moving), shifts


def off(shifts, error, fixed=FIXED, moving=MOVING, seed=1):
    """Starts of which every corner is off by ``error`` px in a direction of its own."""
    generator = torch.Generator().manual_seed(seed)
    angle = 2 * math.pi * torch.rand(len(shifts), 4, generator=generator)
    wrong = error * torch.stack([angle.cos(), angle.sin()], -1)
    return homography_from_shifts(shifts + wrong, fixed, moving)


def features(H, size, seeds, weight=1.0):
    """Maps of smooth fields f as unit vectors (cos f, sin f), sampled where H puts the cells.

    Nothing interpolates; the fields are functions of the moving pixel, and one seed makes a pair's.
    """
    count, (width, height) = len(H), size
    padded = width + -width % 16, height + -height % 16

    def level(cell):
        w, h = (side // cell for side in padded)
        points = apply_homography(H, ((pixel_grid(w, h, like=H) + 0.5) * cell - 0.5)[None])
        values = []
        for i, seed in enumerate(seeds):
            generator = torch.Generator().manual_seed(seed)
            length = 50 + 60 * torch.rand(3, 2, 4, generator=generator)
            angle, phase = 2 * math.pi * torch.rand(2, 3, 2, 4, generator=generator)
            frequency = (
                torch.stack([angle.cos(), angle.sin()], -1) * 2 * math.pi / length[..., None]
            )
            field = ((points[i] @ frequency.flatten(0, 2).T) + phase.flatten()).sin()
            field = field.unflatten(1, (3, 8)).sum(-1) * 0.6
            values.append(torch.cat([field.cos(), field.sin()], 1).T / 3**0.5)
        return Level(torch.stack(values).unflatten(2, (h, w)), torch.full((count, 1, h, w), weight))

    w, h = (side // 8 for side in padded)
    rest = torch.zeros(count, 1, h, w)
    cells = torch.zeros(count, 1, 2 * h, 2 * w)
    return FastFeatures(size, cells, cells, rest, rest, (level(2), level(4), level(8)))


def pairs(H, fixed=FIXED, moving=MOVING, seeds=None):
    seeds = range(len(H)) if seeds is None else seeds
    still = torch.eye(3).expand(len(H), 3, 3)
    return features(H, fixed, seeds), features(still, moving, seeds)


def changed(given, change):
    """Features with every level's ``values`` and ``weight`` changed by a function of their cell."""
    finest, middle, coarsest = (
        Level(*change(level.values, level.weight, cell))
        for level, cell in zip(given.levels, LEVELS, strict=True)
    )
    return replace(given, levels=(finest, middle, coarsest))


@pytest.mark.parametrize(("fixed", "moving"), [(FIXED, MOVING), ODD, ((64, 64), (64, 64))])
def test_convergence_from_twelve_pixels(fixed, moving):
    H, shifts = truths(6, fixed, moving)
    start = off(shifts, 12, fixed, moving)
    assert corner_error(start, H, *fixed).min() > 11
    iterates = refine_unrolled(*pairs(H, fixed, moving), start, DAMPING, STEPS)
    assert len(iterates) == sum(STEPS)
    assert corner_error(iterates[-1], H, *fixed).max() < 0.05


def test_fewer_steps_of_training_go_most_of_the_way():
    H, shifts = truths(6)
    iterates = refine_unrolled(*pairs(H), off(shifts, 6), DAMPING, TRAINING_STEPS)
    assert len(iterates) == sum(TRAINING_STEPS)
    assert corner_error(iterates[-1], H, *FIXED).max() < 0.2


@pytest.mark.parametrize(("fixed", "moving"), [(FIXED, MOVING), ODD])
def test_the_truth_is_a_fixed_point(fixed, moving):
    H, _ = truths(6, fixed, moving)
    for iterate in refine_unrolled(*pairs(H, fixed, moving), H, DAMPING, (3, 0, 0)):
        assert corner_error(iterate, H, *fixed).max() < 0.05


def test_iterates_are_ordered_from_coarse_to_fine():
    H, shifts = truths(2)
    pair, start = pairs(H), off(shifts, 4)
    every = refine_unrolled(*pair, start, DAMPING, (1, 1, 1))
    coarse = refine_unrolled(*pair, start, DAMPING, (0, 0, 1))
    fine = refine_unrolled(*pair, every[1], DAMPING, (1, 0, 0))
    assert torch.equal(every[0], coarse[0]) and torch.equal(every[2], fine[0])


def corrupted(given, size, zero_weight):
    """Noise on the left 40 % of the maps, counted or not."""
    generator = torch.Generator().manual_seed(9)

    def change(values, weight, cell):
        width = int(0.4 * size[0] / cell)
        noise = torch.randn(values.shape, generator=generator)
        noise = noise / noise.norm(dim=1, keepdim=True)
        values, weight = values.clone(), weight.clone()
        values[..., :width] = noise[..., :width]
        if zero_weight:
            # the neighbour's gradient still reaches across
            weight[..., : width + 1] = 0
        return values, weight

    return changed(given, change)


@pytest.mark.parametrize("side", ["fixed", "moving"])
def test_weights_of_zero_exclude_what_is_corrupted(side):
    H, shifts = truths(6)
    start = off(shifts, 3)

    def refined(zero_weight):
        fixed, moving = pairs(H)
        if side == "fixed":
            fixed = corrupted(fixed, FIXED, zero_weight)
        else:
            moving = corrupted(moving, MOVING, zero_weight)
        last = refine_unrolled(fixed, moving, start, DAMPING, STEPS)[-1]
        return corner_error(last, H, *FIXED)

    assert refined(True).max() < 0.1
    assert refined(False).mean() > 5 * refined(True).mean()


@pytest.mark.parametrize("side", ["fixed", "moving"])
def test_padding_does_not_count(side):
    """What lies in the last, incomplete cells beyond an image has no say."""
    H, shifts = truths(3, *ODD)
    start = off(shifts, 4, *ODD)
    pair = pairs(H, *ODD)
    size = ODD[0] if side == "fixed" else ODD[1]

    def change(values, weight, cell):
        values = values.clone()
        x, y = (math.ceil((n - 1 + 0.5) / cell - 0.5) + 1 for n in size)
        values[..., x + 1 :], values[..., y + 1 :, :] = 7.0, 7.0
        return values, weight

    bad = changed(pair[0], change), pair[1]
    if side == "moving":
        bad = pair[0], changed(pair[1], change)
    expected = refine_unrolled(*pair, start, DAMPING, (2, 2, 2))
    found = refine_unrolled(*bad, start, DAMPING, (2, 2, 2))
    assert max(corner_error(a, b, *ODD[0]).max() for a, b in zip(found, expected, strict=True)) == 0


def test_gradients_reach_maps_weights_and_damping():
    H, shifts = truths(2)
    leaves = []

    def leaf(values, weight, cell):
        generator = torch.Generator().manual_seed(cell)
        values = values + 0.05 * torch.randn(values.shape, generator=generator)
        weight = 0.3 + 0.6 * torch.rand(weight.shape, generator=generator)
        leaves.extend([values.requires_grad_(), weight.requires_grad_()])
        return values, weight

    fixed, moving = (changed(given, leaf) for given in pairs(H))
    damping = DAMPING.clone().requires_grad_()
    iterates = refine_unrolled(fixed, moving, off(shifts, 4), damping, TRAINING_STEPS)
    corner_error(iterates[-1], H, *FIXED).sum().backward()
    for tensor in [*leaves, damping]:
        assert tensor.grad is not None and tensor.grad.isfinite().all()
        assert (tensor.grad != 0).any(dim=-1).float().mean() > 0.5


def test_the_gradient_is_that_of_finite_differences():
    """Where all cells stay in view: a cell that enters or leaves is a jump, which has no slope."""
    size = 192, 176
    H, shifts = truths(1, FIXED, size)
    fixed, moving = pairs(H, FIXED, size)
    start, square = off(shifts, 3, FIXED, size), corners(*FIXED, like=H)
    generator = torch.Generator().manual_seed(0)
    direction = [torch.randn(level.values.shape, generator=generator) for level in fixed.levels]
    weighing = torch.randn(1, 4, 2, generator=generator)

    def outcome(amount):
        left = iter(direction)
        bent = changed(fixed, lambda values, weight, _: (values + amount * next(left), weight))
        last = refine_unrolled(bent, moving, start, DAMPING, (1, 1, 1))[-1]
        return (apply_homography(last, square) * weighing).sum()

    amount = torch.zeros((), requires_grad=True)
    (gradient,) = torch.autograd.grad(outcome(amount), amount)
    slope = (outcome(5e-3) - outcome(-5e-3)) / 1e-2
    assert gradient.item() == pytest.approx(slope.item(), rel=0.02)


def test_a_gradient_step_on_the_weights_learns_what_is_corrupted():
    H, shifts = truths(2)
    fixed, moving = pairs(H)
    fixed = corrupted(fixed, FIXED, False)
    logits = [torch.zeros_like(level.weight).requires_grad_() for level in fixed.levels]

    def loss():
        weights = iter(logits)
        given = changed(fixed, lambda values, _, __: (values, next(weights).sigmoid()))
        iterates = refine_unrolled(given, moving, off(shifts, 3), DAMPING, TRAINING_STEPS)
        return corner_error(iterates[-1], H, *FIXED).mean()

    optimiser = torch.optim.Adam(logits, 1.0)
    before = loss().item()
    for _ in range(4):
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()
    assert loss().item() < 0.5 * before


def test_heavy_damping_stands_still():
    H, shifts = truths(2)
    start = off(shifts, 4)
    lightly = refine_unrolled(*pairs(H), start, DAMPING, (0, 0, 1))[-1]
    heavily = refine_unrolled(*pairs(H), start, DAMPING + 10, (0, 0, 1))[-1]
    moved = [corner_error(found, start, *FIXED) for found in (lightly, heavily)]
    assert (moved[1] < 0.1 * moved[0]).all()


def test_pairs_of_a_batch_do_not_influence_each_other():
    H, shifts = truths(4)
    start = off(shifts, 5)
    start[2, 0, 2] = 1e4  # this one overlaps nowhere
    together = refine_unrolled(*pairs(H), start, DAMPING, (2, 2, 2))[-1]
    for i in range(4):
        alone = pairs(H[i : i + 1], seeds=[i])
        found = refine_unrolled(*alone, start[i : i + 1], DAMPING, (2, 2, 2))[-1]
        assert corner_error(together[i : i + 1], found, *FIXED).item() < 1e-2


@pytest.mark.parametrize(
    "H",
    [
        [[1.0, 0, 5000], [0, 1, 0], [0, 0, 1]],
        [[1.0, 0, 16], [0, 1, 16], [-0.02, 0, 1]],  # a horizon in the image
        [[1e-6, 0, 60], [0, 1e-6, 60], [0, 0, 1]],  # all pixels on one
        [[0.0, 0, 0], [0, 0, 0], [0, 0, 1]],
        [[-1.0, 0, 100], [0, 1, 0], [0, 0, 1]],  # mirrored
    ],
)
def test_any_start_gives_finite_matrices_and_gradients(H):
    truth, _ = truths(1)
    fixed, moving = pairs(truth)
    leaves = []

    def leaf(values, weight, _):
        leaves.append(values.clone().requires_grad_())
        return leaves[-1], weight

    fixed, damping = changed(fixed, leaf), DAMPING.clone().requires_grad_()
    iterates = refine_unrolled(fixed, moving, torch.tensor([H]), damping, TRAINING_STEPS)
    torch.stack(iterates).sum().backward()
    assert torch.stack(iterates).isfinite().all()
    assert all(x.grad is not None and x.grad.isfinite().all() for x in [*leaves, damping])


def test_a_start_without_overlap_is_given_back():
    H, _ = truths(1)
    start = H.clone()
    start[:, 0, 2] = 5000
    for iterate in refine_unrolled(*pairs(H), start, DAMPING, STEPS):
        torch.testing.assert_close(iterate, start, rtol=1e-5, atol=1e-4)


def test_flat_maps_give_the_start_back():
    H, shifts = truths(2)
    start = off(shifts, 3)

    def flat(values, weight, _):
        return torch.ones_like(values) / 6**0.5, weight

    fixed, moving = pairs(H)
    iterates = refine_unrolled(changed(fixed, flat), changed(moving, flat), start, DAMPING, STEPS)
    assert corner_error(iterates[-1], start, *FIXED).max() < 1e-3


@pytest.mark.parametrize("solver", [solve_spd, eliminated])
@pytest.mark.parametrize("kind", ["stripes", "one cell", "one column", "huge", "tiny"])
def test_badly_posed_maps_give_finite_matrices_and_gradients(solver, kind, monkeypatch):
    """Both solvers, with hardly any damping; what the maps do not tell is left as it is."""
    monkeypatch.setattr("sdme.refine.unrolled.solve_spd", solver)
    H, shifts = truths(2)
    leaves = []

    def change(values, weight, _):
        values, weight = values.clone(), weight.clone()
        if kind == "stripes":
            values = values[..., :1, :].expand_as(values).clone()
        elif kind in ("one cell", "one column"):
            counts = torch.zeros_like(weight)
            counts[..., slice(4, 5) if kind == "one cell" else slice(None), 5] = 1
            weight = weight * counts
        else:
            weight = weight * {"huge": 1e4, "tiny": 1e-7}[kind]
        leaves.extend([values.requires_grad_(), weight.requires_grad_()])
        return values, weight

    fixed, moving = (changed(given, change) for given in pairs(H))
    start, damping = off(shifts, 2), torch.full((3, 8), -20.0, requires_grad=True)
    iterates = torch.stack(refine_unrolled(fixed, moving, start, damping, TRAINING_STEPS))
    assert iterates.isfinite().all()
    corner_error(iterates[-1], H, *FIXED).clamp(max=100).sum().backward()
    for tensor in [*leaves, damping]:
        assert tensor.grad is not None and tensor.grad.isfinite().all()
    if kind == "tiny":
        assert corner_error(iterates[-1], start, *FIXED).max() < 1


def test_the_solver_of_cuda_finds_the_same(monkeypatch):
    H, shifts = truths(4)
    pair, start = pairs(H), off(shifts, 6)
    expected = refine_unrolled(*pair, start, DAMPING, STEPS)[-1]
    monkeypatch.setattr("sdme.refine.unrolled.solve_spd", eliminated)
    found = refine_unrolled(*pair, start, DAMPING, STEPS)[-1]
    assert corner_error(found, expected, *FIXED).max() < 1e-2


def test_both_ways_are_inverse():
    """Exchanging the images finds the inverse: no direction is built in."""
    H, shifts = truths(3, FIXED, FIXED)
    fixed, moving = pairs(H, FIXED, FIXED)
    start = off(shifts, 3, FIXED, FIXED)
    forth = refine_unrolled(fixed, moving, start, DAMPING, STEPS)[-1]
    back = refine_unrolled(moving, fixed, invert(start), DAMPING, STEPS)[-1]
    assert corner_error(invert(back), forth, *FIXED).max() < 0.1


def test_mixed_precision_of_the_caller_does_not_touch_coordinates():
    H, shifts = truths(3)
    pair, start = pairs(H), off(shifts, 4)
    with torch.autocast("cpu", torch.bfloat16):
        iterates = refine_unrolled(*pair, start, DAMPING, STEPS)
    assert corner_error(iterates[-1], H, *FIXED).max() < 0.05
