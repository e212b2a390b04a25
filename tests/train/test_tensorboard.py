"""What TensorBoard gets to see, read back from its files."""

import json

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sdme.train import tensorboard
from sdme.train.tensorboard import tag_of


def board_of(out):
    board = EventAccumulator(str(out / "tensorboard"), {"scalars": 0, "images": 0})
    board.Reload()
    return board


def test_tags_are_grouped():
    names = ["peakiness", "matching_share", "norm_encoder", "val_end_below_1", "learning_rate"]
    assert [tag_of(name) for name in names] == [
        "loss/peakiness",
        "balance/matching_share",
        "norm/encoder",
        "val/end_below_1",
        "run/learning_rate",
    ]


def test_scalars_are_those_of_the_log_and_there_are_pictures(tiny_settings, trained, options):
    trained(tiny_settings)
    board = board_of(options().out)
    seen = set()
    for line in map(json.loads, (options().out / "log.jsonl").read_text().splitlines()):
        for name, value in line.items():
            if name != "step":
                seen.add(tag_of(name))
                events = {e.step: e.value for e in board.Scalars(tag_of(name))}
                assert events[line["step"]] == pytest.approx(value)
    assert seen == set(board.Tags()["scalars"])
    assert [event.step for event in board.Images("examples")] == [0, 4]


def test_going_on_repeats_nothing(tiny_settings, trained, options):
    """A kill after the checkpoint of step 2 and the lines of step 4, then the same again."""
    trained(tiny_settings.model_copy(update={"validate_every": 1000, "checkpoint_every": 1000}))
    folder = options().out
    trained(tiny_settings, "other", seconds=1e9)
    once = board_of(options("other").out).Scalars("loss/guidance")
    assert [event.step for event in once] == [2, 4]
    (folder / "checkpoint.pt").unlink()
    trained(tiny_settings)
    again = board_of(folder).Scalars("loss/guidance")
    assert [event.step for event in again] == [2, 4]
    assert [event.value for event in again] == [event.value for event in once]


def test_without_tensorboard(tiny_settings, trained, options, monkeypatch, capsys):
    monkeypatch.setattr(tensorboard, "find_spec", lambda name: None)
    trained(tiny_settings)
    assert not (options().out / "tensorboard").exists()
    assert (options().out / "examples.png").exists()
    told = [line for line in capsys.readouterr().err.splitlines() if "TensorBoard" in line]
    assert len(told) == 1 and "sdme[train]" in told[0]
