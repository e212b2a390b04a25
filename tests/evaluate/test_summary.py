import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdme.evaluate.score import MatchingScore
from sdme.evaluate.summary import (
    AUC_LIMITS,
    Sample,
    in_population,
    macro_summary,
    summarise,
    summarise_matching,
)


def test_failures_are_misses():
    summary = summarise([0.2, 0.8, 2.0, math.inf])
    assert (summary.cases, summary.failures, summary.answered) == (4, 1, 0.75)
    assert summary.below == {0.5: 0.25, 1: 0.5, 3: 0.75, 5: 0.75, 10: 0.75, 20: 0.75}
    assert summary.success == 0.75
    assert summary.median == pytest.approx(1.4)
    assert summary.mean == math.inf
    assert summary.capped_mean == pytest.approx((0.2 + 0.8 + 2 + 20) / 4)
    # areas over the limit: 1 - error / limit of each case that is below it
    assert summary.auc[10] == pytest.approx((0.98 + 0.92 + 0.8) / 4)
    assert summary.auc[3] == pytest.approx((2.8 / 3 + 2.2 / 3 + 1 / 3) / 4)


def test_an_answer_beyond_the_cap_is_no_failure():
    summary = summarise([5.0, 25.0])
    assert (summary.failures, summary.success, summary.below[10]) == (0, 0, 0.5)
    assert (summary.capped_mean, summary.mean) == (12.5, 15)


def test_threshold_itself_is_a_miss():
    assert summarise([1.0]).below[1] == 0


def test_median_with_half_of_the_cases_failed():
    assert summarise([1.0, math.inf]).median == math.inf
    assert summarise([math.inf, 1.0, 2.0]).median == 2
    assert summarise([math.inf, math.inf]).median == math.inf


@pytest.mark.parametrize("limit", AUC_LIMITS)
@given(st.lists(st.one_of(st.floats(0, 30), st.just(math.inf)), min_size=1, max_size=40))
def test_auc_is_the_area_under_the_curve_of_shares(limit, errors):
    """Against the trapezoid rule on a fine grid; each step of the curve costs at most one cell."""
    thresholds = np.linspace(0, limit, 20_001)
    curve = np.searchsorted(np.sort(errors), thresholds) / len(errors)
    area = np.trapezoid(curve, thresholds) / limit
    assert summarise(errors).auc[limit] == pytest.approx(area, abs=1e-4)


def test_no_cases_are_counted_and_have_no_figures():
    summary = summarise([])
    assert (summary.cases, summary.pairs, summary.failures) == (0, 0, 0)
    numbers = [*summary.below.values(), *summary.auc.values(), summary.median, summary.success]
    assert all(math.isnan(number) for number in numbers)


@pytest.mark.parametrize("bad", [[math.nan], [-1.0]])
def test_errors_that_are_none_are_refused(bad):
    with pytest.raises(ValueError, match="infinite"):
        summarise(bad)


def test_intervals_hold_the_figure_and_count_pairs_not_cases():
    errors = list(np.random.default_rng(0).uniform(0, 6, 50))
    alone = summarise(errors)
    twelvefold = summarise(errors * 12, [("set", i) for i in range(50)] * 12)
    assert (twelvefold.cases, twelvefold.pairs) == (600, 50)
    values = {"PE<1": alone.below[1], "PE<3": alone.below[3], "AUC@10": alone.auc[10]}
    for name, value in {**values, "median": alone.median}.items():
        assert alone.intervals[name].low < value < alone.intervals[name].high
    # copies of the same pairs tell nothing new: the intervals stay as wide
    for name, interval in alone.intervals.items():
        other = twelvefold.intervals[name]
        assert other.high - other.low == pytest.approx(interval.high - interval.low, rel=0.25)


def test_one_pair_has_no_interval():
    summary = summarise([1.0, 2.0], [("set", "only")] * 2)
    assert all(math.isnan(interval.low) for interval in summary.intervals.values())


def test_macro_average_counts_every_dataset_the_same():
    """Dataset a: 3 of 4 below 1 px; b: 0 of 1. Over cases 3/5, over datasets (3/4 + 0) / 2."""
    a = Sample([0.5, 0.5, 0.5, 9.0], [("a", i) for i in range(4)])
    b = Sample([7.0], [("b", 0)])
    macro = macro_summary([a, b, Sample([], [])])
    assert macro.below[1] == pytest.approx(0.375)
    assert macro.median == pytest.approx((0.5 + 7) / 2)
    assert macro.capped_mean == pytest.approx((10.5 / 4 + 7) / 2)
    assert (macro.cases, macro.pairs, macro.datasets) == (5, 5, 2)
    assert summarise([0.5, 0.5, 0.5, 9.0, 7.0]).below[1] == pytest.approx(0.6)
    assert math.isnan(macro.intervals["PE<1"].low)
    assert math.isnan(macro_summary([]).median)


def test_macro_interval_is_that_of_the_mean_of_independent_datasets():
    """Two datasets of 100 pairs with half of the cases right: each share has a variance of
    0.25 / 100, their mean half of that, so the interval is 2 x 1.96 x sqrt(0.00125) wide.
    """
    samples = [
        Sample([0.5, 5.0] * 50, [(name, i) for i in range(100)], f"dataset {name}") for name in "ab"
    ]
    interval = macro_summary(samples).intervals["PE<1"]
    width = 2 * 1.96 * math.sqrt(0.25 / 200)
    assert interval.high - interval.low == pytest.approx(width, rel=0.12)


def test_population_paper_keeps_what_beats_no_registration_in_the_end(score):
    final = [1.0, 30.0, math.inf, 20.0]
    rows = [score(2.0, final_error=error, unregistered_error=20.0) for error in final]
    assert [in_population(row, "paper") for row in rows] == [True, False, False, False]
    assert all(in_population(row, "all") for row in rows)


def test_matching_is_averaged_over_the_cases_that_have_a_value():
    def quality(accuracy, matches):
        shares = dict.fromkeys(range(1, 11), accuracy)
        return MatchingScore(100, matches, shares, 0.5, accuracy, math.nan)

    found = summarise_matching([quality(0.2, 10), quality(0.6, 30), quality(math.nan, 0)])
    assert (found.accuracy[3].value, found.accuracy[3].cases) == (pytest.approx(0.4), 2)
    assert (found.matches.value, found.matches.cases) == (pytest.approx(40 / 3), 3)
    assert math.isnan(found.repeatability.value) and found.repeatability.cases == 0
