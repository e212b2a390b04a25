import math

import pytest
import torch

from sdme.config import RefineSettings
from sdme.geometry.homography import apply_homography, corner_error
from sdme.geometry.random_warp import homography_from_shifts
from sdme.geometry.sampling import pixel_grid
from sdme.refine.lucas_kanade import refine

FIXED, MOVING = (96, 80), (128, 112)


def draw(batch, channels=1, error=3.0, fixed=FIXED, moving=MOVING, seed=0, waves=12, shortest=14):
    """Exact pairs: both images are samples of one sum of plane waves, so nothing interpolates."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape):
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    def images(points, size):
        wave = (points[:, None, :, None, :] * frequency[..., None, :, :]).sum(-1)
        values = torch.sin(wave + phase[:, :, None]).mean(-1)
        return values.unflatten(2, size[::-1]).float()

    length = shortest + 40 * uniform(batch, channels, waves)
    angle, phase = 2 * math.pi * uniform(2, batch, channels, waves)
    frequency = torch.stack([angle.cos(), angle.sin()], -1) * (2 * math.pi / length)[..., None]
    shifts = (uniform(batch, 4, 2) - 0.5) * fixed[0] / 4
    H = homography_from_shifts(shifts, fixed, moving)
    wrong = uniform(batch, 4, 2) - 0.5
    initial = homography_from_shifts(
        shifts + error * wrong / wrong.norm(dim=-1, keepdim=True), fixed, moving
    )
    grid = pixel_grid(*fixed, like=H)[None]
    moving_grid = pixel_grid(*moving, like=H).expand(batch, -1, -1)
    fixed_map = images(apply_homography(H, grid), fixed)
    return fixed_map, images(moving_grid, moving), H.float(), initial.float()


def errors(found, truth):
    return corner_error(found, truth, *FIXED)


@pytest.mark.parametrize("channels", [1, 4])
def test_convergence_from_three_pixels_to_a_hundredth(channels):
    fixed, moving, H, initial = draw(8, channels)
    assert errors(initial, H).min() > 2.9
    found = refine(fixed, moving, initial)
    assert found.accepted.all()
    assert errors(found.matrix, H).max() < 0.01
    assert (found.residual_after < 1e-3 * found.residual_before).all()


def test_plain_gauss_newton_converges_too():
    fixed, moving, H, initial = draw(4)
    found = refine(fixed, moving, initial, settings=RefineSettings(max_gain=1))
    assert errors(found.matrix, H).max() < 0.01


def test_one_plain_step_goes_the_whole_way():
    """Gauss-Newton is quadratic near the truth; a gradient off by a factor would fall short."""
    fixed, moving, H, initial = draw(4, error=0.5)
    found = refine(fixed, moving, initial, settings=RefineSettings(max_gain=1, iterations=1))
    assert (errors(found.matrix, H) < 0.1 * errors(initial, H)).all()


def test_longer_steps_pay_on_noise_that_the_images_do_not_share():
    fixed, moving, H, initial = draw(8, error=5)
    generator = torch.Generator().manual_seed(0)
    fixed += 0.07 * torch.randn(fixed.shape, generator=generator)
    plain = refine(fixed, moving, initial, settings=RefineSettings(max_gain=1, iterations=8))
    longer = refine(fixed, moving, initial, settings=RefineSettings(iterations=8))
    assert errors(longer.matrix, H).mean() < 0.6 * errors(plain.matrix, H).mean()


def test_smallest_image():
    fixed, moving, H, initial = draw(4, 1, 1.5, (32, 32), (32, 32), waves=6, shortest=24)
    found = refine(fixed, moving, initial)
    assert found.accepted.all()
    assert corner_error(found.matrix, H, 32, 32).max() < 0.1


def test_a_batch_gives_what_its_pairs_give_alone():
    easy, hard = draw(2, error=0.5), draw(2, error=6, seed=1)
    fixed, moving, _, initial = (torch.cat(parts) for parts in zip(easy, hard, strict=True))
    coarse = RefineSettings(tolerance=0.5)
    together = refine(fixed, moving, initial, settings=coarse)
    assert together.iterations[:2].max() < together.iterations[2:].min()
    for i in range(4):
        own = slice(i, i + 1)
        alone = refine(fixed[own], moving[own], initial[own], settings=coarse)
        assert alone.iterations[0] == together.iterations[i]
        torch.testing.assert_close(alone.matrix[0], together.matrix[i], atol=1e-4, rtol=0)


def test_a_pair_stops_when_its_steps_are_small():
    fixed, moving, H, _ = draw(2)
    at_truth = refine(fixed, moving, H)
    assert at_truth.iterations.max() <= 3
    none = refine(fixed, moving, H, settings=RefineSettings(iterations=0))
    assert none.iterations.max() == 0
    torch.testing.assert_close(none.matrix, H, atol=1e-4, rtol=1e-4)


def test_scale_of_the_maps_does_not_matter():
    fixed, moving, _, initial = draw(2)
    small = refine(1e-4 * fixed + 0.3, 1e-4 * moving + 0.3, initial)
    usual = refine(fixed, moving, initial)
    assert (errors(small.matrix, usual.matrix) < 0.05).all()


@pytest.mark.parametrize("garbage", [1e3, math.nan])
def test_pixels_without_weight_touch_nothing(garbage):
    fixed, moving, H, initial = draw(2)
    fixed_weight, moving_weight = torch.ones_like(fixed), torch.ones_like(moving)
    fixed_weight[..., 20:40, 30:50] = 0
    moving_weight[..., 60:80, 50:75] = 0
    clean = refine(fixed, moving, initial, fixed_weight, moving_weight)
    fixed[fixed_weight == 0] = garbage
    moving[moving_weight == 0] = garbage
    found = refine(fixed, moving, initial, fixed_weight, moving_weight)
    torch.testing.assert_close(found.matrix, clean.matrix)
    assert errors(found.matrix, H).max() < 0.01
    unmasked = refine(fixed, moving, initial)
    assert not (errors(unmasked.matrix, H) < 0.01).any()


def test_fixed_pixels_outside_the_moving_image_have_no_weight():
    """A third of the fixed image sees nothing; the rest still finds the truth exactly."""
    fixed, moving, H, initial = draw(4)
    cut = 50
    shift = torch.eye(3)
    shift[0, 2] = -cut
    found = refine(fixed, moving[..., cut:].contiguous(), shift @ initial)
    assert found.accepted.all()
    assert errors(found.matrix, shift @ H).max() < 0.03


def test_weights_choose_what_is_aligned():
    """Half of the fixed image shows something else; without weight it does not disturb."""
    fixed, moving, H, initial = draw(2, error=1)
    other, _, _, _ = draw(2, error=1, seed=5)
    fixed[..., 48:] = other[..., 48:]
    weight = torch.ones_like(fixed)
    weight[..., 44:] = 0
    found = refine(fixed, moving, initial, weight)
    left = pixel_grid(44, FIXED[1], like=H)[None]
    gap = apply_homography(found.matrix, left) - apply_homography(H, left)
    assert gap.norm(dim=-1).max() < 0.05


def test_without_weight_the_initial_matrix_stands():
    fixed, moving, _, initial = draw(3)
    weight = torch.ones_like(fixed)
    weight[1] = 0
    found = refine(fixed, moving, initial, weight)
    assert found.accepted.tolist() == [True, False, True]
    assert torch.equal(found.matrix[1], initial[1])
    assert found.residual_before[1] == math.inf
    assert found.matrix.isfinite().all()


def test_unusable_starts_stand_and_harm_no_neighbour():
    fixed, moving, H, initial = draw(4)
    initial[0] = math.nan
    initial[1] = torch.eye(3)
    initial[1, 0, 2] = 1e4  # nothing overlaps
    initial[2, 2, 0] = -1 / 40  # the horizon crosses the fixed image
    found = refine(fixed, moving, initial)
    assert found.accepted.tolist() == [False, False, False, True]
    assert torch.equal(found.matrix[:3].nan_to_num(), initial[:3].nan_to_num())
    assert errors(found.matrix[3:], H[3:]).max() < 0.01


def test_flat_map_is_not_refined():
    _, moving, _, initial = draw(1)
    found = refine(torch.full((1, 1, 80, 96), 0.5), moving, initial)
    assert not found.accepted.any()
    assert torch.equal(found.matrix, initial)


def test_unrelated_maps_neither_raise_the_residual_nor_fold_the_image():
    size = (32, 32)
    fixed, _, _, initial = draw(24, 1, 10, size, size, seed=3, waves=6)
    _, moving, _, _ = draw(24, 1, 10, size, size, seed=9, waves=6)
    found = refine(fixed, moving, initial, settings=RefineSettings(iterations=40))
    assert (found.residual_after <= found.residual_before).all()
    assert found.matrix.isfinite().all()
    square = torch.tensor([[0.0, 0, 1], [31, 0, 1], [31, 31, 1], [0, 31, 1]])
    depth = (square @ found.matrix.mT)[..., 2]
    assert found.accepted.sum() > 20
    assert (depth[found.accepted] > 0).all()
    assert (torch.linalg.det(found.matrix[found.accepted]) > 0).all()


def test_convention_matrix_maps_fixed_to_moving():
    """Content that lies at (x, y) in fixed lies at (x + 5, y - 3) in moving."""
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")

    def blob(cx, cy):
        return torch.exp(-((x - cx).square() + (y - cy).square()) / 200)[None, None]

    found = refine(
        blob(30, 34) + blob(12, 50), blob(35, 31) + blob(17, 47), torch.eye(3)[None]
    ).matrix[0]
    expected = torch.tensor([[1.0, 0, 5], [0, 1, -3], [0, 0, 1]])
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0)


def test_too_small_maps_are_refused():
    with pytest.raises(ValueError, match="3x64 px"):
        refine(torch.zeros(1, 1, 64, 3), torch.zeros(1, 1, 64, 64), torch.eye(3)[None])
