"""Whether new weights are better than those they began with: figures on the same held-out cases."""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from sdme.config import Settings
from sdme.errors import InputError
from sdme.evaluate.bootstrap import Interval, percentile_interval
from sdme.evaluate.score import Score
from sdme.evaluate.summary import Sample

DECISIVE = "AUC@10"
Bounds = tuple[float | None, float | None]
Verdict = Literal["better", "unclear", "not better"]


class Change(Settings):
    """A figure before and after, and the difference, with 95 % intervals; infinite is ``None``."""

    figure: str
    before: float | None
    before_interval: Bounds
    after: float | None
    after_interval: Bounds
    difference: float | None
    difference_interval: Bounds


class Improvement(Settings):
    """What fine-tuning changed on ``cases`` drawn from the held-out ``pairs``.

    The verdict is ``better`` where the whole interval of the difference in AUC@10 is above 0,
    ``not better`` where the difference itself is not, and ``unclear`` in between.
    """

    cases: int
    pairs: int
    changes: tuple[Change, ...]
    verdict: Verdict

    @property
    def decisive(self) -> Change:
        """The figure that the verdict rests on."""
        return next(change for change in self.changes if change.figure == DECISIVE)

    @property
    def sentence(self) -> str:
        """The verdict in words, with the figures."""
        change = self.decisive
        low, high = change.difference_interval
        spread = "" if low is None else f", 95 % interval {low:+.3f} to {high:+.3f}"
        figures = (
            f"{DECISIVE} {change.before:.3f} before, {change.after:.3f} after "
            f"(difference {change.difference:+.3f}{spread}; "
            f"{self.cases} cases from {self.pairs} held-out pair(s))"
        )
        return {
            "better": f"Better on the held-out pairs: {figures}.",
            "unclear": f"Higher on the held-out pairs, which may be chance: {figures}.",
            "not better": f"NOT better on the held-out pairs, keep the start model: {figures}.",
        }[self.verdict]


def improvement(scores: Sequence[Score], before: str, after: str) -> Improvement:
    """Compare the last stages of two methods of one run, by their names, on their common cases.

    Raises:
        InputError: no case was run with both.
    """
    first, second = (
        {score.case: score for score in scores if score.method == method and score.is_final}
        for method in (before, after)
    )
    common = [case for case in first if case in second]
    if not common:
        raise InputError(f"no case was run with both {before} and {after}; evaluate again")
    clusters = [(first[case].dataset, first[case].pair) for case in common]
    old, new = (
        Sample([rows[case].error for case in common], clusters, "held-out pairs")
        for rows in (first, second)
    )
    changes = tuple(_changes(old, new))
    decisive = next(change for change in changes if change.figure == DECISIVE)
    return Improvement(
        cases=len(common), pairs=old.pairs, changes=changes, verdict=_verdict(decisive)
    )


def _changes(old: Sample, new: Sample) -> list[Change]:
    """The figures that have an interval; both samples see the same resamples of the pairs."""
    before, after = old.summary(), new.summary()
    values = {
        "PE<1": (before.below[1.0], after.below[1.0]),
        "PE<3": (before.below[3.0], after.below[3.0]),
        "AUC@10": (before.auc[10.0], after.auc[10.0]),
        "median": (before.median, after.median),
    }
    changes = []
    for figure, (first, second) in values.items():
        spread = Interval(math.nan, math.nan)
        finite = math.isfinite(first) and math.isfinite(second)
        if finite and old.pairs > 1:
            with np.errstate(invalid="ignore"):  # medians of resamples may both be infinite
                spread = percentile_interval(new.resampled[figure] - old.resampled[figure])
        changes.append(
            Change(
                figure=figure,
                before=_finite(first),
                before_interval=_bounds(before.intervals[figure]),
                after=_finite(second),
                after_interval=_bounds(after.intervals[figure]),
                difference=_finite(second - first) if finite else None,
                difference_interval=_bounds(spread),
            )
        )
    return changes


def _verdict(change: Change) -> Verdict:
    low = change.difference_interval[0]
    if change.difference is None or change.difference <= 0:
        return "not better"
    return "better" if low is not None and low > 0 else "unclear"


def _bounds(interval: Interval) -> Bounds:
    return _finite(interval.low), _finite(interval.high)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
