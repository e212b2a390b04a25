"""The record of one method's stage on one case, and the sets over which figures are taken."""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Float64

from sdme.data.known_packs import PACKS, pack_info
from sdme.evaluate.metrics import corner_error
from sdme.evaluate.protocol import Case

Matrix = Float64[np.ndarray, "3 3"]
Stages = dict[str, Matrix | None]
CROSS_MODAL, EVERYTHING = "all cross-modal", "all"
OUR_STAGES = ("sparse", "sparse-to-dense", "dense-only")
FINAL_STAGE = {"sparse": "sparse-to-dense"}


@dataclass(frozen=True)
class Answer:
    """How far off one stage was on one case.

    Errors are corner errors in moving pixels, infinite for a failure. ``final_error`` is that of
    the method's last stage, ``unregistered_error`` that of the initial placement. ``seconds`` is
    the time the whole method took on this case. ``note`` tells why a method raised, if it did.
    """

    pack: str
    pair: str
    index: int
    fixed_modality: str
    redraws: int
    stage: str
    error: float
    final_error: float
    unregistered_error: float
    seconds: float
    note: str = ""


@dataclass(frozen=True)
class Outcome:
    """What a method gave on one case: a matrix or ``None`` by stage, its time and its excuse."""

    stages: Stages
    seconds: float
    note: str = ""


def answers_of(case: Case, outcome: Outcome, initial: Matrix) -> list[Answer]:
    """Score every stage of a method on a case."""
    size = (case.fixed.shape[1], case.fixed.shape[0])
    errors = {name: corner_error(H, case.H_true, size) for name, H in outcome.stages.items()}
    unregistered = corner_error(initial, case.H_true, size)
    return [
        Answer(
            pack=case.pack,
            pair=case.pair,
            index=case.index,
            fixed_modality=case.fixed_modality,
            redraws=case.redraws,
            stage=stage,
            error=error,
            final_error=errors.get(FINAL_STAGE.get(stage, stage), math.inf),
            unregistered_error=unregistered,
            seconds=outcome.seconds,
            note=outcome.note,
        )
        for stage, error in errors.items()
    ]


def sets_of(answers: Iterable[Answer]) -> dict[str, list[Answer]]:
    """Answers by set: the totals first, then groups, then packs, known ones in a fixed order."""
    totals, groups, packs = {}, {}, {}
    known = {pack: place for place, pack in enumerate(PACKS)}
    for answer in sorted(answers, key=lambda answer: known.get(answer.pack, len(known))):
        info = pack_info(answer.pack)
        if info.is_cross_modal:
            totals.setdefault(CROSS_MODAL, []).append(answer)
        totals.setdefault(EVERYTHING, []).append(answer)
        groups.setdefault(f"group {info.group}", []).append(answer)
        packs.setdefault(answer.pack, []).append(answer)
    return {**totals, **groups, **packs}


def by_stage(answers: Iterable[Answer]) -> dict[str, list[Answer]]:
    """Answers by stage, in the order in which stages first appear."""
    out: dict[str, list[Answer]] = {}
    for answer in answers:
        out.setdefault(answer.stage, []).append(answer)
    return out


def to_csv(answers: Sequence[Answer]) -> str:
    """One line an answer, in the order given, under a header."""
    names = [field.name for field in fields(Answer)]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([getattr(answer, name) for name in names] for answer in answers)
    return stream.getvalue()
