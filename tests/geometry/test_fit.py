"""Least-squares transforms of every kind against known ones, and what cannot be fitted."""

import numpy as np
import pytest

from sdme.config import KINDS
from sdme.geometry.fit import POINTS_NEEDED, fit_points, nearest_of_kind
from sdme.transform import Transform

SIZE = (300, 200)
TURN = np.radians(20)
ROTATION = np.array([[np.cos(TURN), -np.sin(TURN)], [np.sin(TURN), np.cos(TURN)]])


def of_kind(kind):
    matrix = np.eye(3)
    matrix[:2, 2] = 12.5, -40
    if kind != "translation":
        matrix[:2, :2] = ROTATION
    if kind in ("similarity", "affine", "homography"):
        matrix[:2, :2] *= 1.3
    if kind in ("affine", "homography"):
        matrix[0, :2] *= 0.9
    if kind == "homography":
        matrix[2, :2] = 2e-4, -3e-4
    return matrix


def through(matrix, points):
    return Transform(matrix, SIZE, SIZE).apply(points)


def drawn(count, seed=0):
    return np.random.default_rng(seed).uniform(0, 1, (count, 2)) * SIZE


@pytest.mark.parametrize("kind", KINDS)
def test_exact_points_give_the_transform_from_the_least_number_on(kind):
    for count in (POINTS_NEEDED[kind], POINTS_NEEDED[kind] + 1, 40):
        points = drawn(count)
        found = fit_points(points, through(of_kind(kind), points), kind)
        np.testing.assert_allclose(found, of_kind(kind), atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_no_transform_of_the_kind_has_less_squared_distance(kind):
    rng = np.random.default_rng(1)
    points0 = drawn(30)
    points1 = through(of_kind(kind), points0) + rng.normal(0, 3, points0.shape)
    found = fit_points(points0, points1, kind)

    def cost(matrix):
        return ((through(matrix, points0) - points1) ** 2).sum()

    assert Transform(found, SIZE, SIZE, kind).kind == kind
    for _ in range(50):
        other = found + rng.normal(0, 1e-4, (3, 3)) * [[1, 1, 100], [1, 1, 100], [1e-3, 1e-3, 0]]
        near = nearest_of_kind(other, kind, SIZE)
        assert cost(near) >= cost(found) * (1 - 1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_too_few_points_fix_nothing(kind):
    points = drawn(POINTS_NEEDED[kind] - 1)
    assert fit_points(points, points, kind) is None


@pytest.mark.parametrize("kind", KINDS[1:])
def test_points_in_one_place_fix_nothing(kind):
    assert fit_points(np.full((9, 2), 7.0), drawn(9), kind) is None
    assert fit_points(drawn(9), np.full((9, 2), 7.0), kind) is None or kind == "affine"


@pytest.mark.parametrize("kind", ["affine", "homography"])
def test_points_on_a_line_fix_no_affine_map_and_no_homography(kind):
    line = np.arange(9.0)[:, None] * [3.0, 2.0] + [100, 5]
    assert fit_points(line, line, kind) is None


@pytest.mark.parametrize("kind", ["euclidean", "similarity"])
def test_points_on_a_line_fix_a_similarity(kind):
    line = np.arange(9.0)[:, None] * [3.0, 2.0] + [100, 5]
    found = fit_points(line, through(of_kind(kind), line), kind)
    np.testing.assert_allclose(found, of_kind(kind), atol=1e-9)


def test_a_mirrored_picture_gives_no_mirror():
    points = drawn(20)
    found = fit_points(points, points * [-1, 1], "similarity")
    assert found is None or np.linalg.det(found[:2, :2]) > 0


def test_what_is_not_finite_fixes_nothing():
    points = drawn(9)
    points[3, 1] = np.nan
    assert all(fit_points(points, drawn(9), kind) is None for kind in KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_the_nearest_of_its_own_kind_is_the_transform_itself(kind):
    found = nearest_of_kind(of_kind(kind), kind, SIZE)
    np.testing.assert_allclose(found, of_kind(kind), atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_the_nearest_is_exactly_of_the_kind_and_near(kind):
    almost = of_kind(kind) + 1e-6 * np.array([[1, -1, 1], [2, 1, 1], [1e-3, 1e-3, 0]])
    found = nearest_of_kind(almost, kind, SIZE)
    assert Transform(found, SIZE, SIZE, kind).corner_error(Transform(almost, SIZE, SIZE)) < 2e-3


def test_the_nearest_looks_at_the_seen_side_of_the_horizon_alone():
    matrix = np.array([[1.0, 0, 0], [0, 1, 0], [-1 / 250, 0, 1]])  # it cuts the image at x = 250
    assert np.isfinite(nearest_of_kind(matrix, "affine", SIZE)).all()
