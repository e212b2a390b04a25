"""Checkpoints: exact contents, damage, and a death at any moment of writing."""

import os

import pytest
import torch
from torch import nn

from sdme.config import TrainSettings
from sdme.errors import InputError
from sdme.files import replacing
from sdme.train.checkpoint import TrainState, load_checkpoint, save_checkpoint

CPU = torch.device("cpu")


def new_state(seed, settings=None):
    torch.manual_seed(seed)
    network = nn.Linear(3, 2)
    state = TrainState(
        network, torch.optim.AdamW(network.parameters()), settings or TrainSettings()
    )
    network(torch.rand(4, 3)).sum().backward()
    state.optimizer.step()
    state.step, state.skipped, state.total = 10 * seed, seed, 1000
    return state


def test_everything_comes_back(tmp_path):
    saved, path = new_state(1), tmp_path / "checkpoint.pt"
    save_checkpoint(path, saved)
    loaded = new_state(2)
    load_checkpoint(path, loaded, CPU)
    assert (loaded.step, loaded.skipped, loaded.total) == (10, 1, 1000)
    assert torch.equal(loaded.network.weight, saved.network.weight)
    one, two = (s.optimizer.state[s.network.weight]["exp_avg"] for s in (loaded, saved))
    assert torch.equal(one, two)


@pytest.mark.parametrize("kind", ["empty", "text", "truncated", "other content", "folder"])
def test_damaged_checkpoints_are_refused_in_one_line(tmp_path, kind):
    path, state = tmp_path / "checkpoint.pt", new_state(1)
    save_checkpoint(path, state)
    if kind == "folder":
        path.unlink()
        path.mkdir()
    elif kind == "other content":
        torch.save({"a": 1}, path)
    else:
        whole = path.read_bytes()
        path.write_bytes({"empty": b"", "text": b"hello\n", "truncated": whole[:-500]}[kind])
    before = state.network.weight.clone()
    with pytest.raises(InputError, match=r"checkpoint\.pt") as error:
        load_checkpoint(path, state, CPU)
    assert "\n" not in str(error.value)
    assert torch.equal(state.network.weight, before) and state.step == 10


def test_settings_of_another_version_are_other_settings(tmp_path):
    path, state = tmp_path / "checkpoint.pt", new_state(1)
    save_checkpoint(path, state)
    content = torch.load(path, weights_only=True)
    torch.save(content | {"settings": '{"forgotten_setting": 3}'}, path)
    with pytest.raises(InputError, match="other settings"):
        load_checkpoint(path, state, CPU)


@pytest.mark.parametrize("failure", [KeyboardInterrupt, RuntimeError, MemoryError])
def test_a_failure_while_writing_leaves_the_older_checkpoint(tmp_path, monkeypatch, failure):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, new_state(1))

    def half_written(content, file):
        file.write_bytes(b"half of a")
        raise failure

    told = InputError if failure is RuntimeError else failure  # PyTorch's word for a full disk
    with monkeypatch.context() as patched, pytest.raises(told):
        patched.setattr(torch, "save", half_written)
        save_checkpoint(path, new_state(2))
    state = new_state(3)
    load_checkpoint(path, state, CPU)
    assert state.step == 10
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_a_killed_writer_leaves_the_older_checkpoint(tmp_path):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, new_state(1))
    child = os.fork()
    if child == 0:
        with replacing(path) as temporary:
            temporary.write_bytes(b"half of a")
            os._exit(9)
    os.waitpid(child, 0)
    state = new_state(3)
    load_checkpoint(path, state, CPU)
    assert state.step == 10


def test_a_folder_that_is_gone(tmp_path):
    with pytest.raises(InputError, match="cannot write"):
        save_checkpoint(tmp_path / "none" / "checkpoint.pt", new_state(1))


def test_where_the_starting_weights_lay_does_not_matter(tmp_path):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, new_state(1, TrainSettings(start="old/place.safetensors")))
    state = new_state(2, TrainSettings(start="new/place.safetensors"))
    load_checkpoint(path, state, CPU)
    assert state.step == 10


def test_other_data_are_refused(tmp_path):
    path, state = tmp_path / "checkpoint.pt", new_state(1)
    state.data = "these"
    save_checkpoint(path, state)
    other = new_state(1)
    other.data = "those"
    with pytest.raises(InputError, match="written on other data; give the same pairs"):
        load_checkpoint(path, other, CPU)
