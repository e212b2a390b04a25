"""Fitting the confidence: from trials to the probability that an answer is right.

A logistic regression with a little ridge on a few figures (:mod:`sdme.config.calibration`). What is
reported of it is cross-validated: each set is judged by a fit on all others, so that the figures
tell of sensors and scenes that the fit has not seen.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from sdme.config import ROUGH, Calibration, Fit, Stages, Term
from sdme.errors import InputError
from sdme.evaluate.trials import Trial

OFFSETS: Mapping[str, float | None] = {
    "predicted_error": 0.1,
    "instability": 0.05,
    "likeness": None,
    "weight": 0.01,
    "match_distance": 0.05,
    "matches": 1.0,
    "inliers": 1.0,
    "inlier_share": 0.01,
    "agreement": None,
    "above_chance": None,
    "drift": 0.05,
    "residual_left": 0.01,
}
"""All figures that a fit may use, and what is added before the logarithm is taken, if it is."""
WRONG_ALIGNED, UNRELATED_ALIGNED = 0.02, 0.005
"""At most these shares of wrong answers and of unrelated pairs may be called aligned."""
_RIDGE, _TAIL, _MOST_STEPS = 1.0, 0.5, 100
_LEAST_OF_A_KIND = 20
_LIMITS = np.arange(0.5, 1.0, 0.01)


@dataclass(frozen=True)
class Reliability:
    """How good confidences are; shares are of all trials of that kind.

    ``calibration_error`` is the expected calibration error in ten bins of equal width, ``auroc``
    the probability that a right answer has a higher confidence than another one.
    ``wrong_aligned`` is the share of answers off by more than the limit that are called aligned,
    ``far_aligned`` of those off by more than three times as much, ``unrelated_aligned`` of pairs
    that show nothing in common, ``right_aligned`` of right answers.
    """

    trials: int
    right: int
    calibration_error: float
    auroc: float
    right_aligned: float
    wrong_aligned: float
    far_aligned: float
    unrelated_aligned: float


def fit_calibration(trials: Sequence[Trial]) -> Calibration:
    """A fit for every choice of stages among the trials, and the limit of what is called aligned.

    The limit is the lowest from 0.5 on, in hundredths, at which cross-validated confidences keep
    the shares of wrong answers and of unrelated pairs called aligned below half of what is allowed;
    0.99 where none does.

    Raises:
        InputError: fewer than 20 right or 20 other answers are among the trials of some stages.
    """
    fits: dict[Stages, Fit] = {}
    rough: dict[Stages, Fit] = {}
    judged = []
    for stages, members in by_stages(trials).items():
        fits[stages], rough[stages] = _fit(members), _fit(roughly(members))
        judged += with_confidence(members)
    return Calibration(fits=fits, rough=rough, aligned_above=lowest_limit(judged))


def roughly(trials: Sequence[Trial]) -> list[Trial]:
    """The same, being right within ``ROUGH`` times as much."""
    return [replace(trial, error=trial.error / ROUGH) for trial in trials]


def by_stages(trials: Sequence[Trial]) -> dict[Stages, list[Trial]]:
    """The trials of each choice of stages, in the order in which they first appear."""
    out: dict[Stages, list[Trial]] = {}
    for trial in trials:
        out.setdefault(trial.stages, []).append(trial)
    return out


def with_confidence(trials: Sequence[Trial]) -> list[Trial]:
    """The trials of one choice of stages with confidences of fits that left their sets out."""
    sets = dict.fromkeys(trial.dataset for trial in trials)
    if len(sets) < 2:
        raise InputError(
            f"all trials are of the set {next(iter(sets), '')}; give at least two sets, so that "
            "each can be judged by a fit on the others"
        )
    out: list[Trial] = []
    for dataset in sets:
        fit = _fit([trial for trial in trials if trial.dataset != dataset])
        out += [
            replace(trial, confidence=fit.confidence(trial.figures) if trial.figures else 0.0)
            for trial in trials
            if trial.dataset == dataset
        ]
    return out


def lowest_limit(judged: Sequence[Trial]) -> float:
    """The lowest limit that keeps to half of what may be called aligned wrongly."""
    for limit in _LIMITS:
        found = reliability(judged, float(limit))
        if (
            found.wrong_aligned <= WRONG_ALIGNED / 2
            and found.unrelated_aligned <= UNRELATED_ALIGNED / 2
        ):
            return round(float(limit), 2)
    return 0.99


def reliability(judged: Sequence[Trial], limit: float) -> Reliability:
    """Figures of trials that have confidences, if answers are called aligned from ``limit`` on."""
    p = np.array([trial.confidence for trial in judged], float)
    right = np.array([trial.is_right for trial in judged])
    error = np.array([trial.error for trial in judged])
    related = np.array([trial.is_related for trial in judged])
    aligned = p >= limit
    return Reliability(
        len(judged),
        int(right.sum()),
        calibration_error(p, right),
        auroc(p, right),
        _share(aligned, right),
        _share(aligned, related & ~right),
        _share(aligned, related & (error >= 3)),
        _share(aligned, ~related),
    )


def calibration_error(
    confidence: Float[np.ndarray, " n"], right: Bool[np.ndarray, " n"], bins: int = 10
) -> float:
    """Mean distance of the confidence from the share of right answers, over bins of equal width.

    Naeini et al., "Obtaining Well Calibrated Probabilities Using Bayesian Binning", 2015.
    """
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    gap = [
        abs(confidence[place == k].mean() - right[place == k].mean()) * (place == k).mean()
        for k in range(bins)
        if (place == k).any()
    ]
    return float(sum(gap))


def auroc(score: Float[np.ndarray, " n"], right: Bool[np.ndarray, " n"]) -> float:
    """Probability that a right one has a higher score than another one, ties counting half."""
    ordered = np.sort(score[~right])
    if not (len(ordered) and right.any()):
        return math.nan
    below = np.searchsorted(ordered, score[right], "left")
    upto = np.searchsorted(ordered, score[right], "right")
    return float((below + upto).mean() / 2 / len(ordered))


def _fit(trials: Sequence[Trial]) -> Fit:
    right = right_of(trials)
    if min(right.sum(), (1 - right).sum()) < _LEAST_OF_A_KIND:
        raise InputError(
            f"{int(right.sum())} of {len(trials)} answers are right; to tell right from wrong at "
            f"least {_LEAST_OF_A_KIND} of each are needed: give more pairs, or other ones"
        )
    trials = [trial for trial in trials if _is_told(trial)]
    if not trials:
        raise InputError("these trials tell no figures; give those of a model that answers")
    right = right_of(trials)
    known = set.intersection(*(set(trial.figures) for trial in trials))
    names = [name for name in OFFSETS if name in known]
    values = np.array([[_taken(t.figures[name], OFFSETS[name]) for name in names] for t in trials])
    low, high = np.percentile(values, (_TAIL, 100 - _TAIL), axis=0)
    values = np.clip(values, low, high)
    mean, scale = values.mean(0), values.std(0) + 1e-9
    intercept, *weights = logistic_regression((values - mean) / scale, right)
    rows = zip(names, low, high, mean, scale, weights, strict=True)
    terms = [
        Term(
            figure=name,
            log_offset=OFFSETS[name],
            **{k: float(v) for k, v in zip(_TERM, numbers, strict=True)},
        )
        for name, *numbers in rows
    ]
    return Fit(terms=tuple(terms), intercept=float(intercept))


def right_of(trials: Sequence[Trial]) -> Float[np.ndarray, " n"]:
    """1 of every right answer, 0 of all others."""
    return np.array([trial.is_right for trial in trials], float)


def _is_told(trial: Trial) -> bool:
    """Whether there are figures: blank images have none, and what is not finite teaches nothing."""
    return bool(trial.figures) and all(map(math.isfinite, trial.figures.values()))


_TERM = ("low", "high", "mean", "scale", "coefficient")


def logistic_regression(
    values: Float[np.ndarray, "n k"], right: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " k1"]:
    """Intercept and weights by Newton's method, with a ridge on the weights alone."""
    design = np.column_stack([np.ones(len(values)), values])
    ridge = _RIDGE * np.eye(design.shape[1])
    ridge[0, 0] = 0
    weights = np.zeros(design.shape[1])
    for _ in range(_MOST_STEPS):
        p = 1 / (1 + np.exp(-np.clip(design @ weights, -50, 50)))
        gradient = design.T @ (p - right) + ridge @ weights
        hessian = (design * (p * (1 - p))[:, None]).T @ design + ridge
        hessian[0, 0] += 1e-9
        step = np.linalg.solve(hessian, gradient)
        weights = weights - step
        if np.abs(step).max() < 1e-8:
            break
    return weights


def _taken(value: float, offset: float | None) -> float:
    return value if offset is None else math.log(max(value, 0.0) + offset)


def _share(chosen: Bool[np.ndarray, " n"], of: Bool[np.ndarray, " n"]) -> float:
    return float(chosen[of].mean()) if of.any() else 0.0
