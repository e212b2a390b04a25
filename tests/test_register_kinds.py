"""Registration that looks for one kind of transform, from images to the file."""

import cv2
import numpy as np
import pytest
from hand_made_fast import HandMadeFast

from sdme.config import KINDS, RegisterSettings
from sdme.frames import Pair, make_frame
from sdme.register import register
from sdme.transform import Transform

SIZE, SIDE = (330, 257), 160  # shrunk to 160 x 125: by 1 % more in x than in y


def truth(kind):
    turn = 0 if kind == "translation" else 0.05
    matrix = np.array(
        [[np.cos(turn), -np.sin(turn), 8], [np.sin(turn), np.cos(turn), 5], [0, 0, 1]]
    )
    if kind in ("similarity", "affine", "homography"):
        matrix[:2, :2] *= 1.03
    if kind in ("affine", "homography"):
        matrix[0, :2] *= 0.97
    if kind == "homography":
        matrix[2, :2] = 5e-5, -4e-5
    return Transform(matrix, SIZE, SIZE, kind)


def images(kind):
    coarse = np.random.default_rng(0).uniform(0, 255, (13, 16, 3)).astype(np.float32)
    moving = cv2.resize(coarse, SIZE, interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return cv2.warpPerspective(
        moving, truth(kind).matrix, SIZE, flags=flags, borderMode=cv2.BORDER_REFLECT
    ), moving


def run(truly, wanted, stages="sparse-to-dense", initial=None):
    fixed, moving = images(truly)
    pair = Pair(make_frame(fixed, "fixed", SIDE), make_frame(moving, "moving", SIDE))
    network = HandMadeFast(pair.in_frames(truth(truly).matrix))
    settings = RegisterSettings(transform=wanted, max_side=SIDE, stages=stages)
    return register(fixed, moving, model=network, settings=settings, initial=initial)


SLOW = [pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS if kind != "euclidean"]


@pytest.mark.parametrize("kind", ["euclidean", *SLOW])
def test_the_answer_is_of_the_kind_that_is_asked_for(kind):
    result = run(kind, kind)
    assert result.ok and result.transform.kind == result.sparse.kind == result.dense.kind == kind
    assert result.transform.corner_error(truth(kind)) < 0.6
    assert Transform.from_dict(result.transform.to_dict()) == result.transform


@pytest.mark.slow
@pytest.mark.parametrize("stages", ["sparse", "dense"])
@pytest.mark.parametrize("kind", ["translation", "similarity"])
def test_each_stage_alone_keeps_to_the_kind(stages, kind):
    result = run(kind, kind, stages)
    assert result.ok and result.transform.kind == kind
    assert result.transform.corner_error(truth(kind)) < (6 if stages == "sparse" else 0.6)


@pytest.mark.slow
def test_a_guess_of_a_wider_kind_is_brought_to_the_kind():
    result = run("euclidean", "euclidean", "dense", initial=truth("homography"))
    assert result.transform.kind == "euclidean"
    assert result.transform.corner_error(truth("euclidean")) < 0.6


@pytest.mark.slow
def test_a_kind_that_cannot_explain_the_images_is_kept_to_nevertheless():
    result = run("homography", "translation")
    assert result.transform is None or result.transform.kind == "translation"


@pytest.mark.parametrize("kind", ["similarity", pytest.param("homography", marks=pytest.mark.slow)])
def test_the_simplest_kind_is_chosen_where_that_is_asked_for(kind):
    fixed, moving = images(kind)
    pair = Pair(make_frame(fixed, "fixed", SIDE), make_frame(moving, "moving", SIDE))
    network = HandMadeFast(pair.in_frames(truth(kind).matrix))
    settings = RegisterSettings(simplest=True, max_side=SIDE)
    result = register(fixed, moving, model=network, settings=settings)
    assert result.transform.kind == kind and len(network.calls) == 2
    assert result.transform.corner_error(truth(kind)) < 0.6
