"""Fine-tuning end to end with a tiny network; the evaluation's place is taken by known errors."""

import hashlib
import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from sdme.config import NetworkSettings
from sdme.data.manifest import read_manifest
from sdme.errors import InputError
from sdme.evaluate.score import Score
from sdme.model.network import SdmeNetwork
from sdme.model.weights import load_network, save_weights
from sdme.train import finetune as module
from sdme.train import loop
from sdme.train.finetune import FinetuneOptions, finetune
from sdme.train.finetune_record import read_record

TINY = (
    "batch=1", "chunk=1", "data.fixed_side=40", "data.moving_side=48", "data.max_shift=4",
    "data.stored_side=64", "validation_pairs=2", "checkpoint_every=1", "learning_rate=1e-3",
)  # fmt: skip


def scene(seed, side=96):
    blocks = np.random.default_rng(seed).integers(0, 256, (side // 4, side // 4, 3), dtype=np.uint8)
    return cv2.resize(blocks, (side, side), interpolation=cv2.INTER_CUBIC)


def write_pairs(folder, count, first=0):
    folder.mkdir()
    for i in range(first, first + count):
        cv2.imwrite(str(folder / f"frame_{i}.a.png"), scene(i))
        cv2.imwrite(str(folder / f"frame_{i}.b.png"), 255 - scene(i))
    return folder


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_pairs(tmp_path / "pairs", 9)
    torch.manual_seed(0)
    network = SdmeNetwork(NetworkSettings(descriptor_channels=16, agents=3, agent_heads=2))
    save_weights(tmp_path / "weights.safetensors", network)
    return tmp_path


@pytest.fixture(autouse=True)
def known_errors(monkeypatch):
    """Errors before and after, in place of those of an evaluation; notes what was asked for."""
    asked = {"before": 8.0, "after": 2.0, "calls": []}

    def evaluate(data, methods, folder, options, **rest):
        asked["calls"].append((data, methods, folder, options))
        pairs = read_manifest(data[0]).pairs
        scores = [
            Score(
                method=name, stage="last", is_final=True, dataset=pair.dataset, group="other",
                pair=pair.id, index=0, fixed_side="a", measure="corners", error=error,
                final_error=error, unregistered_error=20.0, seconds=0.1, memory=1.0,
            )
            for name, error in zip(
                (m.rpartition("/")[2] for m in methods), (asked["before"], asked["after"]),
                strict=True,
            )
            for pair in pairs
        ]  # fmt: skip
        return type("Evaluation", (), {"scores": scores})

    monkeypatch.setattr(module, "evaluate", evaluate)
    return asked


def run(folder="out", data=("pairs",), model="weights.safetensors", **changes):
    values = {"device": "cpu", "steps": 3, "changes": TINY, "quiet": True} | changes
    return finetune(model, data, folder, FinetuneOptions(**values))


def digests(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def same_weights(*folders):
    first, second = (load_file(folder / "weights.safetensors") for folder in folders)
    return all(torch.equal(first[name], second[name]) for name in first | second)


def numbers(ids):
    return {int(name.removeprefix("frame_")) for name in ids}


def test_everything_that_is_promised_is_there(place, known_errors):
    found = run()
    assert {path.name for path in (place / "out").iterdir()} >= {
        "weights.safetensors", "start.safetensors", "card.md", "data_check.txt", "data_check.json",
        "held_out.jsonl", "finetune.json", "log.jsonl", "checkpoint.pt",
    }  # fmt: skip
    record = read_record(place / "out")
    assert record == found.record
    assert (record.steps, found.step, found.is_old) == (3, 3, False)
    assert record.improvement.verdict == "better"
    assert "**Better on the held-out pairs" in (place / "out/card.md").read_text()
    before, after = (
        load_network(place / name) for name in ("weights.safetensors", "out/weights.safetensors")
    )
    changed = [
        not torch.equal(a, b) for a, b in zip(before.parameters(), after.parameters(), strict=True)
    ]
    assert any(changed)
    for name, value in before.named_buffers():
        assert torch.equal(value, after.get_buffer(name)), name
    ((_, methods, folder, options),) = known_errors["calls"]
    assert (options.protocol, options.cases) == ("paper", 40)
    assert [m.rpartition("/")[2] for m in methods] == ["start.safetensors", "weights.safetensors"]
    assert str(folder) == "out/evaluation"


def test_held_out_pairs_are_never_trained_on(place, monkeypatch):
    seen = {}

    def spied(settings, training, validation, options):
        seen.update(training=training, validation=validation)
        return loop.train(settings, training, validation, options)

    monkeypatch.setattr(module, "train", spied)
    record = run().record
    trained, held_out = (numbers(p.id for p in seen[k]) for k in ("training", "validation"))
    assert trained | held_out == set(range(9)) and not trained & held_out
    assert len(held_out) == 4 and max(held_out) - min(held_out) == 3
    assert numbers(record.recipe.held_out["pairs"]) == held_out
    assert numbers(p.id for p in read_manifest(place / "out/held_out.jsonl").pairs) == held_out


def test_pairs_with_a_common_picture_are_on_one_side(place):
    """Ten pictures, each with two other sensors'; one of each pair is a copy in another file."""
    for i in range(10):
        cv2.imwrite(str(place / f"{i}.vis.png"), scene(i))
        cv2.imwrite(str(place / f"{i}.copy.bmp"), scene(i))
        cv2.imwrite(str(place / f"{i}.nir.png"), 255 - scene(i))
        cv2.imwrite(str(place / f"{i}.ir.png"), 255 - scene(i) // 2)
    rows = [
        {"fixed": f"{i}.{visible}", "moving": f"{i}.{sensor}.png", "id": f"{sensor}_{i}"}
        for sensor, visible in (("nir", "vis.png"), ("ir", "copy.bmp"))
        for i in range(10)
    ]
    (place / "both.jsonl").write_text("\n".join(map(json.dumps, rows)))
    recipe = run(data=("both.jsonl",), seconds=1e-9).record.recipe
    trained, held_out = (
        {name.rpartition("_")[2] for names in ids.values() for name in names}
        for ids in (recipe.training, recipe.held_out)
    )
    assert len(held_out) == 2 and len(trained) == 8 and not trained & held_out


def test_copies_of_held_out_pictures_are_refused(place, write_pack):
    write_pack(place / "photos.tar", {f"{i}.png": scene(i)[..., ::-1] for i in range(9)})
    with pytest.raises(InputError, match=r"4 held-out picture.* trained on as well.*photos") as why:
        run(photos=("photos.tar",))
    assert "\n" not in str(why.value)
    write_pairs(place / "val", 4, first=100)
    cv2.imwrite(str(place / "val/frame_101.b.png"), 255 - scene(3))
    with pytest.raises(
        InputError, match=r"1 held-out picture.*val/frame_101 is in .*pairs/frame_3"
    ):
        run(validation=("val",))
    assert not (place / "out").exists()


def test_photos_that_cannot_be_used_are_left_out_and_listed(place, write_pack):
    photos = {f"{i}.png": scene(50 + i) for i in range(3)} | {"flat.png": scene(0) * 0}
    write_pack(place / "photos.tar", photos)
    told = []
    options = FinetuneOptions(
        device="cpu", steps=3, seconds=1e-9, photos=("photos.tar",), changes=TINY, quiet=True
    )
    found = finetune("weights.safetensors", ["pairs"], "out", options, tell=told.append)
    assert found.record.recipe.photos == {"photos": ("0", "1", "2")}
    assert "1 pair(s) or photo(s)" in told[0]
    assert "photo cannot be used: pair photos/flat" in (place / "out/data_check.txt").read_text()


def test_no_gain_is_said_on_the_card(place, known_errors):
    known_errors["after"] = 9.0
    assert run().record.improvement.verdict == "not better"
    assert "**NOT better on the held-out pairs" in (place / "out/card.md").read_text()


def test_a_finished_run_changes_nothing(place, known_errors):
    record = run().record
    before = digests(place / "out")
    again = run()
    assert again.is_old and again.record == record
    assert digests(place / "out") == before
    assert len(known_errors["calls"]) == 1


def test_paused_and_gone_on_with_it_is_the_same(place):
    run("whole")
    paused = run("out", seconds=1e-9)
    assert paused.record.improvement is None and paused.step == 0
    assert "card" not in paused.files
    run("out")
    assert same_weights(place / "out", place / "whole")
    manifests = [(place / name / "held_out.jsonl").read_text() for name in ("out", "whole")]
    assert manifests[0] == manifests[1]


def test_interrupted_and_gone_on_with_it_is_the_same(place, monkeypatch):
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


def test_interrupted_while_the_last_figures_are_made_is_not_finished(place, monkeypatch):
    changes = (*TINY, "validate_every=3")
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


class Script:
    """Trainings that are made up: how long each takes, and what comes of it."""

    def __init__(self):
        self.now, self.limits, self.turns = 0.0, [], []

    def train(self, settings, training, validation, options):
        self.limits.append(options.seconds)
        seconds, outcome = self.turns.pop(0)
        self.now += seconds
        if outcome is KeyboardInterrupt:
            raise KeyboardInterrupt
        return SimpleNamespace(**{"total": settings.steps, "skipped": 0} | outcome)


@pytest.fixture
def script(monkeypatch):
    script = Script()
    monkeypatch.setattr(module, "train", script.train)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: script.now))
    return script


def test_an_interrupted_evaluation_trains_no_further(place, monkeypatch, script):
    evaluate = module.evaluate

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "evaluate", interrupted)
    script.turns = [(9, {"step": 5})]
    with pytest.raises(KeyboardInterrupt):
        run(steps=None, seconds=9)
    monkeypatch.setattr(module, "evaluate", evaluate)
    record = run(steps=None, seconds=9).record
    assert record.steps == 5 and record.improvement is not None
    assert len(script.limits) == 1


def test_seconds_in_place_of_steps_end_the_training(place, script):
    script.turns = [(60, {"step": 5})]
    record = run(steps=None, seconds=60).record
    assert record.recipe.settings.steps is None
    assert (record.steps, record.seconds) == (5, 60)
    assert record.improvement is not None


@pytest.mark.parametrize("said", [{"steps": 50}, {"steps": None, "changes": (*TINY, "steps=50")}])
def test_seconds_beside_steps_are_a_pause(place, script, said):
    script.turns = [(60, {"step": 20}), (60, {"step": 40}), (30, {"step": 50})]
    for step in (20, 40):
        paused = run(seconds=60, **said)
        assert (paused.step, paused.record.steps) == (step, None)
        assert paused.record.improvement is None
    record = run(seconds=60, **said).record
    assert (record.steps, record.seconds) == (50, 150)
    assert script.limits == [60, 60, 60]


@pytest.mark.parametrize("outcome", [KeyboardInterrupt, {"step": 4}])
def test_time_before_an_interrupt_counts(place, script, outcome):
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
def test_a_model_that_no_step_changed_is_not_judged(place, script, known_errors, outcome, message):
    script.turns = [(60, outcome)]
    with pytest.raises(InputError, match=message) as raised:
        run(steps=None, seconds=60)
    assert "\n" not in str(raised.value)
    assert not known_errors["calls"] and read_record(place / "out").steps is None


def test_only_what_is_trained_on_is_counted(place, script, write_pack):
    write_pack(place / "photos.tar", {f"{i}.png": scene(50 + i) for i in range(3)})
    write_pairs(place / "more", 9, first=30)

    def recipe(folder, change, **inputs):
        script.turns = [(1, {"step": 3})]
        return run(folder, changes=(*TINY, change), **inputs).record.recipe

    fifth = recipe("fifth", "data.pair_fraction=0.4", photos=("photos.tar",))
    assert len(fifth.training["pairs"]) == 2 and len(fifth.held_out["pairs"]) == 4
    assert len(fifth.photos["photos"]) == 3
    assert "| pairs | 2 | 4 |" in (place / "fifth/card.md").read_text()
    one = recipe("one", 'data.datasets=["more"]', data=("pairs", "more"), photos=("photos.tar",))
    assert set(one.training) == {"more"} and not one.photos


def test_a_run_that_was_moved_is_still_the_same(place, script):
    script.turns = [(1, KeyboardInterrupt), (1, {"step": 3})]
    with pytest.raises(KeyboardInterrupt):
        run("out")
    (place / "out").rename(place / "moved")
    record = run("moved").record
    assert record.recipe.settings.start == str(place / "moved/start.safetensors")
    (place / "moved").rename(place / "again")
    assert run("again").is_old


def test_several_processes_are_refused(place, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match=r"one process; .* sdme train"):
        run()
    assert not (place / "out").exists()


def test_the_check_of_the_data_shows_how_far_it_is(place, script, write_pack):
    write_pack(place / "photos.tar", {f"{i}.png": scene(50 + i) for i in range(3)})
    script.turns, seen = [(1, {"step": 3})], []
    options = FinetuneOptions(device="cpu", steps=3, changes=TINY, photos=("photos.tar",))
    finetune("weights.safetensors", ["pairs"], "out", options, progress=lambda *s: seen.append(s))
    assert seen == [(done, 12, "check of the data") for done in range(1, 13)]


def test_pairs_held_out_by_the_user(place):
    write_pairs(place / "val", 4, first=100)
    recipe = run(validation=("val",)).record.recipe
    assert recipe.share is None
    assert numbers(recipe.training["pairs"]) == set(range(9))
    assert numbers(recipe.held_out["val"]) == {100, 101, 102, 103}


def test_photos_are_trained_on_beside_the_pairs(place, write_pack, monkeypatch):
    write_pack(place / "photos.tar", {f"{i}.png": scene(50 + i) for i in range(3)})
    seen = []
    monkeypatch.setattr(
        module,
        "train",
        lambda s, training, *rest: seen.extend(training) or loop.train(s, training, *rest),
    )
    assert run(photos=("photos.tar",)).record.recipe.photos == {"photos": ("0", "1", "2")}
    assert sum(pair.is_photo for pair in seen) == 3


def test_a_shipped_model_and_the_sizes(place):
    def settings(**changes):
        options = FinetuneOptions(device="cpu", **changes)
        return module._settings(options)

    assert settings().data.fixed_side < settings(size="paper").data.fixed_side == 128
    assert settings(steps=7).steps == 7
    assert settings(seconds=9.0).steps is None
    assert settings(seconds=9.0, steps=7).steps == 7
    assert settings(changes=("data.fixed_side=56",)).data.fixed_side == 56


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"steps": 4}, "another fine-tuning .settings differ"),
        ({"seed": 9}, "another fine-tuning .training, held_out, seed differ"),
        ({"cases": 9}, "cases differ"),
        ({"data": ("more",)}, "another fine-tuning .training, held_out differ"),
    ],
)
def test_another_recipe_needs_another_folder(place, changes, message):
    run(seconds=1e-9)
    write_pairs(place / "more", 10)
    before = digests(place / "out")
    with pytest.raises(InputError, match=message):
        run(**changes)
    assert digests(place / "out") == before


def test_a_folder_with_something_else_is_refused(place):
    (place / "out").mkdir()
    (place / "out/diary.txt").write_text("mine")
    with pytest.raises(InputError, match="holds other files"):
        run()
    assert [path.name for path in (place / "out").iterdir()] == ["diary.txt"]
    with pytest.raises(InputError, match="cannot use folder"):
        run("weights.safetensors")
    (place / "out/finetune.json").write_text('{"recipe": 3}')
    with pytest.raises(InputError, match="is damaged"):
        run()


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"model": "nobody"}, "no model 'nobody'"),
        ({"data": ()}, "no data was given"),
        ({"data": ("few",)}, "7 of 7 pairs can be used, 8 are needed"),
        ({"data": ("photos.tar",)}, "single image"),
        ({"data": ("moved.jsonl",)}, "0 of 9 .* a transform of its own"),
        ({"photos": ("few",)}, "photos are pairs"),
        ({"validation": ("pairs",)}, "trained on as well"),
        ({"validation": ("three",)}, "9 usable pair.* and 3 to judge"),
        ({"changes": ("start=general",)}, "the model decides"),
        ({"changes": ("network.agents=3",)}, "the model decides"),
        ({"changes": ("nothing=3",)}, "no setting nothing"),
        ({"device": "abacus"}, "abacus"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(place, write_pack, changes, message):
    write_pairs(place / "few", 7, first=20)
    write_pairs(place / "three", 3, first=40)
    write_pack(place / "photos.tar", {f"{i}.png": scene(50 + i) for i in range(9)})
    rows = [
        {"fixed": f"pairs/frame_{i}.a.png", "moving": f"pairs/frame_{i}.b.png", "id": str(i),
         "matrix": [[1, 0, 2], [0, 1, 0], [0, 0, 1]]}
        for i in range(9)
    ]  # fmt: skip
    (place / "moved.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(InputError, match=message) as raised:
        run(**changes)
    assert "\n" not in str(raised.value)
    assert not (place / "out").exists()
