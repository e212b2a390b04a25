"""Warping keeps every dtype and never shows what lies beyond the horizon."""

import numpy as np
import pytest

from sdme import Transform
from sdme.transform import warp_array

SHIFT = np.array([[1.0, 0, 3], [0, 1, 2], [0, 0, 1]])
DTYPES = ["bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "int64"]
FLOATS = ["float16", "float32", "float64"]


@pytest.mark.parametrize("dtype", DTYPES + FLOATS)
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "cubic", "lanczos"])
def test_whole_shift_keeps_values_and_dtype(dtype, interpolation):
    image = np.random.default_rng(0).integers(0, 120, (30, 40)).astype(dtype)
    warped = warp_array(image, SHIFT, (20, 20), interpolation)
    assert warped.dtype == image.dtype
    np.testing.assert_array_equal(warped, image[2:22, 3:23])


@pytest.mark.parametrize("value", [2**31 - 1, 2**40, -(2**40)])
def test_wide_integer_labels_survive(value):
    image = np.full((8, 8), value, dtype=np.int64)
    assert (warp_array(image, np.eye(3), (8, 8), "nearest") == value).all()


def test_int8_overshoot_is_clipped():
    image = np.zeros((9, 9), dtype=np.int8)
    image[:, 4:] = 127
    half = np.array([[1.0, 0, 0.5], [0, 1, 0], [0, 0, 1]])
    warped = warp_array(image, half, (8, 9), "cubic")
    assert warped.max() == 127
    assert warped[4, 5] == 127


@pytest.mark.parametrize("shape", [(9, 9, 1), (9, 9, 2), (9, 9, 5), (9, 9, 7)])
def test_bands_are_kept(shape):
    image = np.random.default_rng(1).random(shape).astype(np.float32)
    np.testing.assert_array_equal(warp_array(image, np.eye(3), (9, 9)), image)


def test_beyond_the_horizon_is_fill():
    matrix = np.array([[-1.0, 0, 120], [0, -1, 100], [-0.01, 0, 1]])
    transform = Transform(matrix, (300, 200), (200, 200))
    warped = transform.warp(np.full((200, 200), 9, np.uint8), fill=5)
    grid = np.stack(np.meshgrid(np.arange(300), np.arange(200)), -1)
    seen = np.isfinite(transform.apply(grid)[..., 0])
    assert (warped[~seen] == 5).all()
    assert (warped[seen] == 9).any()


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "cubic", "lanczos"])
def test_fill_is_never_mixed_with_the_image(interpolation):
    image = np.full((20, 20), 100.0)
    shift = np.array([[1.0, 0, 10.3], [0, 1, -0.4], [0, 0, 1]])
    warped = warp_array(image, shift, (20, 20), interpolation, fill=np.nan)
    np.testing.assert_allclose(warped[:, :10], 100, atol=1e-9)  # x = 10.3 ... 19.3
    assert np.isnan(warped[:, 10:]).all()
