"""Which kind of transform matches speak for, also ones that are rounded to cells of 4 px."""

from dataclasses import replace

import numpy as np
import pytest

from sdme.config import KINDS
from sdme.result import Matches, Status
from sdme.simplest import _summed, chance_against, keep_simplest, simplest_kind

SIZE = (512, 384)


def drawn(kind, rng):
    turn = 0 if kind == "translation" else rng.choice([-1, 1]) * rng.uniform(0.03, 0.1)
    size = 1 if kind in ("translation", "euclidean") else 1 + rng.choice([-1, 1]) * 0.05
    matrix = np.eye(3)
    matrix[:2, :2] = size * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    if kind in ("affine", "homography"):
        matrix[0, :2] *= 0.96
    if kind == "homography":
        matrix[2, :2] = 1e-4, -5e-5
    matrix[:2, 2] = rng.uniform(-20, 20, 2)
    return matrix


def matches(kind, seed, count=300, noise=0.8, cell=4):
    rng = np.random.default_rng(seed)
    matrix = drawn(kind, rng)
    x, y = np.meshgrid(np.arange(SIZE[0] // 4), np.arange(SIZE[1] // 4))
    cells = np.stack([x.ravel(), y.ravel()], axis=1) * 4 + 1.5
    points0 = cells[rng.choice(len(cells), count, replace=False)]
    mapped = points0 @ matrix[:, :2].T + matrix[:, 2]
    points1 = mapped[:, :2] / mapped[:, 2:] + rng.normal(0, noise, points0.shape)
    if cell:
        points1 = np.round((points1 - 1.5) / cell) * cell + 1.5
    return points0, points1


@pytest.mark.parametrize("cell", [pytest.param(0, marks=pytest.mark.slow), 4])
@pytest.mark.parametrize("kind", KINDS)
def test_the_kind_of_the_truth_is_found(kind, cell):
    """At a significance of a tenth a tenth of the right kinds fall; no wrong one stands."""
    found = [simplest_kind(*matches(kind, seed, cell=cell), SIZE) for seed in range(20)]
    assert found.count(kind) >= 15
    assert all(KINDS.index(other) >= KINDS.index(kind) for other in found)


def test_chance_is_told_as_it_is():
    """Under the right kind every level of chance is as frequent as it says."""
    told = [chance_against(*matches("similarity", seed), SIZE, "similarity") for seed in range(60)]
    assert 0.35 < np.mean(told) < 0.65
    assert np.mean(np.array(told) < 0.1) < 0.25


@pytest.mark.parametrize("kind", KINDS[1:])
def test_nothing_narrower_than_allowed_and_nothing_wider(kind):
    points = matches(kind, 0)
    assert simplest_kind(*points, SIZE, widest=kind) == kind
    assert simplest_kind(*points, SIZE, widest="translation") == "translation"


def test_units_and_turns_of_the_moving_image_do_not_matter():
    points0, points1 = matches("similarity", 2)
    told = chance_against(points0, points1, SIZE, "similarity")
    turned = 7 * points1 @ np.array([[0.0, 1], [-1, 0]]) + 40
    assert chance_against(points0, turned, SIZE, "similarity") == told
    assert 0 < told < 1


def test_all_matches_of_a_block_are_summed():
    products = np.arange(8.0).reshape(4, 2)
    found = _summed(products, np.array([7, 3, 7, 3]))
    np.testing.assert_array_equal(found, [products[1] + products[3], products[0] + products[2]])


def test_same_matches_same_answer():
    points = matches("affine", 1)
    assert len({chance_against(*points, SIZE, "similarity") for _ in range(3)}) == 1


def test_a_deviation_that_is_no_noise_is_seen_in_few_matches():
    found = [simplest_kind(*matches("homography", seed, 40, 1.0, 0), SIZE) for seed in range(20)]
    assert found.count("homography") >= 19


def test_exact_matches_and_few_of_them():
    for kind in KINDS:
        assert simplest_kind(*matches(kind, 0, 60, 0.0, 0), SIZE) == kind
    points = matches("homography", 0, 3)
    assert simplest_kind(*points, SIZE) in KINDS  # nothing to tell from, and no error
    assert simplest_kind(np.ones((9, 2)), np.ones((9, 2)), SIZE) in KINDS


@pytest.fixture
def answers(handmade):
    """Registrations by kind as a network would give them, which may be changed."""
    points = matches("similarity", 0)
    count = len(points[0])
    kept = Matches(*points, np.ones(count), np.ones(count, bool))
    result = replace(handmade(), matches=kept, fixed_size=SIZE, predicted_error=3.0)
    return {kind: replace(result, model=kind, timings={"total": 1.0}) for kind in KINDS}


def test_the_simplest_answer_stands(answers):
    ran = []

    def run(kind):
        ran.append(kind)
        return answers[kind]

    found = keep_simplest(run, "homography")
    assert ran == ["homography", "similarity"] and found.model == "similarity"
    assert found.timings["total"] == 2.0


@pytest.mark.parametrize("spoilt", ["status", "error", "matches"])
def test_it_does_not_stand_where_it_is_worse(answers, spoilt):
    second = answers["similarity"]
    if spoilt == "status":
        second = replace(second, status=Status.UNCERTAIN)
    elif spoilt == "error":
        second = replace(second, predicted_error=5.0)
    else:
        kept = second.matches.inlier.copy()
        kept[::8] = False
        second = replace(second, matches=replace(second.matches, inlier=kept))
    answers["similarity"] = second
    assert keep_simplest(answers.__getitem__, "homography").model == "homography"


def test_a_failure_is_not_tried_again(answers, handmade):
    answers["homography"] = replace(handmade(Status.FAILED), model="homography")
    assert keep_simplest({"homography": answers["homography"]}.__getitem__, "homography").model
