"""The simplest kind of transform that explains matches, and a registration that keeps to it.

A wider kind always fits closer, so the question is whether its further freedoms find anything but
noise. The noise of matches is not known, is not the same for all of them and is shared by
neighbours: those of cells of 4 px are off by up to 2 px, all in one direction over large parts of
the image. So the image is parted into blocks. Under a simpler kind that is right, what the blocks
say of the further freedoms has no common direction: turning the signs of the blocks at random gives
as large a sum as often as not. It is the score test with a variance by clusters, its distribution
by random signs (Wu's wild bootstrap in the form of Cameron, Gelbach and Miller, "Bootstrap-based
improvements for inference with clustered errors", 2008).
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from sdme.config import KINDS, Kind
from sdme.geometry.fit import fit_points
from sdme.geometry.mapping import frame_centre
from sdme.result import Registration, Status

SIGNIFICANCE = 0.1  # a kind falls where chance would speak as loudly against it less often
_BLOCKS = 6  # along a side
_DRAWS = 999
_MOST_LARGER, _LEAST_DEVIATION = 1.25, 0.01  # of the residuals; px
_LEAST_KEPT = 0.9  # of the matches that agree with the homography
_MOST_ERROR = 1.5  # times the predicted error, or the residual, of the homography
_FREEDOMS = dict(zip(KINDS, (2, 3, 4, 6, 8), strict=True))
_ORDER = (Status.FAILED, Status.UNCERTAIN, Status.ALIGNED)


def simplest_kind(
    fixed: Float[np.ndarray, "n 2"],
    moving: Float[np.ndarray, "n 2"],
    size: tuple[int, int],
    widest: Kind = "homography",
    significance: float = SIGNIFICANCE,
) -> Kind:
    """The smallest kind that matches do not speak against; they all agree with one of ``widest``.

    Points are in pixels of the images, ``size`` is that of the fixed one. The same points always
    give the same answer.
    """
    for kind in KINDS[: KINDS.index(widest)]:
        if chance_against(fixed, moving, size, kind, widest) >= significance:
            return kind
    return widest


def chance_against(
    fixed: Float[np.ndarray, "n 2"],
    moving: Float[np.ndarray, "n 2"],
    size: tuple[int, int],
    kind: Kind,
    widest: Kind = "homography",
) -> float:
    """How often chance speaks as loudly against a kind as the matches do.

    0 where they fix none, or its residuals are a quarter larger than those of the widest kind; 1
    where it leaves none.
    """
    matrix, wide = fit_points(fixed, moving, kind), fit_points(fixed, moving, widest)
    if matrix is None or wide is None or abs(np.linalg.det(matrix[:2, :2])) < 1e-9:
        return 0.0
    linear = matrix[:2, :2]
    deviation = _deviation(matrix, fixed, moving, kind)
    if deviation < _LEAST_DEVIATION:
        return 1.0
    if deviation > _MOST_LARGER * max(_deviation(wide, fixed, moving, widest), _LEAST_DEVIATION):
        return 0.0  # so far off that the blocks differ by what is wrong, and not by noise
    # what would have to happen to the fixed points, of which the increments are known
    shift = (moving - fixed @ linear.T - matrix[:2, 2]) @ np.linalg.inv(linear).T
    unit = max(size) / 2
    u = (fixed - frame_centre(size)) / unit
    own, further = _directions(u, kind), _directions(u, widest)[len(_directions(u[:1], kind)) :]
    own, further = own.reshape(len(own), -1).T, further.reshape(len(further), -1).T
    target = np.column_stack([further, (shift / unit).ravel()])
    left = target - own @ np.linalg.lstsq(own, target, rcond=None)[0]
    products = (left[:, :-1] * left[:, -1:]).reshape(len(fixed), 2, -1).sum(1)
    return _by_random_signs(_summed(products, _block_of(fixed, size)))


def keep_simplest(run: Callable[[Kind], Registration], widest: Kind) -> Registration:
    """Register with the widest kind; again with the simplest that its matches do not speak against.

    The second answer stands where at least nine tenths as many matches agree with it, its status is
    no worse, and its predicted error (or residual) at most one and a half times as large.
    """
    first = run(widest)
    kept = first.matches.inlier
    if not first.ok or not kept.any():
        return first
    points = first.matches.fixed[kept], first.matches.moving[kept]
    kind = simplest_kind(*points, first.fixed_size, widest)
    if kind == widest:
        return first
    second = run(kind)
    answer = second if _is_as_good(second, first) else first
    total = first.timings.get("total", 0.0) + second.timings.get("total", 0.0)
    return replace(answer, timings=answer.timings | {"total": total})


def _is_as_good(second: Registration, first: Registration) -> bool:
    agreeing = [int(np.count_nonzero(result.matches.inlier)) for result in (second, first)]
    errors = (second.predicted_error, first.predicted_error)
    if errors[0] is None or errors[1] is None:
        errors = second.residual_after, first.residual_after
    is_close = errors[0] is None or errors[1] is None or errors[0] <= _MOST_ERROR * errors[1]
    is_no_worse = _ORDER.index(second.status) >= _ORDER.index(first.status)
    return is_close and is_no_worse and agreeing[0] >= _LEAST_KEPT * agreeing[1]


def _deviation(matrix: np.ndarray, fixed: np.ndarray, moving: np.ndarray, kind: Kind) -> float:
    """Standard deviation of a coordinate from where a fitted transform sends it, px."""
    mapped = fixed @ matrix[:, :2].T + matrix[:, 2]
    gaps = mapped[:, :2] / mapped[:, 2:] - moving
    spare = max(1, gaps.size - _FREEDOMS[kind])
    return float(np.sqrt((gaps**2).sum() / spare))


def _directions(u: Float[np.ndarray, "n 2"], kind: Kind) -> Float[np.ndarray, "k n 2"]:
    """How the freedoms of a kind move points, to first order, those of smaller kinds first."""
    x, y = u.T
    zero, one = np.zeros_like(x), np.ones_like(x)
    every = [
        (one, zero), (zero, one),  # translation
        (-y, x),  # euclidean
        (x, y),  # similarity
        (x, -y), (y, x),  # affine
        (x * x, x * y), (x * y, y * y),  # homography
    ]  # fmt: skip
    return np.array([np.stack(pair, axis=-1) for pair in every[: _FREEDOMS[kind]]])


def _block_of(points: Float[np.ndarray, "n 2"], size: tuple[int, int]) -> np.ndarray:
    """Number of the block that each point lies in; there are about 6 along a side."""
    places = np.floor((points + 0.5) / np.array(size) * _BLOCKS).clip(0, _BLOCKS - 1)
    return (places[:, 1] * _BLOCKS + places[:, 0]).astype(int)


def _summed(products: Float[np.ndarray, "n q"], block: np.ndarray) -> Float[np.ndarray, "b q"]:
    """Sums over blocks; those without points are left out."""
    _, place = np.unique(block, return_inverse=True)
    out = np.zeros((place.max() + 1, products.shape[1]))
    np.add.at(out, place, products)
    return out


def _by_random_signs(scores: Float[np.ndarray, "b q"]) -> float:
    """How often random signs of the blocks give as large a statistic as their own."""
    variance = np.linalg.pinv(scores.T @ scores, hermitian=True)
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (_DRAWS, len(scores)))
    sums = np.vstack([scores.sum(0), signs @ scores])
    statistic = np.einsum("dq,qr,dr->d", sums, variance, sums)
    return float((statistic >= statistic[0] * (1 - 1e-9)).mean())
