"""How sure a registration is of its answer, and what speaks most against it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sdme.config import Calibration, Stages
from sdme.result import Reason

_DOUBTS = {
    "predicted_error": (Reason.PREDICTED_ERROR, "the network itself is not sure"),
    "instability": (Reason.REFINEMENT_DIVERGED, "refinement from beside it ends elsewhere"),
    "likeness": (Reason.NO_AGREEMENT, "the images hardly agree there"),
    "weight": (Reason.NO_AGREEMENT, "little of the images counts there"),
    "match_distance": (Reason.UNCONFIRMED, "the matches do not confirm it closely"),
    "agreement": (Reason.NO_AGREEMENT, "the maps hardly agree there"),
    "inliers": (Reason.TOO_FEW_INLIERS, "few matches agree with it"),
    "inlier_share": (Reason.TOO_FEW_INLIERS, "most matches disagree with it"),
    "drift": (Reason.NO_AGREEMENT, "refinement leads away from the matches"),
}


@dataclass(frozen=True)
class Confidence:
    """The probability that the corners are off by less than ``within`` px of the moving image.

    From ``needed`` on an answer is called aligned. ``weakest`` is the figure that speaks most
    against it. ``is_hopeless`` says that it is not even likely to be roughly right.
    """

    value: float
    needed: float
    within: float
    weakest: str
    is_hopeless: bool = False

    @property
    def is_enough(self) -> bool:
        """Whether the answer may be called aligned."""
        return self.value >= self.needed

    @property
    def words(self) -> str:
        """The confidence in words."""
        digits = np.format_float_positional(self.within, precision=2, fractional=False, trim="-")
        return f"confidence {self.value:.2f} that they are less than {digits} px off"

    @property
    def doubt(self) -> tuple[Reason, str]:
        """What speaks most against the answer, as a reason and in words."""
        return _DOUBTS.get(self.weakest, (Reason.UNCONFIRMED, "nothing confirms it"))


def confidence_in(
    calibration: Calibration | None, stages: Stages, figures: Mapping[str, float], pixel: float
) -> Confidence | None:
    """The confidence in an answer with these figures; ``None`` where nothing was calibrated.

    ``pixel`` is how many pixels of the original moving image one pixel is of a fixed image whose
    sides are 640 px.
    """
    fit = calibration.fits.get(stages) if calibration is not None else None
    if calibration is None or fit is None:
        return None
    parts, rough = fit.parts(figures), calibration.rough.get(stages)
    return Confidence(
        fit.confidence(figures),
        calibration.aligned_above,
        calibration.within * pixel,
        min(parts, key=lambda name: parts[name], default=""),
        rough is not None and rough.confidence(figures) < calibration.uncertain_above,
    )
