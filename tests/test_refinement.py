"""Refining someone else's transform: better where it can be, and honest where it cannot."""

import json
import math

import cv2
import numpy as np
import pytest
from hand_made_fast import HandMadeFast

from sdme.errors import InputError
from sdme.exchange.numbers import transform_from_numbers
from sdme.frames import make_pair
from sdme.model.network import SdmeNetwork
from sdme.refinement import Outcome, refine_transform
from sdme.transform import Transform

SIZE = (160, 128)
H = np.array([[1.03, 0.04, 3.0], [-0.03, 0.98, 5.0], [1e-4, -8e-5, 1.0]])
TRUTH = Transform(H, SIZE, SIZE)


def scene(seed=0):
    coarse = np.random.default_rng(seed).uniform(0, 255, (12, 16, 3)).astype(np.float32)
    return cv2.resize(coarse, SIZE, interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)


def seen_through(image, matrix):
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return cv2.warpPerspective(image, matrix, SIZE, flags=flags, borderMode=cv2.BORDER_REFLECT)


def off(pixels, seed=3):
    """A start of which every corner is off by so many px."""
    right, bottom = SIZE[0] - 1.0, SIZE[1] - 1.0
    corners = np.array([[0, 0], [right, 0], [right, bottom], [0, bottom]])
    angle = np.random.default_rng(seed).uniform(0, 2 * math.pi, 4)
    wrong = TRUTH.apply(corners) + pixels * np.stack([np.cos(angle), np.sin(angle)], 1)
    matrix = cv2.getPerspectiveTransform(corners.astype(np.float32), wrong.astype(np.float32))
    return Transform(matrix, SIZE, SIZE)


@pytest.fixture(scope="module")
def images():
    moving = scene()
    return seen_through(moving, H), moving


def run(images, initial, network=None, **settings):
    return refine_transform(*images, initial, model=network or HandMadeFast(H), **settings)


@pytest.mark.parametrize("error", [pytest.param(1.5, marks=pytest.mark.slow), 6.0])
def test_a_start_nearby_becomes_better(images, error):
    result = run(images, off(error))
    assert result.outcome is Outcome.IMPROVED and result.ok and result.is_sure
    assert result.transform.corner_error(TRUTH) < 0.3
    assert result.after.residual < result.before.residual
    assert result.after.predicted_error < result.before.predicted_error
    assert result.after.agreeing > result.before.agreeing > 0 or error > 2
    assert result.moved == pytest.approx(error, abs=0.5)


def test_only_the_start_counts_and_not_what_matches_say(images):
    """Matches would bring images together from anywhere; a start out of reach is said to be one."""
    far = Transform([[1, 0, 90.0], [0, 1, -70], [0, 0, 1]], SIZE, SIZE)
    result = run(images, far)
    assert result.outcome is Outcome.FAILED and not result.ok
    assert result.transform is None and not result.is_sure
    with pytest.raises(InputError, match="no refined transform"):
        result.save("nowhere")


def test_the_truth_is_kept_or_hardly_moved(images):
    result = run(images, TRUTH)
    assert result.ok and result.transform.corner_error(TRUTH) < 0.15
    assert result.moved < 0.15


def test_what_cannot_be_improved_comes_back_as_it_was(images, monkeypatch):
    monkeypatch.setattr("sdme.refinement.residual", lambda _f, _m, H: H[:, 0, 2] * 0 + 1)
    start = off(0.05)
    result = run(images, start)
    assert result.outcome is Outcome.KEPT and result.moved == 0
    assert result.before == result.after
    assert result.transform.corner_error(start) < 1e-6
    assert result.message.startswith("nothing better was found; ")


def test_an_answer_far_from_the_start_is_none(images, monkeypatch):
    monkeypatch.setattr("sdme.refinement._FARTHEST", 0.01)
    result = run(images, off(6))
    assert not result.ok and "too far from the start" in result.message


def test_the_start_counts_and_not_what_the_files_say(images, monkeypatch):
    given = []

    def pair(*arguments):
        given.append(arguments)
        return make_pair(*arguments)

    monkeypatch.setattr("sdme.refinement.make_pair", pair)
    run(images, off(1))
    assert given[0][3] is False


def test_strangers_are_told(images):
    network = HandMadeFast(H)
    for votes in network.votes:
        votes.believed = 99.0
    result = run((images[0], scene(seed=5)), off(2), network)
    assert result.outcome is Outcome.FAILED


@pytest.mark.parametrize("pixels", [None, 400.0])
def test_a_start_without_overlap_or_a_blank_image_fails_in_words(images, pixels):
    start = TRUTH if pixels is None else transform_from_numbers("400,0", None, None, SIZE, SIZE)
    fixed = images[0]
    if pixels is None:
        fixed = np.full_like(fixed, 7)
        fixed[0, 0] = 8
    result = run((fixed, images[1]), start)
    assert not result.ok
    assert ("next to nothing" if pixels is None else "do not overlap") in result.message
    assert json.dumps(result.to_dict(), allow_nan=False)


@pytest.mark.parametrize(
    "kind",
    ["similarity", *(pytest.param(k, marks=pytest.mark.slow) for k in ("translation", "affine"))],
)
def test_the_answer_is_of_the_kind_that_is_asked_for_or_of_the_start(images, kind):
    start = transform_from_numbers("2,1", None, None, SIZE, SIZE)
    result = run(images, start, kind=kind)
    assert result.transform is None or result.transform.kind == kind
    assert result.transform is not None or kind in ("translation", "similarity")
    default = run(images, start)
    assert default.transform is None or default.transform.kind == "translation"


def test_images_of_other_sizes_are_refused(images):
    with pytest.raises(InputError, match="the initial transform is for"):
        run((images[0][:100], images[1]), TRUTH)


@pytest.mark.slow
def test_large_images_are_refined_in_their_own_pixels():
    size = 2 * SIZE[0], 2 * SIZE[1]
    double = np.diag([2.0, 2.0, 1.0])
    double[:2, 2] = 0.5
    truth = Transform(double @ H @ np.linalg.inv(double), size, size)
    moving = cv2.resize(scene(), size, interpolation=cv2.INTER_CUBIC)
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    fixed = cv2.warpPerspective(
        moving, truth.matrix, size, flags=flags, borderMode=cv2.BORDER_REFLECT
    )
    from sdme.config import RegisterSettings

    pair = make_pair(fixed, moving, 160)
    network = HandMadeFast(pair.in_frames(truth.matrix))
    start = Transform(np.array([[1, 0, 6.0], [0, 1, -2], [0, 0, 1]]) @ truth.matrix, size, size)
    settings = RegisterSettings(max_side=160)
    result = refine_transform(fixed, moving, start, model=network, settings=settings)
    assert result.ok and result.transform.corner_error(truth) < 0.7
    assert result.moved == pytest.approx(start.corner_error(truth), abs=0.8)


@pytest.mark.slow
def test_a_network_of_the_paper_gives_its_own_evidence(images):
    import torch

    from sdme.config import NetworkSettings

    torch.manual_seed(0)
    network = SdmeNetwork(NetworkSettings(descriptor_channels=16, agents=3, agent_heads=2)).eval()
    result = run(images, off(1), network)
    assert result.before.agreement is not None and result.before.predicted_error is None
    assert result.after.residual <= result.before.residual
    assert result.matches is None and (result.transform is None) == (not result.ok)


def test_the_folder_holds_transform_picture_and_numbers(images, tmp_path):
    result = run(images, off(4))
    files = result.save(tmp_path / "out")
    assert sorted(p.name for p in files.folder.iterdir()) == [
        *("before_after.png", "refined.json", "transform.json")
    ]
    assert Transform.load(files.transform) == result.transform
    content = json.loads(files.result.read_text())
    assert content["outcome"] == "improved" and content["before"]["agreeing"] is not None
    picture = cv2.imread(str(files.picture)).astype(float)
    half = (picture.shape[1] - 12) // 2
    before, after = picture[60:, :half], picture[60:, -half:]

    def colour(panel):
        return np.abs(panel[..., 0] - panel[..., 1]).mean()  # magenta against green

    assert colour(after) < 0.7 * colour(before)


def test_convention_four_numbers_turn_and_scale_around_the_middle():
    size = (101, 81)
    found = transform_from_numbers("12,-5", 90.0, 2.0, size, size)
    np.testing.assert_allclose(found.apply([50.0, 40.0]), [62, 35])
    np.testing.assert_allclose(found.apply([60.0, 40.0]), [62, 55])  # right goes down: clockwise
    assert found.kind == "similarity"
    assert transform_from_numbers("1,2", None, None, size, size).kind == "translation"
    assert transform_from_numbers(None, 3.0, None, size, size).kind == "euclidean"


@pytest.mark.parametrize("shift", ["1", "1,2,3", "a,b", "nan,1", ""])
def test_other_shifts_are_refused(shift):
    with pytest.raises(InputError, match="DX,DY"):
        transform_from_numbers(shift, None, None, SIZE, SIZE)


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan, math.inf])
def test_other_scales_are_refused(scale):
    with pytest.raises(InputError, match="scale"):
        transform_from_numbers(None, None, scale, SIZE, SIZE)
