"""The fit of the confidence and the figures that tell how good it is."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize

from sdme.errors import InputError
from sdme.evaluate.calibration import (
    auroc,
    calibration_error,
    fit_calibration,
    logistic_regression,
    lowest_limit,
    reliability,
    with_confidence,
)
from sdme.evaluate.trials import Trial, load_trials, save_trials


def made(count=600, seed=0, sets=3, slope=4.0):
    """Trials whose chance to be right is a logistic function of one figure; one says nothing."""
    rng = np.random.default_rng(seed)
    trials = []
    for k in range(count):
        z, other = rng.normal(), rng.normal()
        is_right = rng.random() < 1 / (1 + math.exp(-slope * z))
        kind = "one scene" if is_right or k % 2 else "same set"
        error = 0.5 if is_right else (2.0 if kind == "one scene" else math.inf)
        figures = {"instability": math.exp(-z), "likeness": other}
        trials.append(
            Trial(
                kind,
                f"set{k % sets}",
                str(k),
                "paper",
                "sparse-to-dense",
                "uncertain",
                error,
                None,
                figures,
            )
        )
    return trials


def test_the_regression_is_the_minimum_of_its_loss():
    rng = np.random.default_rng(1)
    values = rng.normal(size=(200, 3))
    right = (rng.random(200) < 1 / (1 + np.exp(-values @ [2, -1, 0] - 0.5))).astype(float)

    def loss(w):
        z = w[0] + values @ w[1:]
        return (np.logaddexp(0, z) - right * z).sum() + 0.5 * (w[1:] ** 2).sum()

    oracle = minimize(loss, np.zeros(4), tol=1e-10).x
    assert logistic_regression(values, right) == pytest.approx(oracle, abs=1e-4)


def test_separable_trials_do_not_diverge():
    values = np.r_[np.full(30, -1.0), np.full(30, 1.0)][:, None]
    weights = logistic_regression(values, np.r_[np.zeros(30), np.ones(30)])
    assert np.isfinite(weights).all() and 1 < weights[1] < 20


def test_the_fit_finds_what_matters_and_is_calibrated():
    calibration = fit_calibration(made(3000))
    terms = {t.figure: t for t in calibration.fits["sparse-to-dense"].terms}
    assert set(calibration.rough) == set(calibration.fits)
    assert terms["instability"].coefficient < -2 and abs(terms["likeness"].coefficient) < 0.3
    judged = with_confidence(made(3000, seed=7))
    found = reliability(judged, calibration.aligned_above)
    assert found.calibration_error < 0.05 and found.auroc > 0.9
    assert found.wrong_aligned < 0.02 < found.right_aligned


def test_each_set_is_judged_by_a_fit_on_the_others():
    trials = made(900)
    swapped = [
        Trial(**vars(t) | {"figures": {"instability": 1 / t.figures["instability"]}})
        if t.dataset == "set0"
        else t
        for t in trials
    ]
    judged = [t for t in with_confidence(swapped) if t.dataset == "set0"]
    p = np.array([t.confidence for t in judged], float)
    assert auroc(p, np.array([t.is_right for t in judged])) < 0.2


def test_auroc_counts_pairs():
    score, right = np.array([1, 2, 2, 3.0]), np.array([False, False, True, True])
    assert auroc(score, right) == (0.5 + 1 + 1 + 1) / 4
    assert math.isnan(auroc(score, np.ones(4, bool)))


def test_the_calibration_error_of_known_bins():
    p = np.array([0.05, 0.05, 0.95, 0.95])
    assert calibration_error(p, np.array([0, 1, 1, 1], bool)) == pytest.approx(
        0.5 * 0.45 + 0.5 * 0.05
    )
    assert calibration_error(np.ones(3), np.ones(3, bool)) == 0


def judged(rows):
    """Trials of (kind, error, confidence)."""
    return [
        Trial(kind, "a", str(k), "paper", "dense", "uncertain", error, p)
        for k, (kind, error, p) in enumerate(rows)
    ]


def test_shares_are_of_all_trials_of_their_kind():
    rows = [("one scene", 0.2, 0.9)] * 3 + [("one scene", 0.2, 0.1)]
    rows += [("one scene", 1.5, 0.9)] + [("one scene", 5.0, 0.1)] * 4
    rows += [("same set", math.inf, 0.9)] + [("other set", math.inf, 0.1)] * 9
    found = reliability(judged(rows), 0.5)
    assert (found.trials, found.right) == (19, 4)
    assert found.right_aligned == 0.75
    assert found.wrong_aligned == 0.2
    assert found.far_aligned == 0
    assert found.unrelated_aligned == 0.1


def test_the_limit_is_the_lowest_that_keeps_wrong_ones_out():
    rows = [("one scene", 0.2, 0.99)] * 50
    rows += [("one scene", 2.0, 0.1)] * 199 + [("one scene", 2.0, 0.705)] * 3
    rows += [("same set", math.inf, 0.01)] * 100
    assert lowest_limit(judged(rows)) == 0.71
    assert lowest_limit(judged(rows + [("same set", math.inf, 0.805)])) == 0.81
    assert lowest_limit(judged([("same set", math.inf, 0.999)])) == 0.99


def test_trials_are_kept_as_they_were(tmp_path):
    trials = [*made(5), *judged([("other set", math.inf, 0.25)])]
    save_trials(tmp_path / "t.jsonl", trials)
    assert load_trials(tmp_path / "t.jsonl") == trials


@pytest.mark.parametrize("text", ["", "[1]\n", "{}\n", "not json\n"])
def test_what_holds_no_trials_is_refused(tmp_path, text):
    (tmp_path / "t.jsonl").write_text(text)
    with pytest.raises(InputError, match="holds no trials"):
        load_trials(tmp_path / "t.jsonl")
    with pytest.raises(InputError, match="cannot read trials"):
        load_trials(tmp_path / "none.jsonl")


def test_blank_pairs_and_infinite_figures_teach_nothing_but_count():
    trials = made(600)
    plain = fit_calibration(trials)
    blank = [Trial(**vars(t) | {"figures": {}, "error": math.inf}) for t in made(9, seed=3)]
    endless = Trial(**vars(blank[0]) | {"figures": {"instability": math.inf, "likeness": 0.0}})
    assert fit_calibration([*trials, *blank, endless]).fits == plain.fits
    judged = with_confidence([*trials, *blank, endless])
    assert len(judged) == 610
    assert all(t.confidence == 0 for t in judged if not t.figures)


def test_too_few_of_a_kind_and_a_single_set_are_refused():
    with pytest.raises(InputError, match="at least 20 of each"):
        fit_calibration(made(40, sets=2))
    with pytest.raises(InputError, match="at least two sets"):
        with_confidence(made(300, sets=1))
