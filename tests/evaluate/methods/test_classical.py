"""What every classical method has to do: find a known transform, and fail without a fuss."""

import cv2
import numpy as np
import pytest

from sdme.evaluate.drawing import cut_patches, cut_view, resting_placement
from sdme.evaluate.methods import METHODS, build_method
from sdme.evaluate.metrics import corner_error

FEATURES = ("sift", "akaze", "orb")
HOMOGRAPHIES = {
    "sift": 0.2,
    "akaze": 0.6,
    "orb": 1.0,
    "ecc-intensity": 0.2,
    "ecc-gradient": 0.4,
    "sift+ecc": 0.3,
    "mutual-information": 0.4,
}
EVERYTHING = ("identity", *HOMOGRAPHIES, "phase-correlation")


def method_or_skip(name):
    if name == "akaze" and not (hasattr(cv2, "AKAZE") or hasattr(cv2, "xfeatures2d")):
        pytest.skip("this OpenCV has no AKAZE")
    if name == "mutual-information":
        pytest.importorskip("SimpleITK")
    return build_method(name)


def texture(width, height, seed):
    """Noise of four sizes of grain, as photos have them."""
    rng = np.random.default_rng(seed)
    grains = [
        grain * cv2.resize(
            rng.normal(size=(height // grain + 2, width // grain + 2, 3)).astype(np.float32),
            (width, height),
            interpolation=cv2.INTER_CUBIC,
        )
        for grain in (3, 6, 12, 24)
    ]  # fmt: skip
    return np.clip(128 + 4 * sum(grains), 0, 255).astype(np.uint8)


def start_of(fixed, moving):
    return resting_placement(fixed.shape[1::-1], moving.shape[1::-1], is_stretched=False)


@pytest.fixture(scope="module")
def patches():
    """A patch in a patch, its corners moved by up to 12 px."""
    image = texture(400, 320, 3)
    cut = cut_patches(
        image,
        image,
        np.random.default_rng(5),
        fixed_side=128,
        moving_side=192,
        max_shift=12,
        max_short_side=256,
    )
    return cut.fixed, cut.moving, cut.H_true


@pytest.fixture(scope="module")
def half_turn():
    """A fixed image that is a piece of the moving one, upside down: nothing is resampled.

    An offset common to both images cancels out where they are upright; here it counts twice.
    """
    moving = texture(192, 192, 8)
    fixed = np.ascontiguousarray(moving[30:158, 38:166][::-1, ::-1])
    return fixed, moving, np.array([[-1.0, 0, 165], [0, -1, 157], [0, 0, 1]])


@pytest.mark.parametrize("name", HOMOGRAPHIES)
def test_convention_finds_the_homography(patches, name):
    """Direction, offset and the order of x and y are all in this figure."""
    fixed, moving, H_true = patches
    start = start_of(fixed, moving)
    result = method_or_skip(name)(fixed, moving, start)
    final = list(result.stages)[-1]
    assert corner_error(start, H_true, (128, 128)) > 5
    assert corner_error(result.stages[final], H_true, (128, 128)) < HOMOGRAPHIES[name]
    assert list(result.seconds) == list(result.stages)
    assert result.seconds[final] == max(result.seconds.values()) > 0


@pytest.mark.parametrize("name", [*HOMOGRAPHIES, "phase-correlation"])
def test_convention_of_a_large_oblong_picture(name):
    """A turned and scaled view, too large to be enlarged, beside the middle of the moving image."""
    image = texture(720, 600, 4)
    cut = cut_view(
        image,
        image,
        np.random.default_rng(2),
        rotation=6,
        scales=(0.92, 0.95),
        perspective=0.0,
        coverage=0.8,
    )
    size = cut.fixed.shape[1::-1]
    assert max(size) > 512
    start = start_of(cut.fixed, cut.moving)
    result = method_or_skip(name)(cut.fixed, cut.moving, start)
    assert corner_error(start, cut.H_true, size) > 15
    assert corner_error(list(result.stages.values())[-1], cut.H_true, size) < 2


@pytest.mark.parametrize("name", FEATURES)
def test_convention_enlargement_keeps_pixel_centres(half_turn, name):
    """A corner of an enlarged pixel taken for its centre is 0.7 px off at 2x, 1.06 px at 4x."""
    fixed, moving, H_true = half_turn
    result = method_or_skip(name)(fixed, moving, start_of(fixed, moving))
    limit = 0.35 if name == "orb" else 0.1
    assert corner_error(result.stages[name], H_true, (128, 128)) < limit


@pytest.mark.parametrize("name", FEATURES)
def test_matches_are_in_pixels_of_the_images_as_given(half_turn, name):
    fixed, moving, H_true = half_turn
    matching = method_or_skip(name)(fixed, moving, start_of(fixed, moving)).matching
    gap = matching.fixed @ H_true[:2, :2].T + H_true[:2, 2] - matching.moving
    assert matching.inlier.sum() > 20
    assert np.linalg.norm(gap[matching.inlier].mean(0)) < 0.1
    assert len(matching.fixed_keypoints) > len(matching.fixed)
    for points, extent in ((matching.fixed_keypoints, 128), (matching.moving_keypoints, 192)):
        assert extent * 0.7 < points.max() < extent - 0.5
        assert points.min() > -0.5
    keypoints = {tuple(point) for point in matching.moving_keypoints}
    assert {tuple(point) for point in matching.moving} <= keypoints


def test_phase_correlation_finds_a_half_turn(half_turn):
    """Spectra are the same after half a turn: the images themselves have to tell."""
    fixed, moving, H_true = half_turn
    H = build_method("phase-correlation")(fixed, moving, start_of(fixed, moving)).stages
    assert corner_error(H["phase-correlation"], H_true, (128, 128)) < 2


@pytest.mark.parametrize("name", ["ecc-intensity", "phase-correlation", "mutual-information"])
def test_starts_from_the_placement_that_is_given(patches, name):
    """The moving image twice as large, and a placement that says so."""
    fixed, moving, H_true = patches
    large = cv2.resize(moving, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    double = np.array([[2, 0, 0.5], [0, 2, 0.5], [0, 0, 1]])
    start = double @ start_of(fixed, moving)
    answer = list(method_or_skip(name)(fixed, large, start).stages.values())[-1]
    before = corner_error(start, double @ H_true, (128, 128))
    limit = 1 if name != "phase-correlation" else 0.8 * before
    assert corner_error(answer, double @ H_true, (128, 128)) < limit


def test_mutual_information_sees_through_an_inverted_scale(patches):
    """Grey values turned about and bent: what the measure is for."""
    pytest.importorskip("SimpleITK")
    fixed, moving, H_true = patches
    other = (255 * (1 - fixed / 255.0) ** 2).astype(np.uint8)
    start = start_of(fixed, moving)
    stages = build_method("mutual-information")(other, moving, start).stages
    assert list(stages) == ["affine", "homography"]
    assert corner_error(stages["homography"], H_true, (128, 128)) < 0.5
    assert corner_error(stages["affine"], H_true, (128, 128)) < corner_error(
        start, H_true, (128, 128)
    )


def test_sift_ecc_keeps_the_answer_of_sift(half_turn):
    """Stage by stage, and with the matches of SIFT."""
    fixed, moving, H_true = half_turn
    start = start_of(fixed, moving)
    alone = build_method("sift")(fixed, moving, start)
    result = build_method("sift+ecc")(fixed, moving, start)
    assert list(result.stages) == ["sift", "sift+ecc"]
    np.testing.assert_array_equal(result.stages["sift"], alone.stages["sift"])
    np.testing.assert_array_equal(result.matching.fixed, alone.matching.fixed)
    assert corner_error(result.stages["sift+ecc"], H_true, (128, 128)) < 0.3


@pytest.mark.parametrize("name", EVERYTHING)
@pytest.mark.parametrize("blank", ["both", "fixed", "moving"])
def test_blank_pictures_give_no_answer(half_turn, name, blank):
    fixed, moving, _ = half_turn
    if blank in ("both", "fixed"):
        fixed = np.full_like(fixed, 7)
    if blank in ("both", "moving"):
        moving = np.zeros_like(moving)
    start = start_of(fixed, moving)
    stages = method_or_skip(name)(fixed, moving, start).stages
    if name == "identity":
        np.testing.assert_array_equal(stages["identity"], start)
    else:
        assert set(stages.values()) == {None}


@pytest.mark.parametrize("name", EVERYTHING)
def test_a_stamp_is_no_crash(name):
    picture = texture(40, 32, 1)
    for fixed in (picture, picture[:16, :20]):
        stages = method_or_skip(name)(fixed, picture, start_of(fixed, picture)).stages
        assert all(H is None or H.shape == (3, 3) for H in stages.values())


def test_identity_returns_the_placement():
    """Also one that is no translation, and not the caller's own array."""
    picture, start = np.zeros((8, 9, 3), np.uint8), np.diag([2.0, 3.0, 1.0])
    answer = build_method("identity")(picture, picture, start).stages["identity"]
    np.testing.assert_array_equal(answer, start)
    assert answer is not start


def test_every_method_has_a_reason():
    for name in EVERYTHING:
        assert METHODS[name].is_classical
        assert METHODS[name].summary
        assert name == "identity" or len(METHODS[name].setting) > 20
