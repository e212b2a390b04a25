"""The model card of a fine-tuning: what it began with, on what data, how, and whether it helped."""

import json
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jinja2

from sdme.evaluate.evaluation import PAGE
from sdme.train.finetune_record import CHECK, EVALUATION, HELD_OUT, START, WEIGHTS, Record
from sdme.train.improvement import Bounds, Change

MOST_LISTED = 50  # pairs that the card names one by one
ROUGH_BELOW = 10  # pairs that intervals take to be worth their name
_VERSIONS = ("sdme", "python", "torch", "numpy", "opencv-python-headless")


def render_card(folder: Path, record: Record, facts: Mapping[str, Any]) -> str:
    """The card of a finished fine-tuning in a folder, in Markdown.

    ``facts`` are those of :func:`sdme.evaluate.record.current_circumstances`.
    """
    gain, recipe = record.improvement, record.recipe
    assert gain is not None  # it is finished
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    versions = facts["versions"]
    machine = f"{facts['processor']}, {facts['cores']} cores"
    held_out = [f"{name}/{pair}" for name, ids in recipe.held_out.items() for pair in ids]
    return environment.get_template("card.md.j2").render(
        record=record,
        recipe=recipe,
        settings=recipe.settings,
        gain=gain,
        facts=facts,
        name=folder.resolve().name,
        machine=f"{facts['device_name']}; {machine}" if "device_name" in facts else machine,
        versions=", ".join(f"{name} {versions[name]}" for name in _VERSIONS if name in versions),
        rough=ROUGH_BELOW,
        rows=[_row(change) for change in gain.changes],
        page=folder / EVALUATION / PAGE,
        again=_again(folder, record),
        sets=[
            (name, len(recipe.training.get(name, ())), len(recipe.held_out.get(name, ())))
            for name in {**recipe.training, **recipe.held_out}
        ],
        photos=sum(map(len, recipe.photos.values())),
        files={"weights": WEIGHTS, "check": CHECK, "held_out": HELD_OUT},
        listed=held_out if len(held_out) <= MOST_LISTED else [],
        lines=list(_lines(recipe.settings.model_dump(exclude_defaults=True, mode="json"))),
        weights=shlex.quote(str(folder / WEIGHTS)),
    )


def _row(change: Change) -> tuple[str, str, str, str]:
    return (
        "median, px" if change.figure == "median" else change.figure,
        _figure(change.before, change.before_interval),
        _figure(change.after, change.after_interval),
        "" if change.difference is None
        else _figure(change.difference, change.difference_interval, "+.3f"),
    )  # fmt: skip


def _figure(value: float | None, bounds: Bounds, form: str = ".3f") -> str:
    """A figure with its interval; what is ``None`` is infinite, but an interval without bounds."""
    text = "infinite" if value is None else format(value, form)
    if bounds == (None, None):
        return text
    low, high = ("infinite" if bound is None else format(bound, form) for bound in bounds)
    return f"{text} ({low} to {high})"


def _again(folder: Path, record: Record) -> str:
    """The command that measures before and after once more."""
    copy = folder / START
    start = str(copy) if copy.is_file() else record.recipe.model
    methods = f"{start},{folder / WEIGHTS}"
    words = ["sdme", "compare", str(folder / HELD_OUT), "--methods", methods]
    words += ["--protocol", "paper", "--cases", str(record.recipe.cases), "-o", "again"]
    return shlex.join(words)


def _lines(content: Mapping[str, Any], table: str = "") -> Iterator[str]:
    """Settings as ``NAME = VALUE``, as ``--set`` takes them."""
    for name, value in content.items():
        if isinstance(value, Mapping):
            yield from _lines(value, f"{table}{name}.")
        else:
            yield f"{table}{name} = {json.dumps(value)}"
