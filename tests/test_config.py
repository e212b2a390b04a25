"""Settings of either network."""

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from sdme.config import (
    AnyNetworkSettings,
    FastLossSettings,
    FastRegisterSettings,
    FastSettings,
    NetworkSettings,
    TrainSettings,
)
from sdme.model.fast import FastNetwork

NETWORK = TypeAdapter(AnyNetworkSettings)


@pytest.mark.parametrize(
    "table, expected",
    [
        ({}, NetworkSettings()),
        ({"agents": 5}, NetworkSettings(agents=5)),
        ({"preset": "paper", "agents": 5}, NetworkSettings(agents=5)),
        ({"preset": "fast"}, FastSettings()),
        ({"preset": "fast", "heads": 2}, FastSettings(heads=2)),
        (FastSettings(radius=2), FastSettings(radius=2)),
    ],
)
def test_a_table_that_names_no_preset_is_the_papers(table, expected):
    assert NETWORK.validate_python(table) == expected
    assert TrainSettings.model_validate({"network": table}).network == expected


@pytest.mark.parametrize("settings", [NetworkSettings(agents=7), FastSettings(attention=0)])
def test_settings_come_back_from_json(settings):
    assert NETWORK.validate_json(settings.model_dump_json()) == settings
    train = TrainSettings(network=settings)
    assert TrainSettings.model_validate_json(train.model_dump_json()) == train


@pytest.mark.parametrize(
    "table, count",
    [
        ({"agnts": 5}, 1),
        ({"radius": 5}, 1),
        ({"preset": "fast", "agents": 5}, 1),
        ({"preset": "fast", "radius": 0, "heads": 0}, 2),
        ({"preset": "huge"}, 1),
        ({"preset": ["fast"]}, 1),
        (3, 1),
    ],
)
def test_a_mistake_is_told_for_one_preset_only(table, count):
    with pytest.raises(ValidationError) as error:
        NETWORK.validate_python(table)
    assert error.value.error_count() == count


def test_an_unknown_preset_names_the_known_ones():
    with pytest.raises(ValidationError, match="'paper' or 'fast'"):
        NETWORK.validate_python({"preset": "huge"})


@pytest.mark.parametrize(
    ("settings", "changes", "told"),
    [
        (FastSettings, {"channels": (16, 32, 64, 100)}, "multiple of 8"),
        (FastSettings, {"channels": (0, 32, 64, 128)}, "channels.0"),
        (FastSettings, {"descriptor_channels": 60}, "multiple of 8"),
        (FastSettings, {"aggregator_channels": 20}, "multiple of 8"),
        (FastSettings, {"depths": (0, -1, 3, 3)}, "depths.1"),
        (FastSettings, {"level_channels": (8, 16, 0)}, "level_channels.2"),
        (FastSettings, {"heads": 3}, "128 channels at 1/16 cannot be shared by 3 heads"),
        (FastLossSettings, {"steps": (3, -1, 3)}, "steps.1"),
        (FastLossSettings, {"steps": (0, 0, 0)}, "give at least one"),
        (FastRegisterSettings, {"steps": (0, 0, 0)}, "give at least one"),
        (FastLossSettings, {"at_truth": 0.6, "voted": 0.5}, "their sum is at most 1"),
    ],
)
def test_what_no_fast_network_can_be_is_told(settings, changes, told):
    with pytest.raises(ValidationError, match=told):
        settings(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"channels": (8, 8, 24, 40), "heads": 5, "depths": (0, 0, 0, 0), "attention": 1},
        {"descriptor_channels": 8, "aggregator_channels": 24, "level_channels": (1, 1, 1)},
        {"correlation_channels": 9, "context_channels": 11, "scales": 1, "radius": 1},
    ],
)
def test_what_is_accepted_can_be_built_and_run(changes):
    network = FastNetwork(FastSettings(**changes))
    image = torch.rand(1, 3, 32, 48)
    fixed, moving = network(image, image)
    scales = network.aggregator.scales(fixed.cells, moving.cells)
    sizes, contexts = (moving.size, fixed.size), (fixed.context, moving.context)
    assert network.aggregator(scales, contexts, torch.eye(3)[None], *sizes).matrix.isfinite().all()


def test_shares_may_be_all_there_is_and_one_scale_is_enough():
    assert FastLossSettings(at_truth=0.7, voted=0.3, steps=(0, 0, 1)).at_truth == 0.7
