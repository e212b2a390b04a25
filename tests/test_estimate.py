import cv2
import numpy as np
import pytest

from sdme import estimate
from sdme.config import EstimateSettings
from sdme.estimate import estimate_homography
from sdme.geometry.fit import fit_points
from sdme.transform import Transform

H = np.array([[1.1, 0.05, 20], [-0.03, 0.95, 10], [1e-4, -5e-5, 1]])


def through(matrix, points):
    mapped = points @ matrix[:, :2].T + matrix[:, 2]
    return mapped[:, :2] / mapped[:, 2:]


def matches(count, right, noise=0.3, seed=0):
    rng = np.random.default_rng(seed)
    points0 = rng.uniform(0, 600, (count, 2))
    points1 = through(H, points0) + rng.normal(0, noise, (count, 2))
    points1[right:] = rng.uniform(0, 600, (count - right, 2))
    return points0, points1


def corner_error(matrix):
    square = np.array([[0.0, 0], [600, 0], [600, 600], [0, 600]])
    return np.linalg.norm(through(matrix, square) - through(H, square), axis=-1).mean()


def test_finds_the_homography_among_wrong_matches():
    found = estimate_homography(*matches(400, 160))
    assert found.reason is None
    assert found.matrix[2, 2] == 1
    assert corner_error(found.matrix) < 1
    assert found.inlier[:160].mean() > 0.9
    assert found.inlier[160:].mean() < 0.05


def test_exact_matches_give_the_exact_homography():
    found = estimate_homography(*matches(30, 30, noise=0))
    assert corner_error(found.matrix) < 1e-3
    assert found.inlier.all()


def test_same_input_same_answer():
    points = matches(300, 60)
    first, second = estimate_homography(*points), estimate_homography(*points)
    assert np.array_equal(first.matrix, second.matrix)
    assert np.array_equal(first.inlier, second.inlier)


@pytest.mark.parametrize("count", [0, 1, 3, 4, 7])
def test_too_few_matches_are_not_even_tried(count, monkeypatch):
    monkeypatch.setattr(estimate.cv2, "findHomography", lambda *_, **__: pytest.fail("was tried"))
    found = estimate_homography(*matches(count, count))
    assert found.reason == "too_few_matches"
    assert found.matrix is None
    assert found.inlier.shape == (count,) and not found.inlier.any()


@pytest.mark.parametrize(
    "points", [np.stack([np.arange(50.0)] * 2, axis=1), np.ones((50, 2)), np.full((50, 2), np.nan)]
)
def test_degenerate_points_give_no_model(points):
    found = estimate_homography(points, points)
    assert found.reason == "no_model"
    assert found.matrix is None


def test_opencv_errors_give_no_model(monkeypatch):
    def fails(*_, **__):
        raise cv2.error("inside")

    monkeypatch.setattr(estimate.cv2, "findHomography", fails)
    assert estimate_homography(*matches(50, 50)).reason == "no_model"


def test_random_matches_give_too_few_inliers():
    found = estimate_homography(*matches(200, 0), EstimateSettings(min_inliers=10))
    assert found.reason == "too_few_inliers"
    assert found.matrix is None
    assert found.inlier.sum() < 10


def test_threshold_is_in_pixels():
    points = matches(200, 200, noise=2)
    tight = estimate_homography(*points, EstimateSettings(threshold=0.5))
    wide = estimate_homography(*points, EstimateSettings(threshold=6))
    assert tight.inlier.sum() < wide.inlier.sum()
    assert wide.inlier.mean() > 0.95


SMALL = {
    "translation": [[1, 0, 20], [0, 1, -9], [0, 0, 1]],
    "euclidean": [[0.96, -0.28, 20], [0.28, 0.96, -9], [0, 0, 1]],
    "similarity": [[1.152, -0.336, 20], [0.336, 1.152, -9], [0, 0, 1]],
    "affine": [[1.1, -0.3, 20], [0.2, 0.9, -9], [0, 0, 1]],
}


def matches_of(kind, count, right, noise=0.5, seed=0):
    rng = np.random.default_rng(seed)
    points0 = rng.uniform(0, 600, (count, 2))
    points1 = through(np.array(SMALL[kind]), points0) + rng.normal(0, noise, (count, 2))
    points1[right:] = rng.uniform(0, 600, (count - right, 2))
    return points0, points1


@pytest.mark.parametrize("kind", SMALL)
def test_small_kinds_are_found_among_wrong_matches(kind):
    points = matches_of(kind, 400, 80)
    found = estimate.estimate(*points, kind, EstimateSettings(threshold=2))
    gap = through(found.matrix, points[0]) - through(np.array(SMALL[kind]), points[0])
    assert np.linalg.norm(gap, axis=1).max() < 1
    assert found.inlier[:80].mean() > 0.9 and found.inlier[80:].mean() < 0.05
    assert Transform(found.matrix, (600, 600), (600, 600), kind).kind == kind
    again = estimate.estimate(*points, kind, EstimateSettings(threshold=2))
    assert np.array_equal(found.matrix, again.matrix)


@pytest.mark.parametrize("kind", ["translation", "euclidean", "similarity"])
def test_the_least_squares_fit_of_the_right_matches_is_reached(kind):
    points0, points1 = matches_of(kind, 300, 200)
    found = estimate.estimate(points0, points1, kind, EstimateSettings(threshold=3))
    expected = fit_points(points0[:200], points1[:200], kind)
    assert found.inlier[:200].all()
    gap = through(found.matrix, points0) - through(expected, points0)
    assert np.linalg.norm(gap, axis=1).max() < 0.3  # a few wrong ones may agree by chance


@pytest.mark.parametrize("kind", ["translation", "euclidean", "similarity"])
def test_the_matches_that_agree_are_those_within_the_threshold(kind):
    for seed in range(5):
        points0, points1 = matches_of(kind, 200, 150, noise=1.5, seed=seed)
        found = estimate.estimate(points0, points1, kind, EstimateSettings(threshold=2))
        gaps = np.linalg.norm(through(found.matrix, points0) - points1, axis=1)
        assert np.array_equal(found.inlier, gaps < 2)


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("points", [np.ones((50, 2)), np.full((50, 2), np.nan)])
def test_degenerate_points_give_no_small_model_but_a_shift(kind, points):
    found = estimate.estimate(points, points, kind)
    if kind == "translation" and np.isfinite(points).all():
        np.testing.assert_allclose(found.matrix, np.eye(3))
    else:
        assert found.reason == "no_model" and found.matrix is None and not found.inlier.any()


@pytest.mark.parametrize("kind", SMALL)
def test_random_matches_are_no_small_model(kind):
    found = estimate.estimate(*matches_of(kind, 200, 0), kind, EstimateSettings(min_inliers=10))
    assert found.reason == "too_few_inliers" and found.matrix is None
