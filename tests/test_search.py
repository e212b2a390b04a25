"""Rotation and scale as hypotheses: they find what the plain try does not, and harm nothing."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

import sdme
from sdme.config import RegisterSettings, SearchSettings
from sdme.frames import Pair, make_frame
from sdme.geometry.mapping import mean_corner_error
from sdme.io.image import read_image
from sdme.model.fast import FastNetwork
from sdme.result import Reason, Status
from sdme.search import (
    Hypothesis,
    Ranking,
    Tried,
    _rounds,
    as_searched,
    nearly_upright,
    paying,
    shift_between,
)
from sdme.stages import Sparse
from sdme.verdict import SparseEvidence, Verdict

SAMPLE = Path(__file__).parents[1] / "samples/farmland_blue_swir"
SIDE = 160


@pytest.fixture(scope="module")
def network():
    return sdme.load_network("universal")


@pytest.fixture(scope="module")
def images():
    return [read_image(SAMPLE / f"{name}.png", name)[:240, :240] for name in ("fixed", "moving")]


TRUTH = sdme.Transform.load(SAMPLE / "truth.json").matrix


def turned(image, angle, scale=1.0):
    """The image on a canvas that holds all of it, and the matrix from it to the result."""
    height, width = image.shape[:2]
    matrix = np.eye(3)
    matrix[:2] = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -angle, scale)
    corners = np.array(
        [[0, 0, 1], [width - 1, 0, 1], [width - 1, height - 1, 1], [0, height - 1, 1]]
    )
    box = corners @ matrix[:2].T
    matrix[:2, 2] -= box.min(0)
    size = tuple(int(v) for v in np.ceil(np.ptp(box, axis=0) - 1e-6) + 1)
    mode = cv2.BORDER_CONSTANT
    out = cv2.warpAffine(
        image.astype(np.float32), matrix[:2], size, borderMode=mode, borderValue=float("nan")
    )
    return out, matrix


def run(fixed, moving, network, search, **changes):
    settings = RegisterSettings(search=search, max_side=SIDE, **changes)
    return sdme.register(fixed, moving, model=network, settings=settings)


@pytest.mark.parametrize(
    ("angle", "scale"), [(90, 1.0), pytest.param(-140, 0.6, marks=pytest.mark.slow)]
)
def test_turned_and_scaled_images_are_aligned_in_their_own_pixels(network, images, angle, scale):
    moving, matrix = turned(images[1], angle, scale)
    plain = run(images[0], moving, network, "off")
    assert plain.status is Status.FAILED and plain.search is None
    found = run(images[0], moving, network, "auto")
    assert found.status is Status.ALIGNED, found.message
    truth = sdme.Transform(matrix @ TRUTH, found.fixed_size, found.moving_size)
    assert found.transform.corner_error(truth) < 1
    gap = truth.apply(found.matches.fixed) - found.matches.moving
    assert np.median(np.abs(gap)) < 4  # half a cell
    assert found.search.used and found.search.hypotheses == 8 and found.search.ratio > 2
    assert "8 rotations and scales were tried" in str(found.search)
    assert found.timings["search"] == pytest.approx(found.search.seconds, abs=0.1)
    assert found.to_dict()["search"]["used"] is True


def test_auto_leaves_alone_what_the_plain_try_aligns(network, images):
    plain, auto = (run(*images, network, search) for search in ("off", "auto"))
    assert plain.status is Status.ALIGNED
    assert auto.transform == plain.transform and auto.search is None
    assert "search" not in auto.timings


@pytest.mark.slow
def test_on_searches_in_any_case_and_the_better_answer_counts(network, images):
    plain, on = (run(*images, network, search) for search in ("off", "on"))
    assert on.search is not None and on.status is Status.ALIGNED
    assert on.predicted_error <= plain.predicted_error


def test_no_search_with_a_guess_or_without_matches(network, images):
    other = np.random.default_rng(0).integers(0, 255, (200, 200), np.uint8)
    initial = sdme.Transform(np.eye(3), (240, 240), (200, 200))
    settings = RegisterSettings(max_side=64)
    given = sdme.register(images[0], other, model=network, settings=settings, initial=initial)
    assert given.search is None
    small = other[:64, :64]
    assert run(images[0][:64, :64], small, network, "auto", stages="dense").search is None
    kept = run(images[0][:64, :64], small, network, "auto", transform="translation")
    assert kept.search is None


@pytest.mark.slow
def test_unrelated_images_are_not_aligned_by_hypotheses(network, images):
    path = SAMPLE.parent / "tissue_two_stains/moving.png"
    found = run(images[0], read_image(path, "tissue"), network, "on")
    assert found.status is not Status.ALIGNED
    assert found.search.hypotheses == 40 and found.search.ratio < 1.5


def test_blank_images_are_not_searched(network, images):
    blank = np.full((100, 100), 7, np.uint8)
    blank[50, 50] = 8
    found = run(images[0], blank, network, "on")
    assert (found.reason, found.search) == (Reason.BLANK_IMAGE, None)


@pytest.fixture
def pair(images):
    moving, matrix = turned(images[1], 50, 0.5)
    return Pair(make_frame(images[0], "fixed", 512), make_frame(moving, "moving", 512)), matrix


def test_little_is_left_between_frames_that_were_made_upright(pair):
    whole, matrix = pair
    truth = matrix @ TRUTH
    upright = nearly_upright(whole, truth, 512)
    left = upright.in_frames(truth)
    # the view keeps to the image, so that a shift may be left, but nothing else
    assert np.allclose(left[:2, :2], np.eye(2), atol=0.02)
    assert max(upright.moving.size) <= max(upright.fixed.size)
    assert mean_corner_error(left, shift_between(upright, truth), upright.fixed.size) < 2
    assert np.allclose(upright.in_images(left), truth)


def test_the_fixed_frame_is_not_much_finer_than_the_moving_image(images):
    moving, matrix = turned(images[1], 0, 0.25)
    whole = Pair(make_frame(images[0], "fixed", 512), make_frame(moving, "moving", 512))
    upright = nearly_upright(whole, matrix @ TRUTH, 512)
    assert upright.fixed.size == (128, 128)


def test_where_the_moving_image_shows_a_part_the_fixed_one_is_cut_to_it(images):
    moving, matrix = images[1][60:130, 50:120], np.eye(3)
    matrix[:2, 2] = -50, -60
    whole = Pair(make_frame(images[0], "fixed", 512), make_frame(moving, "moving", 512))
    truth = matrix @ TRUTH
    upright = nearly_upright(whole, truth, 512)
    assert max(upright.fixed.size) < 85 and max(upright.moving.size) < 85
    assert np.allclose(upright.in_images(upright.in_frames(truth)), truth)
    back = np.linalg.inv(truth) @ [35, 35, 1]
    middle = upright.fixed.scale @ (back / back[2])
    assert np.allclose(middle[:2], np.array(upright.fixed.size) / 2, atol=3)


def tried(inliers, dx=0.0, matches=100, angle=0.0):
    matrix = np.eye(3)
    matrix[0, 2] = dx
    return Tried(Hypothesis(angle, 1.0), matrix, matches, inliers)


def ranking(pair, told, again=lambda one: one):
    class Told(Ranking):
        def _again(self, one):
            return again(one)

    out = Told(FastNetwork.__new__(FastNetwork), pair, RegisterSettings())
    out.tried = told
    return out


def test_hypotheses_that_agree_count_as_one(pair):
    told = [tried(60), tried(40, 10), tried(30, 200), replace(tried(90), matrix=None)]
    best = ranking(pair[0], told).best()
    assert [one.inliers for one in best] == [60, 30]
    assert ranking(pair[0], told).lead(best) == 2
    assert ranking(pair[0], []).lead([]) == 0


def test_a_second_look_decides(pair):
    told = [tried(50), tried(40, 200)]
    better = {50: 30, 40: 90}
    known = ranking(pair[0], told, lambda one: replace(one, inliers=better[one.inliers]))
    assert [one.inliers for one in known.best()] == [90, 30]


def test_a_lone_winner_is_compared_with_chance(pair):
    known = ranking(pair[0], [tried(39)])
    assert known.lead(known.best()) == 39 / (0.25 * 100)


def test_pixels_of_one_size_are_a_hypothesis_of_their_own():
    class Sized:
        def __init__(self, side):
            self.image_size = (side, side)

    def first(fixed, moving):
        return _rounds(Pair(Sized(fixed), Sized(moving)), SearchSettings())[0]

    assert first(100, 100) == first(100, 210) == [1.0]
    assert first(100, 700) == [1.0, 7.0]
    assert first(100, 2000) == [1.0]


def test_the_verdict_has_hypotheses_pay():
    settings = RegisterSettings()
    price = settings.hypotheses
    clear, unclear = paying(settings, price.clear_ratio), paying(settings, price.clear_ratio - 0.1)
    for dear in (clear, unclear):
        assert dear.verdict.inlier_base == settings.verdict.inlier_base * price.inlier_factor
        assert dear.verdict.inlier_share == settings.verdict.inlier_share * price.inlier_factor
    assert clear.fast.aligned_below == settings.fast.aligned_below
    assert clear.fast.uncertain_below == settings.fast.uncertain_below * price.uncertain_factor
    assert unclear.fast.uncertain_below == settings.fast.uncertain_below


def matched(agreeing, matches=400):
    """Matches between equal frames, of which some agree with no motion at all."""
    points = np.random.default_rng(0).uniform(0, 100, (matches, 2))
    shift = np.where(np.arange(matches) < agreeing, 0.0, 50.0)[:, None]
    evidence = SparseEvidence(None, Reason.NO_MODEL, (matches, matches), matches, 0)
    return Sparse(points, points + shift, points[:, 0], shift[:, 0] == 0, evidence, None)


def test_only_a_clear_winner_that_overlaps_is_aligned(pair):
    settings = RegisterSettings()
    aligned = Verdict(Status.ALIGNED, Reason.NONE, "good", np.eye(3))
    known = pair[0], matched(300)
    assert as_searched(aligned, *known, 2.1, settings) is aligned
    doubtful = as_searched(aligned, *known, 1.9, settings)
    assert (doubtful.status, doubtful.reason) == (Status.UNCERTAIN, Reason.UNCONFIRMED)
    far = np.eye(3)
    far[0, 2] = 0.95 * pair[0].moving.size[0]
    apart = as_searched(replace(aligned, matrix=far), pair[0], None, 5, settings)
    assert (apart.status, apart.reason) == (Status.UNCERTAIN, Reason.LOW_OVERLAP)
    failed = replace(aligned, status=Status.FAILED, matrix=None)
    assert as_searched(failed, *known, 5, settings) is failed


@pytest.mark.parametrize(("agreeing", "is_answer"), [(56, False), (57, True)])
def test_without_matches_there_is_no_answer(pair, agreeing, is_answer):
    uncertain = Verdict(Status.UNCERTAIN, Reason.PREDICTED_ERROR, "far", np.eye(3))
    found = as_searched(uncertain, pair[0], matched(agreeing), 5, RegisterSettings())
    assert (found.matrix is not None) == is_answer
    assert found.reason is (Reason.PREDICTED_ERROR if is_answer else Reason.TOO_FEW_INLIERS)
