import cv2
import numpy as np
import pytest

from sdme.evaluate.methods.robust_fit import enlarged, fit, matching_result

H_TRUE = np.array([[0.9, 0.1, 12.0], [-0.1, 1.1, 5.0], [2e-4, 1e-4, 1.0]])


def matches(count: int, noise: float, wrong: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    fixed = rng.uniform(0, 128, (count, 2))
    moving = cv2.perspectiveTransform(fixed[None], H_TRUE)[0] + rng.normal(0, noise, (count, 2))
    moving[:wrong] = rng.uniform(0, 192, (wrong, 2))
    return fixed, moving


def test_wrong_matches_are_told_from_right_ones():
    fixed, moving = matches(200, noise=0.0, wrong=80)
    estimate = fit(fixed, moving, 1.0)
    assert estimate.matrix is not None
    np.testing.assert_allclose(estimate.matrix, H_TRUE, atol=1e-4)
    assert estimate.inlier[80:].all()
    assert estimate.inlier[:80].sum() < 5


def test_noise_is_averaged_over_all_inliers():
    fixed, moving = matches(2000, noise=0.4, wrong=0)
    estimate = fit(fixed, moving, 2.0)
    assert estimate.matrix is not None
    corners = np.array([[[0, 0], [127, 0], [127, 127], [0, 127.0]]])
    ends = [cv2.perspectiveTransform(corners, H)[0] for H in (estimate.matrix, H_TRUE)]
    assert np.linalg.norm(ends[0] - ends[1], axis=1).max() < 0.15


@pytest.mark.parametrize("count", [0, 3])
def test_too_few_matches_have_no_homography(count):
    points = np.arange(2.0 * count).reshape(count, 2) ** 2
    assert fit(points, points, 1.0).matrix is None


def test_points_of_one_line_have_no_homography():
    line = np.stack([np.arange(30.0), 2 * np.arange(30.0)], axis=1)
    assert fit(line, line, 1.0).matrix is None


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0, 3.7])
@pytest.mark.parametrize("multiple", [1, 32])
def test_points_of_an_enlarged_image_come_back_to_where_they_were(scale, multiple):
    y, x = np.mgrid[:96, :128]
    spot = 255 * np.exp(-((x - 51.3) ** 2 + (y - 40.6) ** 2) / (2 * 5.0**2))
    large = enlarged(spot.astype(np.uint8), scale, multiple)
    height, width = large.pixels.shape
    assert height % multiple == width % multiple == 0
    assert abs(width - 128 * scale) <= multiple / 2
    rows, columns = np.mgrid[:height, :width]
    weight = large.pixels.astype(float)
    centre = [[(columns * weight).sum() / weight.sum(), (rows * weight).sum() / weight.sum()]]
    np.testing.assert_allclose(large.original_points(np.array(centre)), [[51.3, 40.6]], atol=0.06)


def test_the_result_holds_what_was_matched():
    keypoints, moved = matches(60, noise=0.0, wrong=0)
    pairs = np.stack([np.arange(0, 60, 2), np.arange(0, 60, 2)], axis=1)
    result = matching_result("some", keypoints, moved, pairs, 1.0, 0.0)
    assert result.matching is not None
    np.testing.assert_array_equal(result.matching.fixed, keypoints[::2])
    np.testing.assert_array_equal(result.matching.moving, moved[::2])
    assert result.matching.inlier.all()
    assert len(result.matching.fixed_keypoints) == 60
    assert result.stages["some"] is not None
    none = matching_result("some", keypoints, moved, np.zeros((0, 2), int), 1.0, 0.0)
    assert none.stages == {"some": None}
