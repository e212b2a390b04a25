import numpy as np
import pytest

from sdme.config import VerdictSettings
from sdme.result import Reason, Status
from sdme.verdict import (
    DenseEvidence,
    SparseEvidence,
    is_plausible,
    judge,
    judge_sparse,
    overlap,
)

SIZE = (640, 480)
EYE = np.eye(3)


def matrix(a=1.0, b=0.0, x=0.0, c=0.0, d=1.0, y=0.0, g=0.0, h=0.0):
    return np.array([[a, b, x], [c, d, y], [g, h, 1.0]])


def sparse(inliers=200, matches=400, found=EYE, reason=Reason.NONE):
    return SparseEvidence(found, reason, (1000, 900), matches, inliers)


def decide(sparse=None, dense=None):
    return judge(sparse, dense, SIZE, SIZE, VerdictSettings())


@pytest.mark.parametrize(
    ("H", "expected"),
    [
        (EYE, True),
        (matrix(x=300, y=-200), True),
        (matrix(a=0.0, b=-1, c=1, d=0.0, x=480), True),
        (matrix(a=3, d=3, x=-300), True),
        (matrix(g=2e-4, h=-2e-4), True),
        (matrix(a=-1, x=640), False),
        (matrix(a=8, d=8), False),
        (matrix(a=0.1, d=0.1), False),
        (matrix(a=1, d=0.1), False),
        (matrix(g=-1 / 600), False),
        (matrix(x=700), False),
        (matrix(x=np.nan), False),
    ],
    ids=[
        "same",
        "shift",
        "turn",
        "zoom",
        "tilt",
        "mirror",
        "huge",
        "tiny",
        "squash",
        "horizon",
        "outside",
        "nan",
    ],
)
def test_plausible(H, expected):
    assert is_plausible(H, SIZE, SIZE, VerdictSettings()) is expected


@pytest.mark.parametrize(
    ("H", "moving", "expected"),
    [
        (EYE, SIZE, 1.0),
        (matrix(x=320), SIZE, 0.5),
        (matrix(x=-320, y=240), SIZE, 0.25),
        (matrix(x=640), SIZE, 0.0),
        (matrix(a=0.25, d=0.25, x=80, y=80), SIZE, 1.0),
        (matrix(x=-100, y=-100), (64, 48), 1.0),
    ],
)
def test_overlap_is_that_of_the_image_that_is_covered_more(H, moving, expected):
    assert overlap(H, SIZE, moving) == pytest.approx(expected, abs=0.02)


def test_matches_need_more_inliers_than_chance_gives():
    settings = VerdictSettings(inlier_base=10, inlier_share=0.1)

    def reason(inliers, matches):
        return judge_sparse(sparse(inliers, matches), SIZE, SIZE, settings)

    assert reason(51, 400) is Reason.NONE
    assert reason(50, 400) is Reason.TOO_FEW_INLIERS
    assert reason(31, 200) is Reason.NONE


def test_sparse_alone():
    assert decide(sparse()).status is Status.ALIGNED
    few = decide(sparse(inliers=40))
    assert (few.status, few.reason) == (Status.UNCERTAIN, Reason.TOO_FEW_INLIERS)
    assert few.matrix is EYE
    for evidence, reason in (
        (sparse(inliers=20), Reason.TOO_FEW_INLIERS),
        (sparse(found=matrix(a=-1, x=640)), Reason.IMPLAUSIBLE_TRANSFORM),
        (sparse(found=None, reason=Reason.TOO_FEW_MATCHES), Reason.TOO_FEW_MATCHES),
        (sparse(found=None, reason=Reason.NO_MODEL), Reason.NO_MODEL),
        (sparse(found=None, reason=Reason.TOO_FEW_KEYPOINTS), Reason.TOO_FEW_KEYPOINTS),
    ):
        verdict = decide(evidence)
        assert (verdict.status, verdict.reason) == (Status.FAILED, reason)
        assert verdict.matrix is None and verdict.message


def test_refinement_after_matches():
    better = matrix(x=0.5)
    verdict = decide(sparse(), DenseEvidence(better, True, 0.7, 0.2, drift=0.6))
    assert verdict.status is Status.ALIGNED and verdict.matrix is better
    for dense, reason in (
        (DenseEvidence(better, False, 0.7, 0.2, drift=0.6), Reason.REFINEMENT_REJECTED),
        (DenseEvidence(better, True, 0.7, 0.2, drift=9), Reason.NO_AGREEMENT),
        # matches on a logo that both images carry: the maps of the rest do not correlate
        (DenseEvidence(better, True, 0.17, 0.06, drift=0.6), Reason.NO_AGREEMENT),
        (DenseEvidence(matrix(d=0.1), True, 0.7, 0.2, drift=0.6), Reason.NO_AGREEMENT),
    ):
        verdict = decide(sparse(), dense)
        assert (verdict.status, verdict.reason) == (Status.UNCERTAIN, reason)
        assert verdict.matrix is EYE


def test_small_overlap_is_uncertain():
    far = matrix(x=630, y=400)
    verdict = decide(sparse(found=far))
    assert (verdict.status, verdict.reason) == (Status.UNCERTAIN, Reason.LOW_OVERLAP)


def test_refinement_from_a_guess_must_beat_chance():
    good = DenseEvidence(EYE, True, agreement=0.7, chance=0.2)
    assert decide(dense=good).status is Status.ALIGNED
    for dense, reason in (
        (DenseEvidence(EYE, True, agreement=0.7, chance=0.65), Reason.NO_AGREEMENT),
        (DenseEvidence(EYE, True, agreement=0.2, chance=-0.1), Reason.NO_AGREEMENT),
        (DenseEvidence(EYE, False, agreement=0.7, chance=0.2), Reason.REFINEMENT_REJECTED),
        (DenseEvidence(matrix(a=8), True, agreement=0.7, chance=0.2), Reason.IMPLAUSIBLE_TRANSFORM),
        (DenseEvidence(matrix(x=610), True, agreement=0.7, chance=0.2), Reason.LOW_OVERLAP),
    ):
        verdict = decide(dense=dense)
        assert (verdict.status, verdict.reason) == (Status.FAILED, reason)
        assert verdict.matrix is None


def test_refinement_instead_of_matches_is_at_most_uncertain():
    nothing = sparse(found=None, reason=Reason.NO_MODEL)
    good = DenseEvidence(EYE, True, agreement=0.9, chance=0.1)
    verdict = decide(nothing, good)
    assert (verdict.status, verdict.reason) == (Status.UNCERTAIN, Reason.NO_MODEL)
    assert verdict.matrix is EYE
    bad = DenseEvidence(EYE, True, agreement=0.2, chance=0.1)
    assert decide(nothing, bad).status is Status.FAILED
    assert decide(nothing, bad).reason is Reason.NO_MODEL
