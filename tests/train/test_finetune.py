"""Fine-tuning end to end with a tiny network; the evaluation's place is taken by known errors."""

import hashlib
import json

import cv2
import pytest
import torch

from sdme.data.manifest import read_manifest
from sdme.errors import InputError
from sdme.model.weights import load_network
from sdme.train import finetune as module
from sdme.train import loop
from sdme.train.finetune import FinetuneOptions, finetune
from sdme.train.finetune_record import read_record

pytestmark = pytest.mark.usefixtures("known_errors")


def digests(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def numbers(ids):
    return {int(name.removeprefix("frame_")) for name in ids}


def test_everything_that_is_promised_is_there(place, known_errors, run):
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


def test_the_report_speaks_of_before_and_after_and_gives_the_verdict(place, known_errors, run):
    long = place / f"{'m' * 60}.safetensors"
    (place / "weights.safetensors").rename(long)
    found = run(model=long.name)
    shown = known_errors["presentation"]
    before, after = shown.labels.values()
    assert before.startswith("before (mmm") and len(before) < 40
    assert (after, shown.ours, shown.beside) == ("fine-tuned (out)", [after], before)
    assert shown.set_name("train") == "train, held out"
    assert shown.conclude(known_errors["scores"]) == found.record.improvement.sentence


def test_held_out_pairs_are_never_trained_on(place, monkeypatch, run):
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


def test_pairs_with_a_common_picture_are_on_one_side(place, run, scene):
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


def test_copies_of_held_out_pictures_are_refused(place, write_pack, run, write_pairs, scene):
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


def test_photos_that_cannot_be_used_are_left_out_and_listed(place, write_pack, scene, tiny_changes):
    photos = {f"{i}.png": scene(50 + i) for i in range(3)} | {"flat.png": scene(0) * 0}
    write_pack(place / "photos.tar", photos)
    told = []
    options = FinetuneOptions(
        device="cpu",
        steps=3,
        seconds=1e-9,
        photos=("photos.tar",),
        changes=tiny_changes,
        quiet=True,
    )
    found = finetune("weights.safetensors", ["pairs"], "out", options, tell=told.append)
    assert found.record.recipe.photos == {"photos": ("0", "1", "2")}
    assert "1 pair(s) or photo(s)" in told[0]
    assert "photo cannot be used: pair photos/flat" in (place / "out/data_check.txt").read_text()


def test_no_gain_is_said_on_the_card(place, known_errors, run):
    known_errors["after"] = 9.0
    assert run().record.improvement.verdict == "not better"
    assert "**NOT better on the held-out pairs" in (place / "out/card.md").read_text()


def test_a_finished_run_changes_nothing(place, known_errors, run):
    record = run().record
    before = digests(place / "out")
    again = run()
    assert again.is_old and again.record == record
    assert digests(place / "out") == before
    assert len(known_errors["calls"]) == 1


def test_only_what_is_trained_on_is_counted(
    place, script, write_pack, run, write_pairs, scene, tiny_changes
):
    write_pack(place / "photos.tar", {f"{i}.png": scene(50 + i) for i in range(3)})
    write_pairs(place / "more", 9, first=30)

    def recipe(folder, change, **inputs):
        script.turns = [(1, {"step": 3})]
        return run(folder, changes=(*tiny_changes, change), **inputs).record.recipe

    fifth = recipe("fifth", "data.pair_fraction=0.4", photos=("photos.tar",))
    assert len(fifth.training["pairs"]) == 2 and len(fifth.held_out["pairs"]) == 4
    assert len(fifth.photos["photos"]) == 3
    assert "| pairs | 2 | 4 |" in (place / "fifth/card.md").read_text()
    one = recipe("one", 'data.datasets=["more"]', data=("pairs", "more"), photos=("photos.tar",))
    assert set(one.training) == {"more"} and not one.photos


def test_several_processes_are_refused(place, monkeypatch, run):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match=r"one process; .* sdme train"):
        run()
    assert not (place / "out").exists()


def test_the_check_of_the_data_shows_how_far_it_is(place, script, write_pack, scene, tiny_changes):
    write_pack(place / "photos.tar", {f"{i}.png": scene(50 + i) for i in range(3)})
    script.turns, seen = [(1, {"step": 3})], []
    options = FinetuneOptions(device="cpu", steps=3, changes=tiny_changes, photos=("photos.tar",))
    finetune("weights.safetensors", ["pairs"], "out", options, progress=lambda *s: seen.append(s))
    assert seen == [(done, 12, "check of the data") for done in range(1, 13)]


def test_pairs_held_out_by_the_user(place, run, write_pairs):
    write_pairs(place / "val", 4, first=100)
    recipe = run(validation=("val",)).record.recipe
    assert recipe.share is None
    assert numbers(recipe.training["pairs"]) == set(range(9))
    assert numbers(recipe.held_out["val"]) == {100, 101, 102, 103}


def test_photos_are_trained_on_beside_the_pairs(place, write_pack, monkeypatch, run, scene):
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
def test_another_recipe_needs_another_folder(place, changes, message, run, write_pairs):
    run(seconds=1e-9)
    write_pairs(place / "more", 10)
    before = digests(place / "out")
    with pytest.raises(InputError, match=message):
        run(**changes)
    assert digests(place / "out") == before


def test_the_folder_of_a_run_is_not_its_model(place, run):
    (place / "earlier").mkdir()
    (place / "weights.safetensors").rename(place / "earlier/weights.safetensors")
    with pytest.raises(InputError, match=r"earlier is no model; .* earlier/weights.safetensors"):
        run(model="earlier")


def test_a_folder_named_as_a_model_can_be_data(place, run):
    (place / "pairs").rename(place / "photo")
    assert run(data=("photo",), seconds=1e-9).record.recipe.training


def test_a_folder_with_something_else_is_refused(place, run):
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
        ({"model": "nobody", "data": ("few",)}, "no model 'nobody'"),  # not the data first
        ({"data": ()}, "no data was given"),
        ({"model": "pairs", "data": ("photo",)}, "pairs and photo seem swapped; .* first .photo"),
        ({"model": "few", "data": ("weights.safetensors",)}, "few and weights.* seem swapped"),
        ({"data": ("pairs", "photo")}, "photo is a model, not data"),
        ({"model": "few"}, "few is no model; give first what to start from .*photo"),
        ({"model": "photos.tar"}, "photos.tar is no model"),
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
def test_mistakes_are_told_before_anything_is_written(
    place, write_pack, changes, message, run, write_pairs, scene
):
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
