"""What the plots of an evaluation show, as numbers.

Every curve is over all the cases that a method was given, failures included (population ``all``).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from sdme.data.known_packs import PHOTO
from sdme.evaluate.figures import complete_stages, matchings, stages_of
from sdme.evaluate.metrics import MATCHING_THRESHOLDS
from sdme.evaluate.score import Score
from sdme.evaluate.summary import summarise_matching

CLOSE = 3.0
THRESHOLDS = np.geomspace(0.1, 32, 121)
_MOST_BINS, _LEAST_CASES = 6, 10

Values = Float64[np.ndarray, " n"]


@dataclass(frozen=True)
class Track:
    """One stage of one method over the cases that the method was given, in their order.

    ``errors`` are infinite where the stage has no answer. ``seconds`` are those of the stage, NaN
    where they are not known.
    """

    method: str
    stage: str
    is_final: bool
    cases: Sequence[str]
    errors: Values
    unregistered: Values
    seconds: Values

    @property
    def label(self) -> str:
        """The method's name, and the stage's where it is not the final one."""
        return self.method if self.is_final else f"{self.method}: {self.stage}"

    @property
    def close(self) -> float:
        """Share of the cases with an error below 3 px."""
        return float((self.errors < CLOSE).mean())


@dataclass(frozen=True)
class MotionCurve:
    """Errors of a track by how far the cases were from registered.

    Bin ``k`` holds ``counts[k]`` cases around the unregistered error ``motions[k]`` (their median).
    ``medians`` are those of the errors, infinite where half of the cases or more failed, ``close``
    the shares of cases with an error below 3 px. Figures of an empty bin are NaN.
    """

    motions: Values
    counts: Sequence[int]
    medians: Values
    close: Values


def is_photo(score: Score) -> bool:
    """Whether both pictures of the case come from one photo."""
    return score.group == PHOTO


def by_method(scores: Sequence[Score]) -> dict[str, list[Score]]:
    """Scores by method, in the order in which methods first appear."""
    out: dict[str, list[Score]] = {}
    for score in scores:
        out.setdefault(score.method, []).append(score)
    return out


def final_scores(scores: Sequence[Score]) -> list[Score]:
    """One score a method and case: that of the final stage."""
    return [score for score in scores if score.is_final]


def tracks(scores: Sequence[Score], with_stages: Sequence[str] = ()) -> list[Track]:
    """The final stage of every method, and the other stages of the methods ``with_stages``.

    A case on which a method left out a stage, as one that crashed does, is a failure of the stage.
    """
    return [
        Track(
            method=method,
            stage=stage,
            is_final=rows[0].is_final,
            cases=tuple(row.case for row in rows),
            errors=np.array([row.error for row in rows], np.float64),
            unregistered=np.array([row.unregistered_error for row in rows], np.float64),
            seconds=np.array([row.seconds for row in rows], np.float64),
        )
        for (method, stage), rows in stages_of(complete_stages(scores)).items()
        if rows[0].is_final or method in with_stages
    ]


def share_below(errors: Values, thresholds: Values) -> Values:
    """Share of the errors that are below each threshold."""
    return np.searchsorted(np.sort(errors), thresholds, side="left") / len(errors)


def motion_edges(unregistered: Values) -> Values:
    """Edges of up to six bins that hold equally many cases, at least ten each if there are two."""
    values = unregistered[np.isfinite(unregistered)]
    if not len(values):
        return np.zeros(0)
    bins = min(max(len(values) // _LEAST_CASES, 1), _MOST_BINS)
    return np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)))


def motion_curve(track: Track, edges: Values) -> MotionCurve:
    """A track by bins of the unregistered error; the last bin holds its upper edge, too."""
    inner = edges[1:-1]
    places = np.searchsorted(inner, track.unregistered, side="right")
    known = np.isfinite(track.unregistered)
    members = [known & (places == k) for k in range(len(inner) + 1)]

    def over_bins(values: Values) -> Values:
        return np.array([np.median(values[m]) if m.any() else np.nan for m in members])

    return MotionCurve(
        motions=over_bins(track.unregistered),
        counts=[int(m.sum()) for m in members],
        medians=over_bins(track.errors),
        close=np.array([(track.errors[m] < CLOSE).mean() if m.any() else np.nan for m in members]),
    )


def matching_accuracy(scores: Sequence[Score]) -> dict[str, dict[int, float]]:
    """Mean matching accuracy by method and threshold in px, for methods that match points.

    A case without a single match, or on which the method failed before it matched, counts as 0.
    Cases whose truth is landmarks tell nothing of matches and are left out.
    """
    known = matchings([score for score in scores if score.measure == "corners"])
    return {
        method: {k: found.accuracy[k].value for k in MATCHING_THRESHOLDS}
        for method, found in ((name, summarise_matching(each)) for name, each in known.items())
    }
