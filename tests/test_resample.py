"""Frames that are turned, scaled and cut out: what is where, and where there is no data."""

import numpy as np
import pytest
import torch

from sdme.frames import make_frame
from sdme.resample import cut_out, fitted, seen_through, similarity


@pytest.fixture
def ramp():
    """Red is x, green is y, in units that survive 8 bits."""
    y, x = np.mgrid[0:60, 0:80]
    return np.stack([3 * x, 3 * y, 0 * x], axis=-1).astype(np.uint8)


def places(frame):
    """The place in the image that each pixel of a frame shows, by its colours."""
    return frame.pixels[0, :2].permute(1, 2, 0).numpy() * 255 / 3


@pytest.mark.parametrize("angle", [0.0, 30.0, 90.0, -135.0])
@pytest.mark.parametrize("scale", [0.5, 1.0, 1.7])
@pytest.mark.parametrize("of", [seen_through, cut_out])
def test_convention_a_view_shows_what_its_scale_says(ramp, angle, scale, of):
    frame = make_frame(ramp, "image", 512)
    view_from_image, size = fitted(similarity(np.radians(angle), scale, np.zeros(2)), (80, 60))
    view = of(frame, view_from_image, size)
    assert view.size == size and np.allclose(view.scale, view_from_image)
    y, x = np.nonzero(view.valid[0, 0].numpy())
    assert len(x) > 100
    told = view.in_image(np.stack([x, y], axis=-1).astype(float))
    # where the image was shrunk first its border's pixels show means
    inner = ((told > 2) & (told < [77, 57])).all(1)
    assert np.abs(told - places(view)[y, x])[inner].max() < 0.25


def test_a_quarter_turn_is_exact(ramp):
    frame = make_frame(ramp, "image", 512)
    view = seen_through(frame, *fitted(similarity(np.pi / 2, 1.0, np.zeros(2)), (80, 60)))
    turned = torch.rot90(frame.pixels, -1, (-2, -1))
    assert view.size == (60, 80) and view.valid.all()
    assert torch.allclose(view.pixels, turned, atol=1e-5)


def test_what_is_beyond_the_image_is_no_data(ramp):
    frame = make_frame(ramp, "image", 512)
    view = seen_through(frame, *fitted(similarity(np.pi / 4, 1.0, np.zeros(2)), (80, 60)))
    valid = view.valid[0, 0]
    assert not valid[:10, :10].any() and not valid[-10:, -10:].any()
    assert valid[valid.shape[0] // 2, valid.shape[1] // 2]
    share = valid.float().mean() * valid.numel() / (80 * 60)
    assert 0.65 < share < 0.9  # 4 px around what holds no data count as such


@pytest.mark.parametrize("of", [seen_through, cut_out])
def test_holes_go_along(ramp, of):
    image = ramp.astype(np.float32)
    image[20:40, 30:50] = np.nan
    frame = make_frame(image, "image", 512)
    view = of(frame, *fitted(similarity(np.pi / 2, 1.0, np.zeros(2)), (80, 60)))
    middle = (view.scale @ [40, 30, 1])[:2].round().astype(int)
    corner = (view.scale @ [10, 10, 1])[:2].round().astype(int)
    assert not view.valid[0, 0, middle[1], middle[0]]
    assert view.valid[0, 0, corner[1], corner[0]]
    assert torch.isfinite(view.pixels).all()


def test_a_part_is_cut_out_at_the_resolution_of_the_image():
    image = np.random.default_rng(0).integers(0, 255, (400, 600, 3), np.uint8)
    frame = make_frame(image, "image", 100)
    shift = np.eye(3)
    shift[:2, 2] = -200, -100
    view = cut_out(frame, shift, (64, 48))
    shown = view.pixels[0].permute(1, 2, 0).numpy() * 255
    assert np.abs(shown - image[100:148, 200:264]).max() < 0.05
    assert view.image_size == (600, 400)
    assert np.allclose(view.in_image(np.array([[3.0, 4.0]])), [[203, 104]])
