"""What is reported of many errors: shares below thresholds, areas, averages and their intervals.

Two populations are kept apart by name and never mixed. ``all``: every case, a failure counting as
an infinite error; this is what methods are judged by. ``paper``: only the cases on which the
method's final answer is better than no registration, as in the published benchmark (METHOD section
4); it differs from method to method, so its figures are comparable with the published ones alone.
"""

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64

from sdme.evaluate.bootstrap import Interval, Resampling, percentile_interval
from sdme.evaluate.metrics import MATCHING_THRESHOLDS
from sdme.evaluate.score import MatchingScore, Score

THRESHOLDS = (0.5, 1.0, 3.0, 5.0, 10.0, 20.0)
AUC_LIMITS = (3.0, 5.0, 10.0)
SUCCESS_BELOW = 5.0
CAP = 20.0
WITH_INTERVAL = ("PE<1", "PE<3", "AUC@10", "median")

Population = Literal["all", "paper"]
POPULATIONS: tuple[Population, ...] = ("all", "paper")


@dataclass(frozen=True)
class Summary:
    """Figures of one method's stage on one set of cases.

    ``cases`` are drawn from ``pairs`` of ``datasets``; ``failures`` counts the cases without a
    finite error and ``answered`` is the share of the others. ``below[k]`` is PE<k, the share of
    cases with an error below k px. ``auc[k]`` is the area under the curve of PE<t for t from 0 to
    k px, over k: of that step curve itself, with no interpolation. ``mean`` is infinite where a
    case failed; ``capped_mean`` is the mean of ``min(error, 20 px)``. ``intervals`` are the 95 %
    bootstrap intervals of the figures named in ``WITH_INTERVAL``, NaN where a dataset is a single
    pair. All but the counts are NaN for no cases.
    """

    cases: int
    pairs: int
    datasets: int
    failures: int
    answered: float
    below: dict[float, float]
    auc: dict[float, float]
    median: float
    mean: float
    capped_mean: float
    intervals: dict[str, Interval]

    @property
    def success(self) -> float:
        """The success rate: the share of all cases with an error below 5 px.

        It is PE<5, the loosest of the thresholds 1, 3 and 5 px for a correct homography (DeTone et
        al., "SuperPoint", 2018, section 7), and what the verdict on a result is measured against.
        """
        return self.below[SUCCESS_BELOW]


class Sample:
    """Errors of one method's stage on a set of cases, with their resampled figures.

    ``clusters`` names the pair of each case, first its dataset; ``name`` is that of the set.
    """

    def __init__(
        self, errors: Sequence[float], clusters: Sequence[tuple[Hashable, Hashable]], name: str = ""
    ) -> None:
        self.errors = np.asarray(errors, dtype=np.float64)
        if np.isnan(self.errors).any() or (self.errors < 0).any():
            raise ValueError("errors must not be negative or NaN; a failure is infinite")
        self.datasets = len({dataset for dataset, _ in clusters})
        self.pairs = len(set(clusters))
        self.resampled: dict[str, Float64[np.ndarray, " resamples"]] = {}
        if len(self.errors):
            self._resample(Resampling(clusters, name))

    def summary(self) -> Summary:
        """The figures over these cases, each counting the same."""
        errors = self.errors
        if not len(errors):
            return _empty()
        areas = {k: float(_areas(errors, k).mean()) for k in AUC_LIMITS}
        return Summary(
            cases=len(errors),
            pairs=self.pairs,
            datasets=self.datasets,
            failures=int(np.isinf(errors).sum()),
            answered=float(np.isfinite(errors).mean()),
            below={k: float((errors < k).mean()) for k in THRESHOLDS},
            auc=areas,
            median=float(np.median(errors)),
            mean=float(errors.mean()),
            capped_mean=float(np.minimum(errors, CAP).mean()),
            intervals=_intervals([self]),
        )

    def _resample(self, resampling: Resampling) -> None:
        self.resampled = {
            "PE<1": resampling.mean((self.errors < 1).astype(np.float64)),
            "PE<3": resampling.mean((self.errors < 3).astype(np.float64)),
            "AUC@10": resampling.mean(_areas(self.errors, 10)),
            "median": resampling.median(self.errors),
        }


def summarise(
    errors: Sequence[float], clusters: Sequence[tuple[Hashable, Hashable]] | None = None
) -> Summary:
    """Figures over the errors given, infinite ones included; each is a pair if none are named."""
    return Sample(errors, clusters or [("", place) for place in range(len(errors))]).summary()


def macro_summary(samples: Iterable[Sample]) -> Summary:
    """The mean of the figures of several datasets: each counts the same, however many its cases.

    Datasets without a case are left out, and ``datasets`` counts the others. ``median`` is the mean
    of their medians.
    """
    parts = [sample for sample in samples if len(sample.errors)]
    if not parts:
        return _empty()
    each = [part.summary() for part in parts]

    def mean(values: Iterable[float]) -> float:
        return float(np.mean(list(values)))

    return Summary(
        cases=sum(s.cases for s in each),
        pairs=sum(s.pairs for s in each),
        datasets=sum(s.datasets for s in each),
        failures=sum(s.failures for s in each),
        answered=mean(s.answered for s in each),
        below={k: mean(s.below[k] for s in each) for k in THRESHOLDS},
        auc={k: mean(s.auc[k] for s in each) for k in AUC_LIMITS},
        median=mean(s.median for s in each),
        mean=mean(s.mean for s in each),
        capped_mean=mean(s.capped_mean for s in each),
        intervals=_intervals(parts),
    )


def in_population(score: Score, population: Population) -> bool:
    """Whether a case counts.

    In ``paper`` it does where the method's final answer is better than no registration, whichever
    stage's figures are asked for.
    """
    return population == "all" or score.final_error < score.unregistered_error


@dataclass(frozen=True)
class Average:
    """A mean over the ``cases`` that have a value; NaN if there are none."""

    value: float
    cases: int


@dataclass(frozen=True)
class MatchingSummary:
    """Means of :class:`sdme.evaluate.score.MatchingScore` over the cases that have a value.

    ``accuracy[k]`` is the mean matching accuracy (MMA) at k px; a case without matches counts as 0.
    """

    keypoints: Average
    matches: Average
    accuracy: dict[int, Average]
    inlier_ratio: Average
    inlier_precision: Average
    repeatability: Average


def summarise_matching(scores: Iterable[MatchingScore]) -> MatchingSummary:
    """Means over cases, each counting the same."""
    scores = list(scores)
    return MatchingSummary(
        keypoints=_average(s.keypoints for s in scores),
        matches=_average(s.matches for s in scores),
        accuracy={k: _average(s.accuracy[k] for s in scores) for k in MATCHING_THRESHOLDS},
        inlier_ratio=_average(s.inlier_ratio for s in scores),
        inlier_precision=_average(s.inlier_precision for s in scores),
        repeatability=_average(s.repeatability for s in scores),
    )


def _average(values: Iterable[float]) -> Average:
    known = [value for value in values if not math.isnan(value)]
    return Average(float(np.mean(known)) if known else math.nan, len(known))


def _intervals(parts: Sequence[Sample]) -> dict[str, Interval]:
    """Intervals of the mean over samples; NaN where one is a single pair, which does not vary."""
    if any(part.pairs < 2 for part in parts):
        return dict.fromkeys(WITH_INTERVAL, Interval(math.nan, math.nan))
    return {
        name: percentile_interval(np.mean([part.resampled[name] for part in parts], axis=0))
        for name in WITH_INTERVAL
    }


def _areas(errors: Float64[np.ndarray, " n"], limit: float) -> Float64[np.ndarray, " n"]:
    """Share of the thresholds from 0 to the limit that each error is below."""
    return np.clip(1 - errors / limit, 0, None)


def _empty() -> Summary:
    none = math.nan
    return Summary(
        cases=0,
        pairs=0,
        datasets=0,
        failures=0,
        answered=none,
        below=dict.fromkeys(THRESHOLDS, none),
        auc=dict.fromkeys(AUC_LIMITS, none),
        median=none,
        mean=none,
        capped_mean=none,
        intervals=dict.fromkeys(WITH_INTERVAL, Interval(none, none)),
    )
