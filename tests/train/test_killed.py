"""A run that is killed at random moments, over and over, ends as if nothing had happened.

Run as a script, this file is that run.
"""

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from sdme.config import TrainSettings
from sdme.data.sources import read_all
from sdme.train.loop import RunOptions, train

KILLS = 5


def run(spec, packs, out):
    settings = TrainSettings.model_validate_json(spec.read_text())
    training = read_all([packs / "pairs/train", packs / "photos/train"]).pairs
    validation = read_all([packs / "pairs/val"]).pairs
    train(settings, training, validation, RunOptions(out, torch.device("cpu"), quiet=True))


def log_of(out):
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "pairs_per_second"} for line in lines]


def stamp_of(path):
    return path.stat().st_mtime_ns if path.exists() else None


@pytest.mark.slow
def test_a_run_that_is_killed_ends_as_if_it_had_not_been(tiny_settings, packs, tmp_path):
    spec = tmp_path / "settings.json"
    changes = {"steps": 48, "log_every": 6, "validate_every": 12, "checkpoint_every": 2}
    spec.write_text(tiny_settings.model_copy(update=changes).model_dump_json())
    run(spec, packs, tmp_path / "whole")
    out, kills, draw = tmp_path / "killed", 0, random.Random(0)
    command = [sys.executable, __file__, str(spec), str(packs), str(out)]
    while kills < KILLS:
        before, child = stamp_of(out / "checkpoint.pt"), subprocess.Popen(command)
        while child.poll() is None and stamp_of(out / "checkpoint.pt") == before:
            time.sleep(0.01)
        try:
            assert child.wait(draw.uniform(0, 1)) == 0
            break
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            kills += 1
    subprocess.run(command, check=True)
    assert kills > 1
    one, two = (torch.load(tmp_path / name / "checkpoint.pt") for name in ("killed", "whole"))
    assert one["step"] == two["step"] == 48
    for name, value in two["network"].items():
        assert torch.equal(one["network"][name], value), name
    assert log_of(out) == log_of(tmp_path / "whole")
    assert {p.name for p in out.iterdir()} == {p.name for p in (tmp_path / "whole").iterdir()}


if __name__ == "__main__":
    run(*map(Path, sys.argv[1:]))
