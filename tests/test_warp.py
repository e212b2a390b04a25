"""Warping keeps every dtype and never shows what lies beyond the horizon."""

import numpy as np
import pytest

from sdme import InputError, Transform
from sdme.warping import warp_array

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


@pytest.mark.parametrize("value", [2**31 - 1, 2**40, -(2**40), 2**53, -(2**53)])
def test_wide_integer_labels_survive(value):
    image = np.full((8, 8), value, dtype=np.int64)
    assert (warp_array(image, np.eye(3), (8, 8), "nearest") == value).all()


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(2**63 - 1, "int64"), (-(2**63), "int64"), (2**53 + 1, "int64"), (2**64 - 1, "uint64")],
)
def test_integers_that_would_be_rounded_are_refused(value, dtype):
    with pytest.raises(InputError, match=rf"{dtype} value {value}; integers up to 2\*\*53"):
        warp_array(np.full((8, 8), value, dtype=dtype), np.eye(3), (8, 8))


def test_overshoot_of_wide_integers_is_clipped():
    image = np.zeros((9, 9), dtype=np.uint64)
    image[:, 4:] = 2**53
    half = np.array([[1.0, 0, 0.5], [0, 1, 0], [0, 0, 1]])
    warped = warp_array(image, half, (8, 9), "lanczos")
    assert warped.min() == 0 and warped.max() == 2**53


@pytest.mark.parametrize(
    ("dtype", "fill"),
    [("uint8", 300), ("uint8", -1), ("uint8", 0.5), ("int16", np.nan), ("int32", np.inf),
     ("int64", 2.0**63)],
)  # fmt: skip
def test_fill_that_does_not_fit_is_refused(dtype, fill):
    with pytest.raises(InputError, match=f"does not fit {dtype}"):
        warp_array(np.zeros((8, 8), dtype), np.eye(3), (8, 8), fill=fill)


@pytest.mark.parametrize(("dtype", "fill"), [("uint8", 255), ("int64", -(2**63)), ("bool", 1)])
def test_fill_at_the_limit_is_kept(dtype, fill):
    warped = warp_array(np.zeros((30, 40), dtype), SHIFT, (40, 30), fill=fill)
    assert (warped[:, 37:] == fill).all() and (warped[28:] == fill).all()
    assert not warped[:28, :37].any()


def test_too_large_a_grid_is_refused():
    huge = Transform(np.eye(3), (1_000_000, 1_000_000), (8, 8))
    with pytest.raises(InputError, match="at most 400 million pixels"):
        huge.warp(np.zeros((8, 8), np.uint8))


def test_horizon_is_judged_from_the_centre_of_the_fixed_image():
    matrix = np.array([[-1 / 3, 0, 100], [0, 1 / 3, 0], [-0.01, 0, 1]])
    back = Transform(matrix, (50, 50), (150, 150)).inverse
    for like in (None, np.zeros((60, 30))):
        warped = back.warp(np.full((50, 50), 9, np.uint8), like=like, fill=5)
        grid = np.stack(np.meshgrid(*(np.arange(n) for n in warped.shape[1::-1])), -1)
        x, y = np.moveaxis(back.apply(grid), -1, 0)
        inside = (abs(x - 24.5) < 24.9) & (abs(y - 24.5) < 24.9)
        outside = ~((abs(x - 24.5) < 25.1) & (abs(y - 24.5) < 25.1))
        assert (warped[inside] == 9).all() and (warped[outside] == 5).all()
        assert inside.any() or like is not None


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
