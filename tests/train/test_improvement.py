"""Before against after: figures of known errors, and a verdict that does not flatter."""

import math

import pytest

from sdme.errors import InputError
from sdme.evaluate.score import Score
from sdme.train.improvement import improvement


def score(method, pair, error, index=0, stage="last", is_final=True):
    return Score(
        method=method, stage=stage, is_final=is_final, dataset="mine", group="other", pair=pair,
        index=index, fixed_side="a", measure="corners", error=error, final_error=error,
        unregistered_error=20.0, seconds=0.1, memory=1.0,
    )  # fmt: skip


def scores(before, after):
    """Two cases from each pair."""
    return [
        score(method, f"p{place // 2}", error, place % 2)
        for method, errors in (("old", before), ("new", after))
        for place, error in enumerate(errors)
    ]


def test_figures_are_those_of_the_errors():
    gain = improvement(scores([0.5, 2.0, 5.0, math.inf], [0.5, 0.5, 2.0, 4.0]), "old", "new")
    changes = {change.figure: change for change in gain.changes}
    assert (gain.cases, gain.pairs) == (4, 2)
    assert (changes["PE<1"].before, changes["PE<1"].after) == (0.25, 0.5)
    assert (changes["PE<3"].before, changes["PE<3"].after) == (0.5, 0.75)
    assert changes["AUC@10"].before == pytest.approx((0.95 + 0.8 + 0.5 + 0) / 4)
    assert changes["AUC@10"].after == pytest.approx((0.95 + 0.95 + 0.8 + 0.6) / 4)
    assert (changes["median"].before, changes["median"].after) == (3.5, 1.25)
    for change in gain.changes:
        assert change.difference == pytest.approx(change.after - change.before)


def test_every_pair_better_is_better():
    gain = improvement(scores([6.0, 7.0, 8.0, 9.0], [1.0, 2.0, 1.0, 2.0]), "old", "new")
    assert gain.verdict == "better"
    assert gain.decisive.difference_interval[0] > 0
    assert gain.sentence.startswith("Better")
    assert "4 cases from 2" in gain.sentence


def test_one_pair_better_and_one_worse_may_be_chance():
    gain = improvement(scores([8.0, 8.0, 2.0, 2.0], [1.0, 1.0, 3.0, 3.0]), "old", "new")
    assert gain.verdict == "unclear"
    assert "may be chance" in gain.sentence


@pytest.mark.parametrize("after", [[2.0, 2.0, 2.0, 2.0], [9.0, 9.0, 9.0, 9.0], [math.inf] * 4])
def test_the_same_or_worse_is_said_plainly(after):
    gain = improvement(scores([2.0, 2.0, 2.0, 2.0], after), "old", "new")
    assert gain.verdict == "not better"
    assert gain.sentence.startswith("NOT better") and "keep the start model" in gain.sentence


def test_a_single_pair_proves_nothing():
    gain = improvement(scores([9.0, 9.0], [1.0, 1.0]), "old", "new")
    assert gain.verdict == "unclear"
    assert gain.decisive.difference_interval == (None, None)
    assert "interval" not in gain.sentence


def test_an_infinite_median_has_no_difference():
    gain = improvement(scores([math.inf] * 4, [1.0, 1.0, 1.0, math.inf]), "old", "new")
    median = gain.changes[-1]
    assert (median.before, median.after, median.difference) == (None, 1.0, None)


def test_last_stages_on_common_cases_count():
    rows = scores([5.0, 5.0, 5.0, 5.0], [1.0, 1.0, 1.0, 1.0])
    more = [score("new", "p0", 9.0, 0, "first", is_final=False), score("old", "p9", 0.0)]
    assert improvement([*rows, *more], "old", "new") == improvement(rows, "old", "new")
    with pytest.raises(InputError, match="no case was run with both"):
        improvement([score("old", "a", 1.0), score("new", "b", 1.0)], "old", "new")


def test_it_is_kept_as_json_and_read_again():
    gain = improvement(scores([math.inf] * 4, [1.0, 1.0, 1.0, math.inf]), "old", "new")
    assert type(gain).model_validate_json(gain.model_dump_json()) == gain
