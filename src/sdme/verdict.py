"""Whether an answer can be believed: rules on what the stages found, in network pixels.

Matches alone are believed when more of them agree than chance explains, ``inliers > base + share *
matches`` (Brown and Lowe, "Automatic Panoramic Image Stitching", 2007, section 3.1). A logo or
time stamp burnt into two unrelated images passes that test; so the dense maps of the whole images
have to agree as well, better than mirrored ones do, and clearly better where there are no matches.
"""

from dataclasses import dataclass

import numpy as np

from sdme.config import VerdictSettings
from sdme.result import Reason, Status

Size = tuple[int, int]
_GRID = 50


@dataclass(frozen=True)
class SparseEvidence:
    """What matching found: ``matrix`` is ``None`` when ``reason`` says why there is none.

    ``keypoints`` counts what could be matched in the fixed and in the moving image; ``kind`` is
    what that is called.
    """

    matrix: np.ndarray | None
    reason: Reason
    keypoints: tuple[int, int]
    matches: int
    inliers: int
    kind: str = "keypoints"


@dataclass(frozen=True)
class DenseEvidence:
    """What refinement made of its start.

    ``drift`` is the median distance, px, of the inliers from their matches afterwards, ``None``
    without inliers; ``agreement`` is the correlation of the maps and ``chance`` the best that
    refinement reaches on mirrored ones.
    """

    matrix: np.ndarray
    accepted: bool
    agreement: float
    chance: float
    drift: float | None = None


@dataclass(frozen=True)
class Verdict:
    """The status, why, in a sentence, and the matrix that stands (``None`` when it failed)."""

    status: Status
    reason: Reason
    message: str
    matrix: np.ndarray | None


def judge_sparse(
    found: SparseEvidence, fixed_size: Size, moving_size: Size, settings: VerdictSettings
) -> Reason:
    """``NONE`` when the matches' matrix stands, else why it does not."""
    if found.matrix is None:
        return found.reason
    if found.inliers <= by_chance(found.matches, settings):
        return Reason.TOO_FEW_INLIERS
    if not is_plausible(found.matrix, fixed_size, moving_size, settings):
        return Reason.IMPLAUSIBLE_TRANSFORM
    return Reason.NONE


def judge(
    sparse: SparseEvidence | None,
    dense: DenseEvidence | None,
    fixed_size: Size,
    moving_size: Size,
    settings: VerdictSettings,
) -> Verdict:
    """The verdict on whichever stages ran.

    ``dense`` began at the matches' matrix when that stands, elsewhere at a guess.
    """
    if sparse is not None:
        reason = judge_sparse(sparse, fixed_size, moving_size, settings)
        if reason is Reason.NONE:
            return _with_matches(sparse, dense, fixed_size, moving_size, settings)
        if dense is None:
            return Verdict(Status.FAILED, reason, _shortfall(reason, sparse), None)
    else:
        reason = Reason.NONE
    assert dense is not None, "no stage ran"
    return _without_matches(sparse, reason, dense, fixed_size, moving_size, settings)


def by_chance(matches: int, settings: VerdictSettings) -> float:
    """So many matches may agree without a meaning; more are believed."""
    return settings.inlier_base + settings.inlier_share * matches


def is_plausible(
    matrix: np.ndarray, fixed_size: Size, moving_size: Size, settings: VerdictSettings
) -> bool:
    """Whether a camera could have done it.

    The whole fixed image lies before the horizon and is not mirrored, at none of its corners is
    anything stretched or shrunk more than ``max_stretch`` times in any direction, and the images
    overlap at all.
    """
    if not np.isfinite(matrix).all():
        return False
    square = _corners(fixed_size)
    mapped = np.column_stack([square, np.ones(4)]) @ matrix.T
    depth = mapped[:, 2:]
    if (depth <= 0).any():
        return False
    points = mapped[:, :2] / depth
    jacobian = (matrix[:2, :2] - points[:, :, None] * matrix[2, :2]) / depth[:, :, None]
    if (np.linalg.det(jacobian) <= 0).any():
        return False
    stretch = np.linalg.svd(jacobian, compute_uv=False)
    limit = settings.max_stretch
    if stretch.max() > limit or stretch.min() < 1 / limit:
        return False
    return overlap(matrix, fixed_size, moving_size) > 0


def overlap(matrix: np.ndarray, fixed_size: Size, moving_size: Size) -> float:
    """Share of one image's area that lies on the other, for the image whose share is larger."""
    return max(
        _share_inside(matrix, fixed_size, moving_size),
        _share_inside(np.linalg.inv(matrix), moving_size, fixed_size),
    )


def _share_inside(matrix: np.ndarray, size: Size, other: Size) -> float:
    """Share of an image's area that falls on the other image, on a grid of 50x50 points."""
    line = (np.arange(_GRID) + 0.5) / _GRID
    x, y = np.meshgrid(line * size[0] - 0.5, line * size[1] - 0.5)
    u, v, depth = matrix @ np.stack([x.ravel(), y.ravel(), np.ones(x.size)])
    depth = np.where(depth > 0, depth, np.nan)
    u, v = u / depth, v / depth
    inside = (u >= -0.5) & (v >= -0.5) & (u <= other[0] - 0.5) & (v <= other[1] - 0.5)
    return float(inside.mean())


def _with_matches(
    sparse: SparseEvidence,
    dense: DenseEvidence | None,
    fixed_size: Size,
    moving_size: Size,
    settings: VerdictSettings,
) -> Verdict:
    matrix, agree = sparse.matrix, f"{sparse.inliers} of {sparse.matches} matches agree"

    def uncertain(reason: Reason, message: str) -> Verdict:
        return Verdict(Status.UNCERTAIN, reason, message, matrix)

    assert matrix is not None, "judged before"
    if dense is not None:
        if not dense.accepted:
            return uncertain(
                Reason.REFINEMENT_REJECTED, f"{agree}, but refinement did not improve on them"
            )
        is_far = dense.drift is not None and dense.drift > settings.max_drift
        if is_far or not is_plausible(dense.matrix, fixed_size, moving_size, settings):
            return uncertain(
                Reason.NO_AGREEMENT, f"{agree}, but refinement leads away from them; they stand"
            )
        share_left = settings.chance_margin * (1 - dense.chance)
        if dense.agreement < max(settings.min_agreement, dense.chance + share_left):
            return uncertain(
                Reason.NO_AGREEMENT, f"{agree}, but away from them {_correlation(dense)}"
            )
        matrix = dense.matrix
    if sparse.inliers <= settings.sure_factor * by_chance(sparse.matches, settings):
        return uncertain(Reason.TOO_FEW_INLIERS, f"{agree}, not much more than by chance")
    common = overlap(matrix, fixed_size, moving_size)
    if common < settings.min_overlap:
        return uncertain(Reason.LOW_OVERLAP, f"{agree}, but only {common:.0%} of the image overlap")
    message = agree if dense is None else f"{agree} and refinement confirms them"
    return Verdict(Status.ALIGNED, Reason.NONE, message, matrix)


def _without_matches(
    sparse: SparseEvidence | None,
    reason: Reason,
    dense: DenseEvidence,
    fixed_size: Size,
    moving_size: Size,
    settings: VerdictSettings,
) -> Verdict:
    """Refinement from a guess: the maps themselves have to show that it is right."""
    cause = "" if sparse is None else _shortfall(reason, sparse) + "; "

    def failed(own: Reason, message: str) -> Verdict:
        return Verdict(Status.FAILED, own if sparse is None else reason, cause + message, None)

    if not dense.accepted:
        return failed(Reason.REFINEMENT_REJECTED, "refinement found nothing to improve")
    if not is_plausible(dense.matrix, fixed_size, moving_size, settings):
        return failed(Reason.IMPLAUSIBLE_TRANSFORM, "refinement gave no plausible transform")
    if overlap(dense.matrix, fixed_size, moving_size) < settings.min_overlap:
        return failed(Reason.LOW_OVERLAP, "after refinement the images hardly overlap")
    figures = _correlation(dense)
    if dense.agreement < max(settings.min_agreement, dense.chance + settings.chance_margin):
        return failed(Reason.NO_AGREEMENT, f"after refinement {figures}")
    if sparse is not None:
        message = f"{cause}refinement alone found this: {figures}"
        return Verdict(Status.UNCERTAIN, reason, message, dense.matrix)
    return Verdict(Status.ALIGNED, Reason.NONE, f"after refinement {figures}", dense.matrix)


def _correlation(dense: DenseEvidence) -> str:
    return f"the maps correlate at {dense.agreement:.2f}, by chance at {dense.chance:.2f}"


def _shortfall(reason: Reason, found: SparseEvidence) -> str:
    """What was wrong with the matches, with figures."""
    return {
        Reason.TOO_FEW_KEYPOINTS: "only {keypoints[0]} and {keypoints[1]} {kind} were found",
        Reason.TOO_FEW_MATCHES: "only {matches} {kind} match",
        Reason.NO_MODEL: "no transform explains the {matches} matches",
        Reason.TOO_FEW_INLIERS: "only {inliers} of {matches} matches agree, as by chance",
        Reason.IMPLAUSIBLE_TRANSFORM: "the {inliers} matches that agree fit no plausible transform",
    }[reason].format(**vars(found))


def _corners(size: Size) -> np.ndarray:
    right, bottom = size[0] - 1.0, size[1] - 1.0
    return np.array([[0, 0], [right, 0], [right, bottom], [0, bottom]])
