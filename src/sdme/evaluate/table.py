"""Figures of an evaluation as Markdown and as plain data."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from sdme.data.known_packs import pack_info
from sdme.evaluate.answers import CROSS_MODAL, EVERYTHING, Answer, by_stage, sets_of
from sdme.evaluate.metrics import THRESHOLDS, Summary, beats_no_registration, summarise

_SHORT = (1.0, 3.0, 10.0)
_TITLES = {
    "all": "All pairs, failures included",
    "paper": "Published convention: only pairs on which the final answer beats no registration",
}


def summaries(answers: Sequence[Answer]) -> dict[str, Summary]:
    """Figures of one stage over one set: populations ``all`` and ``paper``."""
    errors = [answer.error for answer in answers]
    keep = beats_no_registration(
        [answer.final_error for answer in answers],
        [answer.unregistered_error for answer in answers],
    )
    kept = [error for error, kept in zip(errors, keep, strict=True) if kept]
    return {"all": summarise(errors), "paper": summarise(kept)}


def to_data(answers: Iterable[Answer]) -> dict[str, Any]:
    """Every figure by set, stage and population, fit for JSON (what is not finite is ``None``)."""
    return {
        name: {
            stage: {
                **{k: _summary_data(v) for k, v in summaries(rows).items()},
                "milliseconds": _finite(1000 * sum(r.seconds for r in rows) / len(rows)),
                "raised": sum(bool(r.note) for r in rows),
            }
            for stage, rows in by_stage(members).items()
        }
        for name, members in sets_of(answers).items()
    }


def to_markdown(answers: Iterable[Answer]) -> str:
    """The whole report: totals and groups in full, packs in short, then the published convention.

    A star marks packs whose own pairs are misaligned by 1.5 px or more.
    """
    sets = sets_of(answers)
    totals = {k: v for k, v in sets.items() if k in (CROSS_MODAL, EVERYTHING)}
    groups = {k: v for k, v in sets.items() if k.startswith("group ")}
    packs = {k: v for k, v in sets.items() if k not in totals and k not in groups}
    parts = [f"## {_TITLES['all']}", _full_table({**totals, **groups}, "all")]
    parts += ["### By pack: PE<1 / PE<3 / PE<10", _short_table(packs)]
    parts += ["`*` pairs misaligned by 1.5 px or more themselves: read PE<3 and up."]
    parts += [f"## {_TITLES['paper']}", _full_table({**totals, **groups}, "paper")]
    return "\n\n".join(parts) + "\n"


def _full_table(sets: dict[str, list[Answer]], population: str) -> str:
    shares = [f"PE<{k:g}" for k in THRESHOLDS]
    header = ["set", "method", "pairs", "failed", *shares, "AUC@10", "median", "mean ACE"]
    rows = []
    for name, members in sets.items():
        for stage, answers in by_stage(members).items():
            figures = summaries(answers)[population]
            cells = [str(figures.pairs), str(figures.failures)]
            cells += [_share(figures.below[k]) for k in THRESHOLDS] + [_share(figures.auc)]
            rows.append([name, stage, *cells, _pixels(figures.median), _pixels(figures.mean)])
    return markdown_table(header, rows)


def _short_table(sets: dict[str, list[Answer]]) -> str:
    stages = list(dict.fromkeys(stage for members in sets.values() for stage in by_stage(members)))
    rows = []
    for name, members in sets.items():
        info, cells = pack_info(name), []
        for stage in stages:
            answers = by_stage(members).get(stage, [])
            below = summarise([answer.error for answer in answers]).below
            cells.append(" / ".join(_share(below[k]) for k in _SHORT))
        starred = f"{name}*" if info.is_misaligned else name
        rows.append([starred, info.group, str(len(members) // len(by_stage(members))), *cells])
    return markdown_table(["pack", "group", "pairs", *stages], rows)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, columns padded so that it reads well as plain text."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        return f"| {' | '.join(padded)} |"

    return "\n".join([line(header), line(["-" * width for width in widths]), *map(line, rows)])


def _share(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def _pixels(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _summary_data(summary: Summary) -> dict[str, Any]:
    return {
        "pairs": summary.pairs,
        "failures": summary.failures,
        "below": {f"{k:g}": _finite(v) for k, v in summary.below.items()},
        "mean": _finite(summary.mean),
        "median": _finite(summary.median),
        "auc": _finite(summary.auc),
    }
