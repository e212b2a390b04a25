"""The model card says what was done, and does not flatter."""

import re
import shlex

import pytest

from sdme.config import TrainSettings
from sdme.train.card import MOST_LISTED, render_card
from sdme.train.finetune_record import Recipe, Record
from sdme.train.improvement import Change, Improvement

FACTS = {
    "time": "2026-01-02T03:04:05+00:00",
    "processor": "a processor",
    "cores": 2,
    "versions": {"sdme": "0.1.0", "torch": "2.6.0", "python": "3.11.1", "rich": "13"},
}


def change(figure, before, after):
    return Change(
        figure=figure, before=before, before_interval=(0.1, 0.3), after=after,
        after_interval=(0.4, None), difference=None if before is None else after - before,
        difference_interval=(None, None),
    )  # fmt: skip


def record(verdict="better", held_out=4, **changes):
    recipe = Recipe(
        model="photo",
        sha256="ab" * 32,
        training={"mine": tuple(f"t{i}" for i in range(16)), "yours": ("y",)},
        held_out={"mine": tuple(f"h{i}" for i in range(held_out))},
        photos={},
        share=0.2,
        seed=3,
        cases=40,
        settings=TrainSettings(start="photo", batch=4, data={"fixed_side": 48, "moving_side": 72}),
    )
    gain = Improvement(
        cases=40,
        pairs=held_out,
        changes=(change("AUC@10", 0.2, 0.5), change("median", None, 2.0)),
        verdict=verdict,
    )
    return Record(
        recipe=recipe.model_copy(update=changes), seconds=61.7, steps=100, improvement=gain
    )


def row(card, name):
    found = re.search(rf"^\| {re.escape(name)} \| (.*) \|$", card, re.MULTILINE)
    assert found, name
    return [cell.strip() for cell in found[1].split("|")]


def test_the_facts_stand_in_tables(tmp_path):
    card = render_card(tmp_path / "run one", record(), FACTS)
    assert card.startswith("# Model card: run one\n")
    assert row(card, "AUC@10") == ["0.200 (0.100 to 0.300)", "0.500 (0.400 to infinite)", "+0.300"]
    assert row(card, "median, px") == ["infinite (0.100 to 0.300)", "2.000 (0.400 to infinite)", ""]
    assert row(card, "mine") == ["16", "4"]
    assert row(card, "yours") == ["1", "0"]
    assert "100 steps of 4" in row(card, "trained")[0] and "62 s" in row(card, "trained")[0]
    assert "abababab" in row(card, "start model")[0]
    assert row(card, "machine") == ["a processor, 2 cores"]
    assert row(card, "versions") == ["sdme 0.1.0, python 3.11.1, torch 2.6.0"]
    for i in range(4):
        assert f"- mine/h{i}\n" in card
    assert "    data.fixed_side = 48\n" in card
    assert "seed 3" in card
    assert "\n\n\n" not in card


def test_the_verdict_comes_first(tmp_path):
    for verdict, words in (("better", "Better on"), ("not better", "NOT better on")):
        lines = render_card(tmp_path, record(verdict), FACTS).splitlines()
        assert lines[2].startswith(f"**{words}")


def test_few_pairs_make_rough_intervals(tmp_path):
    assert "too narrow" in render_card(tmp_path, record(held_out=4), FACTS)
    assert "too narrow" not in render_card(tmp_path, record(held_out=30), FACTS)


def test_many_held_out_pairs_are_not_listed(tmp_path):
    card = render_card(tmp_path, record(held_out=MOST_LISTED + 1), FACTS)
    assert "- mine/" not in card
    assert "held_out.jsonl" in card


def test_pairs_given_apart_photos_and_gpus_are_told(tmp_path):
    card = render_card(tmp_path, record(share=None, photos={"p": ("1", "2")}), FACTS)
    assert "given apart" in card and "seed" not in card.replace("seed =", "")
    assert "2 photo(s)" in card
    with_gpu = render_card(tmp_path, record(), FACTS | {"device_name": "a GPU"})
    assert row(with_gpu, "machine") == ["a GPU; a processor, 2 cores"]


@pytest.mark.parametrize("has_copy", [False, True])
def test_the_command_names_what_is_there(tmp_path, has_copy):
    folder = tmp_path / "my run"
    folder.mkdir()
    if has_copy:
        (folder / "start.safetensors").touch()
    card = render_card(folder, record(), FACTS)
    words = shlex.split(next(line for line in card.splitlines() if "sdme compare" in line))
    start = str(folder / "start.safetensors") if has_copy else "photo"
    assert words[2] == str(folder / "held_out.jsonl")
    assert words[words.index("--methods") + 1] == f"{start},{folder / 'weights.safetensors'}"
    assert words[words.index("--cases") + 1] == "40"
