"""Whether an answer of the preset ``fast`` can be believed: its predicted error, and its matches.

Such a network has no maps of which a correlation would be told by chance from a true one. It has
learned to predict the corner error of a homography instead. That is a belief like any other, and
of images unlike those of the training it may be wrong; so a calibrated confidence
(:mod:`sdme.confidence`) decides where there is one, and nothing that was matched is called aligned
unless more matches agree with it than by chance.
"""

from dataclasses import dataclass

import numpy as np

from sdme.confidence import Confidence
from sdme.config import RegisterSettings
from sdme.model.aggregator import LEAST_ERROR
from sdme.result import Reason, Status
from sdme.verdict import Size, Verdict, by_chance, is_plausible, overlap


@dataclass(frozen=True)
class Prediction:
    """The best candidate and what is believed of it.

    ``error`` is its predicted corner error as if the fixed image had 128 px a side, ``unit`` how
    many pixels of the original moving image one such pixel is. ``refined`` says whether refinement
    made it. ``agreeing`` counts the ``matches`` that it explains; both are ``None`` if nothing was
    matched.
    """

    matrix: np.ndarray
    error: float
    unit: float
    refined: bool
    matches: int | None = None
    agreeing: int | None = None

    @property
    def pixels(self) -> float:
        """The predicted corner error in pixels of the original moving image."""
        return self.error * self.unit


def judge_prediction(
    found: Prediction,
    fixed_size: Size,
    moving_size: Size,
    settings: RegisterSettings,
    confidence: Confidence | None = None,
) -> Verdict:
    """The verdict on a prediction: on the transform, the predicted error, and the matches.

    With a calibrated network it is aligned when its ``confidence`` is enough and more matches
    agree than by chance, and has failed when it is hopeless; without one limits of the predicted
    error decide.
    """
    figures, limit = _in_words(found, confidence), settings.fast.uncertain_below

    def failed(reason: Reason, why: str) -> Verdict:
        return Verdict(Status.FAILED, reason, f"{why}; {figures}", None)

    if not is_plausible(found.matrix, fixed_size, moving_size, settings.verdict):
        return failed(Reason.IMPLAUSIBLE_TRANSFORM, "no plausible transform was found")
    if confidence is not None and confidence.is_hopeless:
        return failed(Reason.NO_AGREEMENT, "this is hardly even roughly right")
    # a predicted error that is no number is not below any limit
    if confidence is None and not found.error < limit:
        why = f"nothing is believed to be within {_rounded(limit * found.unit)} px"
        return failed(Reason.PREDICTED_ERROR, why)
    common = overlap(found.matrix, fixed_size, moving_size)
    if common < settings.verdict.min_overlap:
        message = f"only {common:.0%} of the image overlap; {figures}"
        return Verdict(Status.UNCERTAIN, Reason.LOW_OVERLAP, message, found.matrix)
    reason, doubt = _doubt(found, settings, confidence)
    status = Status.ALIGNED if reason is Reason.NONE else Status.UNCERTAIN
    return Verdict(status, reason, f"{figures}{doubt}", found.matrix)


def _doubt(
    found: Prediction, settings: RegisterSettings, confidence: Confidence | None
) -> tuple[Reason, str]:
    """Why the answer is not sure, if it is not: for its own word, or for that of the matches."""
    limit = settings.fast.aligned_below
    if confidence is not None:
        if not confidence.is_enough:
            reason, words = confidence.doubt
            return reason, f", less than {confidence.needed:.2f}: {words}"
        if found.matches is None or found.agreeing is None:
            return Reason.NONE, ""
    elif not found.error < limit:
        return Reason.PREDICTED_ERROR, f", not within {_rounded(limit * found.unit)} px"
    if found.matches is None or found.agreeing is None:
        return Reason.UNCONFIRMED, ", but nothing was matched that confirms it"
    chance = by_chance(found.matches, settings.verdict)
    if found.agreeing <= chance:
        return Reason.TOO_FEW_INLIERS, f", but up to {chance:.0f} may agree by chance"
    return Reason.NONE, ""


def _in_words(found: Prediction, confidence: Confidence | None) -> str:
    # what is smaller was never told apart in training
    least = found.error < LEAST_ERROR
    pixels = f"less than {_rounded(LEAST_ERROR * found.unit)}" if least else _rounded(found.pixels)
    text = f"the corners are predicted to be off by {pixels} px"
    if found.matches is not None:
        text = f"{found.agreeing} of {found.matches} matches agree with the final answer and {text}"
    if confidence is None:
        return text
    return f"{text}; {confidence.words}"


def _rounded(pixels: float) -> str:
    """Two significant digits, never with an exponent."""
    return np.format_float_positional(pixels, precision=2, fractional=False, trim="-")
