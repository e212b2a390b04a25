"""From figures to a probability, and what speaks most against an answer."""

import math

import numpy as np
import pytest

from sdme.confidence import Confidence, confidence_in
from sdme.config import Calibration, Fit, RegisterSettings, Term, right_within
from sdme.fast_verdict import Prediction, judge_prediction
from sdme.result import Reason, Status


def term(figure, coefficient, log_offset=None, mean=0.0, scale=1.0, low=-10.0, high=10.0):
    return Term(
        figure=figure,
        log_offset=log_offset,
        low=low,
        high=high,
        mean=mean,
        scale=scale,
        coefficient=coefficient,
    )


FIT = Fit(
    terms=(term("instability", -2.0, 0.5, mean=1.0, scale=2.0), term("likeness", 3.0)),
    intercept=0.5,
)
CALIBRATION = Calibration(fits={"sparse-to-dense": FIT}, aligned_above=0.8)


def test_the_formula():
    total = 0.5 - 2 * (math.log(2.5) - 1) / 2 + 3 * 0.4
    figures = {"instability": 2.0, "likeness": 0.4, "unknown": 7}
    assert FIT.confidence(figures) == pytest.approx(1 / (1 + math.exp(-total)))
    assert sum(FIT.parts(figures).values()) == pytest.approx(total - 0.5)


@pytest.mark.parametrize("bad", [math.nan, None])
def test_what_is_unknown_speaks_against_the_answer(bad):
    worst = FIT.confidence({"instability": 1e9, "likeness": -1e9})
    figures = {} if bad is None else {"instability": bad, "likeness": bad}
    assert FIT.confidence(figures) == worst < 1e-10


def test_figures_beyond_what_was_seen_count_as_the_nearest():
    narrow = Fit(terms=(term("likeness", 1.0, low=0.0, high=1.0),), intercept=0)
    assert narrow.confidence({"likeness": 50}) == narrow.confidence({"likeness": 1})
    assert narrow.confidence({"likeness": -50}) == narrow.confidence({"likeness": 0}) == 0.5


def test_the_limit_grows_with_the_image():
    assert right_within((640, 640)) == 5
    assert right_within((128, 128)) == 1
    assert right_within((1280, 320)) == 5
    found = confidence_in(CALIBRATION, "sparse-to-dense", {}, pixel=2.5)
    assert found is not None and found.within == 12.5


def test_no_confidence_without_a_calibration():
    assert confidence_in(None, "dense", {}, 1) is None
    assert confidence_in(CALIBRATION, "dense", {}, 1) is None


def test_the_weakest_figure_gives_the_reason():
    found = confidence_in(CALIBRATION, "sparse-to-dense", {"instability": 30, "likeness": 1}, 1)
    assert found is not None and found.doubt[0] is Reason.REFINEMENT_DIVERGED
    found = confidence_in(CALIBRATION, "sparse-to-dense", {"instability": 0, "likeness": -2}, 1)
    assert found is not None and found.doubt[0] is Reason.NO_AGREEMENT


def judged(value, error=0.5, matches=100, agreeing=60, overlap=0.0, is_hopeless=False):
    confidence = Confidence(value, 0.8, 4.0, "instability", is_hopeless)
    matrix = np.array([[1.0, 0, overlap], [0, 1, 0], [0, 0, 1]])
    found = Prediction(matrix, error, 2.0, True, matches, agreeing)
    return judge_prediction(found, (128, 128), (128, 128), RegisterSettings(), confidence)


def test_a_calibrated_answer_is_aligned_by_its_confidence_alone():
    """The predicted error is one of its figures, and has no limit of its own."""
    for error in (0.5, 4.5, 6.0):
        assert judged(0.8, error).status is Status.ALIGNED
        verdict = judged(0.79, error)
        assert (verdict.status, verdict.reason) == (
            Status.UNCERTAIN,
            Reason.REFINEMENT_DIVERGED,
        )
        assert "confidence 0.79 that they are less than 4 px off, less than 0.80" in verdict.message


def test_what_is_hopeless_has_failed():
    verdict = judged(0.1, is_hopeless=True)
    assert (verdict.status, verdict.reason) == (Status.FAILED, Reason.NO_AGREEMENT)
    assert verdict.matrix is None and "hardly even roughly right" in verdict.message


def test_hopeless_is_what_is_seldom_roughly_right():
    sure = CALIBRATION.model_copy(
        update={"rough": {"sparse-to-dense": FIT}, "uncertain_above": 0.3}
    )
    for likeness, is_hopeless in ((0.5, False), (-0.5, True)):
        figures = {"instability": 2.0, "likeness": likeness}
        found = confidence_in(sure, "sparse-to-dense", figures, 1)
        assert found is not None and found.is_hopeless == is_hopeless
        assert is_hopeless == (FIT.confidence(figures) < 0.3)
        plain = confidence_in(CALIBRATION, "sparse-to-dense", figures, 1)
        assert plain is not None and not plain.is_hopeless


def test_confidence_is_not_enough_where_matches_agree_as_by_chance_or_images_hardly_overlap():
    assert judged(1.0, agreeing=8).reason is Reason.TOO_FEW_INLIERS
    assert judged(1.0, overlap=120.0).reason is Reason.LOW_OVERLAP
    assert judged(1.0, matches=None, agreeing=None).status is Status.ALIGNED
