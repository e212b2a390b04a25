from dataclasses import replace

import numpy as np
import pytest

from sdme.errors import InputError
from sdme.frames import Pair, make_frame
from sdme.transform import Transform


def noise(width, height, seed=0, dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, 255, (height, width)).astype(dtype)


def test_small_images_are_left_alone():
    frame = make_frame(noise(64, 48), "image", 640)
    assert frame.size == frame.image_size == (64, 48)
    assert np.array_equal(frame.scale, np.eye(3))
    expected = frame.image.astype(np.float32) / 255
    np.testing.assert_allclose(frame.pixels[0, 0].numpy(), expected)
    assert frame.valid.all()


@pytest.mark.parametrize(
    ("size", "max_side", "expected"),
    [
        ((4000, 3000), 640, (640, 480)),
        ((333, 1000), 500, (166, 500)),
        ((1600, 40), 640, (1280, 32)),
    ],
)
def test_large_images_are_shrunk_but_not_below_32_px(size, max_side, expected):
    assert make_frame(noise(*size), "image", max_side).size == expected


def test_convention_corner_pixels_of_a_shrunk_image():
    """The frame's first pixel centre lies in the middle of the pixels it was made of."""
    frame = make_frame(noise(400, 300), "image", 100)
    points = np.array([[0.0, 0.0], [99.0, 74.0]])
    np.testing.assert_allclose(frame.in_image(points), [[1.5, 1.5], [397.5, 297.5]])


def test_convention_content_keeps_its_place():
    """The centre of mass of a spot, told in image pixels, is the same before and after."""
    y, x = np.mgrid[:300, :400]
    spot = (255 * np.exp(-((x - 250.3) ** 2 + (y - 101.6) ** 2) / 800)).astype(np.float32)
    spot = spot.round().astype(np.uint8)
    frame = make_frame(spot, "image", 100)
    weight = frame.pixels[0, 0].numpy()
    v, u = np.mgrid[: weight.shape[0], : weight.shape[1]]
    mean = np.array([[(u * weight).sum(), (v * weight).sum()]]) / weight.sum()
    np.testing.assert_allclose(frame.in_image(mean), [[250.3, 101.6]], atol=0.05)


def test_pixels_near_missing_data_are_not_valid():
    image = noise(64, 48, dtype=np.float32)
    image[10, 20] = np.nan
    valid = make_frame(image, "image", 640).valid[0, 0].numpy()
    assert not valid[6:15, 16:25].any()
    assert valid.sum() == valid.size - 81


def test_matrices_pass_between_frames_and_images():
    pair = Pair(
        make_frame(noise(400, 300), "fixed", 100), make_frame(noise(500, 450, 1), "moving", 250)
    )
    matrix = np.array([[1.1, 0.02, 4], [-0.03, 1.2, 9], [1e-4, 2e-5, 1]])
    framed = pair.in_frames(matrix)
    np.testing.assert_allclose(pair.in_images(framed), matrix, atol=1e-12)
    point = np.array([[30.0, 40.0, 1.0]])
    u, v, w = framed @ point[0]
    transform = Transform(matrix, (400, 300), (500, 450))
    expected = transform.apply(pair.fixed.in_image(point[:, :2]))
    np.testing.assert_allclose(pair.moving.in_image(np.array([[u / w, v / w]])), expected)
    assert pair.transform(framed).corner_error(transform) < 1e-9
    assert pair.transform(None) is None


def test_guesses():
    same = Pair(make_frame(noise(64, 48), "f", 640), make_frame(noise(64, 48, 1), "m", 640))
    assert len(same.guesses(None)) == 1
    np.testing.assert_allclose(same.guesses(None)[0], np.eye(3))
    other = Pair(make_frame(noise(64, 48), "f", 640), make_frame(noise(128, 96, 1), "m", 640))
    centred, stretched = other.guesses(None)
    np.testing.assert_allclose(centred, [[1, 0, 32], [0, 1, 24], [0, 0, 1]])
    np.testing.assert_allclose(stretched, [[2, 0, 0.5], [0, 2, 0.5], [0, 0, 1]])
    given = Transform(np.eye(3), (64, 48), (128, 96))
    assert len(other.guesses(given)) == 1
    with pytest.raises(InputError, match="64x48 and a moving one of 128x96 px"):
        same.guesses(given)


@pytest.mark.parametrize("mirror", [(1, 1), (-1, 1), (1, -1)])
def test_pixels_have_a_length_whichever_way_the_frame_lies(mirror):
    """Georeferences may be south up."""
    scale = np.diag([0.5 * mirror[0], 0.25 * mirror[1], 1.0])
    scale[:2, 2] = 20, 10
    frame = replace(make_frame(np.eye(40) * 200.0, "fixed image", 40), scale=scale)
    assert frame.pixel == pytest.approx(8**0.5)


def test_the_length_of_a_pixel_is_that_at_the_middle():
    scale = np.linalg.inv(np.array([[2.0, 0, 0], [0, 2.0, 0], [0.01, 0, 1]]))
    frame = replace(make_frame(np.eye(41) * 200.0, "fixed image", 41), scale=scale)
    back = np.linalg.inv(scale)
    middle, beside, below = (
        (back @ [20 + x, 20 + y, 1])[:2] / (back @ [20 + x, 20 + y, 1])[2]
        for x, y in ((0, 0), (1e-4, 0), (0, 1e-4))
    )
    area = abs(np.linalg.det([(beside - middle) * 1e4, (below - middle) * 1e4]))
    assert frame.pixel == pytest.approx(area**0.5, rel=1e-3)
