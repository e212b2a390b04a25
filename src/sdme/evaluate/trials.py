"""Trials of the verdict: pairs with a known transform, and pairs of which nothing can be aligned.

Unrelated to a fixed image is the moving image of another picture: of the same set, half the set
away in the order of the names, and of the set before it. Sets whose pictures all show one place
give no unrelated pairs of their own.
"""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Literal

import numpy as np
from torch import nn

from sdme.config import FastRegisterSettings, RegisterSettings, Stages, right_within
from sdme.data.known_packs import pack_info
from sdme.data.pairs import ImagePair
from sdme.errors import InputError
from sdme.evaluate.case import Case
from sdme.evaluate.metrics import case_error
from sdme.evaluate.protocol import PROTOCOLS, case_keys, draw_case
from sdme.files import write_text
from sdme.register import register

Kind = Literal["one scene", "same set", "other set"]
_OTHERS_EVERY = 2  # so many cases share one pair with the set before
ANY_ERROR = RegisterSettings(
    search="off", fast=FastRegisterSettings(aligned_below=math.inf, uncertain_below=math.inf)
)
"""The plain try alone, of which an answer is told however large its predicted error is."""


@dataclass(frozen=True)
class Trial:
    """One registration, and what is known of it.

    ``kind`` says whether the images belong together. ``error`` is the mean corner error in units of
    what counts as right (below 1 it is right), infinite where there is no answer or no truth.
    """

    kind: Kind
    dataset: str
    name: str
    protocol: str
    stages: Stages
    status: str
    error: float
    confidence: float | None = None
    figures: dict[str, float] = field(default_factory=dict)

    @property
    def is_right(self) -> bool:
        """Whether the answer is within the limit."""
        return self.error < 1

    @property
    def is_related(self) -> bool:
        """Whether the images show one scene."""
        return self.kind == "one scene"


def run_trials(
    pairs: Sequence[ImagePair],
    network: nn.Module,
    *,
    protocols: Sequence[str] = ("paper", "native"),
    cases: int | None = None,
    stages: Sequence[Stages] = ("sparse-to-dense", "dense"),
    settings: RegisterSettings = ANY_ERROR,
    progress: Callable[[int, int], object] | None = None,
) -> Iterator[Trial]:
    """Register the cases of each protocol, and their fixed images with others' moving ones.

    ``cases`` are drawn of every set, by default one of each pair. What a calibration learns from is
    told with ``ANY_ERROR``, as answers of which nothing is believed are wrong ones like others.
    """
    drawn = {name: case_keys(pairs, PROTOCOLS[name], cases) for name in protocols}
    total, done = sum(len(keys) for keys in drawn.values()), 0
    for name, keys in drawn.items():
        before: list[Case] = []
        for dataset, members in groupby(keys, key=lambda key: key.pair.dataset):
            here = [draw_case(key, PROTOCOLS[name]) for key in members]
            for index, case in enumerate(here):
                for kind, moving in _partners(index, here, before, dataset):
                    for chosen in stages:
                        found = register(
                            case.fixed,
                            moving.moving,
                            model=network,
                            settings=settings.model_copy(update={"stages": chosen}),
                        )
                        matrix = None if found.transform is None else found.transform.matrix
                        yield Trial(
                            kind,
                            dataset,
                            f"{case.key.name} and {moving.key.name}",
                            name,
                            chosen,
                            found.status.value,
                            _error(case, matrix) if kind == "one scene" else math.inf,
                            found.confidence,
                            dict(found.figures),
                        )
                done += 1
                if progress is not None:
                    progress(done, total)
            before = here


def save_trials(path: Path, trials: Iterable[Trial]) -> None:
    """Write trials as JSON lines."""
    lines = [json.dumps(asdict(trial) | {"error": _told(trial.error)}) for trial in trials]
    write_text(path, "\n".join(lines) + "\n")


def load_trials(path: Path) -> list[Trial]:
    """Read what :func:`save_trials` wrote.

    Raises:
        InputError: the file cannot be read, or holds no trials.
    """
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        trials = [
            Trial(**row | {"error": math.inf if row["error"] is None else row["error"]})
            for row in rows
        ]
    except OSError as error:
        raise InputError(f"cannot read trials {path}: {error.strerror}") from None
    except (ValueError, TypeError, KeyError):
        raise InputError(
            f"{path} holds no trials; give the file that sdme calibrate wrote"
        ) from None
    if not trials:
        raise InputError(f"{path} holds no trials; give the file that sdme calibrate wrote")
    return trials


def _partners(
    index: int, here: list[Case], before: list[Case], dataset: str
) -> Iterator[tuple[Kind, Case]]:
    """The case itself, and cases whose moving images have nothing to do with its fixed one."""
    case = here[index]
    yield "one scene", case
    # slices and frames that are neighbours show nearly the same: half of the set lies between
    ordered = sorted({c.key.pair.id: c for c in here}.values(), key=lambda c: c.key.pair.id)
    if len(ordered) > 1 and not pack_info(dataset).is_one_place:
        place = [c.key.pair.id for c in ordered].index(case.key.pair.id)
        yield "same set", ordered[(place + len(ordered) // 2) % len(ordered)]
    if before and index % _OTHERS_EVERY == 0:
        yield "other set", before[index % len(before)]


def _error(case: Case, matrix: np.ndarray | None) -> float:
    return case_error(case, matrix) / right_within(case.fixed_size)


def _told(error: float) -> float | None:
    """JSON knows no infinity."""
    return error if math.isfinite(error) else None
