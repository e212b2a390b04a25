import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdme.evaluate.bootstrap import RESAMPLES, Resampling, _draws, percentile_interval

ERRORS = st.lists(
    st.tuples(st.integers(0, 5), st.one_of(st.floats(0, 50), st.just(math.inf))),
    min_size=1,
    max_size=30,
)


@settings(max_examples=30, deadline=None)
@given(ERRORS)
def test_resampled_figures_are_those_of_the_cases_written_out(pairs):
    """Every resample holds each case as often as its pair was drawn."""
    clusters, errors = [pair for pair, _ in pairs], np.array([error for _, error in pairs])
    resampling = Resampling(clusters, "set")
    medians = resampling.median(errors)
    shares = resampling.mean((errors < 3).astype(float))
    places = {cluster: place for place, cluster in enumerate(dict.fromkeys(clusters))}
    counts = _draws(len(places), "set")
    for i in range(0, RESAMPLES, 97):
        written_out = np.repeat(errors, [counts[i, places[c]] for c in clusters])
        assert medians[i] == pytest.approx(np.median(written_out))
        assert shares[i] == pytest.approx((written_out < 3).mean())


def test_as_many_pairs_are_drawn_as_there_are_each_as_likely():
    counts = _draws(40, "set")
    assert (counts.sum(axis=1) == 40).all()
    # the sum of 1000 draws of a binomial of mean 1 has a standard deviation of about 31
    assert np.abs(counts.sum(axis=0) - RESAMPLES).max() < 5 * 31
    assert (counts == _draws(40, "set")).all()
    assert (counts != _draws(40, "other")).any()


def test_percentiles_of_known_values():
    """Of 0 .. 999, 2.5 % or 25 values are cut off at either end."""
    found = percentile_interval(np.random.default_rng(0).permutation(1000).astype(float))
    assert (found.low, found.high) == (25, 974)
    mostly_failed = np.array([1.0] * 500 + [math.inf] * 500)
    assert percentile_interval(mostly_failed).high == math.inf
    assert math.isnan(percentile_interval(np.array([])).low)


def test_coverage_of_the_truth():
    """60 pairs of 5 cases that all succeed or all fail, 40 % of them: nominal 95 % intervals hold
    the truth in about 95 % of 300 experiments when pairs are drawn. Cases taken for independent
    give intervals sqrt(5) times too narrow, which hold it in about P(|z| < 1.96 / 2.24) = 62 %.
    """
    rng = np.random.default_rng(1)
    clusters = [pair for pair in range(60) for _ in range(5)]
    by_pair, by_case = Resampling(clusters, "pairs"), Resampling(range(300), "cases")

    def holds(resampling, hits):
        found = percentile_interval(resampling.mean(hits))
        return found.low <= 0.4 <= found.high

    trials = [np.repeat(rng.random(60) < 0.4, 5).astype(float) for _ in range(300)]
    assert 0.90 <= np.mean([holds(by_pair, hits) for hits in trials]) <= 0.985
    assert 0.5 <= np.mean([holds(by_case, hits) for hits in trials]) <= 0.74
