"""All figures of a run, computed once: for each set of cases, method, stage and population."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from sdme.data.known_packs import PACKS, PHOTO
from sdme.evaluate.convergence import ConvergenceSummary, summarise_convergence
from sdme.evaluate.metrics import MATCHING_THRESHOLDS
from sdme.evaluate.score import ConvergenceScore, MatchingScore, Score
from sdme.evaluate.summary import (
    POPULATIONS,
    MatchingSummary,
    Population,
    Sample,
    Summary,
    in_population,
    macro_summary,
    summarise_matching,
)

_NO_MATCHES = MatchingScore(0, 0, dict.fromkeys(MATCHING_THRESHOLDS, 0.0), 0.0, math.nan, math.nan)
EVERYTHING, CROSS_MODAL = "all", "all cross-modal"
Kind = Literal["total", "group", "dataset"]


@dataclass(frozen=True)
class Scope:
    """A set of cases that figures are taken over; ``kind`` and ``name`` tell it from the others."""

    kind: Kind
    name: str
    datasets: tuple[str, ...]


@dataclass(frozen=True)
class Line:
    """One line of a table; ``is_macro`` says that every dataset counts the same, not every case."""

    scope: Scope
    is_macro: bool
    population: Population
    method: str
    stage: str
    is_final: bool
    summary: Summary


@dataclass(frozen=True)
class Cost:
    """Time to a stage's answer, median over ``cases`` in ms (NaN if unknown), and peak MiB."""

    method: str
    stage: str
    is_final: bool
    milliseconds: float
    cases: int
    memory: float


@dataclass(frozen=True)
class Crash:
    """How often a method ended with one message, on how many of its cases, and where first."""

    method: str
    message: str
    count: int
    cases: int
    first: str


@dataclass(frozen=True)
class Figures:
    """Everything that is reported of a run but the errors of the single cases."""

    lines: tuple[Line, ...]
    costs: tuple[Cost, ...]
    matching: dict[Scope, dict[str, MatchingSummary]]
    crashes: tuple[Crash, ...]
    measures: dict[str, int]
    has_equal_cases: bool
    convergence: dict[Scope, dict[str, ConvergenceSummary]] = field(default_factory=dict)

    def select(
        self, kind: Kind, population: Population = "all", is_macro: bool = False
    ) -> dict[Scope, list[Line]]:
        """Lines by scope."""
        out: dict[Scope, list[Line]] = {}
        for line in self.lines:
            if (line.scope.kind, line.population, line.is_macro) == (kind, population, is_macro):
                out.setdefault(line.scope, []).append(line)
        return out


def figures_of(scores: Iterable[Score]) -> Figures:
    """Compute all figures; a crash counts as a failure of every stage of its method."""
    scores = complete_stages(scores)
    scopes = scopes_of(scores)
    stages = stages_of(scores)
    matched = {
        scope: {
            method: summarise_matching(each)
            for method, each in matchings(
                [s for s in scores if s.dataset in scope.datasets]
            ).items()
        }
        for scope in scopes
    }
    cases = {frozenset(score.case for score in rows) for rows in stages.values()}
    measures = {score.case: score.measure for score in scores}
    return Figures(
        lines=tuple(line for rows in stages.values() for line in _lines(rows, scopes)),
        costs=tuple(_cost(rows) for rows in stages.values()),
        matching=matched,
        crashes=_crashes(scores),
        measures=dict(Counter(measures.values())),
        has_equal_cases=len(cases) < 2,
        convergence={scope: _convergence(scores, scope) for scope in scopes},
    )


def matchings(scores: Iterable[Score]) -> dict[str, list[MatchingScore]]:
    """Matching scores by method, for methods that match points on any case.

    A case on which such a method failed before it matched counts as one without matches.
    """
    by_method: dict[str, dict[str, MatchingScore | None]] = {}
    for score in scores:
        cases = by_method.setdefault(score.method, {})
        cases[score.case] = cases.get(score.case) or score.matching
    return {
        method: [found or _NO_MATCHES for found in cases.values()]
        for method, cases in by_method.items()
        if any(cases.values())
    }


def complete_stages(scores: Iterable[Score]) -> list[Score]:
    """Every case of a method with all its stages, in their order.

    A crash is recorded under one stage of the method's name; here it becomes a failure of each
    stage that the method has on other cases. So does a stage that is missing on a case, but the
    last one, which is what the case ended with.
    """
    by_method: dict[str, dict[str, dict[str, Score]]] = {}
    for score in scores:
        of_case = by_method.setdefault(score.method, {}).setdefault(score.case, {})
        if score.stage in of_case:
            raise ValueError(f"two scores of {score.method}, {score.stage} on {score.case}")
        of_case[score.stage] = score
    out = []
    for cases in by_method.values():
        answered = [rows for rows in cases.values() if not _is_crash(rows)] or list(cases.values())
        names = list(dict.fromkeys(stage for rows in answered for stage in rows))
        final = next(s.stage for rows in answered for s in rows.values() if s.is_final)
        for rows in cases.values():
            last = next(score for score in rows.values() if score.is_final)
            out += [_stage(rows, last, name, name == final) for name in names]
    return out


def stages_of(scores: Iterable[Score]) -> dict[tuple[str, str], list[Score]]:
    """Scores by method and stage, in the order in which they first appear."""
    out: dict[tuple[str, str], list[Score]] = {}
    for score in scores:
        out.setdefault((score.method, score.stage), []).append(score)
    return out


def scopes_of(scores: Iterable[Score]) -> list[Scope]:
    """The totals first, then groups, then datasets, known ones in a fixed order.

    The total over the cross-modal datasets is there where it is not the total over everything.
    """
    groups = {score.dataset: score.group for score in scores}
    known = {pack: place for place, pack in enumerate(PACKS)}
    names = sorted(groups, key=lambda name: known.get(name, len(known)))
    cross_modal = tuple(name for name in names if groups[name] != PHOTO)
    scopes = [Scope("total", EVERYTHING, tuple(names))]
    if 0 < len(cross_modal) < len(names):
        scopes.append(Scope("total", CROSS_MODAL, cross_modal))
    for group in dict.fromkeys(groups[name] for name in names):
        members = tuple(name for name in names if groups[name] == group)
        scopes.append(Scope("group", group, members))
    return scopes + [Scope("dataset", name, (name,)) for name in names]


def _is_crash(rows: dict[str, Score]) -> bool:
    """Whether the one stage of a case stands for the whole method."""
    only = next(iter(rows.values()))
    return len(rows) == 1 and only.stage == only.method and math.isinf(only.error)


def _stage(rows: dict[str, Score], last: Score, stage: str, is_final: bool) -> Score:
    if stage in rows:
        return replace(rows[stage], is_final=is_final)
    if is_final:
        return replace(last, stage=stage, matching=None)
    return replace(
        last,
        stage=stage,
        is_final=False,
        error=math.inf,
        seconds=math.nan,
        matching=None,
        matrix=None,
        convergence=None,
        remark="",
    )


def _lines(scores: Sequence[Score], scopes: Sequence[Scope]) -> list[Line]:
    """The lines of one method's stage."""
    head, out = scores[0], []
    for population in POPULATIONS:
        kept = [score for score in scores if in_population(score, population)]
        samples = {scope: _sample(kept, scope) for scope in scopes}
        of_dataset = {s.name: sample for s, sample in samples.items() if s.kind == "dataset"}
        for scope, sample in samples.items():
            is_averaged = scope.kind == "total" and len(scope.datasets) > 1
            parts = [of_dataset[name] for name in scope.datasets] if is_averaged else []
            for is_macro in (False, True)[: 1 + is_averaged]:
                summary = macro_summary(parts) if is_macro else sample.summary()
                out.append(
                    Line(
                        scope, is_macro, population, head.method, head.stage, head.is_final, summary
                    )
                )
    return out


def _sample(scores: Sequence[Score], scope: Scope) -> Sample:
    members = [score for score in scores if score.dataset in scope.datasets]
    clusters = [(score.dataset, score.pair) for score in members]
    return Sample([score.error for score in members], clusters, f"{scope.kind} {scope.name}")


def median_milliseconds(seconds: Iterable[float]) -> float:
    """Median of the times that are known, NaN where none is."""
    known = [value for value in seconds if not math.isnan(value)]
    return 1000 * float(np.median(known)) if known else math.nan


def _convergence(scores: Sequence[Score], scope: Scope) -> dict[str, ConvergenceSummary]:
    """By method, for those that have it of any case."""
    found: dict[str, list[ConvergenceScore]] = {}
    for score in scores:
        if score.convergence is not None and score.dataset in scope.datasets:
            found.setdefault(score.method, []).append(score.convergence)
    return {method: summarise_convergence(rows) for method, rows in found.items()}


def _cost(scores: Sequence[Score]) -> Cost:
    memory = [score.memory for score in scores if not math.isnan(score.memory)]
    return Cost(
        method=scores[0].method,
        stage=scores[0].stage,
        is_final=scores[0].is_final,
        milliseconds=median_milliseconds(score.seconds for score in scores),
        cases=sum(not math.isnan(score.seconds) for score in scores),
        memory=max(memory, default=math.nan),
    )


def _crashes(scores: Sequence[Score]) -> tuple[Crash, ...]:
    """By method and message, the most frequent first."""
    final = [score for score in scores if score.is_final]
    cases = Counter(score.method for score in final)
    noted: dict[tuple[str, str], list[Score]] = {}
    for score in final:
        if score.note:
            noted.setdefault((score.method, score.note), []).append(score)
    found = [
        Crash(method, note, len(rows), cases[method], rows[0].case)
        for (method, note), rows in noted.items()
    ]
    return tuple(sorted(found, key=lambda crash: -crash.count))
