"""The misalignment of a pair: its sign, its size, and when nothing may be said of it."""

import cv2
import numpy as np
import pytest
from skimage import data

from sdme.data.misalignment import estimate_misalignment
from sdme.errors import InputError

SIDE = 300


@pytest.fixture(scope="module")
def scene():
    """A photo larger than what is cut from it."""
    return cv2.resize(data.astronaut(), (400, 400), interpolation=cv2.INTER_AREA)


def cut(image, x=50, y=50, side=SIDE):
    return np.ascontiguousarray(image[y : y + side, x : x + side])


def as_other_sensor(image):
    """Contrast reversed and bent, one band, with noise."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float64) / 255
    bent = 0.9 - 0.8 * np.sqrt(grey) + np.random.default_rng(0).normal(0, 0.02, grey.shape)
    return np.repeat((np.clip(bent, 0, 1) * 255).astype(np.uint8)[..., None], 3, axis=-1)


@pytest.mark.parametrize("dx, dy", [(0, 0), (5, 0), (0, -4), (-7, 9), (20, 3)])
def test_convention_what_is_at_x_in_fixed_is_at_x_plus_dx_in_moving(scene, dx, dy):
    found = estimate_misalignment(cut(scene), cut(scene, 50 - dx, 50 - dy))
    assert found.certain
    assert (found.dx, found.dy) == pytest.approx((dx, dy), abs=0.15)
    assert found.pixels == pytest.approx(np.hypot(dx, dy), abs=0.2)
    assert (found.angle, found.scale) == (0, 1)


@pytest.mark.parametrize("dx, dy", [(0, 0), (6, -3)])
def test_another_sensor_with_reversed_contrast(scene, dx, dy):
    found = estimate_misalignment(cut(scene), as_other_sensor(cut(scene, 50 - dx, 50 - dy)))
    assert found.certain and (found.dx, found.dy) == pytest.approx((dx, dy), abs=0.3)


def test_half_a_pixel(scene):
    halves = np.float32([[1, 0, 2.5], [0, 1, -1.5]])
    moving = cv2.warpAffine(scene, halves, (400, 400), flags=cv2.INTER_CUBIC)
    found = estimate_misalignment(cut(scene), cut(moving))
    assert (found.dx, found.dy) == pytest.approx((2.5, -1.5), abs=0.15)


def test_shifts_of_large_images_are_in_their_own_pixels(scene):
    large = cv2.resize(scene, (1600, 1600), interpolation=cv2.INTER_CUBIC)
    found = estimate_misalignment(cut(large, 100, 100, 1400), cut(large, 88, 120, 1400))
    assert found.certain and (found.dx, found.dy) == pytest.approx((12, -20), abs=0.6)


def test_a_long_image(scene):
    long = cv2.resize(scene, (2000, 300))
    found = estimate_misalignment(long[20:90, 100:1900], long[20:90, 94:1894])
    assert found.certain and (found.dx, found.dy) == pytest.approx((6, 0), abs=0.7)


@pytest.mark.parametrize("angle, scale", [(3, 1.0), (-3, 1.0), (0, 1.04)])
def test_turned_and_scaled_images(angle, scale):
    picture = cv2.resize(data.astronaut(), (512, 512))
    # OpenCV's positive angle turns anti-clockwise
    matrix = cv2.getRotationMatrix2D((255.5, 255.5), -angle, scale)
    moving = cv2.warpAffine(picture, matrix, (512, 512), borderMode=cv2.BORDER_REFLECT)
    found = estimate_misalignment(picture, as_other_sensor(moving))
    assert found.certain
    assert found.angle == pytest.approx(angle, abs=0.3)
    assert found.scale == pytest.approx(scale, abs=0.01)
    y, x = np.mgrid[:512, :512]
    points = np.stack([x.ravel(), y.ravel()])
    apart = np.linalg.norm(matrix[:, :2] @ points + matrix[:, 2:] - points, axis=0)
    assert found.pixels == pytest.approx(np.sqrt((apart**2).mean()), rel=0.1)


def test_nothing_is_claimed_of_images_without_a_common_scene(scene):
    noise = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    other = cv2.resize(data.coffee(), (SIDE, SIDE))
    for moving in (noise, other, as_other_sensor(other)):
        found = estimate_misalignment(cut(scene), moving)
        assert not found.certain
        assert "too little in common" in str(found)


def test_nothing_is_claimed_of_blank_images(scene):
    blank = np.full((SIDE, SIDE, 3), 90, np.uint8)
    for pair in ((blank, blank), (cut(scene), blank), (blank, cut(scene))):
        found = estimate_misalignment(*pair)
        assert not found.certain and found.confidence == 0


def test_nothing_is_claimed_across_parallel_lines():
    """Stripes fit at every period, and all along themselves."""
    wave = 127 + 100 * np.sin(np.arange(SIDE) / 2)
    stripes = np.repeat(np.tile(wave, (SIDE, 1)).astype(np.uint8)[..., None], 3, axis=-1)
    noise = np.random.default_rng(2).normal(0, 5, (2, *stripes.shape))
    fixed, moving = (np.clip(stripes + some, 0, 255).astype(np.uint8) for some in noise)
    assert not estimate_misalignment(fixed, moving).certain


def test_the_answer_is_repeatable(scene):
    pair = cut(scene), as_other_sensor(cut(scene, 47, 51))
    assert estimate_misalignment(*pair) == estimate_misalignment(*pair)


def test_one_number_that_people_understand(scene):
    found = estimate_misalignment(cut(scene), cut(scene, 46, 47))
    assert str(found) == "off by about 5.0 px (dx +4.0, dy +3.0)"


@pytest.mark.parametrize("sizes", [((40, 40), (40, 41)), ((31, 90), (31, 90))])
def test_sizes_that_cannot_be_compared(sizes):
    fixed, moving = (np.zeros((*size, 3), np.uint8) for size in sizes)
    with pytest.raises(InputError, match="px; give two of one size, at least 32x32 px"):
        estimate_misalignment(fixed, moving)
