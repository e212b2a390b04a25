"""Transforms through control points, also where one is wrong."""

import numpy as np
import pytest

from sdme.errors import InputError
from sdme.exchange.control_points import (
    ControlPoints,
    fit_control_points,
    read_control_points,
)
from sdme.transform import Transform

SIZES = (300, 200), (310, 190)
TRUTH = Transform([[1.02, -0.1, 9], [0.12, 0.97, -4], [0, 0, 1]], *SIZES, "affine")


def points(count, noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    fixed = rng.uniform(0, 1, (count, 2)) * SIZES[0]
    moving = TRUTH.apply(fixed) + rng.normal(0, noise, (count, 2))
    return ControlPoints(fixed, moving, tuple(f"line {k + 2}" for k in range(count)))


@pytest.mark.parametrize(
    ("count", "kind"),
    [(1, "translation"), (2, "similarity"), (3, "affine"), (5, "affine"), (6, "homography")],
)
def test_the_number_of_points_says_the_kind(count, kind):
    assert fit_control_points(points(count), *SIZES).transform.kind == kind


def test_a_kind_may_be_asked_for():
    found = fit_control_points(points(20, noise=0.5), *SIZES, kind="affine")
    assert found.transform.corner_error(TRUTH) < 1 and found.left_out == ()
    assert 0.2 < np.median(found.residuals) < 1.5


@pytest.mark.parametrize("wrong", [0, 5])
@pytest.mark.parametrize("count", [6, 8, 20])
def test_one_wrong_point_is_left_out(count, wrong):
    given = points(count, noise=0.3)
    given.moving[wrong] += [60, -25]
    found = fit_control_points(given, *SIZES, kind="affine")
    assert found.left_out == (wrong,)
    assert found.transform.corner_error(TRUTH) < 3
    assert found.residuals[wrong] > 30


def test_points_that_are_all_noisy_are_all_kept():
    for seed in range(10):
        assert fit_control_points(points(12, noise=5, seed=seed), *SIZES).left_out == ()


def test_so_few_points_contradict_nobody():
    given = points(5)
    given.moving[1] += [60, -25]
    found = fit_control_points(given, *SIZES)
    assert found.left_out == () and found.residuals.max() > 5


def test_at_most_a_quarter_is_left_out():
    given = points(12)
    given.moving[:4, 0] += [20000, 2000, 200, 20]  # each of them hides the next
    found = fit_control_points(given, *SIZES, kind="affine")
    assert found.left_out == (0, 1, 2) and found.residuals[3] > 5


@pytest.mark.parametrize(("count", "kind"), [(0, None), (2, "affine"), (3, "homography")])
def test_too_few_points_are_refused(count, kind):
    with pytest.raises(InputError, match=rf"mine\.csv has {count} usable point"):
        fit_control_points(points(count), *SIZES, kind, "mine.csv")


def test_points_on_a_line_are_refused():
    line = np.arange(9.0)[:, None] * [3.0, 2.0]
    with pytest.raises(InputError, match="in one place, on a line"):
        fit_control_points(ControlPoints(line, line), *SIZES)


@pytest.mark.parametrize(
    "text",
    [
        "x_fixed,y_fixed,x_moving,y_moving\n1,2,3,4\n5,6,7,8\n",
        "name;y_moving;X_FIXED;y_fixed;x_moving\na;4;1;2;3\nb;8;5;6;7\n",
        "1\t2\t3\t4\n5\t6\t7\t8\n",
    ],
)
def test_tables_are_read_by_their_columns(tmp_path, text):
    (tmp_path / "t.csv").write_text(text)
    found = read_control_points(tmp_path / "t.csv")
    assert found.fixed.tolist() == [[1, 2], [5, 6]]
    assert found.moving.tolist() == [[3, 4], [7, 8]]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty table"),
        ("x,y\n1,2\n", "give a header with"),
        ("1,2,3\n", "give a header with"),
        ("x_fixed,y_fixed,x_moving,y_moving\n1,2,3,inf\n", "line 2"),
        ("x_fixed,y_fixed,x_moving,y_moving\n1,2,3,4\n1,2,3\n", "line 3"),
    ],
)
def test_other_tables_are_refused(tmp_path, text, why):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError, match=why):
        read_control_points(tmp_path / "t.csv")
