"""The command ``sdme train``: shipped settings, tiny runs, and one line for every mistake."""

import json
import signal

import cv2
import numpy as np
import pytest

from sdme import parallel
from sdme.cli.app import main
from sdme.train.settings_files import read_settings, shipped_settings

TINY = """
steps = 2
batch = 1
chunk = 1
log_every = 1
validation_pairs = 2
validate_every = 2
checkpoint_every = 1
[network]
descriptor_channels = 16
agents = 3
agent_heads = 2
[data]
fixed_side = 40
moving_side = 48
max_shift = 4
stored_side = 64
"""


def scene(seed):
    blocks = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    return blocks.repeat(4, axis=0).repeat(4, axis=1)


@pytest.fixture
def place(tmp_path, write_pack, monkeypatch):
    """Settings and packs in the folder that commands run in."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.toml").write_text(TINY)
    for name, seed in (("sea", 0), ("land", 5)):
        members = {f"{i}.a.png": scene(seed + i) for i in range(2)}
        members |= {f"{i}.b.png": 255 - scene(seed + i) for i in range(2)}
        write_pack(tmp_path / f"{name}.tar", members)
    write_pack(tmp_path / "photos.tar", {f"{i}.png": scene(20 + i) for i in range(2)})
    return tmp_path


def command(*words):
    return main(["train", *words])


def test_a_run_and_its_files(place, capsys):
    arguments = ["tiny.toml", "sea.tar", "photos.tar", "--val", "land.tar", "-o", "run"]
    assert command(*arguments, "--device", "cpu") == 0
    captured = capsys.readouterr()
    assert "done after 2 steps" in captured.out
    assert "run/weights.safetensors" in captured.out
    assert "step 2" in captured.err
    lines = [json.loads(line) for line in (place / "run/log.jsonl").read_text().splitlines()]
    assert any("val_matched" in line for line in lines)
    assert {"weights.safetensors", "log.jsonl", "checkpoint.pt"} <= {
        path.name for path in (place / "run").iterdir()
    }


def test_the_same_command_goes_on_and_json_is_one_object(place, capsys):
    arguments = ["tiny.toml", "sea.tar", "-o", "run", "--device", "cpu"]
    assert command(*arguments, "--seconds", "1e-9") == 0
    assert "paused at step 0 of 2" in capsys.readouterr().out
    assert command(*arguments, "--json") == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert (found["step"], found["steps"], found["finished"]) == (2, 2, True)
    assert found["files"]["weights"] == "run/weights.safetensors"
    assert captured.err == ""


def test_more_steps_need_another_folder_and_begin_with_the_weights(place, capsys):
    arguments = ["tiny.toml", "sea.tar", "--device", "cpu"]
    for _ in range(2):
        assert command(*arguments, "-o", "run") == 0
        assert "done after 2 steps" in capsys.readouterr().out
    before = (place / "run/weights.safetensors").read_bytes()
    assert command(*arguments, "-o", "run", "--set", "steps=3") == 2
    assert "other settings (steps); give those or another folder" in capsys.readouterr().err
    assert (place / "run/weights.safetensors").read_bytes() == before
    start = ["--set", "start=run/weights.safetensors", "steps=3"]
    assert command(*arguments, "-o", "more", *start) == 0
    assert "done after 3 steps" in capsys.readouterr().out


def test_a_rank_without_other_processes_means_nothing(place, monkeypatch, capsys):
    monkeypatch.setenv("RANK", "1")
    assert command("tiny.toml", "sea.tar", "-o", "run", "--device", "cpu", "--json") == 0
    assert '"finished": true' in capsys.readouterr().out
    assert (place / "run/weights.safetensors").is_file()


def test_of_several_processes_the_first_one_speaks(monkeypatch):
    from sdme.cli.train import _is_first_process

    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank, speaks in (("0", True), ("1", False)):
        monkeypatch.setenv("RANK", rank)
        assert _is_first_process() == parallel.is_first() == speaks


def test_changes_go_over_the_file(place, capsys):
    changes = ["--set", "steps=1", "losses.agents=0", "--set", "seed=4"]
    assert command("tiny.toml", "sea.tar", "-o", "run", "--device", "cpu", *changes, "--quiet") == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")
    rows = [json.loads(line) for line in (place / "run/log.jsonl").read_text().splitlines()]
    assert max(row["step"] for row in rows) == 1
    assert command("tiny.toml", "sea.tar", "-o", "run", "--device", "cpu") == 2
    assert "other settings" in capsys.readouterr().err


def test_an_interruption_keeps_the_checkpoint(place, monkeypatch, capsys):
    from sdme.train import loop

    step = loop.take_step

    def interrupted(state, *rest):
        if state.step == 1:
            raise KeyboardInterrupt
        step(state, *rest)

    arguments = ["tiny.toml", "sea.tar", "-o", "run", "--device", "cpu"]
    monkeypatch.setattr(loop, "take_step", interrupted)
    assert command(*arguments) == 130
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("error: interrupted: the last checkpoint in run is kept")
    monkeypatch.setattr(loop, "take_step", step)
    assert command(*arguments) == 0
    assert "resumed at step 1" in capsys.readouterr().err


def test_ctrl_c_saves_and_says_at_which_step(place, monkeypatch, capsys):
    from sdme.train import loop

    step = loop.take_step

    def pressed(state, *rest):
        signal.raise_signal(signal.SIGINT)
        step(state, *rest)

    arguments = ["tiny.toml", "sea.tar", "-o", "run", "--device", "cpu"]
    monkeypatch.setattr(loop, "take_step", pressed)
    assert command(*arguments) == 130
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == (
        "error: interrupted: step 1 of 2 is saved in run; the same command goes on from there"
    )
    monkeypatch.setattr(loop, "take_step", step)
    assert command(*arguments) == 0
    assert "resumed at step 1" in capsys.readouterr().err


def test_list_of_settings(capsys):
    assert command("--list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.partition("\t")[0] for line in lines} == shipped_settings().keys()
    assert all(len(line.partition("\t")[2]) > 40 for line in lines)
    assert command("--list", "--json") == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert len(rows) == len(lines)
    for line in lines:
        sets = read_settings(line.partition("\t")[0]).data.datasets
        assert rows[line.partition("\t")[0]]["sets"] == list(sets)
        assert all(name in line.partition("Needs packs or folders named ")[2] for name in sets)
        assert ("Needs" in line) == bool(sets)


def test_one_of_several_sets_is_chosen(place, capsys):
    arguments = ["tiny.toml", "sea.tar", "land.tar", "-o", "run", "--device", "cpu"]
    assert command(*arguments, "--set", 'data.datasets=["land", "nowhere"]') == 2
    assert "there is no set nowhere in the data, which has land, sea" in capsys.readouterr().err
    assert command(*arguments, "--set", 'data.datasets=["land"]') == 0


def test_left_out_members_are_told(place, write_pack, capsys):
    write_pack(place / "bad.tar", {"1.a.png": scene(1), "1.b.png": scene(2), "2.a.png": scene(3)})
    assert command("tiny.toml", "bad.tar", "-o", "run", "--device", "cpu") == 0
    assert "warning: left out: " in capsys.readouterr().err


def test_all_damaged_images_are_listed_at_once(place, capsys):
    for folder, damaged in (("pairs", (1, 3)), ("val", (0,))):
        (place / folder).mkdir()
        for number in range(5):
            cv2.imwrite(str(place / folder / f"frame_{number}.a.png"), scene(number))
            cv2.imwrite(str(place / folder / f"frame_{number}.b.png"), 255 - scene(number))
        for number in damaged:
            path = place / folder / f"frame_{number}.b.png"
            path.write_bytes(path.read_bytes()[:-200])  # its header is sound
    words = ("tiny.toml", "pairs", "--val", "val", "-o", "run", "--device", "cpu")
    assert command(*words) == 2
    *lines, last = capsys.readouterr().err.splitlines()
    named = [f"pair {name}" for name in ("pairs/frame_1", "pairs/frame_3", "val/frame_0")]
    for line, name in zip(lines, named, strict=True):
        assert line.startswith(f"warning: cannot be used: {name}: ")
    assert last.startswith("error: 3 of the pairs and photos cannot be used, the first: ")
    assert command(*words, "--quiet") == 2
    assert capsys.readouterr().err.splitlines() == [last]
    assert not (place / "run").exists()


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "no settings were given"),
        (["tiny.toml"], "no data was given"),
        (["tiny.toml", "nowhere"], "nowhere does not exist"),
        (["sea.tar", "photo"], "sea.tar seems to be data; give the settings first"),
        ([".", "tiny.toml"], ". seems to be data"),
        (["nir", "sea.tar"], "srif_nir in the data, which has sea; give it, or change data.data"),
        (["fotos", "sea.tar"], "fotos"),
        (["tiny.toml", "sea.tar", "--set", "nothing=1"], "there is no setting nothing"),
        (["tiny.toml", "sea.tar", "--set", "steps"], "NAME=VALUE"),
        (["tiny.toml", "sea.tar", "--device", "abacus"], "abacus"),
        (["tiny.toml", "sea.tar", "--seconds", "0"], "seconds"),
        (["tiny.toml", "sea.tar", "--val", "nowhere"], "nowhere does not exist"),
        (["general", "sea.tar"], "--seconds"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(place, capsys, arguments, message):
    assert command(*arguments, "-o", "out") == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1
    assert message in captured.err
    assert captured.out == ""
    assert not (place / "out").exists()
