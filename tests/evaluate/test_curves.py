"""What the plots show agrees with counts made by hand."""

import math

import numpy as np
import pytest

from sdme.evaluate.curves import (
    matching_accuracy,
    motion_curve,
    motion_edges,
    share_below,
    tracks,
)
from sdme.evaluate.figures import median_milliseconds
from sdme.evaluate.score import MatchingScore, Score

INF = math.inf


def score(method, index, error, before=20.0, **changes):
    values = {
        "method": method, "stage": method, "is_final": True, "dataset": "set", "group": "nir",
        "pair": f"p{index}", "index": index, "fixed_side": "a", "measure": "corners",
        "error": error, "final_error": error, "unregistered_error": before, "seconds": 0.1,
        "memory": 100.0,
    }  # fmt: skip
    return Score(**values | changes)


def matching(**accuracy):
    shares = dict.fromkeys(range(1, 11), 0.0) | {int(k[1:]): v for k, v in accuracy.items()}
    return MatchingScore(9, 9, shares, 1.0, 1.0, 1.0)


def test_share_below_counts_failures_and_is_strict():
    errors = np.array([0.5, INF, 1.0, 3.0])
    shares = share_below(errors, np.array([0.5, 0.6, 1.0, 1.1, 3.1, 1e9]))
    assert shares.tolist() == [0, 0.25, 0.25, 0.5, 0.75, 0.75]


def test_tracks_keep_the_order_of_methods_and_take_the_final_stage():
    rows = [
        score("two", 0, 4.0, stage="first", is_final=False, final_error=1.0),
        score("two", 0, 1.0, stage="last"),
        score("one", 0, 2.0),
    ]
    found = tracks(rows)
    assert [(t.label, t.errors.tolist()) for t in found] == [("two", [1.0]), ("one", [2.0])]


def test_a_stage_that_a_crash_left_out_is_a_failure():
    rows = [
        score("two", 0, 4.0, stage="first", is_final=False, final_error=1.0),
        score("two", 0, 1.0, stage="last"),
        score("two", 1, INF, stage="two", note="crashed"),
    ]
    first, final = tracks(rows, with_stages=["two"])
    assert (final.label, final.errors.tolist()) == ("two", [1.0, INF])
    assert (first.label, first.errors.tolist()) == ("two: first", [4.0, INF])
    assert final.close == 0.5
    assert first.close == 0


def test_a_stage_that_was_the_last_one_on_some_case_counts_there_too():
    rows = [
        score("two", 0, 4.0, stage="first", is_final=False, final_error=1.0),
        score("two", 0, 1.0, stage="last"),
        score("two", 1, 2.0, stage="first"),
    ]
    first, last = tracks(rows, with_stages=["two"])
    assert last.errors.tolist() == [1.0, 2.0]
    assert first.errors.tolist() == [4.0, 2.0]


def test_motion_bins_hold_equally_many():
    edges = motion_edges(np.arange(1.0, 31.0))  # 30 cases: three bins of ten
    assert len(edges) == 4
    track = tracks([score("m", i, 0.1, before=float(i)) for i in range(1, 31)])[0]
    curve = motion_curve(track, edges)
    assert list(curve.counts) == [10, 10, 10]
    assert curve.motions.tolist() == [5.5, 15.5, 25.5]


@pytest.mark.parametrize("values", [[], [7.0], [7.0] * 40, [INF, 5.0]])
def test_motion_bins_of_little_do_not_break(values):
    edges = motion_edges(np.array(values))
    assert np.isfinite(edges).all()
    assert len(edges) <= 2


def test_motion_curve_by_hand():
    rows = [score("m", 0, 1.0, 5.0), score("m", 1, 2.0, 6.0), score("m", 2, 9.0, 7.0)]
    rows += [score("m", 3, INF, 15.0), score("m", 4, 2.0, 16.0), score("m", 5, INF, 20.0)]
    curve = motion_curve(tracks(rows)[0], np.array([5.0, 10.0, 20.0]))
    assert list(curve.counts) == [3, 3]
    assert curve.medians.tolist() == [2.0, INF]
    assert curve.close.tolist() == pytest.approx([2 / 3, 1 / 3])


def test_an_empty_bin_has_no_figures():
    curve = motion_curve(tracks([score("m", 0, 1.0, 5.0)])[0], np.array([0.0, 10.0, 20.0]))
    assert list(curve.counts) == [1, 0]
    assert np.isnan([curve.medians[1], curve.close[1], curve.motions[1]]).all()


def test_median_time_leaves_out_what_is_not_known():
    times = [0.1, math.nan, 0.3, 0.2]
    rows = [score("m", i, 1.0, seconds=time) for i, time in enumerate(times)]
    assert median_milliseconds(tracks(rows)[0].seconds) == pytest.approx(200)
    assert math.isnan(median_milliseconds(tracks(rows[1:2])[0].seconds))


def test_matching_accuracy_counts_cases_without_matches_as_nothing_right():
    rows = [
        score("m", 0, 1.0, matching=matching(k1=0.5, k3=1.0)),
        score("m", 1, 1.0, matching=matching(k1=0.7, k3=0.8)),
        score("m", 2, INF, matching=matching()),
        score("m", 3, INF, note="crashed"),
        score("dense", 0, 1.0),
    ]
    accuracy = matching_accuracy(rows)
    assert set(accuracy) == {"m"}
    assert accuracy["m"] == pytest.approx(
        dict.fromkeys(range(1, 11), 0.0) | {1: 1.2 / 4, 3: 1.8 / 4}
    )


def test_matching_accuracy_is_not_known_for_landmarks():
    unknown = matching(k1=math.nan)
    rows = [
        score("m", 0, 1.0, matching=matching(k1=0.5)),
        score("m", 1, 1.0, measure="landmarks", matching=unknown),
    ]
    assert matching_accuracy(rows)["m"][1] == 0.5
    assert matching_accuracy(rows[1:]) == {}
