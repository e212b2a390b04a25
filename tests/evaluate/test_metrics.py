import math

import numpy as np
import pytest

from sdme.evaluate.metrics import beats_no_registration, corner_error, summarise

SIZE = (128, 96)
TRUTH = np.array([[1.0, 0.1, 30], [-0.05, 0.9, 28], [2e-4, -1e-4, 1]])


def shift(x, y):
    return np.array([[1.0, 0, x], [0, 1, y], [0, 0, 1]])


def test_translation_error_is_its_length():
    assert corner_error(shift(3, 4) @ TRUTH, TRUTH, SIZE) != 0
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


def test_convention_wrong_direction_is_caught():
    assert corner_error(np.linalg.inv(TRUTH), TRUTH, SIZE) > 10


def test_convention_half_pixel_shift_is_caught():
    assert corner_error(shift(0.5, 0.5) @ shift(32, 32), shift(32, 32), SIZE) == pytest.approx(
        math.sqrt(0.5)
    )


def test_convention_corners_are_pixel_centres():
    """A fixed image of w px ends at x = w - 1: one more or less changes a scaled error."""
    error = corner_error(np.diag([2.0, 1, 1]), np.eye(3), (10, 1))
    assert error == pytest.approx(9 / 2)


@pytest.mark.parametrize(
    "estimate",
    [None, np.full((3, 3), np.nan), np.full((3, 3), np.inf), np.zeros((3, 3))],
)
def test_no_usable_estimate_is_infinite(estimate):
    assert corner_error(estimate, TRUTH, SIZE) == math.inf


def test_corner_beyond_the_horizon_is_infinite():
    H = np.array([[1.0, 0, 0], [0, 1, 0], [-1 / 64, 0, 1]])
    assert corner_error(H, np.eye(3), SIZE) == math.inf


def test_summary_counts_failures_as_misses():
    summary = summarise([0.2, 0.8, 2.0, math.inf])
    assert (summary.pairs, summary.failures) == (4, 1)
    assert summary.below == {0.5: 0.25, 1: 0.5, 3: 0.75, 5: 0.75, 10: 0.75, 20: 0.75}
    assert summary.median == pytest.approx(1.4)
    assert summary.mean == math.inf
    assert summary.auc == pytest.approx((0.98 + 0.92 + 0.8) / 4)


def test_threshold_itself_is_a_miss():
    assert summarise([1.0]).below[1] == 0


def test_median_with_half_of_the_pairs_failed():
    assert summarise([1.0, math.inf]).median == math.inf
    assert summarise([math.inf, 1.0, 2.0]).median == 2


def test_auc_is_the_area_under_the_curve():
    errors = np.random.default_rng(0).uniform(0, 15, 50)
    k = np.linspace(0, 10, 20_001)
    area = np.mean([(errors < limit).mean() for limit in k])
    assert summarise(errors).auc == pytest.approx(area, abs=1e-3)


def test_empty_population_is_nan_and_counted():
    summary = summarise([])
    assert summary.pairs == 0
    assert math.isnan(summary.below[3])


@pytest.mark.parametrize("bad", [[math.nan], [-1.0]])
def test_errors_that_are_none_are_refused(bad):
    with pytest.raises(ValueError, match="infinite"):
        summarise(bad)


def test_paper_population_keeps_only_what_beats_no_registration():
    keep = beats_no_registration([1.0, 30.0, math.inf, 5.0], [20.0, 20.0, 20.0, 5.0])
    assert keep.tolist() == [True, False, False, False]
