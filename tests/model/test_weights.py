"""Weights files: round trip, damage and the shipped records."""

import json

import pytest
import torch
from hand_made_fast import TINY
from safetensors import safe_open
from safetensors.torch import save_file

from sdme.config import NetworkSettings
from sdme.errors import InputError
from sdme.model import weights
from sdme.model.fast import FastNetwork
from sdme.model.network import SdmeNetwork
from sdme.model.weights import WeightsRecord, build_network, load_network, records, save_weights

SMALL = NetworkSettings(descriptor_channels=32, agents=4, agent_heads=2)


@pytest.fixture
def network():
    """A small network whose running statistics are not the initial ones."""
    torch.manual_seed(0)
    network = SdmeNetwork(SMALL).train()
    with torch.no_grad():
        network(torch.rand(2, 3, 32, 32))
    return network.eval()


@torch.no_grad()
def test_round_trip(network, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_weights(path, network)
    loaded = load_network(path)
    assert loaded.settings == SMALL and not loaded.training
    expected = network.state_dict()
    for name, value in loaded.state_dict().items():
        if "running" in name or not value.is_floating_point():
            assert torch.equal(value, expected[name]), name
        else:
            assert torch.equal(value, expected[name].half().float()), name
            assert value.dtype == torch.float32
    image = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(
        loaded(image).repeatability, network(image).repeatability, rtol=0, atol=5e-3
    )
    assert torch.equal(load_network(str(path))(image).structure, loaded(image).structure)


@torch.no_grad()
def test_round_trip_of_the_other_preset(tmp_path):
    torch.manual_seed(0)
    network, path = build_network(TINY).eval(), tmp_path / "weights.safetensors"
    save_weights(path, network)
    loaded = load_network(path)
    assert isinstance(loaded, FastNetwork) and loaded.settings == TINY
    assert not loaded.training
    expected = network.state_dict()
    for name, value in loaded.state_dict().items():
        assert torch.equal(value, expected[name].half().float()), name
    images = torch.rand(2, 1, 3, 48, 40)
    for found, wanted in zip(loaded(*images), network(*images), strict=True):
        torch.testing.assert_close(found.descriptors, wanted.descriptors, rtol=0, atol=2e-2)


def test_settings_without_a_preset_are_the_papers(network, tmp_path):
    path = tmp_path / "weights.safetensors"
    tensors = {n: t.contiguous() for n, t in network.state_dict().items()}
    table = SMALL.model_dump()
    del table["preset"]
    save_file(tensors, path, metadata={"network": json.dumps(table)})
    assert load_network(path).settings == SMALL


@pytest.mark.parametrize("settings", [SMALL, TINY])
def test_a_network_is_built_of_the_preset_of_its_settings(settings):
    network = build_network(settings)
    assert network.settings == settings
    assert isinstance(network, FastNetwork) == (settings.preset == "fast")


def test_file_is_half_precision_and_small(network, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_weights(path, network)
    parameters = sum(p.numel() for p in network.parameters())
    assert path.stat().st_size < 2 * parameters + 20_000
    with safe_open(path, framework="pt") as file:
        assert file.get_tensor("encoder.0.weight").dtype == torch.float16
        assert file.get_tensor("encoder.1.running_var").dtype == torch.float32
        assert NetworkSettings.model_validate_json(file.metadata()["network"]) == SMALL
    assert [p.name for p in tmp_path.iterdir()] == ["weights.safetensors"]


def test_channels_last_weights_are_saved_as_they_are(network, tmp_path):
    expected = network.encoder[0].weight.detach().half().float()
    save_weights(tmp_path / "weights.safetensors", network.to(memory_format=torch.channels_last))
    assert torch.equal(load_network(tmp_path / "weights.safetensors").encoder[0].weight, expected)


def test_unknown_model_names_the_known_ones(tmp_path):
    for model in ("no-such-model", tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(InputError, match="there is no model") as error:
            load_network(model)
        assert "\n" not in str(error.value)


def damaged(kind, path, network):
    if kind == "text":
        path.write_text("hello")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "truncated":
        save_weights(path, network)
        path.write_bytes(path.read_bytes()[:-1000])
    elif kind == "no settings":
        save_file({"a": torch.zeros(1)}, path)
    elif kind == "unknown setting":
        save_file({"a": torch.zeros(1)}, path, metadata={"network": json.dumps({"depth": 3})})
    elif kind == "unknown preset":
        save_file({"a": torch.zeros(1)}, path, metadata={"network": json.dumps({"preset": "x"})})
    elif kind == "other tensors":
        save_file({"a": torch.zeros(1)}, path, metadata={"network": SMALL.model_dump_json()})
    else:
        tensors = {n: t.contiguous() for n, t in network.state_dict().items()}
        wrong = NetworkSettings().model_dump_json()
        save_file(tensors, path, metadata={"network": wrong})


@pytest.mark.parametrize(
    "kind",
    [
        "text",
        "empty",
        "truncated",
        "no settings",
        "unknown setting",
        "unknown preset",
        "other tensors",
        "shapes",
    ],
)
def test_files_of_something_else_are_refused_in_one_line(kind, network, tmp_path):
    path = tmp_path / "weights.safetensors"
    damaged(kind, path, network)
    with pytest.raises(InputError, match="holds no weights for this package") as error:
        load_network(path)
    assert "\n" not in str(error.value) and str(path) in str(error.value)


def test_other_files_of_a_run_lead_to_its_weights(network, tmp_path):
    path = tmp_path / "weights.safetensors"
    checkpoint, other = tmp_path / "checkpoint.pt", tmp_path / "my.toml"
    torch.save({"step": 1}, checkpoint)
    other.write_text("preset = 'paper'\n" * 9)
    for file in (checkpoint, other):
        with pytest.raises(InputError, match=r"is no whole \.safetensors file") as error:
            load_network(file)
        assert str(path) not in str(error.value)
    with pytest.raises(InputError, match="there is no model") as error:
        load_network(tmp_path)
    assert str(path) not in str(error.value)
    save_weights(path, network)
    for file in (checkpoint, other):
        with pytest.raises(InputError, match=f"did you mean {path}$"):
            load_network(file)
    with pytest.raises(InputError, match=f"there is no model .* or a file, as {path}$"):
        load_network(tmp_path)


def test_shipped_records_are_complete_and_intact():
    names = [record.name for record in records()]
    assert len(set(names)) == len(names)
    for record in records():
        assert record.is_intact(), record.name
        assert record.path.with_suffix(".md").is_file(), f"{record.name} has no model card"
        assert all((record.licence, record.training_data, record.modalities, record.metric))


def test_shipped_model_by_name_and_its_checksum(network, tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    path = tmp_path / "small.safetensors"
    save_weights(path, network)
    fields = {"name": "small", "file": path.name, "preset": "paper", "licence": "Apache-2.0"}
    texts = {"training_data": "noise", "modalities": ["rgb"], "metric": "none"}
    digest = weights.hashlib.sha256(path.read_bytes()).hexdigest()
    (tmp_path / "records.json").write_text(json.dumps([fields | texts | {"sha256": digest}]))
    records.cache_clear()
    try:
        (record,) = records()
        assert isinstance(record, WeightsRecord) and record.modalities == ("rgb",)
        assert record.is_intact()
        assert load_network("small").settings == SMALL
        with pytest.raises(InputError, match=r"'large'.*\['small'\]"):
            load_network("large")
        path.write_bytes(path.read_bytes()[:-1] + b"x")
        assert not record.is_intact()
        path.unlink()
        assert not record.is_intact()
    finally:
        records.cache_clear()
