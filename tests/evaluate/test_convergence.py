"""Refinement alone: where it stays, and from where it finds to the truth."""

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hand_made_fast import HandMadeFast

from sdme.data.pairs import ImageFile, ImagePair, Landmarks
from sdme.evaluate.case import CaseKey
from sdme.evaluate.convergence import (
    START_ERRORS,
    convergence_score,
    start_off,
    summarise_convergence,
)
from sdme.evaluate.export import scores_to_rows, to_data
from sdme.evaluate.figures import figures_of
from sdme.evaluate.method import MethodResult
from sdme.evaluate.methods.ours import network_method
from sdme.evaluate.metrics import corner_error, score_result
from sdme.evaluate.protocol import PaperProtocol, draw_case
from sdme.evaluate.score import ConvergenceScore
from sdme.evaluate.table import to_markdown


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    noise = np.random.default_rng(0).uniform(0, 255, (18, 18, 3)).astype(np.float32)
    image = cv2.resize(noise, (240, 240), interpolation=cv2.INTER_CUBIC).clip(0, 255)
    path = tmp_path_factory.mktemp("convergence") / "photo.png"
    cv2.imwrite(str(path), image)
    key = CaseKey(ImagePair("d", "p", ImageFile(path), ImageFile(path), group="photo"), 0)
    return draw_case(key, PaperProtocol(max_redraws=0))


def answered(refine):
    return MethodResult({"sparse": None, "final": np.eye(3)}, refine=refine)


@pytest.mark.parametrize("error", START_ERRORS)
def test_every_corner_of_a_start_is_so_far_off(case, error):
    H = start_off(case, error)
    assert corner_error(H, case.H_true, case.fixed_size) == pytest.approx(error, abs=1e-6)
    square = np.array([[0, 0], [127, 0], [127, 127], [0, 127]], np.float64)
    gap = cv2.perspectiveTransform(square[None], H) - cv2.perspectiveTransform(
        square[None], case.H_true
    )
    np.testing.assert_allclose(np.linalg.norm(gap[0], axis=1), error, atol=1e-6)
    assert np.ptp(np.arctan2(gap[0, :, 1], gap[0, :, 0])) > 0.1


def test_starts_are_the_same_for_every_method_and_others_for_another_case(case):
    assert np.array_equal(start_off(case, 8), start_off(case, 8))
    other = replace(case, key=replace(case.key, index=1))
    assert not np.allclose(start_off(case, 8), start_off(other, 8))


def test_a_refinement_that_does_nothing_and_one_that_knows(case):
    idle = convergence_score(case, answered(lambda starts: starts))
    assert idle.drift == 0
    assert idle.reached == pytest.approx({k: k for k in START_ERRORS})
    perfect = convergence_score(case, answered(lambda starts: [case.H_true] * len(starts)))
    assert perfect.drift == 0 and set(perfect.reached.values()) == {0}
    lost = convergence_score(case, answered(lambda starts: [np.full((3, 3), np.nan)] * len(starts)))
    assert math.isinf(lost.drift) and all(map(math.isinf, lost.reached.values()))


def test_nothing_is_told_without_refinement_or_without_a_homography(case):
    assert convergence_score(case, answered(None)) is None
    points = np.zeros((4, 2))
    unknown = replace(case, H_true=None, landmarks=Landmarks(points, points))
    assert convergence_score(unknown, answered(lambda starts: starts)) is None


def test_summary_is_of_shares_and_the_median_drift():
    errors = [(0.5, 0.9, 0.5), (2.5, 2.0, 5.0), (math.inf, math.inf, math.inf)]
    scores = [
        ConvergenceScore(drift, {4: four, 8: eight, 12: 20.0, 16: 0.1})
        for drift, four, eight in errors
    ]
    found = summarise_convergence(scores)
    assert (found.cases, found.drift) == (3, 2.5)
    assert found.stays == pytest.approx(1 / 3)
    assert found.reached[4] == pytest.approx({1.0: 1 / 3, 3.0: 2 / 3})
    assert found.reached[8] == pytest.approx({1.0: 1 / 3, 3.0: 1 / 3})
    assert found.reached[12] == {1.0: 0, 3.0: 0} and found.reached[16] == {1.0: 1, 3.0: 1}


def test_it_stands_in_scores_figures_rows_and_the_report(case):
    result = answered(lambda starts: [case.H_true, *starts[1:]])
    first, final = score_result(case, "mine", result, 0.1, 100.0)
    scores = [first, replace(final, convergence=convergence_score(case, result))]
    rows = scores_to_rows(scores)
    assert rows[0]["drift"] is None and rows[1]["reached_from_12"] == pytest.approx(12)
    figures = figures_of(scores)
    names = {(scope.kind, scope.name) for scope in figures.convergence}
    assert {("group", "photo"), ("dataset", "d"), ("total", "all")} <= names
    data = to_data(figures)["convergence"]
    assert {row["kind"] for row in data} == {"group", "dataset", "total"}
    assert data[0]["reached"]["4"] == {"1": 0.0, "3": 0.0}
    report = to_markdown(figures)
    assert report.count("Refinement: whether it stays") == 1
    section = report.partition("## Refinement")[2].partition("\n## ")[0]
    (line,) = (text for text in section.splitlines() if text.startswith("| ") and "mine" in text)
    assert line.startswith("| dataset d ")  # of one set there is one row
    two = figures_of([*scores, *(replace(s, dataset="e", group="other") for s in scores)])
    section = to_markdown(two).partition("## Refinement")[2].partition("\n## ")[0]
    kinds = ["total all", "dataset d", "dataset e", "group photo", "group other"]
    assert all(f"| {kind} " in section for kind in kinds)
    assert [cell.strip() for cell in line.split("|")[2:7]] == [
        "mine",
        "1",
        "0.00",
        "1.000",
        "0.000 / 0.000",
    ]


def test_methods_without_refinement_have_no_section(case):
    report = to_markdown(figures_of(score_result(case, "mine", answered(None), 0.1, 100.0)))
    assert "whether it stays" not in report


def test_convention_refinement_of_a_network_begins_where_it_is_told(case):
    """Both directions through frames and images are in these figures."""
    result = network_method(HandMadeFast(case.H_true))(case.fixed, case.moving, case.initial)
    found = convergence_score(case, result)
    assert found.drift < 0.3 and found.reached[4] < 0.5
