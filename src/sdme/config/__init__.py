"""Settings of every stage, frozen, with the paper's values as defaults; unknown keys are errors."""

from sdme.config.base import Settings
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
    Stages,
    VerdictSettings,
)
from sdme.config.training import DataSettings, FastLossSettings, LossSettings, TrainSettings

__all__ = [
    "KINDS",
    "MAX_PIXELS",
    "PAPER_SIDE",
    "AnyNetworkSettings",
    "Axis",
    "Choice",
    "DataSettings",
    "EstimateSettings",
    "FastLossSettings",
    "FastRegisterSettings",
    "FastSettings",
    "Interpolation",
    "KeypointSettings",
    "Kind",
    "LossSettings",
    "NetworkSettings",
    "RefineSettings",
    "RegisterSettings",
    "Settings",
    "Stages",
    "TrainSettings",
    "VerdictSettings",
    "ViewSettings",
]
