"""Corner errors and what is reported of them (METHOD section 4).

Two populations are kept apart by name. ``all``: every pair, a failure counting as an infinite
error; this is what methods are judged by. ``paper``: only the pairs on which the method's final
answer is better than no registration, as in the published benchmark.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64

THRESHOLDS = (0.5, 1.0, 3.0, 5.0, 10.0, 20.0)
AUC_LIMIT = 10.0


@dataclass(frozen=True)
class Summary:
    """Figures of one method on one set of pairs.

    ``pairs`` counts the pairs of the population and ``failures`` those of them without a finite
    answer. ``below[k]`` is PE<k, the share of pairs with ACE < k px. ``mean`` is infinite where a
    pair failed. ``auc`` is the area under the curve of PE<k for k up to 10 px, over 10 px. All but
    the counts are NaN for an empty population.
    """

    pairs: int
    failures: int
    below: dict[float, float]
    mean: float
    median: float
    auc: float


def corner_error(
    estimate: Float64[np.ndarray, "3 3"] | None,
    truth: Float64[np.ndarray, "3 3"],
    fixed_size: tuple[int, int],
) -> float:
    """Mean distance of the fixed image's corners under both maps, in moving pixels (ACE).

    Infinite for no estimate, one that is not finite, and one that sends a corner to or beyond its
    horizon. ``fixed_size`` is ``(width, height)``.
    """
    if estimate is None or not np.isfinite(estimate).all():
        return math.inf
    right, bottom = fixed_size[0] - 1, fixed_size[1] - 1
    square = np.array([[0, 0], [right, 0], [right, bottom], [0, bottom]], dtype=np.float64)
    gap = _project(np.asarray(estimate, np.float64), square) - _project(truth, square)
    error = float(np.linalg.norm(gap, axis=-1).mean())
    return error if math.isfinite(error) else math.inf


def summarise(errors: Sequence[float] | np.ndarray) -> Summary:
    """Figures over all the errors given, infinite ones included."""
    values = np.asarray(errors, dtype=np.float64)
    if np.isnan(values).any() or (values < 0).any():
        raise ValueError("corner errors must not be negative or NaN; a failure is infinite")
    if not len(values):
        nan = math.nan
        return Summary(0, 0, dict.fromkeys(THRESHOLDS, nan), nan, nan, nan)
    return Summary(
        pairs=len(values),
        failures=int(np.isinf(values).sum()),
        below={k: float((values < k).mean()) for k in THRESHOLDS},
        mean=float(values.mean()),
        median=_median(values),
        auc=float(np.clip(1 - values / AUC_LIMIT, 0, None).mean()),
    )


def beats_no_registration(
    final: Sequence[float] | np.ndarray, unregistered: Sequence[float] | np.ndarray
) -> Bool[np.ndarray, " n"]:
    """The population ``paper``: pairs whose final error is below that of no registration.

    For a method of several stages, ``final`` is the last stage's error, also when the figures of
    an earlier stage are asked for.
    """
    return np.asarray(final, np.float64) < np.asarray(unregistered, np.float64)


def _project(H: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Images of the points; NaN where they are on or beyond the horizon, seen from the first."""
    mapped = points @ H[:, :2].T + H[:, 2]
    depth = mapped[:, 2:] * np.sign(mapped[0, 2])
    with np.errstate(invalid="ignore"):
        return mapped[:, :2] * np.sign(mapped[0, 2]) / np.where(depth > 0, depth, np.nan)


def _median(values: np.ndarray) -> float:
    """The median, where the mean of a finite and an infinite middle value is infinite."""
    low, high = np.sort(values)[[(len(values) - 1) // 2, len(values) // 2]]
    return float(low + (high - low) / 2) if math.isfinite(high) else float(high)
