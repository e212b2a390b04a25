"""Which cases of an evaluation are worth looking at, and their pictures.

Three pictures a case: the fixed image; the moving one with the outline of the fixed image in it, by
the truth and by the estimate; and the checkerboard of the fixed image and the moving one laid on it
by the estimate. Where the answer of another method is to stand beside, its outline and checkerboard
are there as well.
"""

import base64
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import cv2
import numpy as np

from sdme.evaluate.case import Case, Matrix
from sdme.evaluate.score import Score
from sdme.geometry.mapping import frame_centre, frame_corners, map_points
from sdme.io.image import encode_image
from sdme.report.overlay import Picture, checkerboard, to_picture
from sdme.report.page import shrunk
from sdme.warping import warp_array

TRUE_OUTLINE, ESTIMATED_OUTLINE = (86, 200, 255), (255, 120, 20)
OTHER_OUTLINE = (240, 228, 66)
_SIDES = (96, 360)
_QUALITY = 80
_BYTES, _BYTES_A_PIXEL = 5_500_000, 0.5
_SHADOW = (16, 17, 20)

Draw = Callable[[Score], Case]
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Chosen:
    """A case to show, and what it stands for: the best, the median, the worst ..."""

    label: str
    score: Score


@dataclass(frozen=True)
class CasePictures:
    """Pictures of a case as data URIs; without an estimate there is no ``board``.

    ``why`` tells why there are no pictures, or no board; ``other_board`` and ``other_why`` are the
    same for the method beside.
    """

    fixed: str | None = None
    moving: str | None = None
    board: str | None = None
    why: str = ""
    other_board: str | None = None
    other_why: str = ""


def best_median_worst(scores: Iterable[Score]) -> dict[str, list[Chosen]]:
    """Best, median and worst case of each dataset, of fewer than three cases all of them.

    ``scores`` holds one score a case. Failures are the worst; of an even number of cases, the
    median is the better one of the two in the middle.
    """
    datasets: dict[str, list[Score]] = {}
    for score in scores:
        datasets.setdefault(score.dataset, []).append(score)
    return {name: _three(sorted(rows, key=_rank)) for name, rows in datasets.items()}


def worst_answers(scores: Iterable[Score], count: int) -> list[Chosen]:
    """The cases with the largest finite errors, the largest first."""
    answered = sorted((s for s in scores if np.isfinite(s.error)), key=_rank, reverse=True)
    return [Chosen(score.dataset, score) for score in answered[:count]]


def failures(scores: Iterable[Score], count: int) -> list[Chosen]:
    """Cases without an answer, taken from the datasets in turn."""
    datasets: dict[str, list[Score]] = {}
    for score in sorted(scores, key=_rank):
        if not np.isfinite(score.error):
            datasets.setdefault(score.dataset, []).append(score)
    in_turn = [score for lap in zip_longest(*datasets.values()) for score in lap if score]
    return [Chosen(score.dataset, score) for score in in_turn[:count]]


def picture_side(cases: int, has_other: bool = False) -> int:
    """Longest side in px at which the pictures of so many cases keep a page below some 8 MB."""
    side = (_BYTES / ((4 if has_other else 3) * max(cases, 1) * _BYTES_A_PIXEL)) ** 0.5
    return int(np.clip(side, *_SIDES))


def case_pictures(score: Score, draw: Draw, side: int, other: Score | None = None) -> CasePictures:
    """Pictures of a case that is drawn again; whatever keeps it from being drawn is told.

    ``other`` is the score of the method beside on the same case.
    """
    try:
        case = draw(score)
        lines = [(case.H_true, TRUE_OUTLINE), (_matrix(score), ESTIMATED_OUTLINE)]
        if other is not None:
            lines.insert(1, (_matrix(other), OTHER_OUTLINE))
        fixed, moving = to_picture(case.fixed, side)[0], _with_outlines(case, lines, side)
        shown = _embedded(fixed), _embedded(moving), *_board_or_why(case, score, side)
        return CasePictures(*shown, *(_board_or_why(case, other, side) if other else (None, "")))
    except Exception as error:  # a page without one picture is better than no page
        return CasePictures(why=f"no picture: {' '.join(str(error).split()) or repr(error)}")


def _three(ranked: Sequence[Score]) -> list[Chosen]:
    places = {"best": 0, "median": (len(ranked) - 1) // 2, "worst": len(ranked) - 1}
    if len(ranked) == 2:
        del places["median"]
    if len(ranked) == 1:
        return [Chosen("only case", ranked[0])]
    return [Chosen(label, ranked[place]) for label, place in places.items()]


def _rank(score: Score) -> tuple[float, str]:
    return score.error, score.case


def _matrix(score: Score) -> Matrix | None:
    """The answer of a score; none where a transform folds the image, which nobody can use."""
    if score.matrix is None or not np.isfinite([*score.matrix, score.error]).all():
        return None
    return np.array(score.matrix, np.float64).reshape(3, 3)


def _board_or_why(case: Case, score: Score, side: int) -> tuple[str | None, str]:
    """Checkerboard of a method's answer as a data URI, or why there is none."""
    matrix = _matrix(score)
    if matrix is not None:
        return _embedded(_board(case, matrix, side)), ""
    return None, "no estimate stored" if np.isfinite(score.error) else "no answer"


def _board(case: Case, matrix: Matrix, side: int) -> Picture:
    """Checkerboard of the fixed image and the moving one as the estimate lays it."""
    aligned = warp_array(case.moving, matrix, case.fixed_size)
    full = np.ones(case.moving.shape[:2], np.uint8)
    lies = warp_array(full, matrix, case.fixed_size, "nearest") > 0
    below, _ = to_picture(case.fixed, side)
    return checkerboard(below, *to_picture(aligned, side, lies))


def _with_outlines(case: Case, lines: Sequence[tuple[Matrix | None, Colour]], side: int) -> Picture:
    """The moving image with the fixed one's outline under each matrix that is known."""
    picture = to_picture(case.moving, side)[0].copy()
    if (growth := side / max(picture.shape[:2])) > 1:  # so that lines are thin
        picture = cv2.resize(picture, None, fx=growth, fy=growth, interpolation=cv2.INTER_CUBIC)
    scale = np.array(picture.shape[1::-1]) / np.array(case.moving.shape[1::-1])
    for H, colour in lines:
        if H is None:
            continue
        corners = map_points(H, frame_corners(case.fixed_size), frame_centre(case.fixed_size))
        outline = (corners + 0.5) * scale - 0.5
        if not np.isfinite(outline).all():
            continue
        points = np.rint(np.clip(outline, -4 * side, 5 * side) * 16).astype(np.int32)
        cv2.polylines(picture, [points], True, _SHADOW, 4, cv2.LINE_AA, 4)
        cv2.polylines(picture, [points], True, colour, 2, cv2.LINE_AA, 4)
    return picture


def _embedded(picture: Picture, side: int = _SIDES[1]) -> str:
    data = encode_image(".webp", shrunk(picture, side), quality=_QUALITY)
    return f"data:image/webp;base64,{base64.b64encode(data).decode('ascii')}"
