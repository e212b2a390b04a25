"""Percentile bootstrap over pairs: how far a figure could be off with other pairs of the kind.

Several cases drawn from one pair are not independent, so whole pairs are drawn again (a cluster
bootstrap; Davison and Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8).
Draws follow from the name of the set and the number of its pairs: two methods on the same cases
see the same ones.
"""

import math
import zlib
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int32

RESAMPLES = 1000
LEVEL = 0.95
_BLOCK = 4_000_000  # numbers at a time in the resampled medians

Vector = Float64[np.ndarray, " n"]


@dataclass(frozen=True)
class Interval:
    """Bounds that hold the middle 95 % of the resampled figures; NaN where there are none."""

    low: float
    high: float


class Resampling:
    """Resampled figures of one set of cases; ``clusters`` names the pair of each case."""

    def __init__(self, clusters: Sequence[Hashable], name: str) -> None:
        places = {cluster: place for place, cluster in enumerate(dict.fromkeys(clusters))}
        self._cluster = np.array([places[cluster] for cluster in clusters], dtype=np.int64)
        self._counts = _draws(len(places), name)
        self._totals = self._counts @ np.bincount(self._cluster, minlength=len(places))
        self.clusters = len(places)

    def mean(self, values: Vector) -> Vector:
        """The mean of the values in every resample; they must be finite."""
        sums = np.bincount(self._cluster, weights=values, minlength=self.clusters)
        return self._counts @ sums / self._totals

    def median(self, values: Vector) -> Vector:
        """The median of the values in every resample; they may be infinite."""
        order = np.argsort(values)
        ranked, cluster = values[order], self._cluster[order]
        blocks = max(1, math.ceil(len(self._counts) * len(values) / _BLOCK))
        out = []
        for counts in np.array_split(self._counts, blocks):
            reached = np.cumsum(counts[:, cluster], axis=1)
            total = reached[:, -1:]
            low = ranked[(reached >= (total + 1) // 2).argmax(axis=1)]
            high = ranked[(reached >= total // 2 + 1).argmax(axis=1)]
            out.append((low + high) / 2)
        return np.concatenate(out)


def percentile_interval(resampled: Vector) -> Interval:
    """Bounds of the middle share of the values, which may be infinite; NaN ones are left out."""
    ranked = np.sort(resampled[~np.isnan(resampled)])
    if not len(ranked):
        return Interval(math.nan, math.nan)
    skipped = int((1 - LEVEL) / 2 * len(ranked))
    return Interval(float(ranked[skipped]), float(ranked[-1 - skipped]))


def _draws(clusters: int, name: str) -> Int32[np.ndarray, "resamples clusters"]:
    """How often each cluster is drawn in each resample."""
    rng = np.random.default_rng([zlib.crc32(name.encode()), clusters])
    drawn = rng.integers(clusters, size=(RESAMPLES, clusters))
    drawn += np.arange(RESAMPLES)[:, None] * clusters
    flat = np.bincount(drawn.ravel(), minlength=RESAMPLES * clusters)
    return flat.reshape(RESAMPLES, clusters).astype(np.int32)
