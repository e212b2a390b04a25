"""The page of an evaluation: one HTML file with tables, plots and pictures inside."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import jinja2
import numpy as np

from sdme.data.pairs import Problem
from sdme.evaluate.charts import NO_REGISTRATION
from sdme.evaluate.curves import CLOSE, Track, final_scores, tracks
from sdme.evaluate.page_tables import Table
from sdme.evaluate.pictures import (
    CasePictures,
    Chosen,
    Draw,
    best_median_worst,
    case_pictures,
    failures,
    picture_side,
    worst_answers,
)
from sdme.evaluate.plots import Plot
from sdme.evaluate.presentation import Presentation
from sdme.evaluate.score import Score

_WORST, _PROBLEMS = 6, 20


@dataclass(frozen=True)
class CaseView:
    """A case to be shown: what it stands for, words on it, and its pictures.

    ``other`` is the error of the method that is shown beside, if there is one.
    """

    label: str
    name: str
    error: str
    other: str
    unregistered: str
    verdict: str
    note: str
    pictures: CasePictures


@dataclass(frozen=True)
class MethodView:
    """A method: its setting, the cases it was given, and how many of them it did not answer."""

    name: str
    setting: str
    cases: int
    without_answer: int


def render_page(
    scores: Sequence[Score],
    draw: Draw,
    tables: Sequence[Table],
    facts: Mapping[str, str],
    version: str,
    presentation: Presentation | None = None,
    *,
    plots: Sequence[Plot] = (),
    shown: str | None = None,
    settings: Mapping[str, str] | None = None,
    problems: Sequence[Problem] = (),
) -> str:
    """HTML of the page; it refers to no other file and no network address.

    ``draw`` draws the case of a score again, for its pictures. The first of the ``tables`` is the
    headline. ``facts`` are shown in their order; a ``command`` among them is shown as one.
    The pictures are those of ``shown``, by default the first of our own methods, else the method
    that has most cases within 3 px. ``settings`` says of each method what it is and how it is set,
    ``problems`` what could not be read.
    """
    presentation = presentation or Presentation()
    found, ours = tracks(scores), presentation.ours
    method = shown or _method_to_show(found, ours)
    finals = final_scores(scores)
    rows = [score for score in finals if score.method == method]
    others = {score.case: score for score in finals if score.method == presentation.beside}
    chosen, worst, lost = (
        best_median_worst(rows),
        worst_answers(rows, _WORST),
        failures(rows, _WORST),
    )
    worst, lost = _under_set_names(worst, presentation), _under_set_names(lost, presentation)
    count = sum(map(len, chosen.values())) + len(worst) + len(lost)
    pictures = partial(_views, draw=draw, side=picture_side(count, bool(others)), others=others)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("page.html.j2").render(
        title=presentation.title,
        conclusion=presentation.conclude(scores) if presentation.conclude else "",
        facts=facts,
        sentences=_sentences(found, method),
        tables=_with_set_names(tables, list(chosen), presentation),
        plots=plots,
        methods=[
            MethodView(t.method, (settings or {}).get(t.method, ""), len(t.cases), _unanswered(t))
            for t in found
        ],
        is_ours=lambda row: any(_is_of(cell, name) for cell in row for name in ours),
        method=method,
        beside=presentation.beside if others else "",
        datasets={presentation.set_name(name): pictures(cases) for name, cases in chosen.items()},
        worst=pictures(worst),
        lost=pictures(lost),
        lost_count=sum(not math.isfinite(score.error) for score in rows),
        problems=list(problems)[:_PROBLEMS],
        problem_count=len(problems),
        version=version,
    )


def _under_set_names(cases: Sequence[Chosen], presentation: Presentation) -> list[Chosen]:
    """Cases that are labelled with their data sets, by what those are called."""
    return [replace(case, label=presentation.set_name(case.label)) for case in cases]


def _with_set_names(
    tables: Sequence[Table], datasets: Sequence[str], presentation: Presentation
) -> list[Table]:
    """The tables, with data sets in their first column by what they are called."""
    names = {
        f"{kind}{name}{star}": f"{kind}{presentation.set_name(name)}{star}"
        for name in datasets
        for kind in ("", "dataset ")
        for star in ("", "*")
    }
    return [
        replace(t, rows=[[names.get(first, first), *rest] for first, *rest in t.rows])
        for t in tables
    ]


def _method_to_show(found: Sequence[Track], ours: Sequence[str]) -> str:
    names = [track.method for track in found]
    for name in ours:
        if name in names:
            return name
    ranked = sorted(found, key=lambda track: (track.method == NO_REGISTRATION, -track.close))
    return ranked[0].method if ranked else ""


def _sentences(found: Sequence[Track], method: str) -> list[str]:
    """The outcome in plain words."""
    by_name = {track.method: track for track in found}
    if method not in by_name:
        return ["No method has a result yet."]
    track, out = by_name[method], [_outcome(by_name[method])]
    others = [t for t in found if t.method not in (method, NO_REGISTRATION)]
    if others:
        best = max(others, key=lambda other: other.close)
        names = "The other method" if len(others) == 1 else f"The best of the {len(others)} others"
        out.append(f"{names}, {best.method}, had {best.close:.1%} within {CLOSE:g} px.")
    if method != NO_REGISTRATION and NO_REGISTRATION in by_name:
        share = by_name[NO_REGISTRATION].close
        out.append(f"Without any registration, {share:.1%} are within {CLOSE:g} px already.")
    if len({frozenset(other.cases) for other in found}) > 1:
        counts = ", ".join(f"{other.method} {len(other.cases)}" for other in found)
        out.append(
            "The methods have not all been given the same cases, so that their figures cannot be "
            f"compared: {counts}."
        )
    if len(track.cases) < 30:
        out.append(f"{len(track.cases)} cases are few: look at the intervals, not at the figures.")
    return out


def _outcome(track: Track) -> str:
    """How one method did over all its cases."""
    count, lost = len(track.cases), _unanswered(track)
    median = float(np.median(track.errors))
    within = [f"{(track.errors < limit).mean():.1%} within {limit:g} px" for limit in (CLOSE, 1)]
    half = f"median {median:.2f} px" if math.isfinite(median) else "median infinite"
    answers = f"{lost} had no answer" if lost else "every case had an answer"
    cases = "1 case" if count == 1 else f"{count} cases"
    return f"{track.method} was given {cases}: {', '.join(within)}, {half}; {answers}."


def _unanswered(track: Track) -> int:
    return sum(not math.isfinite(error) for error in track.errors)


def _views(
    cases: Sequence[Chosen], *, draw: Draw, side: int, others: Mapping[str, Score]
) -> list[CaseView]:
    return [
        CaseView(
            label=chosen.label,
            name=chosen.score.case,
            error=_pixels(chosen.score.error),
            other=_pixels(other.error) if other else "",
            unregistered=_pixels(chosen.score.unregistered_error),
            verdict=chosen.score.verdict,
            note=chosen.score.note,
            pictures=case_pictures(chosen.score, draw, side, other),
        )
        for chosen in cases
        for other in (others.get(chosen.score.case),)
    ]


def _is_of(cell: str, method: str) -> bool:
    """Whether a cell names a method or one of its stages."""
    return cell == method or cell.startswith(f"{method}: ")


def _pixels(error: float) -> str:
    return f"{error:.2f} px" if math.isfinite(error) else "no usable answer"
