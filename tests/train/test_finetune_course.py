"""Fine-tuning that is paused, interrupted, moved: when it is finished, and when it is not."""

import pytest
import torch
from safetensors.torch import load_file

from sdme.errors import InputError
from sdme.train import judge, loop
from sdme.train.finetune_record import read_record

pytestmark = pytest.mark.usefixtures("known_errors")


def same_weights(*folders):
    first, second = (load_file(folder / "weights.safetensors") for folder in folders)
    return all(torch.equal(first[name], second[name]) for name in first | second)


def test_paused_and_gone_on_with_it_is_the_same(place, run):
    run("whole")
    paused = run("out", seconds=1e-9)
    assert paused.record.improvement is None and paused.step == 0
    assert "card" not in paused.files
    run("out")
    assert same_weights(place / "out", place / "whole")
    manifests = [(place / name / "held_out.jsonl").read_text() for name in ("out", "whole")]
    assert manifests[0] == manifests[1]


def test_interrupted_and_gone_on_with_it_is_the_same(place, monkeypatch, run):
    run("whole")
    step = loop.take_step

    def interrupted(state, *rest):
        if state.step == 2:
            raise KeyboardInterrupt
        step(state, *rest)

    monkeypatch.setattr(loop, "take_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run("out")
    assert not (place / "out/card.md").exists()
    monkeypatch.setattr(loop, "take_step", step)
    assert run("out").record.improvement is not None
    assert same_weights(place / "out", place / "whole")


def test_interrupted_while_the_last_figures_are_made_is_not_finished(
    place, monkeypatch, run, tiny_changes
):
    changes = (*tiny_changes, "validate_every=3")
    validate = loop._validate

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "_validate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run("out", changes=changes)
    record = read_record(place / "out")
    assert record.steps is None and record.improvement is None and record.seconds > 0
    assert not (place / "out/card.md").exists()
    monkeypatch.setattr(loop, "_validate", validate)
    assert run("out", changes=changes).record.steps == 3
    assert (place / "out/card.md").exists()


def test_an_interrupted_evaluation_trains_no_further(place, monkeypatch, script, run):
    evaluate = judge.evaluate

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(judge, "evaluate", interrupted)
    script.turns = [(9, {"step": 5})]
    with pytest.raises(KeyboardInterrupt, match=r"training is over and out/weights.safetensors"):
        run(steps=None, seconds=9)
    monkeypatch.setattr(judge, "evaluate", evaluate)
    record = run(steps=None, seconds=9).record
    assert record.steps == 5 and record.improvement is not None
    assert len(script.limits) == 1


def test_seconds_in_place_of_steps_end_the_training(place, script, run):
    script.turns = [(60, {"step": 5})]
    record = run(steps=None, seconds=60).record
    assert record.recipe.settings.steps is None
    assert (record.steps, record.seconds) == (5, 60)
    assert record.improvement is not None


@pytest.mark.parametrize("is_option", [True, False])
def test_seconds_beside_steps_are_a_pause(place, script, is_option, run, tiny_changes):
    said = {"steps": 50} if is_option else {"steps": None, "changes": (*tiny_changes, "steps=50")}
    script.turns = [(60, {"step": 20}), (60, {"step": 40}), (30, {"step": 50})]
    for step in (20, 40):
        paused = run(seconds=60, **said)
        assert (paused.step, paused.record.steps) == (step, None)
        assert paused.record.improvement is None
    record = run(seconds=60, **said).record
    assert (record.steps, record.seconds) == (50, 150)
    assert script.limits == [60, 60, 60]


@pytest.mark.parametrize("outcome", [KeyboardInterrupt, {"step": 4}])
def test_time_before_an_interrupt_counts(place, script, outcome, run):
    script.turns = [(40, outcome), (20, {"step": 9})]
    with pytest.raises(KeyboardInterrupt):
        run(steps=None, seconds=60)
    record = run(steps=None, seconds=60).record
    assert script.limits == [60, 20]
    assert (record.steps, record.seconds) == (9, 60)


@pytest.mark.parametrize(
    "outcome, message",
    [
        ({"step": 9, "skipped": 9}, "all 9 steps were skipped"),
        ({"step": 0}, "no time for a single step"),
    ],
)
def test_a_model_that_no_step_changed_is_not_judged(
    place, script, known_errors, outcome, message, run
):
    script.turns = [(60, outcome)]
    with pytest.raises(InputError, match=message) as raised:
        run(steps=None, seconds=60)
    assert "\n" not in str(raised.value)
    assert not known_errors["calls"] and read_record(place / "out").steps is None


def test_a_run_that_was_moved_is_still_the_same(place, script, run):
    script.turns = [(1, KeyboardInterrupt), (1, {"step": 3})]
    with pytest.raises(KeyboardInterrupt):
        run("out")
    (place / "out").rename(place / "moved")
    record = run("moved").record
    assert record.recipe.settings.start == str(place / "moved/start.safetensors")
    (place / "moved").rename(place / "again")
    assert run("again").is_old
