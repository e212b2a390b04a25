"""Registration with a network of the preset ``fast``, from images to verdict."""

import re
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hand_made_fast import TINY, HandMadeFast, Oracle

from sdme.config import FastRegisterSettings, RegisterSettings
from sdme.errors import InputError
from sdme.fast_stages import Views, check_size
from sdme.frames import Frame, Pair, shrunk
from sdme.io.image import read_image
from sdme.model.aggregator import log_error_of
from sdme.model.fast import Level
from sdme.model.weights import build_network, save_weights
from sdme.register import register
from sdme.result import Reason, Status
from sdme.transform import Transform

SAMPLES = Path(__file__).parents[1] / "samples"
SIZE = (160, 128)
H = np.array([[1.03, 0.04, 3.0], [-0.03, 0.98, 5.0], [1e-4, -8e-5, 1.0]])
TRUTH = Transform(H, SIZE, SIZE)


def scene(seed=0, size=SIZE, grain=10):
    """Smooth random texture, 8-bit RGB."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (size[1] // grain, size[0] // grain, 3)).astype(np.float32)
    return cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)


def seen_through(image, matrix, size=SIZE):
    """The fixed image that has ``matrix`` as the truth to ``image``."""
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return cv2.warpPerspective(image, matrix, size, flags=flags, borderMode=cv2.BORDER_REFLECT)


@pytest.fixture(scope="module")
def images():
    moving = scene()
    return seen_through(moving, H), moving


def run(images, network=None, stages="sparse-to-dense", initial=None, **changes):
    fast = FastRegisterSettings(**changes)
    settings = RegisterSettings(stages=stages, fast=fast, search="off")
    return register(*images, model=network or HandMadeFast(H), settings=settings, initial=initial)


def test_all_stages_find_the_truth(images):
    network = HandMadeFast(H)
    result = run(images, network)
    assert (result.status, result.reason) == (Status.ALIGNED, Reason.NONE)
    assert result.transform.corner_error(TRUTH) < 0.3
    assert result.transform == result.dense
    assert result.dense.corner_error(TRUTH) < result.sparse.corner_error(TRUTH) < 4
    assert len(network.calls) == 1
    assert list(result.timings) == [
        *("read", "extract", "match", "estimate", "vote", "refine", "judge", "total")
    ]
    assert result.residual_before is result.residual_after is None
    assert result.predicted_error == pytest.approx(result.transform.corner_error(TRUTH), abs=0.02)
    assert "are predicted to be off by less than 0.11 px" in result.message


def test_matches_alone(images):
    result = run(images, stages="sparse")
    assert result.ok and result.transform == result.sparse
    assert result.transform.corner_error(TRUTH) < 4
    assert result.dense is None and result.predicted_error is None
    assert "vote" not in result.timings and "refine" not in result.timings
    assert f"of {len(result.matches)} matches agree" in result.message


def test_votes_and_refinement_from_a_guess(images):
    near = Transform(np.array([[1, 0, 9], [0, 1, -2], [0, 0, 1.0]]), SIZE, SIZE)
    assert near.corner_error(TRUTH) > 5
    result = run(images, stages="dense", initial=near)
    assert result.transform.corner_error(TRUTH) < 0.3
    assert len(result.matches) == 0 and result.sparse is None
    assert "match" not in result.timings
    assert (result.status, result.reason) == (Status.UNCERTAIN, Reason.UNCONFIRMED)


def test_votes_come_from_the_matches_where_the_guess_is_far_off(images):
    far = Transform(np.array([[1, 0, 90], [0, 1, -70], [0, 0, 1.0]]), SIZE, SIZE)
    assert run(images, stages="dense", initial=far).transform is None
    assert run(images, initial=far).transform.corner_error(TRUTH) < 0.3


def test_votes_come_from_the_guess_where_the_matches_are_wrong(images):
    class Unmatched(HandMadeFast):
        def forward(self, fixed, moving):
            fixed, moving = super().forward(fixed, moving)
            noise = torch.randn(fixed.descriptors.shape, generator=torch.Generator().manual_seed(0))
            return replace(fixed, descriptors=noise / noise.norm(dim=1, keepdim=True)), moving

    result = run(images, Unmatched(H))
    assert result.sparse is None
    assert result.transform.corner_error(TRUTH) < 0.3


def test_only_the_best_candidates_need_to_go_on(images):
    turns = []

    class Counted(HandMadeFast):
        def forward(self, fixed, moving):
            self.aggregator.register_forward_hook(lambda _, given, __: turns.append(len(given[2])))
            return super().forward(fixed, moving)

    far = Transform(np.array([[1, 0, 90], [0, 1, -70], [0, 0, 1.0]]), SIZE, SIZE)
    result = run(images, Counted(H), initial=far, survivors=1)
    assert turns == [2, 2, 1, 1, 1, 1]
    assert result.transform.corner_error(TRUTH) < 0.3


def test_cells_at_a_quarter_vote_last_and_judge(images):
    turns = []
    network = HandMadeFast(H, fine=True)
    for votes in network.votes:
        votes.register_forward_hook(lambda votes, *_: turns.append(votes.cells[0]))
    result = run(images, network, turns=2, fine_turns=3)
    assert result.transform.corner_error(TRUTH) < 0.3
    # the last turns only say how good the result is, before and after Lucas-Kanade
    assert turns == [8, 8, 4, 4, 4, 4, 4]


def test_an_implausible_refinement_is_no_answer_however_good_it_is_believed_to_be(images):
    """A mirror image, on which the error head has no other word than on the votes."""
    network = HandMadeFast(H)
    network.aggregator.believed = 1.0
    mirror = torch.diag(torch.tensor([-1.0, 1.0, 1.0]))

    class Mirroring(Views):
        def align(self, H, steps):
            return H @ mirror

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(import_module("sdme.register"), "Views", Mirroring)
        result = run(images, network)
    assert result.dense is None and result.transform.corner_error(TRUTH) < 6


class Misled(HandMadeFast):
    """Its maps for alignment belong to an image that lies elsewhere."""

    def forward(self, fixed, moving):
        fixed, moving = super().forward(fixed, moving)
        for level, pixels in zip(moving.levels, (3, 2, 1), strict=True):
            level.values.copy_(level.values.roll((pixels, -pixels), (-2, -1)))
        return fixed, moving


def test_a_refinement_that_is_believed_to_harm_is_rejected(images):
    kept = run(images, Misled(H), refined=2)
    accepted = run(images, Misled(H), refined=2, max_harm=100, uncertain_below=10)
    assert kept.dense is None and accepted.dense is not None
    assert kept.transform.corner_error(TRUTH) < accepted.transform.corner_error(TRUTH) - 1
    assert kept.predicted_error == pytest.approx(kept.transform.corner_error(TRUTH), abs=0.02)


def test_what_is_refined_is_not_given_up_for_votes_that_believe_more_of_themselves(images):
    class Doubting(Oracle):
        def forward(self, *given):
            vote = super().forward(*given)
            error = vote.log_error.exp()
            return replace(vote, log_error=torch.where(error < 0.3, 2.0, 1.0).log())

    network = HandMadeFast(H)
    network.aggregator.__class__ = Doubting
    near = Transform(H + np.array([[0, 0, 2], [0, 0, -1], [0, 0, 0.0]]), SIZE, SIZE)
    result = run(images, network, initial=near)
    assert result.dense is not None and result.transform.corner_error(TRUTH) < 0.3


@pytest.mark.parametrize(
    ("believed", "status", "reason"),
    [
        (1.0, Status.ALIGNED, Reason.NONE),
        (4.0, Status.UNCERTAIN, Reason.PREDICTED_ERROR),
        (40.0, Status.FAILED, Reason.PREDICTED_ERROR),
        (float("nan"), Status.FAILED, Reason.PREDICTED_ERROR),
    ],
)
def test_no_verdict_is_better_than_the_predicted_error(images, believed, status, reason):
    network = HandMadeFast(H)
    network.aggregator.believed = believed
    result = run(images, network)
    assert (result.status, result.reason) == (status, reason)
    assert (result.transform is None) == (status is Status.FAILED)


def test_convention_everything_is_in_pixels_of_the_originals():
    """Frames of 512 px of larger images: transform, matches and predicted error go back."""
    size = (1024, 820)
    up = np.diag([6.4, 6.4, 1])
    matrix = up @ H @ np.linalg.inv(up)
    truth = Transform(matrix, size, size)
    moving = scene(size=size, grain=40)
    small = np.array([[0.5, 0, -0.25], [0, 0.5, -0.25], [0, 0, 1]])
    network = HandMadeFast(small @ matrix @ np.linalg.inv(small))
    result = run((seen_through(moving, matrix, size), moving), network)
    assert network.calls[0][0][-2:] == (410, 512)
    error = result.transform.corner_error(truth)
    assert error < 1
    assert result.predicted_error == pytest.approx(error, abs=0.1)
    inlier = result.matches.inlier
    gap = truth.apply(result.matches.fixed[inlier]) - result.matches.moving[inlier]
    assert inlier.sum() > 100 and np.median(np.abs(gap)) < 8


@pytest.mark.parametrize("stages", ["sparse", "sparse-to-dense"])
def test_images_of_too_many_cells_are_refused(images, stages):
    network, large = HandMadeFast(H), np.tile(images[1], (12, 12, 1))
    settings = RegisterSettings(stages=stages, max_side=1920)
    with pytest.raises(InputError, match=r"1920x1536 and 1920x1536 px .*--max-side"):
        register(large, large, model=network, settings=settings)
    assert not network.calls


def pair_of(*sizes):
    """Frames of these sizes that hold nothing."""
    empty = torch.zeros(1)
    return Pair(
        *(Frame("", empty, empty.expand(1, 3, h, w), empty.bool(), np.eye(3)) for w, h in sizes)
    )


@pytest.mark.parametrize(
    "sizes", [[(1920, 1536)] * 2, [(512, 384), (8000, 6000)], [(5000, 300), (300, 5000)]]
)
def test_what_is_advised_for_too_large_images_is_the_most_that_fits(sizes):
    with pytest.raises(InputError) as error:
        check_size(pair_of(*sizes))
    side = int(re.search(r"at most (\d+)$", str(error.value))[1])
    check_size(pair_of(*(shrunk(size, side) for size in sizes)))
    with pytest.raises(InputError):
        check_size(pair_of(*(shrunk(size, side + 1) for size in sizes)))


def test_very_long_images_can_only_be_cropped():
    check_size(pair_of((30_000, 32), (30_000, 32)))
    with pytest.raises(InputError, match="crop them"):
        check_size(pair_of((60_000, 32), (60_000, 32)))


def test_a_longer_side_can_be_asked_for(images):
    network = HandMadeFast(H)
    register(*images, model=network, settings=RegisterSettings(max_side=64))
    assert network.calls[0][0][-2:] == (51, 64)


def test_images_without_content_are_said_to_be_blank(images):
    network = HandMadeFast(H)
    blank = np.full_like(images[1], 7)
    blank[50, 50] = 8
    result = register(images[0], blank, model=network)
    assert (result.status, result.reason) == (Status.FAILED, Reason.BLANK_IMAGE)
    assert not network.calls


def test_what_holds_no_data_is_neither_matched_nor_looked_at(images):
    fixed, moving = (image.astype(np.float32) for image in images)
    hole = np.zeros(fixed.shape[:2], bool)
    hole[30:90, 20:80] = True
    fixed[hole] = np.nan
    result = run((fixed, moving))
    assert result.transform.corner_error(TRUTH) < 0.5
    x, y = result.matches.fixed.T
    assert len(x) > 50 and not ((x > 19) & (x < 80) & (y > 29) & (y < 90)).any()


def test_weights_of_both_presets_are_taken_by_path(tmp_path, images):
    torch.manual_seed(0)
    path = tmp_path / "fast.safetensors"
    save_weights(path, build_network(TINY))
    result = register(*images, model=path)
    assert result.model == str(path)
    assert result.predicted_error is not None
    content = result.to_dict()
    assert content["predicted_error"] == result.predicted_error
    assert result.save(tmp_path / "out").report.read_text().count("Predicted error") == 1


@pytest.mark.parametrize(("fixed", "moving"), [((32, 32), (32, 40)), ((50, 37), (97, 61))])
def test_untrained_networks_and_odd_sizes_give_an_answer_of_some_kind(fixed, moving):
    torch.manual_seed(0)
    result = register(scene(1, fixed, 5), scene(2, moving, 5), model=build_network(TINY))
    assert result.status is not Status.ALIGNED and result.message
    assert (result.transform is None) == (result.status is Status.FAILED)


def sample(name):
    image = read_image(SAMPLES / name / "fixed.png", name)
    return cv2.resize(image[..., :3], (160, 128), interpolation=cv2.INTER_AREA)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("stages", ["sparse", "dense", "sparse-to-dense"])
def test_untrained_networks_never_call_different_images_aligned(stages, seed):
    """Not even if they are sure of themselves."""
    torch.manual_seed(seed)
    network = build_network(TINY)
    torch.nn.init.zeros_(network.aggregator.judge[-1].bias)
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, (2, 128, 160, 3), np.uint8)
    for images in (noise, [sample("city_green_nir"), sample("tissue_two_stains")]):
        result = run(images, network, stages)
        assert result.status is not Status.ALIGNED, result.message
        if stages != "sparse":
            assert result.predicted_error < 3


@pytest.mark.parametrize("word", [float("inf"), float("-inf"), float("nan")])
def test_a_candidate_on_which_the_network_has_no_word_is_not_the_best(images, word):
    class Speechless(Oracle):
        """Has no word on what is far from the truth."""

        def forward(self, *given):
            vote = super().forward(*given)
            far = vote.log_error > log_error_of(torch.tensor(10.0), SIZE)
            return replace(vote, log_error=torch.where(far, word, vote.log_error))

    network = HandMadeFast(H)
    network.aggregator.__class__ = Speechless
    far = Transform(np.array([[1, 0, 25], [0, 1, -20], [0, 0, 1.0]]), SIZE, SIZE)
    assert run(images, network, initial=far, turns=0).transform.corner_error(TRUTH) < 0.3
    lost = run(images, network, "dense", initial=far, turns=0)
    assert (lost.status, lost.reason) == (Status.FAILED, Reason.PREDICTED_ERROR)


def test_cells_are_called_cells(images):
    result = run(images, stages="sparse", cells=4)
    assert result.status is Status.FAILED
    assert "only 4 and 4 cells were found" in result.message


def test_masked_features_hold_nothing_of_what_is_masked():
    network = HandMadeFast(H)
    image = torch.rand(1, 3, 64, 48)
    valid = torch.ones(1, 1, 64, 48, dtype=torch.bool)
    assert network.seen(image).masked(valid).valid is None
    valid[..., 16:40, 8:24] = False
    features = network.seen(image).masked(valid)
    for cell, level in zip((2, 4, 8), features.levels, strict=True):
        assert isinstance(level, Level)
        rows, columns = slice(16 // cell, 40 // cell), slice(8 // cell, 24 // cell)
        assert (level.weight[..., rows, columns] == 0).all()
        outside = level.weight.sum() - level.weight[..., rows, columns].sum()
        assert outside == level.weight.numel() - level.weight[..., rows, columns].numel()
    assert (features.correlation[..., 2:5, 1:3] == 0).all()
    assert (features.valid[..., 2:5, 1:3] == 0).all()
    assert features.valid.sum() == features.valid.numel() - 6
