"""The right cases are shown, and their pictures are what they say."""

import base64
import math

import cv2
import numpy as np
import pytest

from sdme.data.pairs import ImageFile, ImagePair
from sdme.errors import InputError
from sdme.evaluate.case import Case, CaseKey
from sdme.evaluate.pictures import (
    ESTIMATED_OUTLINE,
    OTHER_OUTLINE,
    TRUE_OUTLINE,
    best_median_worst,
    case_pictures,
    failures,
    picture_side,
    worst_answers,
)

INF = math.inf
SHIFT = np.array([[1.0, 0, 16], [0, 1, 8], [0, 0, 1]])


def told(chosen):
    return [(c.label, c.score.error) for c in chosen]


def make_case(H_true=SHIFT):
    """A fixed image cut from the moving one at (16, 8)."""
    blobs = np.random.default_rng(2).integers(0, 255, (9, 12, 3), dtype=np.uint8)
    moving = cv2.resize(blobs, (96, 72), interpolation=cv2.INTER_NEAREST)
    pair = ImagePair("set", "p", ImageFile("a.png"), ImageFile("b.png"))
    return Case(CaseKey(pair, 0), moving[8:56, 16:80], moving, np.eye(3), H_true)


def decoded(uri):
    head, data = uri.split(",", 1)
    assert head == "data:image/webp;base64"
    return cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR_RGB)


def near(picture, colour):
    """How many pixels are of about this colour."""
    gap = np.abs(picture.astype(int) - colour).max(axis=-1)
    return int((gap < 60).sum())


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ([3, 1, INF, 2, 5], [("best", 1), ("median", 3), ("worst", INF)]),
        ([4, 1, 2, 3], [("best", 1), ("median", 2), ("worst", 4)]),
        ([2, 1], [("best", 1), ("worst", 2)]),
        ([7], [("only case", 7)]),
        ([INF, INF, INF], [("best", INF), ("median", INF), ("worst", INF)]),
    ],
)
def test_best_median_worst(score, errors, expected):
    chosen = best_median_worst([score(e, index=i) for i, e in enumerate(errors)])
    assert told(chosen["tno"]) == expected
    assert len({c.score.case for c in chosen["tno"]}) == len(expected)


def test_each_dataset_has_its_own(score):
    rows = [score(1, dataset="b"), score(2, dataset="a"), score(3, dataset="b", index=1)]
    chosen = best_median_worst(rows)
    assert {name: told(c) for name, c in chosen.items()} == {
        "b": [("best", 1), ("worst", 3)],
        "a": [("only case", 2)],
    }


def test_worst_answers_are_finite_and_the_largest_first(score):
    rows = [score(e, index=i) for i, e in enumerate([1, INF, 9, 4])]
    assert told(worst_answers(rows, 2)) == [("tno", 9), ("tno", 4)]


def test_failures_come_from_the_datasets_in_turn(score):
    rows = [score(INF, dataset=d, index=i) for d in ("a", "b") for i in range(3)] + [score(1)]
    assert [c.label for c in failures(rows, 3)] == ["a", "b", "a"]
    assert failures(rows[-1:], 3) == []


def test_pictures_of_a_right_answer(score):
    rows = score(0.0, matrix=tuple(SHIFT.ravel()))
    pictures = case_pictures(rows, lambda _: make_case(), 192)
    fixed, board = decoded(pictures.fixed), decoded(pictures.board)
    assert fixed.shape == board.shape == (48, 64, 3)
    # laid on it by the truth, the moving image is the fixed one, so that no tile can be seen
    assert np.abs(fixed.astype(int) - board).mean() < 6
    assert decoded(pictures.moving).shape == (144, 192, 3)
    assert pictures.why == ""


def test_pictures_of_a_wrong_answer_show_both_outlines(score):
    wrong = SHIFT.copy()
    wrong[0, 2] += 12
    grey = make_case()
    grey.moving[:] = 128
    grey.moving[:4, :4] = 120
    rows = score(12.0, matrix=tuple(wrong.ravel()))
    moving = decoded(case_pictures(rows, lambda _: grey, 192).moving)
    assert near(moving, TRUE_OUTLINE) > 50
    assert near(moving, ESTIMATED_OUTLINE) > 50


def test_the_answer_of_another_method_stands_beside(score):
    rows, lost = score(0.0, matrix=tuple(SHIFT.ravel())), score(INF)
    wrong = SHIFT.copy()
    wrong[0, 2] += 12
    other = score(12.0, matrix=tuple(wrong.ravel()))
    grey = make_case()
    grey.moving[:] = 128
    grey.moving[:4, :4] = 120
    moving = decoded(case_pictures(rows, lambda _: grey, 192, other).moving)
    assert near(moving, OTHER_OUTLINE) > 50 > near(decoded(alone(rows, grey).moving), OTHER_OUTLINE)
    both = case_pictures(rows, lambda _: make_case(), 192, other)
    assert decoded(both.other_board).shape == decoded(both.board).shape
    assert np.abs(decoded(both.other_board).astype(int) - decoded(both.board)).mean() > 6
    none = case_pictures(rows, lambda _: make_case(), 192, lost)
    assert (none.other_board, none.other_why, none.why) == (None, "no answer", "")


def alone(row, case):
    return case_pictures(row, lambda _: case, 192)


def test_no_answer_has_no_board(score):
    pictures = case_pictures(score(INF), lambda _: make_case(), 192)
    assert pictures.board is None
    assert pictures.why == "no answer"
    assert near(decoded(pictures.moving), ESTIMATED_OUTLINE) < near(
        decoded(pictures.moving), TRUE_OUTLINE
    )


@pytest.mark.parametrize(
    "matrix",
    [np.zeros((3, 3)), np.full((3, 3), 1e300), np.eye(3)[[2, 1, 0]], np.diag([1, 1, -1.0])],
)
def test_senseless_answers_are_shown_as_none(score, matrix):
    rows = score(INF, matrix=tuple(matrix.ravel()))
    pictures = case_pictures(rows, lambda _: make_case(None), 128)
    without = case_pictures(score(INF), lambda _: make_case(None), 128)
    assert pictures.fixed is not None
    assert (pictures.board, pictures.why) == (None, "no answer")
    assert pictures.moving == without.moving  # no outline of it either


def test_a_picture_that_cannot_be_drawn_is_told(score):
    def draw(_):
        raise InputError("a.png cannot\nbe decoded")

    pictures = case_pictures(score(), draw, 128)
    assert pictures.fixed is None
    assert pictures.why == "no picture: a.png cannot be decoded"


def test_large_pictures_are_shrunk(score):
    case = make_case()
    large = cv2.resize(case.moving, (1200, 900))
    case = Case(case.key, large, large, np.eye(3), np.eye(3))
    pictures = case_pictures(score(0.0, matrix=tuple(np.eye(3).ravel())), lambda _: case, 200)
    for uri in (pictures.fixed, pictures.moving, pictures.board):
        assert decoded(uri).shape == (150, 200, 3)


def test_many_pictures_are_small_ones():
    sides = [picture_side(count) for count in (0, 1, 20, 80, 300, 10_000)]
    assert sides == sorted(sides, reverse=True)
    assert sides[0] > 2 * sides[-1] > 0
