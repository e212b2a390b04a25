"""Votes of the aggregator on features whose correlation is a bump at the truth."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sdme.config import FastSettings
from sdme.geometry.homography import apply_homography, corner_error, corners
from sdme.geometry.random_warp import homography_from_shifts
from sdme.geometry.sampling import pixel_grid
from sdme.model.aggregator import CELL, Aggregator, correlation_windows, error_of, log_error_of

FIXED, MOVING = (128, 128), (192, 192)
SETTINGS = FastSettings(context_channels=8, aggregator_channels=16, aggregator_depth=2)
CELLS = CELL, 2 * CELL


@pytest.fixture
def untrained():
    """Equal information, shifts by the soft maximum of the window alone."""
    torch.manual_seed(0)
    return Aggregator(SETTINGS, CELLS).eval()


@pytest.fixture
def fine():
    """The stage at 1/4, untrained."""
    torch.manual_seed(0)
    return Aggregator(SETTINGS, (4, CELL)).eval().requires_grad_(False)


@pytest.fixture
def opinionated(untrained):
    """Random weights everywhere, also where training starts with zeros."""
    with torch.no_grad():
        for parameter in untrained.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return untrained


def cells_of(size, cell=CELL):
    """Width and height of the map of an image padded to multiples of 16."""
    return tuple((side + -side % 16) // cell for side in size)


def centres(size, cell=CELL):
    return (pixel_grid(*cells_of(size, cell), like=torch.zeros(1)) + 0.5) * cell - 0.5


def bumps(H, fixed, moving, breadth=8.0, cell=CELL):
    """Maps of which inner products are nearly exp(-d^2 / 2 breadth^2).

    ``d`` is the distance in the moving image, px. Random Fourier features: Rahimi and Recht 2007.
    """
    frequency = torch.randn(2, 512, generator=torch.Generator().manual_seed(3)) / breadth

    def described(points, size):
        wave = points @ frequency
        rows = torch.cat([wave.cos(), wave.sin()], -1) / 512**0.5
        return rows.mT.unflatten(2, cells_of(size, cell)[::-1])

    ours, theirs = apply_homography(H, centres(fixed, cell)[None]), centres(moving, cell)
    return described(ours, fixed), described(theirs.expand(len(H), -1, -1), moving)


def contexts(count, fixed, moving):
    generator = torch.Generator().manual_seed(4)
    return tuple(
        torch.randn(1, 8, *cells_of(size)[::-1], generator=generator).expand(count, -1, -1, -1)
        for size in (fixed, moving)
    )


def turn(aggregator, H, start, fixed=FIXED, moving=MOVING, count=1):
    scales = compared(aggregator, bumps(H, fixed, moving))
    around = contexts(len(H), fixed, moving)
    with torch.no_grad():
        vote = aggregator(scales, around, start, moving, fixed)
        for _ in range(count - 1):
            vote = aggregator(scales, around, vote.matrix, moving, fixed)
    return vote


def compared(aggregator, maps):
    fixed, moving = maps
    return aggregator.scales({CELL: fixed}, {CELL: moving})


def truths(count, amount, fixed=FIXED, moving=MOVING, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shifts = (torch.rand(count, 4, 2, generator=generator) * 2 - 1) * amount
    return homography_from_shifts(shifts, fixed, moving)


def translation(x, y):
    H = torch.eye(3)
    H[0, 2], H[1, 2] = x, y
    return H


def turned(angle, scale=1.0, fixed=FIXED, moving=MOVING):
    """The fixed image in the middle of the moving one, turned about its middle."""
    c, s = scale * math.cos(math.radians(angle)), scale * math.sin(math.radians(angle))
    (x, y), (u, v) = ([(side - 1) / 2 for side in size] for size in (fixed, moving))
    return torch.tensor([[c, -s, u - c * x + s * y], [s, c, v - s * x - c * y], [0, 0, 1]])


def interpolated(values, x, y):
    """Bilinear, nothing outside, in Python."""
    total = 0.0
    for j in range(values.shape[0]):
        for i in range(values.shape[1]):
            share = max(0.0, 1 - abs(i - x)) * max(0.0, 1 - abs(j - y))
            total += share * values[j, i].item()
    return total


@pytest.mark.parametrize(("width", "height"), [(5, 4), (32, 3), (39, 2)])
@pytest.mark.parametrize(("radius", "step"), [(1, 1), (2, 1), (2, 2), (1, 3)])
def test_windows_of_correlation_are_inner_products(width, height, radius, step):
    margin, side = radius * step, 2 * radius + 1
    fixed = torch.randn(2, 6, height, width)
    laid = torch.randn(2, 6, height + 2 * margin, width + 2 * margin)
    expected = torch.empty(2, side**2, height, width)
    for j in range(side):
        for i in range(side):
            other = laid[..., j * step :, i * step :][..., :height, :width]
            expected[:, j * side + i] = (fixed * other).sum(1)
    torch.testing.assert_close(correlation_windows(fixed, laid, radius, step), expected)


def test_scales_are_the_maps_and_means_of_the_moving_one(untrained):
    fixed, moving = torch.randn(2, 6, 4, 5), torch.randn(2, 6, 6, 7)
    one, two = compared(untrained, (fixed, moving))
    assert one.fixed is two.fixed is fixed and one.moving is moving
    assert (one.cell, one.step) == (CELL, 1) and (two.cell, two.step) == (CELL, 2)
    for j in range(3):
        for i in range(4):
            mean = moving[..., 2 * j : 2 * j + 2, 2 * i : 2 * i + 2].mean((-2, -1))
            torch.testing.assert_close(two.moving[..., j, i], mean)
    fine = Aggregator(SETTINGS, (4, CELL)).scales({4: fixed, 8: moving}, {4: moving, 8: fixed})
    assert [(s.cell, s.step) for s in fine] == [(4, 1), (8, 1)]
    assert fine[0].fixed is fixed and fine[1].fixed is moving


def test_windows_are_bilinear_look_ups_around_where_cells_are_sent(untrained):
    """At both scales, against a plain loop; offsets are upright in the fixed image."""
    fixed, moving, seen = (48, 32), (64, 48), []
    first = next(m for m in untrained.modules() if isinstance(m, nn.Conv2d))
    first.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    H = torch.stack([turned(30, 0.9, fixed, moving), truths(1, 8, fixed, moving)[0]])
    maps = torch.randn(2, 6, 4, 6), torch.randn(2, 6, 6, 8)
    untrained(compared(untrained, maps), contexts(2, fixed, moving), H, moving, fixed)
    side = 2 * SETTINGS.radius + 1
    products = torch.einsum("bchw,bcij->bhwij", *maps)
    for pair, row, column in ((0, 0, 0), (0, 2, 3), (1, 3, 5), (1, 1, 2)):
        fine = products[pair, row, column]
        coarse = F.avg_pool2d(fine[None], 2, ceil_mode=True)[0]
        for scale, values in enumerate((fine, coarse)):
            cell = CELL * 2**scale
            for k in range(0, side**2, 5):
                offset = torch.tensor([k % side - SETTINGS.radius, k // side - SETTINGS.radius])
                point = (torch.tensor([column, row]) + 0.5) * CELL - 0.5 + offset * cell
                x, y = ((apply_homography(H[pair], point[None])[0] + 0.5) / cell - 0.5).tolist()
                found = seen[0][pair, scale * side**2 + k, row, column].item()
                assert found == pytest.approx(interpolated(values, x, y), abs=1e-4)


def test_windows_at_a_quarter_are_bilinear_look_ups_too(fine):
    """Four to a voting cell, then one at 1/8; against a plain loop."""
    fixed, moving, seen = (48, 32), (64, 48), []
    first = next(m for m in fine.modules() if isinstance(m, nn.Conv2d))
    first.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    H = torch.stack([turned(30, 0.9, fixed, moving), truths(1, 8, fixed, moving)[0]])
    sizes = (8, 12), (12, 16), (4, 6), (6, 8)
    maps = [torch.randn(2, 6, *size) for size in sizes]
    scales = fine.scales({4: maps[0], 8: maps[2]}, {4: maps[1], 8: maps[3]})
    fine(scales, contexts(2, fixed, moving), H, moving, fixed)
    side = 2 * SETTINGS.radius + 1
    for pair, row, column in ((0, 0, 0), (0, 4, 7), (1, 7, 11), (1, 3, 4)):
        for cell, ours, theirs in ((4, maps[0], maps[1]), (8, maps[2], maps[3])):
            i, j = row * 4 // cell, column * 4 // cell
            values = torch.einsum("c,cij->ij", ours[pair, :, i, j], theirs[pair])
            for k in range(0, side**2, 5):
                offset = torch.tensor([k % side - SETTINGS.radius, k // side - SETTINGS.radius])
                point = (torch.tensor([j, i]) + 0.5 + offset) * cell - 0.5
                x, y = ((apply_homography(H[pair], point[None])[0] + 0.5) / cell - 0.5).tolist()
                channel = 4 * k + row % 2 * 2 + column % 2 if cell == 4 else 4 * side**2 + k
                found = seen[0][pair, channel, row // 2, column // 2].item()
                assert found == pytest.approx(interpolated(values, x, y), abs=1e-4)


@pytest.mark.parametrize("angle", [0, 30])
def test_shifts_at_a_quarter_are_told_in_pixels_of_the_fixed_image(fine, angle):
    """The start puts every cell where one 4 px right of and 8 px above it belongs."""
    H = turned(angle, 1.0)[None]
    start = H @ translation(4, -8)
    maps = [bumps(H, FIXED, MOVING, 5.0, 4), bumps(H, FIXED, MOVING)]
    scales = fine.scales(*({4: a, 8: b} for a, b in zip(*maps, strict=True)))
    vote = fine(scales, contexts(1, FIXED, MOVING), start, MOVING, FIXED)
    middle = vote.shift[0, :, 5:-5, 5:-5].flatten(1)
    expected = torch.tensor([[-4.0], [8.0]]).expand_as(middle)
    torch.testing.assert_close(middle, expected, rtol=0, atol=1.0)
    assert corner_error(vote.matrix, H, *FIXED) < 0.3 * corner_error(start, H, *FIXED)


@pytest.mark.parametrize(("fixed", "moving"), [(FIXED, MOVING), ((100, 71), (133, 120))])
@pytest.mark.parametrize("shift", [(10.0, -7.0), (-3.0, 14.0)])
def test_untrained_votes_undo_a_translation(untrained, fixed, moving, shift):
    H = truths(3, 8, fixed, moving)
    start = translation(*shift) @ H
    before = corner_error(start, H, *fixed)
    assert before.min() > 12
    assert (corner_error(turn(untrained, H, start, fixed, moving).matrix, H, *fixed) < 4.5).all()
    last = turn(untrained, H, start, fixed, moving, count=3).matrix
    assert (corner_error(last, H, *fixed) < 0.1 * before).all()


def test_untrained_votes_undo_affine_and_projective_errors(untrained):
    H = truths(6, 8)
    start = truths(6, 8, seed=7) @ translation(-32, -32) @ H
    before = corner_error(start, H, *FIXED)
    assert before.min() > 4
    last = turn(untrained, H, start, count=4).matrix
    assert (corner_error(last, H, *FIXED) < 0.2 * before).all()


@pytest.mark.parametrize("angle", [0, 30, -90, 180])
@pytest.mark.parametrize("scale", [0.8, 1.2])
def test_shifts_are_told_in_the_fixed_image_however_it_is_turned(untrained, angle, scale):
    """The start puts every cell where one 8 px right of and 16 px above it belongs."""
    H = turned(angle, scale)
    start = H @ translation(8, -16)
    vote = turn(untrained, H[None], start[None])
    middle = vote.shift[0, :, 5:-5, 5:-5].flatten(1)
    expected = torch.tensor([[-8.0], [16.0]]).expand_as(middle)
    torch.testing.assert_close(middle, expected, rtol=0, atol=1.2)
    assert corner_error(vote.matrix[0], H, *FIXED) < 0.3 * corner_error(start, H, *FIXED)


def test_the_truth_is_nearly_a_fixed_point_of_untrained_votes(untrained):
    H = truths(4, 8)
    assert corner_error(turn(untrained, H, H, count=3).matrix, H, *FIXED).max() < 1.0


def test_exchanged_axes_exchange_votes(untrained):
    """Nothing tells x from y: a pair mirrored at the diagonal gives the mirrored homography."""
    exchange = torch.tensor([[0.0, 1, 0], [1, 0, 0], [0, 0, 1]])
    fixed, moving = (96, 128), (144, 192)
    H = truths(2, 8, fixed, moving)
    start = translation(9, -5) @ H
    expected = turn(untrained, H, start, fixed, moving).matrix
    maps = [m.mT for m in bumps(H, fixed, moving)]
    around = [c.mT for c in contexts(2, fixed, moving)]
    scales, sizes = compared(untrained, maps), (moving[::-1], fixed[::-1])
    found = untrained(scales, tuple(around), exchange @ start @ exchange, *sizes).matrix
    torch.testing.assert_close(exchange @ found @ exchange, expected, rtol=1e-4, atol=1e-3)


def test_cells_out_of_view_have_no_say(untrained):
    """Whatever the cells hold that the start sends out of the moving image or that are padding."""
    fixed, moving = (100, 71), (133, 120)
    H = truths(1, 4, fixed, moving)
    start = translation(40, 30)[None] @ H
    there = apply_homography(start, centres(fixed)[None])[0]
    limits = torch.tensor(moving) - 1.0
    seen = ((there >= 0) & (there <= limits)).all(-1)
    seen &= (centres(fixed) <= torch.tensor(fixed) - 1).all(-1)
    assert 0.2 < seen.float().mean() < 0.8
    ours, theirs = bumps(H, fixed, moving)
    around = contexts(1, fixed, moving)
    expected = untrained(compared(untrained, (ours, theirs)), around, start, moving, fixed).matrix
    noise = torch.randn_like(ours)
    for kept, same in ((seen, True), (~seen, False)):
        changed = torch.where(kept.view(1, 1, *ours.shape[-2:]), ours, noise)
        found = untrained(
            compared(untrained, (changed, theirs)), around, start, moving, fixed
        ).matrix
        assert (corner_error(found, expected, *fixed).item() < 1e-4) is same


def test_nothing_in_view_leaves_the_matrix_as_it_is(opinionated):
    H = truths(2, 8)
    start = translation(3000, 0) @ H
    vote = turn(opinionated, H, start)
    torch.testing.assert_close(vote.matrix, start, rtol=1e-5, atol=1e-3)


def test_pairs_of_a_batch_do_not_influence_each_other(opinionated):
    H = truths(4, 8)
    start = translation(9, -5) @ H
    start[1] = translation(1e5, -1e5)
    maps, around = bumps(H, FIXED, MOVING), contexts(4, FIXED, MOVING)
    together = opinionated(compared(opinionated, maps), around, start, MOVING, FIXED)
    for i in range(4):
        one = compared(opinionated, [m[i : i + 1] for m in maps])
        alone = opinionated(one, contexts(1, FIXED, MOVING), start[i : i + 1], MOVING, FIXED)
        for name in ("matrix", "shift", "log_error"):
            found, expected = getattr(together, name)[i : i + 1], getattr(alone, name)
            torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_several_starts_of_a_pair_share_its_maps(opinionated):
    H = truths(2, 8)
    starts = torch.stack([translation(9, -5) @ H, translation(-4, 7) @ H, H], dim=1)
    scales = compared(opinionated, bumps(H, FIXED, MOVING))
    together = opinionated(scales, contexts(6, FIXED, MOVING), starts.flatten(0, 1), MOVING, FIXED)
    for k in range(3):
        alone = turn(opinionated, H, starts[:, k])
        torch.testing.assert_close(together.matrix[k::3], alone.matrix, rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(together.log_error[k::3], alone.log_error, rtol=1e-4, atol=1e-4)


STARTS = [
    [[1.0, 0, 32], [0, 1, 32], [0, 0, 1]],
    [[1.0, 0, 5000], [0, 1, 0], [0, 0, 1]],
    [[1.0, 0, 16], [0, 1, 16], [-0.02, 0, 1]],  # a horizon in the image
    [[1e-6, 0, 60], [0, 1e-6, 60], [0, 0, 1]],  # all pixels on one
    [[0.0, 0, 0], [0, 0, 0], [0, 0, 1]],
    [[-1.0, 0, 160], [0, 1, 32], [0, 0, 1]],  # mirrored
    [[1e6, 0, 0], [0, 1e6, 0], [0, 0, 1]],
]


@pytest.mark.parametrize("strength", [0.0, 1.0, 30.0])
def test_no_start_and_no_opinion_gives_what_is_not_finite(untrained, strength):
    """Several turns, the strongest of opinions, values and gradients."""
    start = torch.tensor(STARTS)
    for seed in range(2):
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in untrained.vote.parameters():
                parameter.copy_(strength * torch.randn(parameter.shape, generator=generator))
        sizes = (cells_of(size)[::-1] for size in (FIXED, MOVING))
        maps = [torch.randn(len(STARTS), 16, *z, generator=generator) for z in sizes]
        maps = [F.normalize(m, dim=1).requires_grad_() for m in maps]
        scales, around = compared(untrained, maps), contexts(len(STARTS), FIXED, MOVING)
        H, total = start, torch.zeros(())
        for _ in range(3):
            vote = untrained(scales, around, H, MOVING, FIXED)
            for value in (vote.matrix, vote.shift, vote.log_error):
                assert value.isfinite().all()
                total = total + value.clamp(-1e3, 1e3).sum()
            H = vote.matrix.detach()
        untrained.zero_grad()
        total.backward()
        for tensor in [*maps, *untrained.parameters()]:
            assert tensor.grad is not None and tensor.grad.isfinite().all()


@pytest.mark.parametrize("size", [(128, 128), (32, 32)])
@pytest.mark.parametrize("signs", [(1, 1), (1, -1), (-1, 1), (-1, -1)])
def test_the_longest_step_keeps_the_image_before_the_horizon(untrained, size, signs):
    """All cells agree on a tilt that would throw a corner to infinity."""
    side, cells = size[0], centres(size)
    u = 2 * cells / (side - 1) - 1
    tilt = -10 * side * u * (u * torch.tensor(signs)).sum(-1, keepdim=True)
    agreed = tilt.T.unflatten(1, cells_of(size))[None]
    information = torch.tensor([1.0, 0, 1]).view(1, 3, 1, 1).expand(1, 3, *cells_of(size))
    found = untrained._solve(torch.eye(3)[None], agreed, information)
    square = corners(*size, like=found)
    depth = square @ found[0, 2, :2] + 1
    assert found.isfinite().all() and depth.min() > 0.05
    assert (depth.max() - depth.min()) > 0.5  # it is a large tilt indeed


@pytest.mark.parametrize("size", [(128, 128), (640, 480), (33, 1000)])
def test_error_and_its_logarithm_are_inverse(size):
    error = torch.tensor([0.0, 0.01, 0.5, 3.0, 40.0, 200.0])
    torch.testing.assert_close(
        error_of(log_error_of(error, size), size), error, atol=1e-4, rtol=1e-4
    )


def test_errors_are_told_relative_to_the_size_of_the_image():
    error = torch.tensor([0.5, 3.0, 40.0])
    small, large = log_error_of(error, (128, 128)), log_error_of(4 * error, (512, 512))
    torch.testing.assert_close(small, large)
    assert log_error_of(torch.zeros(1), (128, 128)).item() == pytest.approx(math.log(0.1))
    assert (error_of(torch.full((1,), -50.0), (128, 128)) == 0).all()


def test_gradients_reach_all_parameters_and_features(opinionated):
    H = truths(2, 8)
    maps = [m.requires_grad_() for m in bumps(H, FIXED, MOVING)]
    around = tuple(c.clone().requires_grad_() for c in contexts(2, FIXED, MOVING))
    vote = opinionated(compared(opinionated, maps), around, translation(6, 6) @ H, MOVING, FIXED)
    (corner_error(vote.matrix, H, *FIXED).sum() + vote.log_error.sum()).backward()
    for tensor in [*maps, *around, *opinionated.parameters()]:
        assert tensor.grad is not None and tensor.grad.isfinite().all()
        assert tensor.grad.abs().sum() > 0


def test_mixed_precision_of_the_caller_does_not_touch_coordinates(untrained):
    H = truths(3, 8)
    start = translation(10, -7) @ H
    maps, around = bumps(H, FIXED, MOVING), contexts(3, FIXED, MOVING)
    expected = untrained(compared(untrained, maps), around, start, MOVING, FIXED).matrix
    with torch.autocast("cpu", torch.bfloat16):
        found = untrained(compared(untrained, maps), around, start, MOVING, FIXED).matrix
    assert found.dtype == torch.float32
    assert corner_error(found, expected, *FIXED).max() < 0.05
