"""The verdict on what a network of the preset ``fast`` says of its own answer."""

import numpy as np
import pytest

from sdme.config import FastRegisterSettings, RegisterSettings
from sdme.fast_verdict import Prediction, judge_prediction
from sdme.result import Reason, Status

SIZE = (128, 128)
SETTINGS = RegisterSettings(fast=FastRegisterSettings(aligned_below=2, uncertain_below=8))


def judged(matrix=None, error=1.0, unit=1.0, settings=SETTINGS, **changes):
    changes = {"matches": 100, "agreeing": 60} | changes
    found = Prediction(np.eye(3) if matrix is None else matrix, error, unit, True, **changes)
    return judge_prediction(found, SIZE, SIZE, settings)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (0.0, Status.ALIGNED),
        (1.99, Status.ALIGNED),
        (2.0, Status.UNCERTAIN),
        (7.99, Status.UNCERTAIN),
        (8.0, Status.FAILED),
        (float("inf"), Status.FAILED),
        (float("nan"), Status.FAILED),
    ],
)
@pytest.mark.parametrize("unit", [1.0, 7.5])
def test_limits_are_those_of_128_px_at_every_size(error, unit, status):
    verdict = judged(error=error, unit=unit)
    assert verdict.status is status
    assert (verdict.reason is Reason.NONE) == (status is Status.ALIGNED)
    assert (verdict.matrix is None) == (status is Status.FAILED)


def test_figures_are_in_pixels_of_the_moving_image():
    message = judged(error=3.0, unit=4.0, matches=50, agreeing=7).message
    told = "7 of 50 matches agree with the final answer and"
    assert "off by 12 px, not within 8 px" in message and told in message
    message = judged(error=112.3, unit=10.0).message
    assert "off by 1100 px" in message and "within 80 px" in message  # and no 1.1e+03
    assert "within 32 px" in judged(error=9.0, unit=4.0).message
    assert "matches" not in judged(matches=None, agreeing=None, error=9.0).message


@pytest.mark.parametrize(("matches", "needed"), [(0, 8), (40, 10), (1000, 58)])
def test_what_no_more_matches_confirm_than_by_chance_is_never_aligned(matches, needed):
    """By default that is 8 and a twentieth of the matches."""
    for agreeing in {0, min(needed, matches)}:
        verdict = judged(error=0.1, matches=matches, agreeing=agreeing)
        assert (verdict.status, verdict.reason) == (Status.UNCERTAIN, Reason.TOO_FEW_INLIERS)
        assert f"{agreeing} of {matches} matches agree" in verdict.message
        assert f"up to {needed} may agree by chance" in verdict.message
    if matches:
        assert judged(error=0.1, matches=matches, agreeing=needed + 1).status is Status.ALIGNED


def test_nothing_is_aligned_on_its_own_word_alone():
    verdict = judged(error=0.1, matches=None, agreeing=None)
    assert (verdict.status, verdict.reason) == (Status.UNCERTAIN, Reason.UNCONFIRMED)
    assert verdict.matrix is not None and "0.1 px" in verdict.message


@pytest.mark.parametrize(("unit", "least"), [(1.0, "0.1"), (4.0, "0.4")])
def test_no_error_is_said_to_be_below_what_was_told_apart_in_training(unit, least):
    for error in (0.0, 0.09):
        assert f"off by less than {least} px" in judged(error=error, unit=unit).message
    assert "less than" not in judged(error=0.11, unit=unit).message


def test_what_no_camera_does_has_failed_whatever_is_believed():
    for matrix in (np.diag([-1.0, 1, 1]), np.diag([9.0, 1, 1]), np.full((3, 3), np.nan)):
        verdict = judged(matrix, error=0.1)
        assert (verdict.status, verdict.reason) == (Status.FAILED, Reason.IMPLAUSIBLE_TRANSFORM)


def test_little_overlap_is_never_aligned():
    matrix = np.array([[1, 0, 120.0], [0, 1, 0], [0, 0, 1]])
    verdict = judged(matrix, error=0.1)
    assert (verdict.status, verdict.reason) == (Status.UNCERTAIN, Reason.LOW_OVERLAP)


def test_limits_have_an_order():
    with pytest.raises(ValueError, match="uncertain_below"):
        FastRegisterSettings(aligned_below=5, uncertain_below=4)
