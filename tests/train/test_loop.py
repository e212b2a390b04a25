"""Whole runs: what they write, that they resume exactly, and that bad steps do no harm."""

import itertools
import json
import math
import os
import signal

import pytest
import torch

from sdme.errors import InputError
from sdme.model.weights import load_network
from sdme.train import loop, paper
from sdme.train.loop import learning_rate, train
from sdme.train.step import NAMES


def log_of(out):
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "pairs_per_second"} for line in lines]


def assert_equal_states(one, two):
    assert one.keys() == two.keys()
    for name, value in one.items():
        if isinstance(value, dict):
            assert_equal_states(value, two[name])
        else:
            same = torch.equal(value, two[name]) if torch.is_tensor(value) else value == two[name]
            assert same, name


def interrupted_at(monkeypatch, step, chunk=2):
    """Ctrl-C while the batches of a step are made."""
    calls, original = [], loop.make_batch

    def make_batch(*arguments):
        calls.append(arguments)
        if chunk * len(calls) > step:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(loop, "make_batch", make_batch)


def test_a_run_writes_log_checkpoint_and_weights(tiny_settings, trained, options):
    run = options()
    state = trained(tiny_settings)
    assert (state.step, state.skipped) == (4, 0)
    files = {path.name for path in run.out.iterdir()}
    written = {"checkpoint.pt", "log.jsonl", "weights.safetensors", "examples.png", "tensorboard"}
    assert files == written
    first, second, validation = log_of(run.out)
    assert (first["step"], second["step"], validation["step"]) == (2, 4, 4)
    names = {
        *NAMES,
        "matching_share",
        "norm_encoder",
        "norm_alignment",
        "norm_matching",
        "skipped",
        "learning_rate",
        "step",
    }
    assert set(first) == set(second) == names
    assert all(math.isfinite(v) for line in (first, second, validation) for v in line.values())
    assert 0 <= validation["val_matched"] <= 1 and validation["val_drift"] >= 0
    loaded = load_network(run.out / "weights.safetensors")
    assert loaded.settings == tiny_settings.network
    for name, value in state.network.state_dict().items():
        expected = value if "running" in name or not value.is_floating_point() else value.half()
        assert torch.equal(loaded.state_dict()[name], expected.to(loaded.state_dict()[name].dtype))


def test_an_interrupted_run_continues_exactly(tiny_settings, trained, options, monkeypatch):
    whole = trained(tiny_settings, "whole")
    with monkeypatch.context() as patched:
        interrupted_at(patched, 2)
        with pytest.raises(KeyboardInterrupt):
            trained(tiny_settings, "parts")
    resumed = trained(tiny_settings, "parts")
    assert resumed.step == 4
    assert_equal_states(resumed.network.state_dict(), whole.network.state_dict())
    one, two = (s.optimizer.state_dict()["state"] for s in (resumed, whole))
    assert_equal_states(one, two)
    assert log_of(options("parts").out) == log_of(options("whole").out)


def test_an_interrupt_in_the_last_validation_loses_nothing(
    tiny_settings, trained, options, monkeypatch
):
    settings = tiny_settings.model_copy(update={"checkpoint_every": 1000})

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(loop, "_validate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            trained(settings)
    saved = load_network(options().out / "weights.safetensors").state_dict()
    state = trained(settings)
    assert state.step == 4
    name = "encoder.0.weight"
    assert torch.equal(saved[name], state.network.state_dict()[name].half().float())
    assert log_of(options().out)[-1].keys() >= {"step", "val_matched"}
    trained(settings)  # once more changes nothing
    trained(settings, "whole")
    assert log_of(options().out) == log_of(options("whole").out)


def signalled_at(monkeypatch, *numbers):
    """Signals while the first batches are made."""
    original, left = loop.make_batch, list(numbers)

    def make_batch(*arguments):
        while left:
            os.kill(os.getpid(), left.pop(0))
        return original(*arguments)

    monkeypatch.setattr(loop, "make_batch", make_batch)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_after_a_few_steps_and_loses_none(
    tiny_settings, trained, options, monkeypatch, number
):
    settings = tiny_settings.model_copy(update={"checkpoint_every": 1000})
    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    whole = trained(settings, "whole")
    with monkeypatch.context() as patched:
        signalled_at(patched, number)
        assert trained(settings, "parts").step == 2
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers
    resumed = trained(settings, "parts")
    assert_equal_states(resumed.network.state_dict(), whole.network.state_dict())
    assert log_of(options("parts").out) == log_of(options("whole").out)


def test_a_second_interrupt_stops_at_once(tiny_settings, trained, options, monkeypatch):
    signalled_at(monkeypatch, signal.SIGINT, signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        trained(tiny_settings)
    assert not (options().out / "checkpoint.pt").exists()


def test_lines_after_the_checkpoint_are_made_again_once(tiny_settings, trained, options):
    """As a kill leaves them: further than the checkpoint, the last one half-written."""
    trained(tiny_settings, "whole")
    parts = options("parts").out
    parts.mkdir()
    (parts / ".partial-1.pt").write_bytes(b"half of a")
    line = json.dumps({"step": 6, "guidance": 1.0})
    (parts / "log.jsonl").write_text(f'{line}\n{{"step": 0, "gui')
    trained(tiny_settings, "parts")
    assert log_of(parts) == log_of(options("whole").out)
    assert {p.name for p in parts.iterdir()} == {p.name for p in options("whole").out.iterdir()}


def test_skipped_steps_are_counted_across_a_kill(tiny_settings, trained, options, monkeypatch):
    """A checkpoint between two lines of the log counts what came before it."""
    original, calls = paper.branch_losses, []

    def losses(*arguments):
        calls.append(1)
        matching, alignment, terms = original(*arguments)
        return (matching * torch.nan if len(calls) == 1 else matching), alignment, terms

    monkeypatch.setattr(paper, "branch_losses", losses)
    settings = tiny_settings.model_copy(update={"log_every": 1000})
    with monkeypatch.context() as patched:
        interrupted_at(patched, 2)
        with pytest.raises(KeyboardInterrupt):
            trained(settings)
    assert trained(settings).skipped == 1


def test_a_pause_by_time_continues_exactly(tiny_settings, trained, monkeypatch):
    whole = trained(tiny_settings, "whole")
    with monkeypatch.context() as patched:
        now = [0.0]
        original = loop.make_batch

        def slow_batch(*arguments):
            now[0] += 100
            return original(*arguments)

        patched.setattr(loop, "make_batch", slow_batch)
        patched.setattr(loop.time, "monotonic", lambda: now[0])
        paused = trained(tiny_settings, "parts", seconds=50)
    assert paused.step == 2
    resumed = trained(tiny_settings, "parts")
    assert_equal_states(resumed.network.state_dict(), whole.network.state_dict())


def test_a_finished_run_stays_as_it_is(tiny_settings, trained):
    first = trained(tiny_settings)
    again = trained(tiny_settings)
    assert again.step == 4
    assert_equal_states(first.network.state_dict(), again.network.state_dict())


def test_the_seed_decides(tiny_settings, trained):
    settings = tiny_settings.model_copy(update={"steps": 2, "seed": 1})
    one, two = trained(settings, "one"), trained(settings, "two")
    assert_equal_states(one.network.state_dict(), two.network.state_dict())
    other = trained(settings.model_copy(update={"seed": 2}), "other")
    weights = [s.network.encoder[0].weight for s in (one, other)]
    assert not torch.equal(*weights)


def test_a_step_that_is_not_finite_is_skipped_and_counted(
    tiny_settings, trained, options, monkeypatch
):
    original, weights = paper.branch_losses, []

    def losses(network, *arguments):
        weights.append([p.detach().clone() for p in network.parameters()])
        matching, alignment, terms = original(network, *arguments)
        if len(weights) == 2:
            matching, terms = matching * torch.nan, terms * torch.nan
        return matching, alignment, terms

    monkeypatch.setattr(paper, "branch_losses", losses)
    state = trained(tiny_settings)
    assert (state.step, state.skipped) == (4, 1)
    before, after_bad, after_good = weights[1:]
    assert all(torch.equal(a, b) for a, b in zip(before, after_bad, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(after_bad, after_good, strict=True))
    assert all(p.isfinite().all() for p in state.network.parameters())
    steps = {int(s["step"]) for s in state.optimizer.state.values()}
    assert steps == {3}
    first, second = log_of(options().out)[:2]
    assert (first["skipped"], second["skipped"]) == (1, 0)
    assert all(math.isfinite(v) for v in first.values()) and first["repeatability"] > 0


def test_a_picture_that_is_not_finite_leaves_the_statistics_alone(
    tiny_settings, trained, monkeypatch
):
    original_batch, original_pass, seen = loop.make_batch, paper.compute_gradients, []

    def make_batch(*arguments):
        batch = original_batch(*arguments)
        batch.moving[1, :, 7, 7] = torch.nan  # of the second of two steps
        return batch

    def compute_gradients(network, *arguments, **options):
        seen.append({n: b.clone() for n, b in network.named_buffers() if "running" in n})
        return original_pass(network, *arguments, **options)

    monkeypatch.setattr(loop, "make_batch", make_batch)
    monkeypatch.setattr(paper, "compute_gradients", compute_gradients)
    state = trained(tiny_settings)
    assert state.skipped == 2
    at_start, after_good, after_bad, after_next = seen
    for name, value in after_good.items():
        assert value.isfinite().all() and not torch.equal(value, at_start[name])
        assert torch.equal(after_bad[name], value)
        assert after_next[name].isfinite().all() and not torch.equal(after_next[name], value)
    assert all(b.isfinite().all() for b in state.network.buffers())


def test_statistics_stand_still_from_their_share_of_steps(tiny_settings, trained, monkeypatch):
    settings = tiny_settings.model_copy(update={"frozen_from": 0.5, "validate_every": 2})
    means, original = [], paper.branch_losses

    def losses(network, *arguments):
        means.append(network.encoder[1].running_mean.clone())
        return original(network, *arguments)

    monkeypatch.setattr(paper, "branch_losses", losses)
    state = trained(settings)
    assert not torch.equal(means[0], means[1])
    assert torch.equal(means[1], means[2]) and torch.equal(means[2], means[3])
    assert torch.equal(means[3], state.network.encoder[1].running_mean)


def test_validation_leaves_no_trace(tiny_settings, trained):
    seldom = tiny_settings.model_copy(update={"validate_every": 1000})
    one, two = trained(tiny_settings, "one"), trained(seldom, "two")
    assert_equal_states(one.network.state_dict(), two.network.state_dict())


def test_learning_rate_warms_up_and_falls_to_zero(tiny_settings):
    settings = tiny_settings.model_copy(update={"warmup": 10, "learning_rate": 2.0})
    rates = [learning_rate(settings, step, 1000) for step in range(1001)]
    assert rates[0] == pytest.approx(0.2) and rates[4] == pytest.approx(1.0, rel=1e-3)
    assert rates[500] == pytest.approx(1.0) and rates[1000] == pytest.approx(0)
    assert max(rates) < 2 and rates.index(max(rates)) in (9, 10)
    assert all(a > b for a, b in itertools.pairwise(rates[10:]))


def test_other_settings_than_the_checkpoint_are_refused(tiny_settings, trained, options):
    trained(tiny_settings.model_copy(update={"steps": 2}))
    written = (options().out / "checkpoint.pt").read_bytes()
    with pytest.raises(InputError, match="other settings") as error:
        trained(tiny_settings)
    assert "\n" not in str(error.value)
    assert (options().out / "checkpoint.pt").read_bytes() == written


def test_neither_steps_nor_a_time_limit(tiny_settings, trained, options):
    with pytest.raises(InputError, match="neither steps nor a time limit"):
        trained(tiny_settings.model_copy(update={"steps": None}))
    assert not options().out.exists()


def test_unknown_renderings_are_named_before_anything_is_written(tiny_settings, trained, options):
    data = tiny_settings.data.model_copy(update={"renderings": {"x-ray": 1.0}})
    with pytest.raises(InputError, match="x-ray"):
        trained(tiny_settings.model_copy(update={"data": data}))
    assert not options().out.exists()


def test_data_that_cannot_be_used_leaves_no_folder(tiny_settings, options):
    with pytest.raises(InputError, match="nothing to train on"):
        train(tiny_settings, [], [], options())
    assert not options().out.exists()


def test_a_run_begins_with_given_weights(tiny_settings, trained, options):
    trained(tiny_settings, "first")
    start = options("first").out / "weights.safetensors"
    update = {"start": str(start), "steps": 1, "learning_rate": 1e-12, "frozen_from": 0.0}
    state = trained(tiny_settings.model_copy(update=update), "second")
    for name, value in load_network(start).state_dict().items():
        torch.testing.assert_close(state.network.state_dict()[name], value, atol=1e-6, rtol=1e-6)


def test_weights_of_another_network_are_refused(tiny_settings, trained, options):
    trained(tiny_settings, "first")
    update = {
        "start": str(options("first").out / "weights.safetensors"),
        "network": tiny_settings.network.model_copy(update={"agents": 5}),
    }
    with pytest.raises(InputError, match="other network settings"):
        trained(tiny_settings.model_copy(update=update), "second")


def test_a_run_goes_on_with_its_own_data_alone(tiny_settings, training, validation, options):
    train(tiny_settings, training, validation, options())
    with pytest.raises(InputError, match="written on other data"):
        train(tiny_settings, training[1:], validation, options())
    train(tiny_settings, training[::-1], validation, options())  # in any order


def test_figures_come_at_the_end_too(tiny_settings, trained, options):
    trained(tiny_settings.model_copy(update={"validate_every": 1000}))
    assert [line["step"] for line in log_of(options().out) if "val_matched" in line] == [4]


def test_pictures_on_both_sides_are_told(tiny_settings, training, validation, options, capsys):
    train(tiny_settings, training, validation, options("apart"))
    assert "held out" not in capsys.readouterr().err
    train(tiny_settings, training, training[:2], options("mixed"))
    said = " ".join(capsys.readouterr().err.split())
    assert "warning: 4 of the pictures held out are trained on as well" in said


def test_an_interrupt_at_the_last_step_is_heard(tiny_settings, trained, options, monkeypatch):
    signals, original = [signal.SIGINT], loop.take_step

    def take_step(state, *arguments):
        original(state, *arguments)
        if state.step == 4 and signals:
            os.kill(os.getpid(), signals.pop())

    monkeypatch.setattr(loop, "take_step", take_step)
    with pytest.raises(KeyboardInterrupt, match="all 4 steps are done and saved"):
        trained(tiny_settings)
    assert trained(tiny_settings).step == 4
