"""``sdme calibrate`` from trials to weights."""

import json
import math

import numpy as np
import pytest
from hand_made_fast import TINY

from sdme.cli.app import main
from sdme.evaluate.trials import Trial, save_trials
from sdme.model.weights import build_network, load_network, save_weights


@pytest.fixture
def weights(tmp_path):
    save_weights(tmp_path / "weights.safetensors", build_network(TINY))
    return tmp_path / "weights.safetensors"


@pytest.fixture
def trials(tmp_path):
    rng = np.random.default_rng(0)
    rows = []
    for k in range(400):
        z = rng.normal()
        is_right = rng.random() < 1 / (1 + math.exp(-6 * z))
        kind = "one scene" if is_right or k % 2 else "same set"
        error = 0.5 if is_right else math.inf
        figures = {"instability": math.exp(-z)}
        rows.append(Trial(kind, f"s{k % 2}", str(k), "paper", "dense", "uncertain", error, None, figures))  # noqa: E501  # fmt: skip
    save_trials(tmp_path / "trials.jsonl", rows)
    return tmp_path / "trials.jsonl"


def test_weights_trials_and_page_are_written(weights, trials, tmp_path, capsys):
    folder = tmp_path / "out"
    assert main(["calibrate", str(weights), "--trials", str(trials), "-o", str(folder)]) == 0
    assert "of the right answers" in capsys.readouterr().out
    network = load_network(folder / "weights.safetensors")
    assert network.calibration is not None and set(network.calibration.fits) == {"dense"}
    rows = [json.loads(line) for line in (folder / "trials.jsonl").read_text().splitlines()]
    assert all(0 <= row["confidence"] <= 1 for row in rows) and len(rows) == 400
    page = (folder / "verdict.md").read_text()
    assert "| dense | 400 |" in page and "| s1 |" in page
    assert "<svg" in (folder / "verdict.svg").read_text()
    # what is calibrated stays so when it is written again
    save_weights(tmp_path / "again.safetensors", network)
    assert load_network(tmp_path / "again.safetensors").calibration == network.calibration


def test_bad_input_is_one_line(weights, tmp_path, capsys):
    assert main(["calibrate", str(weights), "-o", str(tmp_path / "out")]) == 2
    assert "no input was given" in capsys.readouterr().err
    (tmp_path / "bad.jsonl").write_text("{}\n")
    arguments = ["--trials", str(tmp_path / "bad.jsonl"), "-o", str(tmp_path / "out")]
    assert main(["calibrate", str(weights), *arguments]) == 2
    assert "holds no trials" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
