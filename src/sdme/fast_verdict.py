"""Whether an answer of the preset ``fast`` can be believed: what the network says of its own error.

Such a network has no maps of which a correlation would be told by chance from a true one. It has
learned to predict the corner error of a homography instead, and that is what it is judged by.
"""

from dataclasses import dataclass

import numpy as np

from sdme.config import RegisterSettings
from sdme.result import Reason, Status
from sdme.verdict import Size, Verdict, is_plausible, overlap


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
    found: Prediction, fixed_size: Size, moving_size: Size, settings: RegisterSettings
) -> Verdict:
    """The verdict on a prediction: first on the transform itself, then on the predicted error."""
    limits, figures = settings.fast, _in_words(found)

    def failed(reason: Reason, why: str) -> Verdict:
        return Verdict(Status.FAILED, reason, f"{why}; {figures}", None)

    if not is_plausible(found.matrix, fixed_size, moving_size, settings.verdict):
        return failed(Reason.IMPLAUSIBLE_TRANSFORM, "no plausible transform was found")
    common = overlap(found.matrix, fixed_size, moving_size)
    # a predicted error that is no number is not below any limit
    if not found.error < limits.uncertain_below:
        limit = limits.uncertain_below * found.unit
        return failed(Reason.PREDICTED_ERROR, f"nothing is believed to be within {limit:.2g} px")
    if common < settings.verdict.min_overlap:
        message = f"only {common:.0%} of the image overlap; {figures}"
        return Verdict(Status.UNCERTAIN, Reason.LOW_OVERLAP, message, found.matrix)
    if not found.error < limits.aligned_below:
        message = f"{figures}, not within {limits.aligned_below * found.unit:.2g} px"
        return Verdict(Status.UNCERTAIN, Reason.PREDICTED_ERROR, message, found.matrix)
    return Verdict(Status.ALIGNED, Reason.NONE, figures, found.matrix)


def _in_words(found: Prediction) -> str:
    text = f"the corners are predicted to be off by {found.pixels:.2g} px"
    if found.matches is None:
        return text
    return f"{found.agreeing} of {found.matches} matches agree and {text}"
