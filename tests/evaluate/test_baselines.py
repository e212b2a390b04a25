import cv2
import numpy as np
import pytest

from sdme.evaluate.baselines import BASELINES
from sdme.evaluate.metrics import corner_error
from sdme.evaluate.protocol import PaperProtocol, cut_patches

PROTOCOL = PaperProtocol()


@pytest.fixture(scope="module")
def photo_case():
    noise = np.random.default_rng(3).uniform(0, 255, (40, 50, 3)).astype(np.float32)
    image = cv2.resize(noise, (400, 320), interpolation=cv2.INTER_CUBIC).clip(0, 255)
    image = image.astype(np.uint8)
    return cut_patches(image, image, np.random.default_rng(5), PROTOCOL)


@pytest.mark.parametrize(("method", "limit"), [("sift", 0.5), ("sift512", 0.5), ("ecc", 1.0)])
def test_convention_each_finds_the_truth_on_a_plain_photo(photo_case, method, limit):
    """Direction, offset and the pixel-centre rule of enlargement are all in this figure."""
    fixed, moving, H_true = photo_case
    H = BASELINES[method](fixed, moving, PROTOCOL.initial)[method]
    assert corner_error(H, H_true, (128, 128)) < limit
    assert corner_error(PROTOCOL.initial, H_true, (128, 128)) > 10


def test_identity_is_the_initial_placement(photo_case):
    fixed, moving, _ = photo_case
    stages = BASELINES["identity"](fixed, moving, PROTOCOL.initial)
    np.testing.assert_array_equal(stages["identity"], PROTOCOL.initial)


@pytest.mark.parametrize("method", ["sift", "sift512"])
def test_blank_images_give_none(method):
    fixed, moving = np.zeros((128, 128, 3), np.uint8), np.full((192, 192, 3), 7, np.uint8)
    assert BASELINES[method](fixed, moving, PROTOCOL.initial) == {method: None}


def test_ecc_on_blank_images_is_no_better_than_its_start():
    fixed, moving = np.zeros((128, 128, 3), np.uint8), np.full((192, 192, 3), 7, np.uint8)
    assert BASELINES["ecc"](fixed, moving, PROTOCOL.initial) == {"ecc": None}
