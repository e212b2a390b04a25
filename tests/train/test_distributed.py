"""Two processes against one: the same gradients, the same run, stopped and gone on with.

Run as a script, this file is one of the two.
"""

import json
import os
import signal
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from sdme import parallel
from sdme.config import DataSettings, LossSettings, NetworkSettings, TrainSettings
from sdme.data.batches import Batch
from sdme.data.sources import read_all
from sdme.errors import InputError
from sdme.model.network import SdmeNetwork
from sdme.train import loop
from sdme.train.loop import RunOptions, train
from sdme.train.step import Objective, branch_losses, compute_gradients, draw

CPU = torch.device("cpu")
LIGHT = {"average_precision": 0.1, "repeatability": 0.1, "peakiness": 0.05, "guidance": 0.001}
SETTINGS = TrainSettings(
    network=NetworkSettings(descriptor_channels=16, agents=3, agent_heads=2),
    data=DataSettings(fixed_side=40, moving_side=48, max_shift=4, stored_side=64),
    losses=LossSettings(**LIGHT, agents=0.05),  # both losses of a size: the share is not clipped
    steps=6,
    batch=4,
    streams=2,
    chunk=2,
    warmup=2,
    learning_rate=1e-4,  # at a higher one, rounding soon leads elsewhere
    log_every=2,
    validation_pairs=2,
    validate_every=6,
    checkpoint_every=100,
)


def batch_of():
    """Four pairs; two see little of each other, so that queries that count lie unevenly."""
    torch.manual_seed(0)
    moving = F.interpolate(torch.rand(4, 3, 9, 9), (48, 48), mode="bicubic").clamp(0, 1)
    fixed = (0.6 - 0.3 * moving[..., 4:44, 4:44]) * torch.rand(4, 3, 40, 40)
    H = torch.eye(3).repeat(4, 1, 1)
    H[:, :2, 2] = torch.tensor([[4.0, 4.0], [5.0, 3.0], [24.0, 4.0], [25.0, 4.0]])
    return Batch(fixed, moving, H, draw(H, DataSettings(fixed_side=40, moving_side=48)))


def pass_over(batch, losses_of=branch_losses):
    """Losses and share of one step, then all gradients, then the batch norms' memory."""
    torch.manual_seed(1)
    network = SdmeNetwork(SETTINGS.network).train()
    with torch.no_grad():
        network.repeatability.weight.mul_(20)
    objective = Objective.of(SETTINGS.losses, CPU)
    report = compute_gradients(network, batch, objective, bfloat16=False, losses_of=losses_of)
    losses = parallel.total(report.losses) / parallel.count()
    return (
        torch.cat([losses, report.share[None]]),
        {name: p.grad for name, p in network.named_parameters()},
        {name: b for name, b in network.named_buffers() if "running" in name},
    )


def run(packs, out, **changes):
    training = read_all([packs / "pairs/train", packs / "photos/train"]).pairs
    validation = read_all([packs / "pairs/val"]).pairs
    settings = SETTINGS.model_copy(update=changes)
    return train(settings, training, validation, RunOptions(out, CPU, quiet=True))


def main(packs, out):
    """One step; then a run in which the second process alone is asked to stop."""
    original, calls = loop.make_batch, []

    def interrupted(*arguments):
        calls.append(arguments)
        if parallel.rank() == 1 and len(calls) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(*arguments)

    with parallel.processes(CPU):
        part = batch_of().split(2)[parallel.rank()]
        found = pass_over(part)
        loop.make_batch = interrupted
        state = run(packs, out / "run", streams=None)
        torch.save((*found, state.step), out / f"{parallel.rank()}.pt")


def by_module(gradients):
    """Gradients of a module's weight and bias in one vector; a bias before a norm has none."""
    modules = {}
    for name, gradient in gradients.items():
        modules.setdefault(name.rpartition(".")[0], []).append(gradient.flatten())
    return {name: torch.cat(parts) for name, parts in modules.items()}


def weights_of(network):
    """Without biases, as most of them stand before a norm and only drift by rounding."""
    return {name: p for name, p in network.named_parameters() if p.ndim > 1}


def log_of(out):
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "pairs_per_second"} for line in lines]


def assert_close(found, true, gap):
    assert found.keys() == true.keys()
    for name, value in true.items():
        assert (found[name] - value).norm() < gap * value.norm(), name


@pytest.mark.slow
def test_two_processes_give_what_one_gives(packs, tmp_path, launched):
    """One step, and a run that is stopped, then gone on with by a single process."""
    whole = run(packs, tmp_path / "whole")
    launched(__file__, packs, tmp_path)
    numbers, gradients, statistics = pass_over(batch_of())
    assert 0.01 < numbers[-1] < 0.99
    for rank in range(2):
        own = torch.load(tmp_path / f"{rank}.pt")
        torch.testing.assert_close(own[0], numbers, rtol=1e-4, atol=1e-5)
        # Another order of sums alone, in one process, tips pixels over the kinks of the structure
        # map: that changes alignment's gradients by up to 1 %.
        assert_close(by_module(own[1]), by_module(gradients), gap=0.03)
        matching = [{n: g[n] for n in g if n.startswith("matching")} for g in (own[1], gradients)]
        assert_close(*map(by_module, matching), gap=1e-3)
        for name, statistic in statistics.items():
            torch.testing.assert_close(own[2][name], statistic, rtol=1e-5, atol=1e-6)
        assert own[3] == 4
    resumed = run(packs, tmp_path / "run")
    assert resumed.step == whole.step == 6
    torch.manual_seed(SETTINGS.seed)
    start = weights_of(SdmeNetwork(SETTINGS.network))
    learned = [
        {name: p.detach() - start[name] for name, p in weights_of(state.network).items()}
        for state in (resumed, whole)
    ]
    assert_close(*learned, gap=0.3)  # seen: 0.13; Adam makes of tipped pixels what it makes of any
    for one, two in zip(log_of(tmp_path / "run"), log_of(tmp_path / "whole"), strict=True):
        assert one.keys() == two.keys()
        if "guidance" in one:
            for name in ("average_precision", "guidance", "convexity", "matching_share"):
                assert one[name] == pytest.approx(two[name], rel=0.02)  # rounding, grown
            assert (one["step"], one["skipped"]) == (two["step"], 0)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"streams": 3}, "3 streams cannot be dealt out to 2 processes"),
        ({"batch": 5, "streams": 2}, "a batch of 5 pairs cannot be made of 2 streams"),
        ({"batch": 1, "streams": None}, "a batch of 1 pairs cannot be made of 2 streams"),
    ],
)
def test_batches_that_cannot_be_dealt_out(packs, tmp_path, monkeypatch, changes, message):
    monkeypatch.setattr(parallel, "count", lambda: 2)
    with pytest.raises(InputError, match=message) as error:
        run(packs, tmp_path / "run", **changes)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_the_streams_of_a_step_differ(packs, tmp_path, monkeypatch):
    made, original = [], loop.make_batch

    def make_batch(*arguments):
        made.append(original(*arguments))
        return made[-1]

    monkeypatch.setattr(loop, "make_batch", make_batch)
    run(packs, tmp_path, steps=2)
    first, second = (batch.H for batch in made)
    assert len(first) == len(second) == 4  # half of the pairs of two steps each
    assert not torch.isclose(first, second).all((1, 2)).any()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
