import math

import pytest

from sdme.errors import InputError
from sdme.evaluate.against import LISTED, ScoredRun, compare_runs, to_markdown

OURS = [0.5, 2.0, 4.0, math.inf, 6.0]
THEIRS = [2.0, 0.9, 4.5, 0.2, math.inf]


@pytest.fixture
def run(score):
    def build(name, errors, settings=None, method="sift", **rest):
        rows = [
            score(error, pair=f"p{i}", index=i, method=method, **rest)
            for i, error in enumerate(errors)
        ]
        return ScoredRun(name, rows, settings or {})

    return build


def test_hand_worked_comparison(run):
    """Below 1 px: ours on p0; theirs on p1, p3. Below 3 px: ours p0, p1; theirs p0, p1, p3."""
    (found,) = compare_runs(run("new", OURS), run("old", THEIRS))
    one, three, five = (found.tallies[k] for k in (1, 3, 5))
    assert (one.won, one.lost, one.both, one.neither) == (1, 2, 0, 2)
    assert one.difference == pytest.approx(1 / 5 - 2 / 5)
    assert (three.won, three.lost, three.both, three.tied) == (0, 1, 2, 4)
    assert (five.won, five.lost, five.both, five.neither) == (0, 1, 3, 1)
    # gains, capped at 20 px: p4 by 14, p0 by 1.5, p2 by 0.5; losses: p3 by 19.8, p1 by 1.1
    assert [(g.case, g.gain) for g in found.most_won] == [
        ("tno/p4#4", 14),
        ("tno/p0#0", 1.5),
        ("tno/p2#2", 0.5),
    ]
    assert [g.case for g in found.most_lost] == ["tno/p3#3", "tno/p1#1"]
    assert found.most_lost[0].gain == pytest.approx(-19.8)


def test_the_other_way_round_is_the_mirror_image(run):
    (there,) = compare_runs(run("new", OURS), run("old", THEIRS))
    (back,) = compare_runs(run("old", THEIRS), run("new", OURS))
    for k, tally in there.tallies.items():
        other = back.tallies[k]
        assert (tally.won, tally.lost, tally.tied) == (other.lost, other.won, other.tied)
        assert tally.difference == -other.difference
        assert tally.interval.low == pytest.approx(-other.interval.high)
    assert [g.case for g in there.most_won] == [g.case for g in back.most_lost]


def test_a_run_against_itself_is_all_ties(run):
    (found,) = compare_runs(run("a", OURS), run("b", OURS))
    assert found.most_won == found.most_lost == ()
    for tally in found.tallies.values():
        assert (tally.won, tally.lost, tally.difference) == (0, 0, 0)
        assert (tally.interval.low, tally.interval.high) == (0, 0)


def test_pairing_makes_the_interval_narrow(run):
    """Both fail on the same half; ours wins 10 of 100 and loses none. Unpaired, the difference of
    two shares near one half has a standard error of 0.07, paired only sqrt(0.1 x 0.9 / 100) = 0.03.
    """
    ours = [0.5] * 50 + [9.0] * 50
    theirs = [0.5] * 40 + [9.0] * 60
    (found,) = compare_runs(run("new", ours), run("old", theirs))
    interval = found.tallies[1].interval
    assert found.tallies[1].difference == pytest.approx(0.1)
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * 0.03, rel=0.15)
    assert interval.low > 0


def test_cases_of_one_run_only_are_counted_and_left_out(run):
    (found,) = compare_runs(run("new", OURS), run("old", [*THEIRS[:3]]))
    assert (found.cases, found.only_ours, found.only_theirs) == (3, 2, 0)
    text = to_markdown([found])
    assert "3 common cases" in text and "2 only in the first and 0 only in the second" in text


def test_methods_default_to_common_ones_then_to_the_only_ones(run):
    both = ScoredRun("a", [*run("a", OURS).scores, *run("a", OURS, method="ecc").scores])
    (found,) = compare_runs(both, run("b", THEIRS, method="ecc"))
    assert (found.ours, found.theirs) == ("a: ecc", "b: ecc")
    (found,) = compare_runs(run("a", OURS), run("b", THEIRS, method="ecc"))
    assert (found.ours, found.theirs) == ("a: sift", "b: ecc")
    with pytest.raises(InputError, match="a has sift, ecc and b has orb"):
        compare_runs(both, run("b", THEIRS, method="orb"))
    (found,) = compare_runs(both, run("b", THEIRS, method="orb"), [("ecc", "orb")])
    assert (found.ours, found.theirs) == ("a: ecc", "b: orb")


def test_a_stage_can_be_chosen_and_a_crash_fails_it(score, crash, run):
    def stages(index, sparse, dense):
        named = {"method": "ours", "index": index, "pair": f"p{index}", "final_error": dense}
        return [
            score(sparse, stage="sparse", **named | {"is_final": False}),
            score(dense, stage="dense", **named),
        ]

    rows = [*stages(0, 2.0, 0.5), crash(method="ours", index=1, pair="p1")]
    ours, other = ScoredRun("new", rows), run("old", [0.7, 0.7])
    (last,) = compare_runs(ours, other, [("ours", "sift")])
    assert (last.tallies[1].both, last.tallies[1].lost) == (1, 1)
    (first,) = compare_runs(ours, other, [("ours:sparse", "sift")])
    assert (first.tallies[1].lost, first.tallies[3].both) == (2, 1)
    with pytest.raises(InputError, match="no method ours:final; it has ours:sparse, ours:dense"):
        compare_runs(ours, other, [("ours:final", "sift")])


def test_runs_of_other_settings_are_refused(run):
    with pytest.raises(InputError, match="seed is 0 in new and 1 in old"):
        compare_runs(run("new", OURS, {"seed": 0}), run("old", THEIRS, {"seed": 1}))
    with pytest.raises(InputError, match="protocol is paper in new and None in old"):
        compare_runs(run("new", OURS, {"protocol": "paper"}), run("old", THEIRS))


@pytest.mark.parametrize(
    "other", [{"unregistered_error": 20.1}, {"size": (64, 64)}, {"fixed_side": "b"}]
)
def test_other_cases_under_the_same_names_are_refused(run, other):
    with pytest.raises(InputError, match="different cases under one name, tno/p0#0"):
        compare_runs(run("new", OURS), run("old", THEIRS, **other))


def test_nothing_in_common_is_refused(run):
    with pytest.raises(InputError, match="no case in common"):
        compare_runs(run("new", OURS), run("old", THEIRS, dataset="llvip"))


def test_markdown_lists_the_extremes(run):
    errors = [0.1 * i for i in range(30)]
    (found,) = compare_runs(run("new", errors), run("old", [9.0] * 30))
    text = to_markdown([found])
    assert "## new: sift against old: sift" in text
    assert len(found.most_won) == LISTED and found.most_won[0].case == "tno/p0#0"
    assert "### Most won" in text and "### Most lost" not in text
    assert "| 1 px      | 10  | 0    | 0          | 20         | +0.333 " in text


def test_many_cases_of_few_pairs_do_not_make_the_interval_narrow(score):
    """Pair a is always won and b always tied: of two pairs, a resample has 0, 1 or 2 of a."""

    def rows(errors):
        return [
            score(errors[pair], pair=pair, index=2 * i + (pair == "b"))
            for i in range(50)
            for pair in "ab"
        ]

    new = ScoredRun("new", rows({"a": 0.5, "b": 9.0}))
    old = ScoredRun("old", rows({"a": 9.0, "b": 9.0}))
    (found,) = compare_runs(new, old)
    tally = found.tallies[1]
    assert (tally.won, tally.neither, tally.difference) == (50, 50, 0.5)
    assert (tally.interval.low, tally.interval.high) == (0, 1)
