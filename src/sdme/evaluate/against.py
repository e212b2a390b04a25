"""Two runs on the same cases, side by side: which cases were won, and which were lost."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from sdme.errors import InputError
from sdme.evaluate.bootstrap import Interval, Resampling, percentile_interval
from sdme.evaluate.figures import complete_stages
from sdme.evaluate.score import Score
from sdme.evaluate.summary import CAP
from sdme.evaluate.table import markdown_table

THRESHOLDS = (1.0, 3.0, 5.0)
LISTED = 10

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class ScoredRun:
    """The scores of a run under a name; ``settings`` decide its cases (protocol, seed, ...)."""

    name: str
    scores: Sequence[Score]
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Tally:
    """Cases at one threshold: ``won`` are those below it for the first side alone.

    ``difference`` is PE<k of the first side less that of the second one, over the common cases,
    with its 95 % bootstrap interval over pairs; it is NaN for a single pair.
    """

    won: int
    lost: int
    both: int
    neither: int
    difference: float
    interval: Interval

    @property
    def tied(self) -> int:
        """Cases on which both are right, or neither is."""
        return self.both + self.neither


@dataclass(frozen=True)
class Gap:
    """Errors of both sides on one case; ``gain`` is how much smaller the first is, px, capped."""

    case: str
    ours: float
    theirs: float

    @property
    def gain(self) -> float:
        """Positive where the first side is better; errors above 20 px count as 20 px."""
        return min(self.theirs, CAP) - min(self.ours, CAP)


@dataclass(frozen=True)
class Comparison:
    """One stage of a method of the first run against one of the second run.

    ``only_ours`` and ``only_theirs`` count the cases that one side alone has; they are in no other
    figure. ``most_won`` and ``most_lost`` are the cases with the largest gains and losses.
    """

    ours: str
    theirs: str
    cases: int
    only_ours: int
    only_theirs: int
    tallies: dict[float, Tally]
    most_won: tuple[Gap, ...]
    most_lost: tuple[Gap, ...]


def compare_runs(
    ours: ScoredRun, theirs: ScoredRun, methods: Iterable[tuple[str, str]] | None = None
) -> list[Comparison]:
    """Compare methods of two runs, case by case.

    ``methods`` are pairs of a method of the first run and one of the second; ``method:stage``
    names another stage than the last. By default every method of both runs is compared with
    itself or, where there is none and each run has one method, these two.

    Raises:
        InputError: the runs have other settings or other cases under the same names, no case in
            common, or no such method.
    """
    compare_settings(ours, theirs)
    our_scores, their_scores = complete_stages(ours.scores), complete_stages(theirs.scores)
    chosen = list(methods) if methods is not None else _default_methods(ours, theirs)
    return [
        _compare(
            (f"{ours.name}: {first}", _chosen(our_scores, first, ours.name)),
            (f"{theirs.name}: {second}", _chosen(their_scores, second, theirs.name)),
        )
        for first, second in chosen
    ]


def compare_settings(ours: ScoredRun, theirs: ScoredRun) -> None:
    """Check that two runs draw the same cases from the same data.

    Raises:
        InputError: they have other settings.
    """
    for key in sorted({*ours.settings, *theirs.settings}):
        first, second = ours.settings.get(key), theirs.settings.get(key)
        if first != second:
            raise InputError(
                f"the runs cannot be compared: {key} is {first} in {ours.name} and {second} in "
                f"{theirs.name}; evaluate both with the same settings"
            )


def to_markdown(comparisons: Sequence[Comparison]) -> str:
    """A section a comparison, under one heading."""
    return "\n\n".join(["# Comparison", *map(_section, comparisons)]) + "\n"


def headline(comparisons: Sequence[Comparison]) -> "Table":
    """Cases won and lost, for the terminal."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="Cases won and lost", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("first against second", overflow="fold")
    for name in ("below", "won", "lost", "PE difference"):
        table.add_column(name, justify="right", no_wrap=True)
    for c in comparisons:
        name = f"{c.ours} against {c.theirs} ({c.cases})"
        for k, tally in c.tallies.items():
            counts = str(tally.won), str(tally.lost), f"{tally.difference:+.3f}"
            table.add_row(escape(name), f"{k:g} px", *counts)
            name = ""
    return table


def _default_methods(ours: ScoredRun, theirs: ScoredRun) -> list[tuple[str, str]]:
    first = list(dict.fromkeys(score.method for score in ours.scores))
    second = list(dict.fromkeys(score.method for score in theirs.scores))
    common = [name for name in first if name in second]
    if common:
        return [(name, name) for name in common]
    if len(first) == 1:
        return [(first[0], name) for name in second]
    raise InputError(
        f"no method is in both runs: {ours.name} has {', '.join(first) or 'none'} and "
        f"{theirs.name} has {', '.join(second) or 'none'}; say which two to compare"
    )


def _chosen(scores: Sequence[Score], wanted: str, run: str) -> dict[str, Score]:
    """Scores of a method's last stage, or of the stage that is named, by case."""
    found = {score.case: score for score in scores if score.method == wanted and score.is_final}
    if not found:
        method, _, stage = wanted.rpartition(":")
        found = {s.case: s for s in scores if (s.method, s.stage) == (method, stage)}
    if not found:
        names = dict.fromkeys(f"{score.method}:{score.stage}" for score in scores)
        raise InputError(f"{run} has no method {wanted}; it has {', '.join(names) or 'none'}")
    return found


def _compare(
    first: tuple[str, dict[str, Score]], second: tuple[str, dict[str, Score]]
) -> Comparison:
    (our_name, ours), (their_name, theirs) = first, second
    common = [case for case in ours if case in theirs]
    if not common:
        raise InputError(
            f"{our_name} and {their_name} have no case in common; evaluate both on the same data"
        )
    for case in common:
        _check_same(ours[case], theirs[case])
    resampling = Resampling([(ours[case].dataset, ours[case].pair) for case in common], "against")
    gaps = [Gap(case, ours[case].error, theirs[case].error) for case in common]
    by_gain = sorted(gaps, key=lambda gap: -gap.gain)
    return Comparison(
        ours=our_name,
        theirs=their_name,
        cases=len(common),
        only_ours=len(ours) - len(common),
        only_theirs=len(theirs) - len(common),
        tallies={k: _tally(gaps, k, resampling) for k in THRESHOLDS},
        most_won=tuple(gap for gap in by_gain[:LISTED] if gap.gain > 0),
        most_lost=tuple(gap for gap in by_gain[::-1][:LISTED] if gap.gain < 0),
    )


def _check_same(ours: Score, theirs: Score) -> None:
    """Cases of one name were drawn alike: they are as far from registered, of one size and side."""
    is_same = math.isclose(ours.unregistered_error, theirs.unregistered_error, rel_tol=1e-6)
    named = (ours.size, ours.fixed_side, ours.measure)
    if not is_same or named != (theirs.size, theirs.fixed_side, theirs.measure):
        raise InputError(
            f"the runs drew different cases under one name, {ours.case} first; evaluate both with "
            "the same protocol, seed and data"
        )


def _tally(gaps: Sequence[Gap], k: float, resampling: Resampling) -> Tally:
    ours, theirs = (
        np.array([getattr(gap, side) < k for gap in gaps]) for side in ("ours", "theirs")
    )
    difference = ours.astype(np.float64) - theirs
    bounds = Interval(math.nan, math.nan)
    if resampling.clusters > 1:
        bounds = percentile_interval(resampling.mean(difference))
    return Tally(
        won=int((ours & ~theirs).sum()),
        lost=int((theirs & ~ours).sum()),
        both=int((ours & theirs).sum()),
        neither=int((~ours & ~theirs).sum()),
        difference=float(difference.mean()),
        interval=bounds,
    )


def _section(comparison: Comparison) -> str:
    c = comparison
    parts = [f"## {c.ours} against {c.theirs}"]
    parts.append(
        f"{c.cases} common cases, failures included; {c.only_ours} only in the first and "
        f"{c.only_theirs} only in the second are left out. Won: below the threshold for the first "
        "alone. The interval is of 95 %, by bootstrap over pairs."
    )
    rows = []
    for k, tally in c.tallies.items():
        bounds = tally.interval
        between = "-" if math.isnan(bounds.low) else f"{bounds.low:+.3f} to {bounds.high:+.3f}"
        counts = [str(n) for n in (tally.won, tally.lost, tally.both, tally.neither)]
        rows.append([f"{k:g} px", *counts, f"{tally.difference:+.3f}", between])
    header = ["threshold", "won", "lost", "both right", "both wrong", "PE difference", "interval"]
    parts.append(markdown_table(header, rows))
    for title, gaps in (("Most won", c.most_won), ("Most lost", c.most_lost)):
        if gaps:
            lines = [[gap.case, f"{gap.ours:.2f}", f"{gap.theirs:.2f}"] for gap in gaps]
            parts += [f"### {title}", markdown_table(["case", "first, px", "second, px"], lines)]
    return "\n\n".join(parts)
