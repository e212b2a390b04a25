"""The end of a fine-tuning: before against after on the held-out pairs, and the card."""

from collections.abc import Callable
from pathlib import Path

from sdme.evaluate.evaluation import Evaluation, EvaluationOptions, evaluate
from sdme.evaluate.methods import method_key
from sdme.evaluate.presentation import Presentation
from sdme.evaluate.record import current_circumstances
from sdme.evaluate.runner import Progress
from sdme.files import write_text
from sdme.train.card import render_card
from sdme.train.finetune_record import CARD, EVALUATION, HELD_OUT, START, WEIGHTS, Record
from sdme.train.improvement import improvement

LONGEST_NAME = 16  # letters of a model's name that legends and tables have room for


def judge(
    record: Record,
    folder: Path,
    device: str,
    progress: Progress | None,
    tell: Callable[[str], object],
) -> Record:
    """Evaluate the start model and the new weights, and write the card; ``record`` gets the result.

    An evaluation that was interrupted is gone on with.
    """
    labels = _labels(record, folder)
    evaluation = _evaluate(record, folder, labels, device, progress, tell)
    gain = improvement(evaluation.scores, *labels.values())
    record = record.model_copy(update={"improvement": gain})
    write_text(folder / CARD, render_card(folder, record, current_circumstances(device)))
    record.write(folder)
    return record


def _evaluate(
    record: Record,
    folder: Path,
    labels: dict[str, str],
    device: str,
    progress: Progress | None,
    tell: Callable[[str], object],
) -> Evaluation:
    before, after = labels.values()
    try:
        return evaluate(
            [folder / HELD_OUT],
            list(labels),
            folder / EVALUATION,
            EvaluationOptions(protocol="paper", cases=record.recipe.cases, device=device),
            presentation=Presentation(
                title="Before and after fine-tuning",
                ours=[after],
                beside=before,
                labels=labels,
                of_sets="held out",
                conclude=lambda scores: improvement(scores, before, after).sentence,
            ),
            progress=progress,
            tell=tell,
        )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"the training is over and {folder / WEIGHTS} saved; the same command goes on with "
            "judging them"
        ) from None


def _labels(record: Record, folder: Path) -> dict[str, str]:
    """What the two models are called, by their keys; the start model first."""
    copy, start = folder / START, record.recipe.model
    return {
        method_key(str(copy)) if copy.is_file() else start: f"before ({_short(start)})",
        method_key(str(folder / WEIGHTS)): f"fine-tuned ({_short(folder.resolve().name)})",
    }


def _short(name: str) -> str:
    name = name.removesuffix(".safetensors")
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
