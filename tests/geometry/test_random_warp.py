import torch

from sdme.geometry.homography import apply_homography, corners
from sdme.geometry.random_warp import homography_from_shifts


def test_corners_go_to_the_shifted_central_square():
    """The usual benchmark: 128 px fixed, offset 32 in 192 px moving, corners moved by +-32."""
    shifts = (torch.rand(6, 4, 2, generator=torch.Generator().manual_seed(0)) - 0.5) * 64
    H = homography_from_shifts(shifts, (128, 128), (192, 192))
    square = corners(128, 128, like=shifts)
    torch.testing.assert_close(apply_homography(H, square), square + 32 + shifts, atol=1e-3, rtol=0)


def test_no_shift_is_the_centred_placement_of_any_sizes():
    H = homography_from_shifts(torch.zeros(1, 4, 2), (100, 60), (140, 90))
    expected = torch.tensor([[[1.0, 0, 20], [0, 1, 15], [0, 0, 1]]])
    torch.testing.assert_close(H, expected, atol=1e-5, rtol=0)
