import cv2
import numpy as np
import pytest
import torch.nn.functional as F
from torch import nn

import sdme
from sdme.data.pairs import ImageFile, ImagePair
from sdme.errors import InputError
from sdme.evaluate.case import CaseKey
from sdme.evaluate.methods import build_method
from sdme.evaluate.methods.ours import build_ours, network_method
from sdme.evaluate.metrics import corner_error
from sdme.evaluate.protocol import PaperProtocol, draw_case
from sdme.model.network import Features

PROTOCOL = PaperProtocol(max_shift=4, max_redraws=0)
STAGES = ["sparse", "dense-only", "registered", "sparse-to-dense"]


class HandMadeNetwork(nn.Module):
    """Descriptors are mean-free 9x9 patches, keypoints corners, and structure the grey image."""

    calls = 0

    def forward(self, image):
        self.calls += 1
        grey = F.avg_pool2d(
            image.mean(1, keepdim=True), 3, stride=1, padding=1, count_include_pad=False
        )
        padded = F.pad(grey, (4, 4, 4, 4), mode="replicate")
        patches = F.unfold(padded, 9).unflatten(2, grey.shape[-2:])
        patches = patches - patches.mean(1, keepdim=True)
        return Features(F.normalize(patches, dim=1), patches.square().mean(1, keepdim=True), grey)


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    noise = np.random.default_rng(0).uniform(0, 255, (40, 40, 3)).astype(np.float32)
    image = cv2.resize(noise, (240, 240), interpolation=cv2.INTER_CUBIC).clip(0, 255)
    path = tmp_path_factory.mktemp("ours") / "photo.png"
    cv2.imwrite(str(path), image)
    return draw_case(CaseKey(ImagePair("d", "p", ImageFile(path), ImageFile(path)), 0), PROTOCOL)


def test_convention_every_stage_finds_the_truth(case):
    """Direction, offset and order of x and y of every stage are in these figures."""
    network = HandMadeNetwork()
    result = network_method(network)(case.fixed, case.moving, case.initial)
    assert network.calls == 2
    assert list(result.stages) == STAGES
    assert set(result.seconds) == set(STAGES)
    limits = dict(zip(STAGES, (1.5, 0.3, 0.3, 0.3), strict=True))
    for stage, H in result.stages.items():
        assert corner_error(H, case.H_true, case.fixed_size) < limits[stage]
    assert corner_error(case.initial, case.H_true, case.fixed_size) > 1.5
    assert result.verdict == "aligned"


def test_refinement_alone_begins_where_it_is_told(case):
    result = network_method(HandMadeNetwork())(case.fixed, case.moving, case.initial)
    off = case.H_true.copy()
    off[:2, 2] += 1.5, -1.5
    for end in result.refine([case.H_true, off, case.initial]):
        assert corner_error(end, case.H_true, case.fixed_size) < 0.3
    far = case.H_true.copy()
    far[:2, 2] += 500
    np.testing.assert_allclose(result.refine([far])[0], far, atol=1e-6)


def test_registered_is_what_register_returns(case):
    network = HandMadeNetwork()
    result = network_method(network)(case.fixed, case.moving, case.initial)
    registration = sdme.register(case.fixed, case.moving, model=network)
    np.testing.assert_allclose(
        result.stages["registered"], registration.transform.matrix, atol=1e-9
    )
    assert result.verdict == registration.status
    assert np.array_equal(result.matching.fixed, registration.matches.fixed)
    assert np.array_equal(result.matching.inlier, registration.matches.inlier)


def test_convention_matches_are_in_pixels_of_the_pictures(case):
    matching = network_method(HandMadeNetwork())(case.fixed, case.moving, case.initial).matching
    mapped = cv2.perspectiveTransform(matching.fixed[None], case.H_true)[0]
    gap = np.linalg.norm(mapped - matching.moving, axis=1)
    assert np.median(gap[matching.inlier]) < 1
    assert len(matching.fixed_keypoints) >= len(matching.fixed) > 20


def test_seconds_of_a_stage_leave_out_what_it_does_not_need(case):
    seconds = network_method(HandMadeNetwork())(case.fixed, case.moving, case.initial).seconds
    assert seconds["sparse"] < seconds["sparse-to-dense"]
    assert seconds["registered"] == seconds["sparse-to-dense"]


def test_without_matches_refinement_starts_from_the_initial_placement(case):
    class Featureless(HandMadeNetwork):
        def forward(self, image):
            features = super().forward(image)
            return Features(features.descriptors, 0 * features.repeatability, features.structure)

    result = network_method(Featureless())(case.fixed, case.moving, case.initial)
    assert result.stages["sparse"] is None
    assert np.array_equal(result.stages["sparse-to-dense"], result.stages["dense-only"])


def test_blank_pictures_have_no_answer(case):
    blank = np.full_like(case.fixed, 90)
    result = network_method(HandMadeNetwork())(blank, case.moving, case.initial)
    assert result.stages == dict.fromkeys(STAGES)
    assert result.verdict == "failed"


def test_models_by_name_and_errors():
    assert callable(build_method("general"))
    with pytest.raises(InputError, match="no model 'nobody'"):
        build_ours("nobody")
    with pytest.raises(InputError, match="abacus"):
        build_ours("general", "abacus")
