"""``sdme finetune``: adapt a model to one's own pairs."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from sdme.cli.evaluate import Positive, evaluation_progress
from sdme.cli.output import JsonFlag, Output, QuietFlag
from sdme.cli.train import Changes, Seconds, Several

if TYPE_CHECKING:
    from sdme.train.finetune import Finetuning


@Parameter(name="*")
@dataclass(frozen=True)
class FinetuneFlags:
    """Options of a fine-tuning.

    Parameters
    ----------
    output
        folder of the run [default: finetuned]; an unfinished one in it is gone on with
    val
        pairs to judge the result by [default: a share of the data is held out]
    photos
        single images (packs) to train on beside the pairs
    device
        auto, cpu, cuda or cuda:N
    size
        a crop of 96 px in 144 px a step, or 4 of 128 px in 192 px [default: small on a CPU]
    steps
        length of the training [default: as in sdme train --list]
    seconds
        time of the training, in place of steps; beside --steps or --set steps: pause after so long
    changes
        NAME=VALUE of single settings, as learning_rate=1e-4
    share
        share of the pairs that is held out, in blocks of neighbouring names [default: a fifth]
    seed
        holds out other pairs
    cases
        cases drawn from each held-out set for the figures [default: 40 in all, or one a pair]
    """

    output: Annotated[Path | None, Parameter(alias="-o")] = None
    val: Annotated[list[Path], Several] | None = None
    photos: Annotated[list[Path], Several] | None = None
    device: str = "auto"
    size: Literal["small", "paper"] | None = None
    steps: Positive | None = None
    seconds: Seconds | None = None
    changes: Changes | None = None
    share: Annotated[float, Parameter(validator=Number(gt=0, lt=1))] | None = None
    seed: int = 0
    cases: Positive | None = None


def finetune(
    model: str,
    /,
    *data: Path,
    options: FinetuneFlags | None = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> int:
    """Adapt a model to pairs of your own, and see whether that made it better.

    Examples: `sdme finetune photo my_pairs -o mine`,
    `sdme finetune photo pairs.csv --val others.csv --photos PACKS -o mine --seconds 300`

    The data are pairs of images of one scene on one pixel grid, of equal size, 20 or more: a folder
    (`ID.a.png` and `ID.b.png`, or two folders), a manifest (.csv, .jsonl) or a pack. They are
    checked first. Some are held out, and never trained on.

    The folder receives `weights.safetensors`, for `--model` of the other commands, the model card
    `card.md`, and before against after on the held-out pairs in `evaluation/report.html`. The same
    command goes on with what was interrupted. Exit code 0 does not mean that the result is better:
    the last line says that, and so does the card.

    Parameters
    ----------
    model
        what to start from: name of shipped weights (see `sdme models`) or a .safetensors file
    data
        inputs, one or more
    options
        see :class:`FinetuneFlags`
    as_json
        print one JSON object and nothing else
    quiet
        print nothing but errors
    """
    from sdme.train.finetune import FinetuneOptions
    from sdme.train.finetune import finetune as run
    from sdme.train.holdout import SHARE
    from sdme.train.interrupt import telling_what_is_saved

    given, out = options or FinetuneFlags(), Output(as_json, quiet)
    folder = given.output or Path("finetuned")
    with evaluation_progress(out) as progress, telling_what_is_saved(folder):
        found = run(
            model,
            data,
            folder,
            FinetuneOptions(
                validation=tuple(given.val or ()),
                photos=tuple(given.photos or ()),
                device=given.device,
                size=given.size,
                steps=given.steps,
                seconds=given.seconds,
                changes=tuple(given.changes or ()),
                share=SHARE if given.share is None else given.share,
                seed=given.seed,
                cases=given.cases,
                quiet=quiet or as_json,
            ),
            progress=progress,
            tell=out.warning,
        )
    _tell(found, out)
    return 0


def _tell(found: "Finetuning", out: Output) -> None:
    record = found.record
    gain = record.improvement
    out.result(to_data(found))
    if gain is None:
        aim = record.recipe.settings.steps
        out.line(f"paused at step {found.step} of {aim}; the same command goes on")
        return
    if found.is_old:
        out.line(f"finished before; nothing was done in {found.folder}")
    out.line(f"weights: {found.files['weights']}")
    out.line(f"card: {found.files['card']}; pictures: {found.files['page']}")
    out.line(gain.sentence)


def to_data(found: "Finetuning") -> dict[str, Any]:
    """Figures, paths and counts, fit for JSON."""
    record = found.record
    recipe, gain = record.recipe, record.improvement

    def count(ids: dict[str, tuple[str, ...]]) -> int:
        return sum(map(len, ids.values()))

    return {
        "status": "paused" if gain is None else "finished",
        "verdict": None if gain is None else gain.verdict,
        "sentence": None if gain is None else gain.sentence,
        "figures": [] if gain is None else [c.model_dump(mode="json") for c in gain.changes],
        "model": recipe.model,
        "step": found.step,
        "skipped": record.skipped,
        "seconds": record.seconds,
        "counts": {
            "training": count(recipe.training),
            "held_out": count(recipe.held_out),
            "photos": count(recipe.photos),
            "suspects": record.suspects,
            "cases": None if gain is None else gain.cases,
        },
        "files": {kind: str(path) for kind, path in found.files.items()},
    }
