import math
from pathlib import Path

import kornia
import numpy as np
import pytest
import skimage.transform
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sdme.data.pairs import ImageFile, ImagePair, Landmarks
from sdme.evaluate.case import Case, CaseKey
from sdme.evaluate.method import Matching, MethodResult
from sdme.evaluate.metrics import (
    case_error,
    corner_error,
    landmark_error,
    matching_score,
    score_result,
)
from sdme.transform import Transform

SIZE = (128, 96)
TRUTH = np.array([[1.0, 0.1, 30], [-0.05, 0.9, 28], [2e-4, -1e-4, 1]])
NO_POINTS = np.zeros((0, 2))


def shift(x, y):
    return np.array([[1.0, 0, x], [0, 1, y], [0, 0, 1]])


def case(H_true=None, landmarks=None, initial=None, fixed_size=SIZE, moving_size=(160, 140)):
    file = ImageFile(Path("photo.png"))
    pair = ImagePair("set", "p7", file, file, group="photo")
    pictures = [np.zeros((h, w, 3), np.uint8) for w, h in (fixed_size, moving_size)]
    initial = np.eye(3) if initial is None else initial
    return Case(CaseKey(pair, 3, "b"), *pictures, initial, H_true, landmarks, redraws=2)


def matching(fixed, moving, inlier=None, keypoints=None):
    fixed, moving = (np.array(points, dtype=float).reshape(-1, 2) for points in (fixed, moving))
    inlier = np.ones(len(fixed), bool) if inlier is None else np.array(inlier, bool)
    keypoints = (fixed, moving) if keypoints is None else keypoints
    return Matching(fixed, moving, inlier, *(np.array(p, float).reshape(-1, 2) for p in keypoints))


# Corner error: by hand, and against other libraries


def test_translation_error_is_its_length():
    assert corner_error(shift(35, 32), shift(32, 28), SIZE) == pytest.approx(5)


def test_truth_has_no_error_at_any_scale_of_the_matrix():
    assert corner_error(TRUTH, TRUTH, SIZE) == pytest.approx(0, abs=1e-12)
    assert corner_error(-7 * TRUTH, TRUTH, SIZE) == pytest.approx(0, abs=1e-9)


def test_hand_worked_scaling():
    """Doubling about the origin moves the corners (0,0) (9,0) (9,4) (0,4) by their own length."""
    expected = (0 + 9 + math.hypot(9, 4) + 4) / 4
    assert corner_error(np.diag([2.0, 2, 1]), np.eye(3), (10, 5)) == pytest.approx(expected)


def test_hand_worked_perspective():
    """Depth 1 + x/9 halves the right corners (9,0) and (9,4): gaps 4.5 and half of |(9,4)|."""
    H = np.array([[1.0, 0, 0], [0, 1, 0], [1 / 9, 0, 1]])
    expected = (0 + 4.5 + math.hypot(4.5, 2) + 0) / 4
    assert corner_error(H, np.eye(3), (10, 5)) == pytest.approx(expected)


def test_convention_corners_are_pixel_centres():
    """A fixed image of w px ends at x = w - 1: doubling x moves the right corners by 9, not 10."""
    assert corner_error(np.diag([2.0, 1, 1]), np.eye(3), (10, 1)) == pytest.approx(9 / 2)


@settings(deadline=None, max_examples=50)  # the first call loads kornia
@given(st.lists(st.floats(-8, 8), min_size=8, max_size=8))
def test_agrees_with_kornia_and_scikit_image(shifts):
    square = np.array([[0, 0], [127, 0], [127, 95], [0, 95]], dtype=float)
    quad = square + np.reshape(shifts, (4, 2)) + 30
    estimate = skimage.transform.ProjectiveTransform.from_estimate(square, quad).params
    ours = corner_error(estimate, TRUTH, SIZE)
    gap = skimage.transform.ProjectiveTransform(TRUTH)(square) - quad
    assert ours == pytest.approx(np.mean([math.hypot(*row) for row in gap]), abs=1e-6)
    mapped = kornia.geometry.linalg.transform_points(
        torch.from_numpy(np.stack([estimate, TRUTH])), torch.from_numpy(square).expand(2, 4, 2)
    )
    assert ours == pytest.approx((mapped[0] - mapped[1]).norm(dim=-1).mean().item(), abs=1e-6)


def test_one_rule_for_reports_and_for_transforms():
    tilt = np.array([[1.0, 0, 0], [0, 1, 0], [-1 / 64, 0, 1]])
    for H in (tilt, shift(3, 4), 2 * TRUTH):
        value = Transform(H, SIZE, SIZE).corner_error(Transform(TRUTH, SIZE, SIZE))
        assert corner_error(H, TRUTH, SIZE) == pytest.approx(value)


@pytest.mark.parametrize(
    "estimate",
    [None, np.full((3, 3), np.nan), np.full((3, 3), np.inf), np.zeros((3, 3)), np.eye(2)],
)
def test_no_usable_estimate_is_infinite(estimate):
    assert corner_error(estimate, TRUTH, SIZE) == math.inf
    points = np.array([[0.0, 0], [5, 5]])
    assert landmark_error(estimate, Landmarks(points, points)) == math.inf


def test_corner_beyond_the_horizon_is_infinite():
    H = np.array([[1.0, 0, 0], [0, 1, 0], [-1 / 64, 0, 1]])
    assert corner_error(H, np.eye(3), SIZE) == math.inf


# Landmark error


def test_hand_worked_landmarks():
    """A shift by (3, 4) sends (0,0) to (3,4), 5 px off, and (10,10) to (13,14), 12 px off."""
    marks = Landmarks(np.array([[0.0, 0], [10, 10]]), np.array([[0.0, 0], [13, 2]]))
    assert landmark_error(shift(3, 4), marks) == pytest.approx((5 + 12) / 2)


def test_horizon_between_the_landmarks_is_infinite():
    H = np.array([[1.0, 0, 0], [0, 1, 0], [-1 / 64, 0, 1]])
    points = np.array([[0.0, 0], [100, 0]])
    assert landmark_error(H, Landmarks(points, points)) == math.inf
    assert landmark_error(H, Landmarks(points / 2, points)) < math.inf


def test_no_landmarks_are_an_error():
    with pytest.raises(ValueError, match="at least one"):
        landmark_error(np.eye(3), Landmarks(NO_POINTS, NO_POINTS))


def test_a_case_is_judged_by_corners_or_else_by_landmarks():
    marks = Landmarks(np.array([[0.0, 0]]), np.array([[0.0, 12]]))
    assert case_error(case(shift(6, 8), marks), np.eye(3)) == pytest.approx(10)
    assert case_error(case(None, marks), np.eye(3)) == pytest.approx(12)
    with pytest.raises(ValueError, match="neither"):
        case_error(case(), np.eye(3))


# Matches


def test_hand_worked_matches():
    """Truth is a shift by (10, 0); the matches are off by 0, 1, 2.5 and 30 px."""
    fixed = [[0, 0], [20, 0], [40, 0], [60, 0]]
    moving = [[10, 0], [30, 1], [50, 2.5], [70, 30]]
    found = matching_score(matching(fixed, moving, [1, 1, 0, 1]), case(shift(10, 0)))
    assert found.accuracy == {1: 0.5, 2: 0.5} | dict.fromkeys(range(3, 11), 0.75)
    assert (found.matches, found.keypoints) == (4, 4)
    assert found.inlier_ratio == 0.75
    assert found.inlier_precision == pytest.approx(2 / 3)


def test_hand_worked_repeatability():
    """Of the fixed keypoints sent to x = 10, 50, 159.4 and 160 of a 160 px wide image, the last
    is out of view; moving ones lie 3 px from the first, 3.1 px from the second, on the third.
    """
    fixed = [[0, 5], [40, 5], [149.4, 5], [150, 5]]
    moving = [[13, 5], [50, 8.1], [159.4, 5]]
    points = matching([], [], keypoints=(fixed, moving))
    assert matching_score(points, case(shift(10, 0))).repeatability == pytest.approx(2 / 3)


def test_repeatability_agrees_with_all_distances():
    rng = np.random.default_rng(0)
    fixed, moving = rng.uniform(0, (128, 96), (300, 2)), rng.uniform(0, (160, 140), (200, 2))
    mapped = skimage.transform.ProjectiveTransform(TRUTH)(fixed)
    seen = mapped[((mapped >= -0.5) & (mapped < (159.5, 139.5))).all(axis=1)]
    nearest = np.linalg.norm(seen[:, None] - moving, axis=-1).min(axis=1)
    points = matching([], [], keypoints=(fixed, moving))
    found = matching_score(points, case(TRUTH)).repeatability
    assert 0.1 < found < 0.9 and found == pytest.approx((nearest <= 3).mean())


def test_a_match_beyond_the_horizon_of_the_truth_is_wrong():
    tilt = np.array([[1.0, 0, 0], [0, 1, 0], [-1 / 100, 0, 1]])
    found = matching_score(matching([[10, 0], [110, 0]], [[100 / 9, 0], [-1100, 0]]), case(tilt))
    assert found.accuracy[1] == 0.5


def test_without_matches_accuracy_is_zero_and_what_has_no_denominator_is_nan():
    found = matching_score(matching([], []), case(TRUTH))
    assert (found.matches, found.keypoints) == (0, 0)
    assert {*found.accuracy.values(), found.inlier_ratio} == {0}
    assert math.isnan(found.inlier_precision)
    assert math.isnan(found.repeatability)
    lonely = matching_score(matching([], [], keypoints=([[5, 5]], [])), case(np.eye(3)))
    assert lonely.repeatability == 0


def test_landmarks_say_nothing_of_matches():
    marks = Landmarks(np.zeros((1, 2)), np.zeros((1, 2)))
    found = matching_score(matching([[0, 0], [1, 1]], [[0, 0], [1, 1]], [1, 0]), case(None, marks))
    assert (found.matches, found.inlier_ratio) == (2, 0.5)
    shares = [*found.accuracy.values(), found.inlier_precision, found.repeatability]
    assert all(math.isnan(share) for share in shares)


# Scores


def test_score_of_every_stage():
    stages = {"sparse": shift(14, 0), "dense": None, "both": shift(11, 0)}
    points = matching([[0, 0]], [[10, 0]])
    result = MethodResult(stages, points, {"sparse": 0.2}, "aligned")
    rows = score_result(case(shift(10, 0), initial=shift(30, 0)), "ours", result, 0.5, 64.0)
    assert [row.stage for row in rows] == ["sparse", "dense", "both"]
    assert [row.error for row in rows] == pytest.approx([4, math.inf, 1])
    assert [row.is_final for row in rows] == [False, False, True]
    assert [row.seconds for row in rows] == pytest.approx([0.2, math.nan, 0.5], nan_ok=True)
    assert [row.matching is None for row in rows] == [False, True, True]
    assert rows[1].matrix is None and rows[2].matrix == (1, 0, 11, 0, 1, 0, 0, 0, 1)
    for row in rows:
        assert (row.final_error, row.unregistered_error) == pytest.approx((1, 20))
        assert (row.method, row.dataset, row.pair, row.index) == ("ours", "set", "p7", 3)
        assert (row.group, row.fixed_side, row.redraws, row.size) == ("photo", "b", 2, SIZE)
        assert (row.measure, row.verdict, row.memory) == ("corners", "aligned", 64.0)


@pytest.mark.parametrize("result", [None, MethodResult({})])
def test_a_crash_is_one_infinite_score(result):
    (row,) = score_result(case(TRUTH), "sift", result, 2.0, 64.0, "ValueError: no")
    assert (row.stage, row.is_final, row.note, row.seconds) == ("sift", True, "ValueError: no", 2)
    assert row.error == row.final_error == math.inf
    assert row.matching is None and row.matrix is None
