import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sdme.config import (
    EstimateSettings,
    KeypointSettings,
    RegisterSettings,
    VerdictSettings,
)
from sdme.errors import InputError
from sdme.model.network import Features, SdmeNetwork
from sdme.register import register
from sdme.result import Reason, Status
from sdme.transform import Transform

SIZE = (160, 120)
H = np.array([[1.03, 0.04, 3.0], [-0.03, 0.98, 5.0], [1e-4, -8e-5, 1.0]])


class PatchNetwork(nn.Module):
    """Stands in for the trained one: descriptors are the grey patches around the pixels.

    Repeatability is the contrast of blobs, structure the blurred image; all of it moves with the
    image, so the truth is known.
    """

    def forward(self, image):
        grey = image.mean(1, keepdim=True)
        fine, coarse = self.blurred(grey, 1.0), self.blurred(grey, 2.5)
        patches = F.unfold(F.pad(fine, (6, 6, 6, 6), mode="replicate"), 7, dilation=2)
        patches = patches.unflatten(2, grey.shape[-2:])
        patches = patches - patches.mean(1, keepdim=True)
        contrast = 10 * (fine - coarse).abs()
        return Features(F.normalize(patches, dim=1), contrast / (1 + contrast), fine)

    @staticmethod
    def blurred(grey, sigma):
        offsets = torch.arange(-8, 9, dtype=grey.dtype)
        line = torch.exp(-(offsets**2) / (2 * sigma**2))
        line = (line / line.sum())[None, None, None]
        grey = F.conv2d(F.pad(grey, (8, 8, 0, 0), mode="replicate"), line)
        return F.conv2d(F.pad(grey, (0, 0, 8, 8), mode="replicate"), line.mT)


def scene(seed=0, size=SIZE, grain=5):
    """Smooth random texture, 8-bit RGB; ``grain`` is its finest period in pixels."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (size[1] // grain, size[0] // grain, 3)).astype(np.float32)
    return cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)


def seen_through(image, matrix, size=SIZE):
    """The fixed image that has ``matrix`` as the truth to ``image``."""
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return cv2.warpPerspective(image, matrix, size, flags=flags, borderMode=cv2.BORDER_REFLECT)


def run(fixed, moving, stages="sparse-to-dense", **changes):
    kept = {k: changes.pop(k) for k in ("initial", "progress", "device") if k in changes}
    settings = RegisterSettings(stages=stages, **changes)
    return register(fixed, moving, model=PatchNetwork(), settings=settings, **kept)


@pytest.fixture(scope="module")
def pair():
    moving = scene()
    return seen_through(moving, H), moving, Transform(H, SIZE, SIZE)


def test_both_stages_find_the_truth(pair):
    fixed, moving, truth = pair
    result = run(fixed, moving)
    assert (result.status, result.reason) == (Status.ALIGNED, Reason.NONE)
    assert result.transform.corner_error(truth) < 0.15
    assert result.dense == result.transform
    assert result.dense.corner_error(truth) < result.sparse.corner_error(truth) < 2
    assert result.residual_after < result.residual_before
    assert result.fixed_image is fixed or np.array_equal(result.fixed_image, fixed)
    assert result.model == "PatchNetwork"


def test_convention_direction_is_fixed_to_moving(pair):
    """Content at fixed (x, y) is at moving transform.apply((x, y)); the inverse is far off."""
    fixed, moving, truth = pair
    found = run(fixed, moving).transform
    assert found.inverse.corner_error(truth) > 3
    back = run(moving, fixed).transform
    assert back.corner_error(truth.inverse) < 0.3


def test_sparse_alone(pair):
    fixed, moving, truth = pair
    result = run(fixed, moving, "sparse")
    assert result.status is Status.ALIGNED
    assert result.transform == result.sparse
    assert result.transform.corner_error(truth) < 2
    assert result.dense is None and result.residual_after is None
    assert "refine" not in result.timings


def test_dense_alone_from_a_given_transform(pair):
    fixed, moving, truth = pair
    off = H.copy()
    off[:2, 2] += (2, -2)
    result = run(fixed, moving, "dense", initial=Transform(off, SIZE, SIZE))
    assert result.status is Status.ALIGNED
    assert result.transform.corner_error(truth) < 0.15
    assert result.sparse is None and len(result.matches) == 0
    assert "match" not in result.timings


def test_dense_alone_from_the_centred_placement():
    moving = scene(1, (200, 180))
    truth = np.array([[1.0, 0, 21.5], [0, 1.0, 28.5], [0, 0, 1]])
    result = run(seen_through(moving, truth), moving, "dense")
    assert result.transform.corner_error(Transform(truth, SIZE, (200, 180))) < 0.1


def test_dense_alone_on_the_same_view_at_another_resolution():
    moving = scene(1, (320, 240), grain=20)
    fixed = cv2.resize(moving, SIZE, interpolation=cv2.INTER_AREA)
    truth = Transform(np.array([[2, 0, 0.5], [0, 2, 0.5], [0, 0, 1]]), SIZE, (320, 240))
    result = run(fixed, moving, "dense", max_side=160)
    assert result.transform.corner_error(truth) < 0.1


def test_matches_are_where_the_transform_says(pair):
    fixed, moving, truth = pair
    matches = run(fixed, moving).matches
    assert len(matches) == len(matches.score) == len(matches.inlier)
    gap = np.linalg.norm(truth.apply(matches.fixed) - matches.moving, axis=-1)
    assert matches.inlier.sum() > 50
    assert gap[matches.inlier].max() < 3
    assert (gap[~matches.inlier] > 3).any()


def test_convention_large_images_are_reported_in_their_own_pixels():
    """Only the moving image is shrunk, six times: a forgotten half pixel would show as 2.5 px."""
    moving = scene(2, (960, 720), grain=30)
    truth = Transform(
        np.array([[5.6, 0.02, 20.3], [-0.1, 5.7, 12.2], [2e-5, 1e-5, 1]]), SIZE, (960, 720)
    )
    result = run(seen_through(moving, truth.matrix), moving, max_side=160)
    assert result.status is Status.ALIGNED
    assert (result.transform.fixed_size, result.transform.moving_size) == (SIZE, (960, 720))
    assert result.transform.corner_error(truth) < 1
    kept = result.matches.inlier
    gap = truth.apply(result.matches.fixed[kept]) - result.matches.moving[kept]
    assert np.abs(np.mean(gap, axis=0)).max() < 1
    assert result.matches.moving.max() > 640


@pytest.mark.slow
@pytest.mark.parametrize("stages", ["sparse", "dense", "sparse-to-dense"])
@pytest.mark.parametrize("seed", range(3))
def test_unrelated_images_fail_with_a_reason(stages, seed):
    result = run(scene(seed), scene(seed + 10), stages)
    assert result.status is Status.FAILED and not result.ok
    assert result.reason is not Reason.NONE
    assert result.message
    assert result.transform is result.sparse is result.dense is None


@pytest.mark.slow
def test_mirrored_image_fails():
    moving = scene(3)
    result = run(np.ascontiguousarray(moving[:, ::-1]), moving)
    assert result.status is Status.FAILED and result.transform is None


def test_without_matches_refinement_from_a_guess_is_uncertain(pair):
    fixed, moving, truth = pair
    off = H.copy()
    off[:2, 2] += (-2, 1)
    hopeless = VerdictSettings(inlier_base=10_000)
    result = run(fixed, moving, initial=Transform(off, SIZE, SIZE), verdict=hopeless)
    assert (result.status, result.reason) == (Status.UNCERTAIN, Reason.TOO_FEW_INLIERS)
    assert result.sparse is None
    assert result.transform.corner_error(truth) < 0.15


@pytest.mark.slow
def test_few_keypoints_are_named(pair):
    fixed, moving, _ = pair
    scarce = {
        "keypoints": KeypointSettings(top_k=5),
        "estimate": EstimateSettings(min_matches=8),
    }
    result = run(fixed, moving, "sparse", **scarce)
    assert (result.status, result.reason) == (Status.FAILED, Reason.TOO_FEW_KEYPOINTS)
    assert "5 and 5 keypoints" in result.message


def test_nearly_blank_image_fails_before_the_network_runs(pair):
    blank = np.full((120, 160), 90, np.uint8)
    blank[60, 80] = 92
    result = run(pair[0], blank)
    assert (result.status, result.reason) == (Status.FAILED, Reason.BLANK_IMAGE)
    assert "moving image" in result.message and "fixed" not in result.message
    assert "extract" not in result.timings


def test_pixels_without_data_get_no_keypoints_and_no_weight(pair):
    """Half of the fixed image is missing; its edge is no feature and the rest still aligns."""
    fixed, moving, truth = pair
    holed = fixed.astype(np.float32)
    holed[:, 90:] = np.nan
    result = run(holed, moving)
    assert result.status is Status.ALIGNED
    assert result.transform.corner_error(truth) < 0.5
    assert result.matches.fixed[:, 0].max() < 88


def test_other_dtypes_and_bands(pair):
    fixed, moving, truth = pair
    deep = (moving.mean(axis=-1) * 200).astype(np.uint16)
    result = run(fixed[..., :1], deep)
    assert result.moving_image.dtype == np.uint16
    assert run(fixed.mean(axis=-1), deep).transform.corner_error(truth) < 0.3


def test_the_same_input_gives_the_same_answer(pair):
    fixed, moving, _ = pair
    assert run(fixed, moving).transform == run(fixed, moving).transform


def test_progress_and_timings_name_the_stages(pair):
    fixed, moving, _ = pair
    names = []
    result = run(fixed, moving, progress=names.append)
    assert names == ["read", "extract", "match", "estimate", "refine"]
    assert list(result.timings) == [*names, "total"]
    assert 0 < sum(result.timings[name] for name in names) <= result.timings["total"]


def test_wrong_input_is_an_error_of_one_line(pair, tmp_path):
    fixed, moving, _ = pair
    wrong_size = Transform(np.eye(3), (10, 10), SIZE)
    cases = [
        (lambda: run(fixed[:20], moving), "fixed image is 160x20 px"),
        (lambda: run(fixed, np.zeros_like(moving)), "moving image has the same value"),
        (lambda: run(tmp_path / "none.png", moving), "none.png"),
        (lambda: run(fixed, moving, initial=wrong_size), "10x10 and"),
        (lambda: register(fixed, moving, model="no-such-model"), "no-such-model"),
        (lambda: register(fixed, moving, device="abacus"), "abacus"),
    ]
    for call, expected in cases:
        with pytest.raises(InputError) as error:
            call()
        assert expected in str(error.value)
        assert "\n" not in str(error.value)


def test_paths_give_what_arrays_give(pair, tmp_path):
    fixed, moving, _ = pair
    cv2.imwrite(str(tmp_path / "f.png"), fixed[..., ::-1])
    cv2.imwrite(str(tmp_path / "m.png"), moving[..., ::-1])
    result = run(tmp_path / "f.png", str(tmp_path / "m.png"))
    assert result.transform == run(fixed, moving).transform
    assert (result.fixed_name, result.moving_name) == (
        str(tmp_path / "f.png"),
        str(tmp_path / "m.png"),
    )


def test_the_real_network_untrained_finds_an_image_in_itself():
    """Equal pixels have equal descriptors whatever the weights, away from the frame."""
    torch.manual_seed(0)
    network = SdmeNetwork().train()
    image = scene(4, (96, 80))
    result = register(image, image, model=network)
    assert not network.training
    assert result.status is Status.ALIGNED
    assert result.transform.corner_error(Transform(np.eye(3), (96, 80), (96, 80))) < 0.1
