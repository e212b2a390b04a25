"""Stages of a network of the preset ``fast`` in evaluations."""

import cv2
import numpy as np
import pytest
import torch
from hand_made_fast import TINY, HandMadeFast

import sdme
from sdme.data.pairs import ImageFile, ImagePair
from sdme.evaluate.case import CaseKey
from sdme.evaluate.methods import build_method
from sdme.evaluate.methods.ours import network_method
from sdme.evaluate.metrics import corner_error
from sdme.evaluate.protocol import PaperProtocol, draw_case
from sdme.model.weights import build_network, save_weights

STAGES = ["sparse", "voted", "dense-only", "registered", "refined"]


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    noise = np.random.default_rng(0).uniform(0, 255, (18, 18, 3)).astype(np.float32)
    image = cv2.resize(noise, (240, 240), interpolation=cv2.INTER_CUBIC).clip(0, 255)
    path = tmp_path_factory.mktemp("ours") / "photo.png"
    cv2.imwrite(str(path), image)
    key = CaseKey(ImagePair("d", "p", ImageFile(path), ImageFile(path)), 0)
    return draw_case(key, PaperProtocol(max_shift=4, max_redraws=0))


@pytest.fixture(scope="module")
def found(case):
    network = HandMadeFast(case.H_true)
    return network, network_method(network)(case.fixed, case.moving, case.initial)


def test_convention_every_stage_finds_the_truth(case, found):
    """Direction, offset and order of x and y of every stage are in these figures."""
    network, result = found
    assert list(result.stages) == STAGES and set(result.seconds) == set(STAGES)
    assert len(network.calls) == 1
    limits = dict(zip(STAGES, (3, 3, 0.5, 0.5, 0.5), strict=True))
    for stage, H in result.stages.items():
        assert corner_error(H, case.H_true, case.fixed_size) < limits[stage], stage
    assert corner_error(case.initial, case.H_true, case.fixed_size) > 1.5
    assert result.verdict == "aligned"


def test_registered_is_what_register_returns(case, found):
    _, result = found
    registration = sdme.register(case.fixed, case.moving, model=HandMadeFast(case.H_true))
    np.testing.assert_allclose(
        result.stages["registered"], registration.transform.matrix, atol=1e-3
    )
    assert result.verdict == registration.status
    assert np.array_equal(result.matching.fixed, registration.matches.fixed)
    assert np.array_equal(result.matching.inlier, registration.matches.inlier)


def test_convention_matches_are_in_pixels_of_the_pictures(case, found):
    matching = found[1].matching
    mapped = cv2.perspectiveTransform(matching.fixed[None], case.H_true)[0]
    gap = np.linalg.norm(mapped - matching.moving, axis=1)
    assert np.median(gap[matching.inlier]) < 3
    assert len(matching.fixed_keypoints) == 32 * 32 >= len(matching.fixed) > 20


def test_the_final_stage_answers_what_the_verdict_does_not_believe(case):
    network = HandMadeFast(case.H_true)
    network.aggregator.believed = 60.0
    result = network_method(network)(case.fixed, case.moving, case.initial)
    assert result.verdict == "failed" and result.stages["registered"] is None
    assert all(result.stages[stage] is not None for stage in STAGES if stage != "registered")


def test_without_matches_votes_begin_at_the_placement(case):
    class Unmatched(HandMadeFast):
        def seen(self, image):
            features = super().seen(image)
            features.descriptors.zero_()
            return features

    result = network_method(Unmatched(case.H_true))(case.fixed, case.moving, case.initial)
    assert result.stages["sparse"] is None
    errors = {
        stage: corner_error(H, case.H_true, case.fixed_size)
        for stage, H in result.stages.items()
        if H is not None
    }
    assert 0 < errors["voted"] != corner_error(case.initial, case.H_true, case.fixed_size)
    assert errors["refined"] == errors["dense-only"] < 0.5


def test_blank_and_small_pictures_have_no_answer(case):
    method = network_method(HandMadeFast(case.H_true))
    for picture in (np.full_like(case.moving, 7), case.moving[:20]):
        result = method(case.fixed, picture, case.initial)
        assert result.stages == dict.fromkeys(STAGES) and result.verdict == "failed"


def test_a_file_of_this_preset_is_a_method(case, tmp_path):
    torch.manual_seed(0)
    save_weights(tmp_path / "fast.safetensors", build_network(TINY))
    method = build_method(str(tmp_path / "fast.safetensors"))
    result = method(case.fixed, case.moving, case.initial)
    assert list(result.stages) == STAGES
    assert result.stages["refined"].shape == (3, 3)
