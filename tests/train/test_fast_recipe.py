"""Runs of the preset fast: exact resume, parts of a batch, figures and pictures."""

import json
import math

import pytest
import torch
from hand_made_fast import TINY

from sdme.config import DataSettings
from sdme.data.batches import make_batch
from sdme.data.store import load_store
from sdme.model.fast import FastNetwork
from sdme.model.weights import load_network
from sdme.train import loop
from sdme.train.fast import FastRecipe
from sdme.train.fast_step import FAST_NAMES, MEASURED

CPU = torch.device("cpu")


@pytest.fixture
def settings(tiny_settings):
    data = DataSettings(fixed_side=48, moving_side=64, max_shift=4, stored_side=80)
    return tiny_settings.model_copy(update={"network": TINY, "data": data, "batch": 2})


def log_of(out):
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "pairs_per_second"} for line in lines]


def test_an_interrupted_run_continues_exactly(settings, trained, options, monkeypatch):
    whole, calls, original = trained(settings, "whole"), [], loop.make_batch

    def make_batch(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(loop, "make_batch", make_batch)
        with pytest.raises(KeyboardInterrupt):
            trained(settings, "parts")
    resumed = trained(settings, "parts")
    assert resumed.step == whole.step == 4
    for name, value in whole.network.state_dict().items():
        assert torch.equal(resumed.network.state_dict()[name], value), name
    assert log_of(options("parts").out) == log_of(options("whole").out)


def test_a_run_logs_losses_norms_and_figures(settings, trained, options):
    state = trained(settings)
    first, second, validation = log_of(options().out)
    names = {*FAST_NAMES, *MEASURED, "norm_network", "norm_aggregator"}
    assert set(first) == set(second) == names | {"step", "skipped", "learning_rate"}
    assert all(math.isfinite(v) for line in (first, second) for v in line.values())
    shares = {"matched", "voted_below_3", "voted_below_10", "end_below_1", "end_below_3", "basin_8"}
    assert set(validation) == {"step", *(f"val_{n}" for n in shares), "val_drift", "val_judged"}
    assert all(0 <= validation[f"val_{name}"] <= 1 for name in shares)
    loaded = load_network(options().out / "weights.safetensors")
    assert isinstance(loaded, FastNetwork) and loaded.settings == state.network.settings


def test_gradients_of_a_batch_are_the_mean_of_those_of_its_parts(settings, training):
    """Hence several processes, whose gradients are averaged, make one batch."""
    torch.manual_seed(0)
    network = FastNetwork(TINY)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    recipe = FastRecipe(network, settings, CPU)
    batch = make_batch(load_store(training, settings.data), 4, settings.data, draw=recipe.draw)
    found = []
    for part in (batch, *batch.split(2)):
        numbers = recipe.compute_gradients(part)[: len(FAST_NAMES)]
        found.append([numbers, *(p.grad.clone() for p in network.parameters())])
    for whole, one, two in zip(*found, strict=True):
        gap = (whole - (one + two) / 2).norm()
        assert gap <= 1e-3 * whole.norm() + 1e-7


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_replayed_graph_gives_what_an_eager_pass_gives(settings, training, validation):
    """Also after a validation in between, and after the weights were changed in place."""
    device = torch.device("cuda")
    torch.manual_seed(0)
    network = FastNetwork(TINY).to(device)
    captured = FastRecipe(network, settings, device)
    eager = FastRecipe(network, settings.model_copy(update={"compile": False}), device)
    store = load_store(training, settings.data).to(device)
    held_out = load_store(validation, settings.data).to(device)
    for turn in range(3):
        batch = make_batch(store, 2, settings.data, draw=captured.draw)
        found = []
        for recipe in (captured, eager, captured):
            numbers = recipe.compute_gradients(batch)
            gradients = [p.grad.clone() for p in network.parameters() if p.grad is not None]
            found.append(torch.cat([numbers, *(g.flatten() for g in gradients)]))
        torch.testing.assert_close(found[0], found[1], rtol=0.05, atol=1e-2)
        torch.testing.assert_close(found[0], found[2], rtol=1e-3, atol=1e-4)
        if turn == 0:
            captured.validate(held_out, settings.data, 2)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.01 * torch.randn_like(parameter))
