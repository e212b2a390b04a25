"""Which of the runs behind docs/reproduction.md are taken for trained when they go on."""

import importlib.util
import json
import math
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks/reproduction_runs.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("reproduction_runs", SCRIPT)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture
def place(script, tmp_path):
    return script.Place(tmp_path / "data", tmp_path / "runs", math.inf, (4, 2), ())


def write_run(place, run, *log):
    """A folder without its checkpoint, as results are kept."""
    folder = place.runs / run.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "weights.safetensors").touch()
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
    return folder


def test_weights_with_figures_of_the_last_step_need_no_training(script, place):
    run = next(run for run in script.all_runs() if run.name == "nir-tenth")  # 1,000 steps
    assert not place.is_trained(run)
    write_run(place, run, {"step": 500}, {"step": 500, "val_drift": 2.0})
    assert not place.is_trained(run)
    write_run(place, run, {"step": 1000})  # killed before it saved or validated
    assert not place.is_trained(run)
    write_run(place, run)
    assert not place.is_trained(run)
    folder = write_run(place, run, {"step": 1000}, {"step": 1000, "val_drift": 2.0})
    assert place.is_trained(run)
    (folder / "weights.safetensors").unlink()
    assert not place.is_trained(run)


def test_shipped_models_are_trained_and_finished_evaluations_left_alone(script, place):
    run = next(script.all_runs())
    assert run.name == "general" and place.is_trained(run)
    parts = [Path(words[words.index("-o") + 1]) for _, words in place.evaluations(run, "cpu")]
    assert [part.name for part in parts] == ["pairs", "photos"]
    parts[0].mkdir(parents=True)
    (parts[0] / "table.md").touch()
    (left,) = place.evaluations(run, "cpu")
    assert str(parts[1]) in left[1]
