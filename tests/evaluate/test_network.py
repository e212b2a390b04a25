import cv2
import numpy as np
import pytest
import torch.nn.functional as F
from torch import nn

from sdme.data.packs import PackItem
from sdme.evaluate.answers import OUR_STAGES
from sdme.evaluate.metrics import corner_error
from sdme.evaluate.network import evaluate_network
from sdme.evaluate.protocol import PaperProtocol, draw_case
from sdme.model.network import Features

PROTOCOL = PaperProtocol(max_shift=4, max_redraws=0)


class HandMadeNetwork(nn.Module):
    """Descriptors are mean-free 9x9 patches, keypoints corners, and structure the grey image."""

    def forward(self, image):
        grey = F.avg_pool2d(
            image.mean(1, keepdim=True), 3, stride=1, padding=1, count_include_pad=False
        )
        padded = F.pad(grey, (4, 4, 4, 4), mode="replicate")
        patches = F.unfold(padded, 9).unflatten(2, grey.shape[-2:])
        patches = patches - patches.mean(1, keepdim=True)
        return Features(F.normalize(patches, dim=1), patches.square().mean(1, keepdim=True), grey)


def drawn(count, blank=()):
    members = []
    for i in range(count):
        noise = np.random.default_rng(i).uniform(0, 255, (40, 40, 3)).astype(np.float32)
        image = cv2.resize(noise, (240, 240), interpolation=cv2.INTER_CUBIC).clip(0, 255)
        image = np.full_like(image, 90) if i in blank else image
        members.append(PackItem(str(i), image.astype(np.uint8), image.astype(np.uint8)))
    return [draw_case(members, "photos", i, PROTOCOL) for i in range(count)]


@pytest.fixture(scope="module")
def network():
    return HandMadeNetwork()


def test_convention_every_stage_finds_the_truth(network):
    """Direction, offset and order of x and y of every stage are in these figures."""
    cases = drawn(3)
    outcomes = list(evaluate_network(network, cases))
    assert len(outcomes) == 3
    for case, outcome in zip(cases, outcomes, strict=True):
        assert tuple(outcome.stages) == OUR_STAGES
        assert outcome.seconds > 0
        errors = [corner_error(H, case.H_true, (128, 128)) for H in outcome.stages.values()]
        assert errors[0] < 1.5
        assert errors[1] < 0.3
        assert errors[2] < 0.3
        assert corner_error(PROTOCOL.initial, case.H_true, (128, 128)) > 1.5


def test_order_and_values_do_not_depend_on_the_batch(network):
    cases = drawn(3)
    together = list(evaluate_network(network, cases, batch=3))
    apart = list(evaluate_network(network, cases, batch=2))
    assert len(together) == len(apart) == 3
    for one, other in zip(together, apart, strict=True):
        for stage in OUR_STAGES:
            np.testing.assert_allclose(one.stages[stage], other.stages[stage], atol=1e-3)


def test_without_sparse_answer_refinement_starts_from_the_centred_placement(network):
    blank, good = evaluate_network(network, drawn(2, blank={0}))
    assert blank.stages["sparse"] is None
    np.testing.assert_allclose(blank.stages["sparse-to-dense"], blank.stages["dense-only"])
    assert good.stages["sparse"] is not None


def test_no_cases_give_no_outcomes(network):
    assert list(evaluate_network(network, [])) == []
