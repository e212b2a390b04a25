import math

import kornia
import numpy as np
import pytest
import skimage.transform
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sdme.geometry.mapping import frame_centre, frame_corners, map_points, mean_corner_error

SIZE = (128, 96)
TRUTH = np.array([[1.0, 0.1, 30], [-0.05, 0.9, 28], [2e-4, -1e-4, 1]])
TILT = np.array([[1.0, 0, 0], [0, 1, 0], [-1 / 64, 0, 1]])  # the horizon is the line x = 64


def test_convention_corners_and_centre_are_pixel_centres():
    assert frame_corners((10, 5)).tolist() == [[0, 0], [9, 0], [9, 4], [0, 4]]
    assert frame_centre((10, 5)).tolist() == [4.5, 2]


@settings(deadline=None)  # the first call loads kornia
@given(arrays.arrays(np.float64, (7, 2), elements=st.floats(0, 200)))
def test_points_go_where_kornia_and_scikit_image_send_them(points):
    ours = map_points(TRUTH, points, frame_centre(SIZE))
    kornia_points = kornia.geometry.linalg.transform_points(
        torch.from_numpy(TRUTH)[None], torch.from_numpy(points)[None]
    )
    np.testing.assert_allclose(ours, kornia_points[0].numpy(), rtol=1e-9, atol=1e-9)
    other = skimage.transform.ProjectiveTransform(TRUTH)(points)
    np.testing.assert_allclose(ours, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("scale", [1.0, -3.0])
def test_horizon_hides_the_side_that_is_not_seen(scale):
    """x = 32 has depth 1 - 32/64 = 1/2 and lands on 64; 64 is the horizon; 96 has depth -1/2."""
    points = np.array([[32.0, 0], [64, 0], [96, 0]])
    from_left = map_points(scale * TILT, points, np.zeros(2))
    np.testing.assert_allclose(from_left, [[64, 0], [np.nan] * 2, [np.nan] * 2])
    from_right = map_points(scale * TILT, points, np.array([100.0, 0]))
    np.testing.assert_allclose(from_right, [[np.nan] * 2, [np.nan] * 2, [-192, 0]])
    assert np.isnan(map_points(scale * TILT, points, np.array([64.0, 5]))).all()


@pytest.mark.parametrize("size", [(128, 96), (65, 10), (64 * 2 + 1, 10), (1000, 10)])
def test_a_corner_on_or_beyond_the_horizon_is_infinitely_wrong(size):
    assert mean_corner_error(TILT, np.eye(3), size) == math.inf
    assert mean_corner_error(np.eye(3), TILT, size) == math.inf


def test_a_frame_before_the_horizon_has_a_finite_error():
    """Right corners (32,0) (32,9) are mapped to twice that: gaps 32 and |(32, 9)|; left ones 0."""
    expected = (32 + math.hypot(32, 9)) / 4
    assert mean_corner_error(TILT, np.eye(3), (33, 10)) == pytest.approx(expected)


def test_overflow_is_infinite_and_quiet():
    huge = np.array([[1e308, 1e308, 0], [0, 1, 0], [0, 0, 1e-300]])
    with np.errstate(all="raise"):
        assert mean_corner_error(huge, np.eye(3), SIZE) == math.inf
