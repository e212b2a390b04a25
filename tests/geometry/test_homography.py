import kornia
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sdme.geometry.homography import (
    apply_homography,
    centred_placement,
    corner_error,
    corners,
    fit_homography,
    from_four_points,
    from_unit_square,
    invert,
    normalise,
)

SQUARE = torch.tensor([[0.0, 0.0], [127.0, 0.0], [127.0, 127.0], [0.0, 127.0]]).double()


def random_homographies(count, seed=0, shift=30.0):
    """By kornia's solver, so that nothing under test makes its own truth."""
    generator = torch.Generator().manual_seed(seed)
    shifts = (torch.rand(count, 4, 2, generator=generator, dtype=torch.float64) - 0.5) * 2 * shift
    square = SQUARE.expand(count, -1, -1)
    return kornia.geometry.get_perspective_transform(square, square + 32 + shifts)


def random_points(count, n, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return 127 * torch.rand(count, n, 2, generator=generator, dtype=torch.float64)


def test_corners_are_pixel_centres_clockwise():
    expected = [[0, 0], [9, 0], [9, 4], [0, 4]]
    assert corners(10, 5, like=torch.zeros(1)).tolist() == expected


def test_apply_agrees_with_kornia():
    H, points = random_homographies(5), random_points(5, 20)
    expected = kornia.geometry.transform_points(H, points)
    torch.testing.assert_close(apply_homography(H, points), expected)


def test_apply_broadcasts_and_takes_no_points():
    H = random_homographies(6).unflatten(0, (2, 3))
    assert apply_homography(H, SQUARE).shape == (2, 3, 4, 2)
    assert apply_homography(H, SQUARE[:0]).shape == (2, 3, 0, 2)
    assert apply_homography(H[0, 0], SQUARE).shape == (4, 2)


def test_points_behind_the_horizon_land_far_away_and_finite():
    H = torch.tensor([[1.0, 0, 0], [0, 1, 0], [-0.01, 0, 1]])
    mapped = apply_homography(H, torch.tensor([[50.0, 5.0], [100.0, 5.0], [150.0, 5.0]]))
    torch.testing.assert_close(mapped[0], torch.tensor([100.0, 10.0]))
    assert mapped.isfinite().all()
    assert (mapped[1:, 0] > 1e6).all()


def test_inverse_agrees_with_linear_algebra():
    H = random_homographies(20)
    torch.testing.assert_close(invert(H), normalise(torch.linalg.inv(H)))
    assert (invert(H)[:, 2, 2] == 1).all()
    points = random_points(20, 7)
    torch.testing.assert_close(apply_homography(invert(H), apply_homography(H, points)), points)


def test_four_points_agree_with_kornia():
    truth = random_homographies(10)
    square = SQUARE.expand(10, -1, -1)
    found = from_four_points(square, apply_homography(truth, square))
    torch.testing.assert_close(found, truth, atol=1e-8, rtol=1e-8)


def test_four_points_of_any_quadrilateral_in_single_precision():
    truth, quad = random_homographies(10).float(), random_homographies(10, seed=5).float()
    start = apply_homography(quad, SQUARE.float())
    found = from_four_points(start, apply_homography(truth, start))
    assert found.dtype == torch.float32
    assert corner_error(found, truth, 128, 128).max() < 0.01


def test_unit_square():
    quad = torch.tensor([[3.0, 4.0], [9.0, 5.0], [8.0, 12.0], [2.0, 10.0]])
    unit = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    torch.testing.assert_close(apply_homography(from_unit_square(quad), unit), quad)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-30, 30), min_size=8, max_size=8))
def test_four_points_map_onto_each_other(shifts):
    target = SQUARE + 32 + torch.tensor(shifts, dtype=torch.float64).view(4, 2)
    found = from_four_points(SQUARE, target)
    torch.testing.assert_close(apply_homography(found, SQUARE), target, atol=1e-6, rtol=0)


def test_fit_is_exact_on_exact_points_and_agrees_with_kornia():
    truth, points0 = random_homographies(5), random_points(5, 12)
    points1 = apply_homography(truth, points0)
    found = fit_homography(points0, points1)
    torch.testing.assert_close(found, truth, atol=1e-7, rtol=1e-7)
    noisy = points1 + torch.randn(points1.shape, generator=torch.Generator().manual_seed(2))
    expected = kornia.geometry.find_homography_dlt(points0, noisy, solver="svd")
    assert corner_error(fit_homography(points0, noisy), expected, 128, 128).max() < 1e-3


@pytest.mark.parametrize("offset", [0.0, 10_000.0])
def test_fit_is_normalised(offset):
    """Far from the origin the plain system loses its digits; single precision in, still exact."""
    truth = torch.tensor([[1.02, 0.03, 5.0], [-0.02, 0.98, 3.0], [0, 0, 1]]).double()
    points0 = random_points(1, 30)[0] + offset
    points1 = apply_homography(truth, points0)
    found = fit_homography(points0, points1)
    gap = apply_homography(found, points0) - points1
    assert gap.norm(dim=-1).max() < 1e-5


def test_weights_of_the_fit():
    truth, points0 = random_homographies(3), random_points(3, 20)
    points1 = apply_homography(truth, points0)
    points1[:, 15:] += 40
    weights = torch.ones(3, 20, dtype=torch.float64)
    weights[:, 15:] = 0
    found = fit_homography(points0, points1, weights)
    torch.testing.assert_close(found, truth, atol=1e-6, rtol=1e-6)
    assert corner_error(fit_homography(points0, points1), truth, 128, 128).min() > 1
    twice = torch.cat([points0, points0[:, :5]], 1), torch.cat([points1, points1[:, :5]], 1)
    weights = torch.ones(3, 20, dtype=torch.float64)
    weights[:, :5] = 2
    torch.testing.assert_close(
        fit_homography(points0, points1, weights), fit_homography(*twice), atol=1e-6, rtol=1e-6
    )


def test_corner_error_of_a_shift_is_its_length():
    H = random_homographies(3)
    shifted = torch.eye(3, dtype=torch.float64)
    shifted[0, 2], shifted[1, 2] = 3, -4
    torch.testing.assert_close(
        corner_error(shifted @ H, H, 128, 128), torch.full((3,), 5.0, dtype=torch.float64)
    )
    assert (corner_error(H, H, 128, 128) == 0).all()


def test_corner_error_counts_pixel_centres():
    """Twice the size moves the corner of a 101 px image by 100 px, not by 101."""
    eye = torch.eye(3, dtype=torch.float64)
    double = torch.diag(torch.tensor([2.0, 2.0, 1.0], dtype=torch.float64))
    expected = (0 + 100 + 100 * 2**0.5 + 100) / 4
    assert corner_error(double, eye, 101, 101).item() == pytest.approx(expected)


def test_convention_centred_placement():
    """The centre of the fixed image falls on the centre of the moving one, pixel centres both."""
    H = centred_placement((128, 100), (192, 151))
    middle = apply_homography(H, torch.tensor([[63.5, 49.5]]))
    torch.testing.assert_close(middle, torch.tensor([[95.5, 75.0]]))
    assert H[0, 2] == 32


def test_gradients_of_the_solvers_are_right():
    quad = (SQUARE / 64 + random_points(1, 4)[0] / 600).requires_grad_()
    unit = SQUARE / 64
    assert torch.autograd.gradcheck(lambda q: from_four_points(unit, q), quad)
    assert torch.autograd.gradcheck(lambda q: invert(from_unit_square(q)), quad)
