"""What figures of a registration are worth: the probability that its answer is right.

A logistic regression on a few figures that a registration tells of itself, fitted on pairs with a
known transform and on unrelated ones (``sdme calibrate``), and stored with the weights, as what a
figure means depends on the network.
"""

import math
from collections.abc import Mapping

from pydantic import Field

from sdme.config.base import Settings
from sdme.config.registration import Stages

ROUGH = 5.0  # an answer within so many times the limit is still of use
RIGHT_WITHIN, OF_SIDE = 5.0, 640.0  # px of corner error, of an image whose sides are about so long


class Term(Settings):
    """One figure's part in the sum: ``coefficient * (f(figure) - mean) / scale``.

    ``f`` is the logarithm of ``figure + log_offset``, or the figure itself where that is ``None``.
    Values beyond what was seen in fitting, ``low`` to ``high`` after ``f``, count as the nearest.
    """

    figure: str
    log_offset: float | None = None
    low: float
    high: float
    mean: float
    scale: float = Field(gt=0)
    coefficient: float

    def transformed(self, value: float) -> float:
        """The figure as the sum takes it; one that is no number counts as the least favourable."""
        if math.isnan(value):
            return self.low if self.coefficient > 0 else self.high
        if self.log_offset is not None:
            value = math.log(max(value, 0.0) + self.log_offset)
        return min(max(value, self.low), self.high)


class Fit(Settings):
    """A logistic regression: the probability is ``1 / (1 + exp(-(intercept + sum of terms)))``."""

    terms: tuple[Term, ...]
    intercept: float

    def parts(self, figures: Mapping[str, float]) -> dict[str, float]:
        """What each figure adds to the sum; those below zero speak against the answer."""
        return {
            term.figure: term.coefficient
            * (term.transformed(figures.get(term.figure, math.nan)) - term.mean)
            / term.scale
            for term in self.terms
        }

    def confidence(self, figures: Mapping[str, float]) -> float:
        """Probability, in [0, 1], that an answer with these figures is right."""
        total = self.intercept + sum(self.parts(figures).values())
        return 1 / (1 + math.exp(-max(-50.0, min(total, 50.0))))


class Calibration(Settings):
    """How the figures of a model's registrations are turned into a confidence.

    An answer is right when its mean corner error is below ``within`` px of a fixed image whose
    sides are 640 px in the geometric mean, so that it grows with the image. ``fits`` are by the
    stages that ran; what ran without a fit has no confidence. From ``aligned_above`` on an answer
    is called aligned.

    ``rough`` are the same for answers within ``ROUGH`` times as much. One whose probability of
    that is below ``uncertain_above`` has failed.
    """

    within: float = Field(default=RIGHT_WITHIN, gt=0)
    aligned_above: float = Field(default=0.9, ge=0, le=1)
    uncertain_above: float = Field(default=0.2, ge=0, le=1)
    fits: dict[Stages, Fit]
    rough: dict[Stages, Fit] = Field(default={})


def right_within(size: tuple[int, int], within: float = RIGHT_WITHIN) -> float:
    """The limit of the corner error in pixels of a fixed image of this size (width, height)."""
    return within * math.sqrt(size[0] * size[1]) / OF_SIDE
