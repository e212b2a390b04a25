"""Settings of every stage, frozen, with the paper's values as defaults; unknown keys are errors."""

from sdme.config.base import Settings
from sdme.config.calibration import (
    OF_SIDE,
    RIGHT_WITHIN,
    ROUGH,
    Calibration,
    Fit,
    Term,
    right_within,
)
from sdme.config.images import Axis, Choice, ViewSettings
from sdme.config.network import AnyNetworkSettings, FastSettings, NetworkSettings
from sdme.config.registration import (
    KINDS,
    MAX_PIXELS,
    PAPER_SIDE,
    EstimateSettings,
    FastRegisterSettings,
    Interpolation,
    KeypointSettings,
    Kind,
    RefineSettings,
    RegisterSettings,
    Search,
    SearchSettings,
    Stages,
    VerdictSettings,
)
from sdme.config.training import DataSettings, FastLossSettings, LossSettings, TrainSettings

__all__ = [
    "KINDS",
    "MAX_PIXELS",
    "OF_SIDE",
    "PAPER_SIDE",
    "RIGHT_WITHIN",
    "ROUGH",
    "AnyNetworkSettings",
    "Axis",
    "Calibration",
    "Choice",
    "DataSettings",
    "EstimateSettings",
    "FastLossSettings",
    "FastRegisterSettings",
    "FastSettings",
    "Fit",
    "Interpolation",
    "KeypointSettings",
    "Kind",
    "LossSettings",
    "NetworkSettings",
    "RefineSettings",
    "RegisterSettings",
    "Search",
    "SearchSettings",
    "Settings",
    "Stages",
    "Term",
    "TrainSettings",
    "VerdictSettings",
    "ViewSettings",
    "right_within",
]
