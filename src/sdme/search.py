"""Rotation and scale as hypotheses: which way is up, and how large, when nobody says so.

Both images are made small, the moving one is turned and scaled in every way that is tried, and the
cells are matched. Where a hypothesis is right many matches agree, and those of its neighbours agree
on the same transform; elsewhere as many agree as by chance, on one thing here and another there. So
a winner is clear when it has many more inliers than the best hypothesis that disagrees with it. The
winners then go through the whole registration, with the moving image resampled so that the network
sees a pair that is nearly upright.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from sdme.config import RegisterSettings, SearchSettings
from sdme.fast_stages import Views, look_at, match_cells
from sdme.frames import Frame, Matrix, Pair
from sdme.geometry.mapping import frame_centre, frame_corners, map_points, mean_corner_error
from sdme.io.read import MIN_SIDE
from sdme.model.fast import FastNetwork
from sdme.resample import Size, cut_out, fitted, seen_through, similarity
from sdme.result import Reason, Status
from sdme.stages import Clock, Sparse
from sdme.verdict import Verdict, by_chance, is_plausible, overlap

_SAME = 0.2  # of the fixed image's side: transforms whose corners are no further apart are one
_LARGEST_RATIO = 8.0  # of the images' sides, up to which one pixel scale is worth a try of its own
_LEAST_SHARE = 0.75  # of the mean side of the two, that of the smaller one
_CHANCE = 0.25  # of the matches; about as many agree on frames of that size where nothing is right
_SECOND_LOOK = 1.25  # times the side of the first one
_PART = 0.8  # of a side; where less of the fixed image has a partner, it alone is looked at
_ROOM = 0.05  # of the moving image's sides, on each side of where it is believed to lie
_ENOUGH = 0.9  # pixels of a view a pixel of the frame that it may be made of
_LEAST_SIDE = 128  # px; no frame is made smaller for the sake of the other's coarser pixels


@dataclass(frozen=True)
class Hypothesis:
    """The moving image is turned by ``angle`` degrees (from x to y) against the fixed one.

    ``scale`` says how many times as long the scene is that it shows.
    """

    angle: float
    scale: float


@dataclass(frozen=True, eq=False)
class Tried:
    """What came of a hypothesis: ``matrix`` is between the images, ``None`` for nothing plausible.

    ``inliers`` of the ``matches`` agree with it.
    """

    hypothesis: Hypothesis
    matrix: Matrix | None
    matches: int
    inliers: int


class Ranking:
    """Hypotheses that were tried on a pair, and what a second look at the best of them told."""

    def __init__(self, network: FastNetwork, pair: Pair, settings: RegisterSettings) -> None:
        self.network, self.pair, self.settings = network, pair, settings
        self.tried: list[Tried] = []
        self.ratio = 0.0  # see lead; of the last round
        self._known: dict[Tried, Tried] = {}

    def candidates(self, side: int) -> Iterator["Candidate"]:
        """What is worth a registration in full, with frames of up to ``side`` px.

        Hypotheses are tried in rounds, and a clear winner is told at once, so that a caller whom
        it contents saves the rounds after it.
        """
        told: list[Tried] = []
        rounds, price = _rounds(self.pair, self.settings.hypotheses), self.settings.hypotheses
        for turn, scales in enumerate(rounds, start=1):
            for scale in scales:
                self.tried += _try_scale(self.network, self.pair, scale, self.settings)
            best = self.best()
            self.ratio = self.lead(best)
            needed = price.least_ratio if turn == len(rounds) else price.clear_ratio
            if self.ratio >= needed and best[0] not in told:
                told.append(best[0])
                assert best[0].matrix is not None, "the best have one"
                yield upright_by(best[0].matrix, self.pair, side, self.settings)

    def best(self) -> list[Tried]:
        """The best after a second look, best first; of several that agree one alone."""
        chosen: list[Tried] = []
        usable = [one for one in self.tried if one.matrix is not None]
        for one in sorted(usable, key=lambda t: -t.inliers):
            if len(chosen) == self.settings.hypotheses.shortlist:
                break
            if not any(self._agree(one, other) for other in chosen):
                chosen.append(one)
        seen = sorted((self._again(one) for one in chosen), key=lambda t: -t.inliers)
        return [
            one
            for k, one in enumerate(seen)
            if one.inliers and not any(self._agree(one, other) for other in seen[:k])
        ]

    def lead(self, best: Sequence[Tried]) -> float:
        """Inliers of the first over those of the second, or what may agree by chance."""
        if not best:
            return 0.0
        chance = _CHANCE * best[0].matches
        return best[0].inliers / max([1.0, chance, *(t.inliers for t in best[1:2])])

    def _again(self, one: Tried) -> Tried:
        """The same with little left between the frames but what the first look did not see."""
        if one not in self._known:
            assert one.matrix is not None, "chosen for it"
            side = round(_SECOND_LOOK * self.settings.hypotheses.side)
            upright = nearly_upright(self.pair, one.matrix, side)
            self._known[one] = _tried(one.hypothesis, Views(self.network, upright), self.settings)
        return self._known[one]

    def _agree(self, one: Tried, other: Tried) -> bool:
        if one.matrix is None or other.matrix is None:
            return False
        size = self.pair.fixed.image_size
        scale = similarity_at(other.matrix, frame_centre(size))[1]
        gap = mean_corner_error(one.matrix, other.matrix, size)
        return gap < _SAME * math.sqrt(math.prod(size)) * scale


@dataclass(frozen=True)
class Candidate:
    """Of a ``whole`` pair the frames that a hypothesis made nearly upright, and guesses there."""

    whole: Pair
    pair: Pair
    guesses: list[Matrix]

    def looked_again(self, found: Matrix, side: int, settings: RegisterSettings) -> "Candidate":
        """The same, upright by what was ``found`` between its frames."""
        return upright_by(self.pair.in_images(found), self.whole, side, settings)


def upright_by(matrix: Matrix, whole: Pair, side: int, settings: RegisterSettings) -> Candidate:
    """A pair made upright by a ``matrix`` between the images, at which votes begin."""
    upright = nearly_upright(whole, matrix, side)
    return Candidate(whole, upright, guesses_at(upright, matrix, settings))


def guesses_at(pair: Pair, matrix: Matrix, settings: RegisterSettings) -> list[Matrix]:
    """Where votes on a pair may begin for whom ``matrix`` (between the images) is believed."""
    both = pair.in_frames(matrix), shift_between(pair, matrix)
    return [pair.within(guess, settings.transform) for guess in both]


def paying(settings: RegisterSettings, ratio: float) -> RegisterSettings:
    """The same settings with the price that the verdict has on many chances to be wrong.

    More matches have to agree. A clear winner may be uncertain with a larger predicted error than
    others, as the other hypotheses are evidence for it.
    """
    price, verdict, fast = settings.hypotheses, settings.verdict, settings.fast
    dearer = {
        "inlier_base": verdict.inlier_base * price.inlier_factor,
        "inlier_share": min(1.0, verdict.inlier_share * price.inlier_factor),
    }
    is_clear = ratio >= price.clear_ratio
    limit = fast.uncertain_below * (price.uncertain_factor if is_clear else 1)
    return settings.model_copy(
        update={
            "verdict": verdict.model_copy(update=dearer),
            "fast": fast.model_copy(update={"uncertain_below": limit}),
        }
    )


def as_searched(
    found: Verdict, pair: Pair, sparse: Sparse | None, ratio: float, settings: RegisterSettings
) -> Verdict:
    """The verdict on parts of images that a hypothesis led to, with what is known of the whole.

    There is no answer unless matches agree with it, more than by chance at the price of
    :func:`paying`. Only a clear winner is aligned, and only if the images themselves overlap.
    """
    if found.matrix is None:
        return found
    if sparse is not None:
        chance = by_chance(len(sparse.fixed), paying(settings, ratio).verdict)
        if _agreeing(sparse, found.matrix, settings.fast.estimate.threshold) <= chance:
            why = f"up to {chance:.0f} matches may agree by chance; {found.message}"
            return Verdict(Status.FAILED, Reason.TOO_FEW_INLIERS, why, None)

    def uncertain(reason: Reason, why: str) -> Verdict:
        return Verdict(Status.UNCERTAIN, reason, f"{why}; {found.message}", found.matrix)

    sizes = pair.fixed.image_size, pair.moving.image_size
    common = overlap(pair.in_images(found.matrix), *sizes)
    if common < settings.verdict.min_overlap:
        return uncertain(Reason.LOW_OVERLAP, f"only {common:.0%} of the image overlap")
    if found.status is Status.ALIGNED and ratio < settings.hypotheses.clear_ratio:
        return uncertain(Reason.UNCONFIRMED, "another rotation or scale is nearly as good")
    return found


def _agreeing(sparse: Sparse, matrix: Matrix, threshold: float) -> int:
    return int((sparse.distances(matrix) < threshold).sum()) if len(sparse.fixed) else 0


def shift_between(pair: Pair, matrix: Matrix) -> Matrix:
    """The shift between two frames that sends the fixed middle where ``matrix`` sends it."""
    middle = frame_centre(pair.fixed.size)
    there = cv2.perspectiveTransform(middle[None, None], pair.in_frames(matrix))[0, 0]
    shift = np.eye(3)
    shift[:2, 2] = there - middle
    return shift


def nearly_upright(pair: Pair, matrix: Matrix, side: int) -> Pair:
    """Frames between which little is left of ``matrix`` (between the images) but a shift.

    The moving one is a view of where the fixed one is believed to lie, of its size. Both have the
    resolution of the coarser image, as far as the fixed one keeps to ``side`` px.
    """
    low, high = _common_part(pair, matrix)
    centre, extent = (low + high) / 2, high - low + 1
    angle, scale, there = similarity_at(matrix, centre)
    finest = min(1.0, side / extent.max())
    shrink = min(finest, max(2 * scale, _LEAST_SIDE / extent.max()))
    fixed = pair.fixed
    is_part = (extent < _PART * np.array(pair.fixed.image_size)).any()
    if is_part or shrink < 0.9 * finest:
        width, height = (max(MIN_SIDE, round(shrink * length)) for length in extent)
        size = width, height
        fixed = _view(pair.fixed, _centred(similarity(0.0, shrink, centre), size), size)
    factor = math.sqrt(abs(np.linalg.det(fixed.scale[:2, :2]))) / scale
    turned = similarity(-angle, factor, there)
    whole, room = fitted(turned, pair.moving.image_size)
    view = np.minimum(fixed.size, room)
    # the view's middle is where the fixed one's is sent, but no further out than the image goes
    middle = whole[:2, :2] @ there + whole[:2, 2]
    shifted = np.eye(3)
    shifted[:2, 2] = -np.clip(middle - (view - 1) / 2, 0, np.array(room) - view)
    moving = _view(pair.moving, shifted @ whole, (int(view[0]), int(view[1])))
    return replace(pair, fixed=fixed, moving=moving)


def _common_part(pair: Pair, matrix: Matrix) -> tuple[np.ndarray, np.ndarray]:
    """First and last pixel of the part of the fixed image where the moving one may lie.

    All of it where that is most of it, or nothing.
    """
    size, other = pair.fixed.image_size, pair.moving.image_size
    last = np.array(size) - 1.0
    back = map_points(np.linalg.inv(matrix), frame_corners(other), frame_centre(other))
    if not np.isfinite(back).all():
        return np.zeros(2), last
    room = _ROOM * np.ptp(back, axis=0)
    low, high = np.clip(back.min(0) - room, 0, last), np.clip(back.max(0) + room, 0, last)
    is_most = (high - low > _PART * last).all()
    if is_most or (high - low < MIN_SIDE).any():
        return np.zeros(2), last
    return low, high


def _centred(turned: Matrix, size: Size) -> Matrix:
    shifted = np.eye(3)
    shifted[:2, 2] = (np.array(size) - 1) / 2
    return shifted @ turned


def _view(frame: Frame, view_from_image: Matrix, size: Size) -> Frame:
    """Of the frame where it is fine enough, else of the image."""
    view_from_frame = view_from_image @ np.linalg.inv(frame.scale)
    if math.sqrt(abs(np.linalg.det(view_from_frame[:2, :2]))) < _ENOUGH:
        return seen_through(frame, view_from_frame, size)
    return cut_out(frame, view_from_image, size)


def similarity_at(matrix: Matrix, point: np.ndarray) -> tuple[float, float, np.ndarray]:
    """Angle (radians), scale, and where the point goes, of the similarity that is nearest there."""
    mapped = matrix @ [*point, 1.0]
    there = mapped[:2] / mapped[2]
    jacobian = (matrix[:2, :2] - np.outer(there, matrix[2, :2])) / mapped[2]
    angle = math.atan2(jacobian[1, 0] - jacobian[0, 1], jacobian[0, 0] + jacobian[1, 1])
    return angle, math.sqrt(abs(np.linalg.det(jacobian))), there


def _rounds(pair: Pair, settings: SearchSettings) -> list[list[float]]:
    """The scales of each round; one at which both have pixels of one size is in the first."""
    rounds = [list(scales) for scales in settings.scales]
    sides = (math.sqrt(math.prod(f.image_size)) for f in (pair.moving, pair.fixed))
    ratio = next(sides) / next(sides)
    known = [scale for scales in rounds for scale in scales]
    is_new = all(abs(math.log(ratio / scale)) > math.log(1.5) for scale in known)
    if is_new and 1 / _LARGEST_RATIO <= ratio <= _LARGEST_RATIO:
        rounds[0].append(ratio)
    return rounds


def _try_scale(
    network: FastNetwork, pair: Pair, scale: float, settings: RegisterSettings
) -> list[Tried]:
    chosen, root = settings.hypotheses, math.sqrt(scale)
    # the image that shows less must not become too small to be recognised
    side = max(chosen.side, _LEAST_SHARE * chosen.side * max(root, 1 / root))
    fixed = _small(pair.fixed, side / root, 0.0)
    angles = [360 * k / chosen.rotations for k in range(chosen.rotations)]
    turned = [_small(pair.moving, side * root, -angle) for angle in angles]
    pairs = [Pair(fixed, moving) for moving in turned]
    views = look_at(network, pairs)
    return [
        _tried(Hypothesis(angle, scale), view, settings)
        for angle, view in zip(angles, views, strict=True)
    ]


def _tried(hypothesis: Hypothesis, view: Views, settings: RegisterSettings) -> Tried:
    fast = settings.fast.model_copy(update={"cells": settings.hypotheses.cells})
    scouting = settings.model_copy(update={"fast": fast, "transform": "homography"})
    found = match_cells(view, scouting, Clock()).evidence
    sizes = view.pair.fixed.size, view.pair.moving.size
    if found.matrix is None or not is_plausible(found.matrix, *sizes, settings.verdict):
        return Tried(hypothesis, None, found.matches, 0)
    return Tried(hypothesis, view.pair.in_images(found.matrix), found.matches, found.inliers)


def _small(frame: Frame, side: float, angle: float) -> Frame:
    """The frame with a mean side of ``side`` px, turned by ``angle`` degrees."""
    factor = side / math.sqrt(math.prod(frame.size))
    turned = similarity(math.radians(angle), factor, frame_centre(frame.size))
    return seen_through(frame, *fitted(turned, frame.size))
