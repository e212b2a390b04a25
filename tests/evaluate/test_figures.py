import math

import pytest

from sdme.evaluate.figures import complete_stages, figures_of, scopes_of
from sdme.evaluate.score import MatchingScore


def staged(score, sparse, final, index, **rest):
    common = {"index": index, "pair": f"p{index}", "method": "ours", "final_error": final, **rest}
    first = score(sparse, stage="sparse", **common | {"is_final": False, "seconds": math.nan})
    return [first, score(final, stage="dense", **common)]


def line(figures, kind, name, stage, population="all", is_macro=False):
    lines = figures.select(kind, population, is_macro)
    (found,) = [
        row.summary
        for scope, rows in lines.items()
        for row in rows
        if (scope.name, row.stage) == (name, stage)
    ]
    return found


def test_a_crash_fails_every_stage_of_its_method(score, crash):
    rows = staged(score, 2.0, 1.0, 0) + [crash(method="ours", index=1, pair="p1")]
    full = complete_stages(rows)
    assert [(s.index, s.stage, s.is_final, s.error) for s in full] == [
        (0, "sparse", False, 2.0),
        (0, "dense", True, 1.0),
        (1, "sparse", False, math.inf),
        (1, "dense", True, math.inf),
    ]
    assert math.isnan(full[2].seconds) and full[3].seconds == 9
    figures = figures_of([rows[2], rows[0], rows[1]])
    for stage in ("sparse", "dense"):
        summary = line(figures, "total", "all", stage)
        assert (summary.cases, summary.failures, summary.below[3]) == (2, 1, 0.5)
    (found,) = figures.crashes
    assert (found.message, found.count, found.cases) == ("ValueError: no", 1, 2)
    assert found.first == "tno/p1#1"


def test_a_method_that_always_crashes_is_in_the_tables(crash):
    figures = figures_of([crash(index=i) for i in range(3)])
    assert line(figures, "total", "all", "sift").failures == 3
    assert line(figures, "total", "all", "sift", "paper").cases == 0


def test_a_failure_of_a_method_with_one_stage_is_no_second_stage(score):
    full = complete_stages([score(1.0, index=0), score(math.inf, index=1)])
    assert [s.stage for s in full] == ["sift", "sift"]


def test_a_missing_last_stage_is_what_the_case_ended_with(score):
    rows = staged(score, 2.0, 1.0, 0)
    rows.append(score(4.0, stage="sparse", method="ours", index=1))
    assert [(s.stage, s.is_final, s.error) for s in complete_stages(rows)[2:]] == [
        ("sparse", False, 4.0),
        ("dense", True, 4.0),
    ]


def test_a_missing_earlier_stage_is_a_failure_of_that_stage_alone(score):
    rows = [*staged(score, 2.0, 1.0, 0), score(0.5, stage="dense", method="ours", index=1)]
    assert [(s.stage, s.error, s.final_error) for s in complete_stages(rows)[2:]] == [
        ("sparse", math.inf, 0.5),
        ("dense", 0.5, 0.5),
    ]


def test_a_case_that_is_there_twice_is_an_error(score):
    with pytest.raises(ValueError, match="two scores of sift, sift on tno/p#0"):
        complete_stages([score(1.0), score(2.0)])


def test_scopes_are_totals_then_groups_then_datasets_known_ones_first(score):
    groups = {"mine": "other", "bsds500": "photo", "tno": "thermal"}
    scopes = scopes_of(score(1.0, name, group=group) for name, group in groups.items())
    assert [(scope.kind, scope.name) for scope in scopes] == [
        ("total", "all"),
        ("total", "all cross-modal"),
        ("group", "thermal"),
        ("group", "photo"),
        ("group", "other"),
        ("dataset", "tno"),
        ("dataset", "bsds500"),
        ("dataset", "mine"),
    ]
    assert scopes[1].datasets == ("tno", "mine")
    without_photos = scopes_of([score(1.0)])
    assert [scope.kind for scope in without_photos] == ["total", "group", "dataset"]


def test_cases_and_datasets_are_averaged_apart(score):
    """tno: 1 of 1 below 1 px; srif_map: 1 of 3. Over cases 2/4, over datasets (1 + 1/3) / 2."""
    rows = [score(0.5)]
    rows += [score(e, "srif_map", group="map", index=i) for i, e in enumerate([0.5, 5.0, math.inf])]
    figures = figures_of(rows)
    assert line(figures, "total", "all", "sift").below[1] == pytest.approx(0.5)
    assert line(figures, "total", "all", "sift", is_macro=True).below[1] == pytest.approx(2 / 3)
    assert line(figures, "group", "map", "sift").below[1] == pytest.approx(1 / 3)
    assert line(figures, "dataset", "tno", "sift").below[1] == 1


def test_population_paper_goes_by_the_final_answer_for_every_stage(score, crash):
    """Case 0 ends better than it began (20 px), case 1 worse though its first stage was good."""
    rows = staged(score, 30.0, 1.0, 0) + staged(score, 2.0, 25.0, 1)
    rows.append(crash(method="ours", index=2))
    figures = figures_of(rows)
    sparse = line(figures, "total", "all", "sparse", "paper")
    assert (sparse.cases, sparse.failures, sparse.mean) == (1, 0, 30)
    assert line(figures, "total", "all", "dense", "paper").mean == 1
    assert line(figures, "total", "all", "dense").cases == 3


def test_costs_are_medians_over_the_cases_that_tell(score):
    times = [0.1, 0.3, 0.2, math.nan]
    rows = [score(1.0, index=i, seconds=s, memory=10.0 * i) for i, s in enumerate(times)]
    (cost,) = figures_of(rows).costs
    assert (cost.milliseconds, cost.cases, cost.memory) == (pytest.approx(200), 3, 30)


def test_matching_is_kept_by_scope_and_method(score):
    quality = MatchingScore(9, 4, dict.fromkeys(range(1, 11), 0.5), 0.5, 0.5, 0.5)
    figures = figures_of([score(1.0, matching=quality), score(1.0, method="ecc")])
    assert {scope.name: list(methods) for scope, methods in figures.matching.items()} == {
        "all": ["sift"],
        "thermal": ["sift"],
        "tno": ["sift"],
    }


def test_what_is_averaged_is_told(score):
    figures = figures_of([score(1.0), score(1.0, index=1, measure="landmarks")])
    assert figures.measures == {"corners": 1, "landmarks": 1}
    assert figures.has_equal_cases
    assert not figures_of([score(1.0), score(1.0, method="ecc", index=1)]).has_equal_cases


def test_no_scores_give_no_lines():
    assert figures_of([]).lines == ()
