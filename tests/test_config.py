"""Settings of either network."""

import pytest
from pydantic import TypeAdapter, ValidationError

from sdme.config import AnyNetworkSettings, FastSettings, NetworkSettings, TrainSettings

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
