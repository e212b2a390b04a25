import pytest
import torch

from sdme.geometry.sampling import (
    inside,
    pixel_grid,
    resize_image,
    resize_matrix,
    resize_points,
    sample,
    warp,
)


def ramp(width=12, height=9):
    """Channel 0 is x, channel 1 is y: bilinear sampling tells the point itself."""
    return pixel_grid(width, height, like=torch.zeros(1)).T.unflatten(1, (height, width))[None]


def test_pixel_grid_is_in_row_order():
    grid = pixel_grid(3, 2, like=torch.zeros(1))
    assert grid.tolist() == [[0, 0], [1, 0], [2, 0], [0, 1], [1, 1], [2, 1]]


def test_samples_of_a_ramp_are_the_points():
    points = torch.tensor([[[0.0, 0.0], [11.0, 8.0], [3.25, 6.5], [10.9, 0.1]]])
    torch.testing.assert_close(sample(ramp(), points), points.mT, atol=1e-5, rtol=0)


def test_padding():
    points = torch.tensor([[[-5.0, 3.0], [20.0, 30.0]]])
    assert (sample(ramp() + 1, points) == 0).all()
    border = sample(ramp(), points, padding="border")
    torch.testing.assert_close(border, torch.tensor([[[0.0, 11.0], [3.0, 8.0]]]))


def test_inside_reaches_to_the_centres_of_the_border_pixels():
    points = torch.tensor([[0.0, 0.0], [11.0, 8.0], [-0.4, 3.0], [11.4, 3.0], [5.0, 8.4]])
    assert inside(points, 12, 9).tolist() == [True, True, False, False, False]


@pytest.mark.parametrize("batch", [0, 1, 3])
def test_batches(batch):
    image, H = ramp().expand(batch, -1, -1, -1), torch.eye(3).expand(batch, -1, -1)
    warped, mask = warp(image, H, 7, 5)
    assert warped.shape == (batch, 2, 5, 7)
    assert mask.shape == (batch, 1, 5, 7) and mask.all()
    torch.testing.assert_close(warped, image[..., :5, :7])


def test_warp_mask_and_values():
    H = torch.eye(3)[None].clone()
    H[0, 0, 2], H[0, 1, 2] = 4, -2
    warped, mask = warp(ramp(), H, 12, 9)
    seen = mask[0, 0]
    assert seen[2:, :8].all() and not seen[:2].any() and not seen[:, 8:].any()
    torch.testing.assert_close(warped[0, 0][seen], ramp()[0, 0, :7, 4:].flatten())
    assert (warped[0, :, ~seen] == 0).all()


def test_gradient_reaches_matrix_and_image():
    image = torch.rand(1, 2, 9, 8, dtype=torch.float64, requires_grad=True)
    H = torch.eye(3, dtype=torch.float64)[None].clone()
    H[0, 0, 2], H[0, 1, 2] = 1.3, 0.6
    H.requires_grad_()
    assert torch.autograd.gradcheck(lambda i, h: warp(i, h, 5, 4)[0], (image, H))


@pytest.mark.parametrize(("scale_x", "scale_y"), [(0.5, 0.25), (3.0, 2.0), (1.0, 1.0)])
def test_resized_points(scale_x, scale_y):
    points = torch.tensor([[0.0, 0.0], [7.0, 3.0], [2.5, 1.5]])
    expected = (points + 0.5) * torch.tensor([scale_x, scale_y]) - 0.5
    torch.testing.assert_close(resize_points(points, scale_x, scale_y), expected)
    there = resize_points(points, scale_x, scale_y)
    torch.testing.assert_close(resize_points(there, 1 / scale_x, 1 / scale_y), points)
    assert resize_matrix(scale_x, scale_y).dtype == torch.float64


def test_resizing_to_the_same_size_changes_nothing():
    image = torch.rand(1, 1, 5, 6)
    assert torch.equal(resize_image(image, 6, 5), image)


def test_shrinking_filters():
    """A checkerboard of single pixels becomes grey, not black or white."""
    y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    board = ((x + y) % 2).float()[None, None]
    small = resize_image(board, 16, 16)
    assert (small - 0.5).abs().max() < 0.1
