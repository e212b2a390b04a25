"""``sdme train``: train a network from a settings file."""

import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from sdme.cli.output import JsonFlag, Output, QuietFlag
from sdme.errors import InputError
from sdme.files import WEIGHTS_FILE

if TYPE_CHECKING:
    from sdme.config import TrainSettings
    from sdme.data.pairs import ImagePair, Problem
    from sdme.data.store import UnusableItemsError
    from sdme.train.checkpoint import TrainState

MOST_TOLD = 20  # lines about data that cannot be used
Several = Parameter(consume_multiple=True, negative="")
Seconds = Annotated[float, Parameter(validator=Number(gt=0))]
Changes = Annotated[list[str], Parameter(name="--set", consume_multiple=True, negative="")]


def train(
    settings: str | None = None,
    /,
    *data: Path,
    val: Annotated[list[Path], Several] | None = None,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    device: str = "auto",
    seconds: Seconds | None = None,
    changes: Changes | None = None,
    listing: Annotated[bool, Parameter(name="--list", negative="")] = False,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> int:
    """Train a network, or go on with a training.

    Examples: `sdme train --list`,
    `sdme train photo PHOTOS --val PAIRS -o run --seconds 600`,
    `sdme train my.toml PAIRS PHOTOS -o run --set steps=5000 losses.agents=0`

    The folder receives `weights.safetensors`, for `--model` of the other commands, `log.jsonl`, the
    same for TensorBoard, and `checkpoint.pt`. Ctrl-C stops after the next few steps and saves; the
    same command again goes on from there, exactly. On several GPUs: `torchrun --nproc-per-node N -m
    sdme train ...`. To adapt a model to pairs of your own, see `sdme finetune`.

    Parameters
    ----------
    settings
        name of shipped settings, see --list, or a TOML file
    data
        packs (.tar), folders of packs, folders or manifests of aligned pairs; single images in
        packs are trained on as photos
    val
        the same, for figures in the log; never trained on
    output
        folder of the run [default: training]
    device
        auto, cpu, cuda or cuda:N
    seconds
        pause after so long; settings that name no number of steps train as many as fit
    changes
        NAME=VALUE of single settings, as losses.agents=0
    listing
        list the shipped settings: for what, with what data, how long on what hardware, and the
        figures to expect
    as_json
        print one JSON object and nothing else
    quiet
        print nothing but errors
    """
    from sdme.train.settings_files import read_settings

    speaks = _is_first_process()
    out = Output(as_json and speaks, quiet or not speaks)
    if listing:
        return _list_settings(out)
    if settings is None:
        raise InputError("no settings were given; name a TOML file or one of sdme train --list")
    chosen = read_settings(settings, changes or [])
    if not data:
        raise InputError("no data was given; name packs, folders or manifests of pairs or photos")
    from sdme.data.store import UnusableItemsError
    from sdme.model.weights import usable_device
    from sdme.train.interrupt import saved_at, telling_what_is_saved
    from sdme.train.loop import RunOptions
    from sdme.train.loop import train as run

    options = RunOptions(
        output or Path("training"),
        usable_device(device),
        math.inf if seconds is None else seconds,
        quiet=quiet or as_json,
    )
    with telling_what_is_saved(options.out):
        training, validation = _read(data, out), _read(val, out) if val else ()
        began = time.monotonic()
        try:
            state = run(chosen, training, validation, options)
        except UnusableItemsError as error:
            raise _with_those_of(validation, chosen, error, out) from None
    is_finished = state.total is not None and state.step >= state.total
    if not is_finished and time.monotonic() - began < options.seconds:
        raise KeyboardInterrupt(saved_at(state, options.out))
    _tell(state, is_finished, options.out, out)
    return 0


def _is_first_process() -> bool:
    """As :func:`sdme.parallel.is_first`, which would load PyTorch for a listing."""
    return os.environ.get("WORLD_SIZE", "1") == "1" or os.environ.get("RANK", "0") == "0"


def _read(paths: Sequence[Path], out: Output) -> Sequence["ImagePair"]:
    from sdme.data.sources import read_all

    found = read_all(paths, "train")
    _tell_problems(found.problems, "left out", out)
    return found.pairs


def _with_those_of(
    validation: Sequence["ImagePair"],
    settings: "TrainSettings",
    found: "UnusableItemsError",
    out: Output,
) -> "UnusableItemsError":
    """The error with what else is wrong in the validation data, which are read last; lists all."""
    from sdme.data.store import UnusableItemsError, load_store

    problems = dict.fromkeys(found.problems)
    names = settings.data.datasets
    if known := [pair for pair in validation if not names or pair.dataset in names]:
        every = settings.data.model_copy(update={"datasets": (), "pair_fraction": 1.0})
        try:
            load_store(known, every)
        except UnusableItemsError as error:
            problems |= dict.fromkeys(error.problems)
    _tell_problems(list(problems), "cannot be used", out)
    return UnusableItemsError(list(problems))


def _tell_problems(problems: Sequence["Problem"], what: str, out: Output) -> None:
    """A line for each of them, unless they are very many."""
    for problem in problems[:MOST_TOLD]:
        out.warning(f"{what}: {problem.where}: {problem.why}")
    if len(problems) > MOST_TOLD:
        out.warning(f"{what}: {len(problems) - MOST_TOLD} more")


def _tell(state: "TrainState", is_finished: bool, folder: Path, out: Output) -> None:
    weights = folder / WEIGHTS_FILE
    out.result(
        {
            "step": state.step,
            "steps": state.total,
            "finished": is_finished,
            "skipped": state.skipped,
            "files": {"weights": str(weights), "log": str(folder / "log.jsonl")},
        }
    )
    if state.skipped:
        out.warning(
            f"{state.skipped} of {state.step} steps had no finite gradient and were skipped"
        )
    if is_finished:
        out.line(f"done after {state.step} steps; the weights are {weights}")
    else:
        aim = "" if state.total is None else f" of {state.total}"
        out.line(f"paused at step {state.step}{aim}; the same command goes on; so far: {weights}")


def _list_settings(out: Output) -> int:
    from sdme.train.settings_files import sets_of, shipped_settings, summary_of

    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "summary": summary_of(path),
            "sets": list(sets_of(path)),
            "file": str(path),
        }
        for name, path in shipped_settings().items()
    ]
    out.result(rows)
    for row in rows:
        needed = ""
        if row["sets"]:
            names = ", ".join(row["sets"])
            needed = f" Needs packs or folders named {names}; for others --set data.datasets=[]."
        out.line(f"{row['name']}\t{row['summary']}{needed}")
    return 0
