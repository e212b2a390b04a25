"""The report of a run as Markdown, and its headline as a table for the terminal.

The two populations have sections of their own, and every table says in its first column which one
it shows.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sdme.data.known_packs import pack_info
from sdme.data.pairs import Problem
from sdme.evaluate.bootstrap import Interval
from sdme.evaluate.convergence import CONVERGED, START_ERRORS
from sdme.evaluate.figures import Figures, Line, Scope
from sdme.evaluate.metrics import CORRECT_WITHIN, MATCHING_THRESHOLDS
from sdme.evaluate.summary import AUC_LIMITS, CAP, THRESHOLDS, WITH_INTERVAL, Average, Summary

if TYPE_CHECKING:
    from rich.table import Table

_SHORT = (1.0, 3.0, 10.0)
_SHOWN_PROBLEMS = 20
_ALL, _PAPER = "population `all`", "population `paper`"
_HOW_TO_READ = f"""\
Errors are in pixels of the moving image. ACE is the mean distance of the fixed image's corners
under the estimate and the truth; where the truth is landmarks, it is their mean distance instead.
PE<k is the share of cases with an error below k px; PE<5 is the success rate. AUC@k is the area
under PE<t for t up to k px, over k. A failure is infinitely wrong and counts as a miss everywhere.
The capped mean takes {CAP:g} px for every larger error. Of several stages of a method the last one
listed is its answer."""
_NOT_COMPARABLE = """\
Not comparable with the tables above. The published benchmark averages only over the cases on which
a method's own final answer is better than no registration. Failures and the worst answers are left
out, and other ones for every method, so these figures are better than what a user gets, and do not
rank methods. Read them beside published figures, with the share of cases that is kept."""


def to_markdown(
    figures: Figures, facts: Mapping[str, Any] | None = None, problems: Iterable[Problem] = ()
) -> str:
    """The whole report: ``facts`` of the run, all tables, and what was left out or went wrong."""
    totals, datasets = figures.select("total"), figures.select("dataset")
    parts = ["# Evaluation", _bullets(facts or {}), "## All cases, failures included", _HOW_TO_READ]
    parts += [_coverage(figures)]
    for scope, lines in totals.items():
        parts += [f"### {_title(scope, lines)}", _full_table(lines, _ALL)]
    for scope, lines in figures.select("total", is_macro=True).items():
        parts += [f"### {scope.name}: macro average, every dataset counts the same"]
        parts += [_full_table(lines, _ALL)]
    parts += ["### Confidence: 95 % bootstrap intervals over pairs", _interval_table(figures)]
    for scope, lines in figures.select("group").items():
        parts += [f"### Group {_title(scope, lines)}", _full_table(lines, _ALL)]
    parts += ["### By dataset: PE<1 / PE<3 / PE<10 of the final answers", _short_table(datasets)]
    if any(pack_info(scope.name).is_misaligned for scope in datasets):
        parts += ["`*` pairs misaligned by 1.5 px or more themselves: read PE<3 and up."]
    parts += _matching_section(figures)
    parts += convergence_section(figures)
    parts += ["## Runtime and memory", _cost_table(figures)]
    parts += ["## Published convention (`paper`)", _NOT_COMPARABLE, _paper_table(figures)]
    parts += [*_crash_section(figures), *_problem_section(problems)]
    return "\n\n".join(part for part in parts if part) + "\n"


def headline(figures: Figures) -> "Table":
    """The figures of population ``all`` on the totals, for the terminal."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    title = "All cases, failures included"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, collapse_padding=True)
    table.add_column("method", overflow="fold")
    for name in ("failed", "PE<1", "PE<3", "PE<10", "AUC@10", "median", "ms"):
        table.add_column(name, justify="right", no_wrap=True)
    times = {(cost.method, cost.stage): cost.milliseconds for cost in figures.costs}
    for is_macro in (False, True):
        for scope, lines in figures.select("total", is_macro=is_macro).items():
            table.add_section()
            name = escape(_set_name(scope, is_macro))
            table.add_row(f"[bold]{name} ({_most(lines).cases})[/bold]")
            for line in lines:
                s = line.summary
                cells = [_share(s.below[k]) for k in _SHORT] + [_share(s.auc[10.0])]
                cells += [_pixels(s.median), _number(times[line.method, line.stage], ".0f")]
                table.add_row(escape(label_of(line)), str(s.failures), *cells)
    return table


def label_of(line: Line) -> str:
    """Name of a method's stage; the final stage of a method with one stage is the method itself."""
    if line.stage == line.method:
        return line.method
    return f"{line.method}: {line.stage}"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, columns padded so that it reads well as plain text."""
    rows = [[" ".join(cell.split()).replace("|", "\\|") for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]

    def text(cells: Sequence[str]) -> str:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        return f"| {' | '.join(padded)} |"

    return "\n".join([text(header), text(["-" * width for width in widths]), *map(text, rows)])


def _title(scope: Scope, lines: Sequence[Line]) -> str:
    most = _most(lines)
    sets = f"{len(scope.datasets)} dataset{'s' if len(scope.datasets) > 1 else ''}"
    return f"{scope.name} ({most.cases} cases from {most.pairs} pairs of {sets})"


def _most(lines: Sequence[Line]) -> Summary:
    """The figures over most cases: methods of an unfinished run may have fewer."""
    return max((line.summary for line in lines), key=lambda summary: summary.cases)


def _set_name(scope: Scope, is_macro: bool) -> str:
    return f"{scope.name}, macro" if is_macro else scope.name


def _coverage(figures: Figures) -> str:
    """Warnings on what is averaged."""
    told = []
    if not figures.has_equal_cases:
        told.append("**The methods were not run on the same cases: see the column of cases.**")
    if len(figures.measures) > 1:
        counts = ", ".join(f"{count} by {name}" for name, count in figures.measures.items())
        told.append(f"**Two kinds of errors are averaged here: {counts}.**")
    return " ".join(told)


def _full_table(lines: Sequence[Line], population: str) -> str:
    shares = [f"PE<{k:g}" for k in THRESHOLDS] + [f"AUC@{k:g}" for k in AUC_LIMITS]
    header = [population, "cases", "failed", *shares, "median", f"mean, capped at {CAP:g} px"]
    rows = []
    for line in lines:
        s = line.summary
        cells = [_share(s.below[k]) for k in THRESHOLDS] + [_share(s.auc[k]) for k in AUC_LIMITS]
        cells += [_pixels(s.median), _pixels(s.capped_mean)]
        rows.append([label_of(line), str(s.cases), str(s.failures), *cells])
    return markdown_table(header, rows)


def _interval_table(figures: Figures) -> str:
    rows = []
    for is_macro in (False, True):
        for scope, lines in figures.select("total", is_macro=is_macro).items():
            for line in lines:
                s = line.summary
                values = [s.below[1.0], s.below[3.0], s.auc[10.0]]
                bounds = [s.intervals[name] for name in WITH_INTERVAL]
                cells = [_between(v, i, _share) for v, i in zip(values, bounds, strict=False)]
                cells.append(_between(s.median, bounds[-1], _pixels))
                rows.append(
                    [f"{scope.name}{', macro' if is_macro else ''}", label_of(line)] + cells
                )
    return markdown_table(["set", _ALL, *WITH_INTERVAL], rows)


def _short_table(datasets: Mapping[Scope, Sequence[Line]]) -> str:
    final = {scope: [line for line in lines if line.is_final] for scope, lines in datasets.items()}
    methods = list(dict.fromkeys(line.method for lines in final.values() for line in lines))
    rows = []
    for scope, lines in final.items():
        below = {line.method: line.summary.below for line in lines}
        cells = [" / ".join(_share(below[name][k]) for k in _SHORT) for name in methods]
        cases = str(max(line.summary.cases for line in lines))
        star = "*" if pack_info(scope.name).is_misaligned else ""
        rows.append([scope.name + star, cases, *cells])
    return markdown_table(["dataset", "cases", *methods], rows)


def _matching_section(figures: Figures) -> list[str]:
    rows, curves = [], []
    for scope, methods in figures.matching.items():
        for method, m in methods.items() if scope.kind == "total" else ():
            shares = [m.repeatability, m.inlier_ratio, m.inlier_precision]
            counts = [_mean(m.keypoints, ".0f"), _mean(m.matches, ".0f")]
            rows.append([scope.name, method, *counts, *(_mean(s, ".3f") for s in shares)])
            curve = [_share(m.accuracy[k].value) for k in MATCHING_THRESHOLDS]
            curves.append([scope.name, method, str(m.accuracy[1].cases), *curve])
    if not rows:
        return []
    told = f"""\
Means over the cases that have a value; how many they are stands in brackets: a method that matches
only easy cases looks good here. Repeatability and inlier precision are within
{CORRECT_WITHIN:g} px."""
    shares = ["repeatability", "inlier ratio", "inlier precision"]
    first = markdown_table(["set", "method", "keypoints", "matches", *shares], rows)
    header = ["set", "method", "cases", *(f"MMA@{k}" for k in MATCHING_THRESHOLDS)]
    accuracy = "### Matching accuracy: share of the matches within k px of the truth (MMA@k)"
    return [
        "## Matching: keypoints and matches",
        told,
        first,
        accuracy,
        markdown_table(header, curves),
    ]


def convergence_section(figures: Figures) -> list[str]:
    """Refinement alone, over the totals, groups and datasets; nothing where no method has it.

    Of a single dataset there are no others.
    """
    rows, is_single = [], len({scope.datasets for scope in figures.convergence}) == 1
    for scope, methods in figures.convergence.items():
        if is_single and scope.kind != "dataset":  # its figures are those of the dataset
            continue
        for method, found in methods.items():
            starts = [found.reached[k] for k in START_ERRORS]
            shares = [" / ".join(_share(start[limit]) for limit in CONVERGED) for start in starts]
            drift = [_pixels(found.drift), _share(found.stays)]
            rows.append([f"{scope.kind} {scope.name}", method, str(found.cases), *drift, *shares])
    if not rows:
        return []
    limits = " and ".join(f"{limit:g}" for limit in CONVERGED)
    told = f"""\
Each case is refined from the truth and from homographies that send every corner so many pixels off
in a direction of its own, whatever the stages before it find. Drift is the median corner error that
refinement makes of the truth, px, and what stays is the share of cases in which that is below
{CONVERGED[0]:g} px. The other columns are the shares that end below {limits} px."""
    header = ["cases of", "method", "cases", "drift", "stays"]
    table = markdown_table([*header, *(f"from {k} px" for k in START_ERRORS)], rows)
    return ["## Refinement: whether it stays at the truth and finds there", told, table]


def _cost_table(figures: Figures) -> str:
    rows = []
    for c in figures.costs:
        label = c.method if c.stage == c.method else f"{c.method}: {c.stage}"
        time = _mean(Average(c.milliseconds, c.cases), ".1f")
        rows.append([label, time, _number(c.memory, ".0f")])
    return markdown_table(["method", "ms to the answer, median (cases)", "peak memory, MiB"], rows)


def _paper_table(figures: Figures) -> str:
    shares = [f"PE<{k:g}" for k in THRESHOLDS]
    header = ["set", _PAPER, "kept", *shares, "median", "mean ACE"]
    rows = []
    for scope, lines in figures.select("total", "paper").items():
        everything = figures.select("total", "all")[scope]
        for line, whole in zip(lines, everything, strict=True):
            s = line.summary
            cells = [_share(s.below[k]) for k in THRESHOLDS] + [_pixels(s.median), _pixels(s.mean)]
            kept = f"{s.cases} of {whole.summary.cases}"
            rows.append([scope.name, label_of(line), kept, *cells])
    return markdown_table(header, rows)


def _crash_section(figures: Figures) -> list[str]:
    if not figures.crashes:
        return []
    rows = [[c.method, f"{c.count} of {c.cases}", c.message, c.first] for c in figures.crashes]
    header = ["method", "cases", "message", "first on"]
    return ["## Crashes, hangs and refusals (counted as failures)", markdown_table(header, rows)]


def _problem_section(problems: Iterable[Problem]) -> list[str]:
    """What could not be used, by reason."""
    reasons: dict[str, list[str]] = {}
    for problem in problems:
        reasons.setdefault(problem.why, []).append(problem.where)
    if not reasons:
        return []
    count = sum(len(where) for where in reasons.values())
    parts = ["## Left out", f"Not used, and in no figure: {count}."]
    for why, where in sorted(reasons.items(), key=lambda item: -len(item[1])):
        more = len(where) - _SHOWN_PROBLEMS
        names = [f"- {name}" for name in where[:_SHOWN_PROBLEMS]]
        names += [f"- and {more} more"] if more > 0 else []
        parts.append("\n".join([f"{len(where)} × {why}:", "", *names]))
    return parts


def _bullets(facts: Mapping[str, Any]) -> str:
    return "\n".join(f"- {name}: {' '.join(str(value).split())}" for name, value in facts.items())


def _number(value: float, form: str) -> str:
    return "-" if math.isnan(value) else format(value, form)


def _share(value: float) -> str:
    return _number(value, ".3f")


def _pixels(value: float) -> str:
    return _number(value, ".2f")


def _mean(average: Average, form: str) -> str:
    return "-" if math.isnan(average.value) else f"{average.value:{form}} ({average.cases})"


def _between(value: float, interval: Interval, form: Any) -> str:
    if math.isnan(interval.low):
        return form(value)
    return f"{form(value)} [{form(interval.low)}, {form(interval.high)}]"
