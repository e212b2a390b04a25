"""Fine-tuning a model on one's own pairs, from their check to the model card.

The folder of a run holds ``weights.safetensors``, ``card.md``, ``data_check.txt``, ``log.jsonl``,
``held_out.jsonl`` (the pairs that training never saw, as a manifest), ``evaluation/`` (before and
after on them) and ``finetune.json``, which says what the run is made of and, once it is finished,
what came out. A run that was interrupted is gone on with.
"""

import hashlib
import json
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sdme.config import TrainSettings
from sdme.data.store import chosen_items
from sdme.errors import InputError
from sdme.evaluate.evaluation import PAGE
from sdme.evaluate.runner import Progress
from sdme.files import replacing, write_text
from sdme.model.weights import load_network, records, usable_device
from sdme.train.checkpoint import TrainState
from sdme.train.finetune_data import FinetuneData, check_order, read_data
from sdme.train.finetune_record import (
    CARD,
    CHECK,
    CHECK_DATA,
    EVALUATION,
    HELD_OUT,
    LOG,
    RECORD,
    START,
    WEIGHTS,
    Recipe,
    Record,
    ids_of,
    read_record,
)
from sdme.train.holdout import SHARE, write_manifest
from sdme.train.interrupt import saved_at
from sdme.train.judge import judge
from sdme.train.loop import RunOptions, train
from sdme.train.settings_files import read_settings

FEWEST_CASES, MOST_CASES = 40, 200

Size = Literal["small", "paper"]
SIZES: dict[Size, tuple[str, ...]] = {
    # rather one large crop than four small ones: in those most pixels see beyond the border
    "small": ("data.fixed_side=96", "data.moving_side=144", "data.max_shift=24", "batch=1"),
    "paper": (),
}


@dataclass(frozen=True)
class FinetuneOptions:
    """How a model is fine-tuned; what is not said follows ``settings/finetune.toml``.

    ``validation`` are inputs whose pairs are held out; without any, a ``share`` of the data is,
    chosen by ``seed``. ``photos`` are inputs with single images, trained on beside the pairs.
    ``size`` is that of the crops (``None``: ``small`` on a CPU, else ``paper``). Training takes
    ``steps`` steps, or as many as fit into ``seconds``; with both it pauses after ``seconds``.
    ``changes`` go over the settings, see :func:`sdme.train.settings_files.read_settings`.
    ``cases`` are drawn from each held-out set for the figures before and after (``None``: 40 in
    all, or one a pair up to 200 a set).
    """

    validation: tuple[Path, ...] = ()
    photos: tuple[Path, ...] = ()
    device: str = "auto"
    size: Size | None = None
    steps: int | None = None
    seconds: float | None = None
    changes: tuple[str, ...] = ()
    share: float = SHARE
    seed: int = 0
    cases: int | None = None
    quiet: bool = False


@dataclass(frozen=True)
class Finetuning:
    """A fine-tuning and its folder.

    ``record.improvement`` is ``None`` where it was paused, at ``step``; ``is_old`` says that it had
    been finished before, and nothing was done.
    """

    folder: Path
    record: Record
    step: int
    is_old: bool = False

    @property
    def files(self) -> dict[str, Path]:
        """What lies in the folder, by its kind; the last three once all is done."""
        names = {"weights": WEIGHTS, "check": CHECK, "log": LOG, "held_out": HELD_OUT}
        if self.record.improvement is not None:
            names |= {"card": CARD, "page": f"{EVALUATION}/{PAGE}", "record": RECORD}
        return {kind: self.folder / name for kind, name in names.items()}


def finetune(
    model: str,
    data: Sequence[str | Path],
    folder: str | Path,
    options: FinetuneOptions | None = None,
    *,
    progress: Progress | None = None,
    tell: Callable[[str], object] | None = None,
) -> Finetuning:
    """Fine-tune a model on the pairs of ``data`` and write everything into a folder.

    ``model`` is the name of shipped weights or a weights file, ``data`` are inputs of
    :func:`sdme.data.sources.read_pairs`. ``progress`` is that of the evaluation; ``tell`` is called
    with a line about each thing that a user should know.

    Raises:
        InputError: model, data, settings or the folder cannot be used, the folder holds another
            fine-tuning, or there are several processes; then no step was made. Or no step changed
            the model: there was no time for any, or the gradients of all were not finite.
        KeyboardInterrupt: it was interrupted; the same call goes on from the last checkpoint.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError("fine-tuning runs in one process; on several GPUs use sdme train")
    options, folder = options or FinetuneOptions(), Path(folder)
    tell, show = tell or (lambda line: None), progress or (lambda done, total, what: None)
    check_order(model, data)
    record = read_record(folder)
    found = read_data(
        data,
        options.validation,
        options.photos,
        share=options.share,
        seed=options.seed,
        tell=tell,
        progress=lambda done, total: show(done, total, "check of the data"),
    )
    recipe = _recipe(model, found, folder, options)
    if record is not None and (names := recipe.differences(record.recipe)):
        raise InputError(
            f"{folder} holds another fine-tuning ({', '.join(names)} differ); give the command "
            "that it was begun with, or another folder"
        )
    if record is not None and record.improvement is not None:
        return Finetuning(folder, record, record.steps or 0, is_old=True)
    record = (record or Record(recipe=recipe)).model_copy(update={"recipe": recipe})
    record = _prepare(model, record, found, folder, tell)
    if record.steps is None:
        record, step = _train(record, found, folder, options)
        if record.steps is None:
            return Finetuning(folder, record, step)
    record = judge(record, folder, str(usable_device(options.device)), progress, tell)
    return Finetuning(folder, record, record.steps or 0)


def _recipe(model: str, found: FinetuneData, folder: Path, options: FinetuneOptions) -> Recipe:
    """What the run follows from; nothing is written."""
    shipped = next((record for record in records() if record.name == model), None)
    network = load_network(model)
    start = model if shipped else str((folder / START).resolve())
    settings = _settings(options).model_copy(update={"start": start, "network": network.settings})
    sets = Counter(pair.dataset for pair in found.split.held_out)
    chosen = chosen_items([*found.split.training, *found.photos], settings.data)
    cases = options.cases or min(max(-(-FEWEST_CASES // len(sets)), *sets.values()), MOST_CASES)
    return Recipe(
        model=model if shipped else Path(model).name,
        sha256=shipped.sha256 if shipped else hashlib.sha256(Path(model).read_bytes()).hexdigest(),
        training=ids_of([item for item in chosen if not item.is_photo]),
        held_out=ids_of(found.split.held_out),
        photos=ids_of([item for item in chosen if item.is_photo]),
        share=None if options.validation else options.share,
        seed=options.seed,
        cases=cases,
        settings=settings,
    )


def _settings(options: FinetuneOptions) -> TrainSettings:
    changed = {change: change.split("=")[0].split(".")[0].strip() for change in options.changes}
    for change, name in changed.items():
        if name in ("start", "network"):
            raise InputError(f"the model decides {change}; leave it out, or use sdme train")
    is_cpu = usable_device(options.device).type == "cpu"
    size: Size = options.size or ("small" if is_cpu else "paper")
    steps = () if options.steps is None else (f"steps={options.steps}",)
    settings = read_settings("finetune", [*SIZES[size], *steps, *options.changes])
    if options.seconds is not None and not steps and "steps" not in changed.values():
        settings = settings.model_copy(update={"steps": None})
    return settings


def _prepare(
    model: str, record: Record, found: FinetuneData, folder: Path, tell: Callable[[str], object]
) -> Record:
    """Write all that training does not change, unless that is there; tell of doubtful pairs.

    Raises:
        InputError: the folder cannot be written to.
    """
    if (folder / HELD_OUT).exists():  # it is the last one
        return record
    report = found.report
    record = record.model_copy(update={"suspects": len(report.warnings)})
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot use folder {folder}: {error.strerror}; give another") from None
    record.write(folder)
    photos = [f"photo cannot be used: {one.where}: {one.why}" for one in found.photo_problems]
    write_text(folder / CHECK, "\n".join([*report.to_lines(), *photos]) + "\n")
    write_text(folder / CHECK_DATA, json.dumps(report.to_data(), indent=1) + "\n")
    if record.recipe.settings.start != model:
        with replacing(folder / START) as temporary:
            temporary.write_bytes(Path(model).read_bytes())
    write_manifest(found.split.held_out, folder / HELD_OUT)
    if report.problems or report.warnings or photos:
        tell(
            f"{len(report.problems) + len(photos)} pair(s) or photo(s) cannot be used, and "
            f"{len(report.warnings)} seem misaligned (they are trained on all the same); "
            f"{folder / CHECK} lists them"
        )
    for finding in report.general_findings():
        tell(finding)
    return record


def _train(
    record: Record, found: FinetuneData, folder: Path, options: FinetuneOptions
) -> tuple[Record, int]:
    """Train until the last step or the time limit; returns the step that it came to.

    Raises:
        InputError: no step changed the model, so that there is nothing to judge.
        KeyboardInterrupt: it was interrupted; the record tells the time so far.
    """
    settings = record.recipe.settings
    limit = math.inf if options.seconds is None else options.seconds
    if settings.steps is None:  # else it is a pause, and begins anew
        limit = max(0.0, limit - record.seconds)
    began = time.monotonic()
    try:
        state = train(
            settings,
            [*found.split.training, *found.photos],
            found.split.held_out,
            RunOptions(folder, usable_device(options.device), limit, quiet=options.quiet),
        )
    finally:
        seconds = time.monotonic() - began
        record = record.model_copy(update={"seconds": record.seconds + seconds})
        record.write(folder)
    is_complete = state.total is not None and state.step >= state.total
    is_over = seconds >= limit
    if not (is_complete or is_over):
        raise KeyboardInterrupt(saved_at(state, folder))
    if is_complete or settings.steps is None:
        _check_progress(state)
        record = record.model_copy(update={"steps": state.step, "skipped": state.skipped})
        record.write(folder)
    return record, state.step


def _check_progress(state: TrainState) -> None:
    if state.step == 0:
        raise InputError("there was no time for a single step; give more --seconds")
    if state.skipped == state.step:
        raise InputError(
            f"all {state.step} steps were skipped, as their gradients were not finite; look at the "
            "pairs, and try a lower learning_rate in another folder"
        )
