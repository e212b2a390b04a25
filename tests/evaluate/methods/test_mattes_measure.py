import cv2
import numpy as np
import pytest

from sdme.evaluate.methods.mattes_measure import MattesMeasure

H_TRUE = np.array([[-1.0, 0, 190], [0, -1, 170], [0, 0, 1]])


@pytest.fixture(scope="module")
def images():
    """The fixed image is the middle of the moving one upside down, and negative."""
    noise = np.random.default_rng(0).uniform(0, 255, (26, 28)).astype(np.float32)
    moving = cv2.resize(noise, (220, 200), interpolation=cv2.INTER_CUBIC).clip(0, 255)
    moving = moving.astype(np.uint8)
    return 255 - np.ascontiguousarray(moving[11:171, 31:191][::-1, ::-1]), moving


@pytest.mark.parametrize("side", [64, 160, 300])
def test_convention_the_truth_is_the_maximum_at_every_size(images, side):
    """Half a pixel to any side is worse: shrinking keeps pixel centres."""
    measure = MattesMeasure(*images, side)
    best = measure.value(H_TRUE)
    for step in ([0.5, 0], [-0.5, 0], [0, 0.5], [0, -0.5]):
        moved = H_TRUE.copy()
        moved[:2, 2] += step
        assert measure.value(moved) < best


def test_gradient_is_that_of_the_value(images):
    """Within what bilinear sampling and derivatives by Sobel differ."""
    measure = MattesMeasure(*images, 80)
    shifts = np.random.default_rng(1).normal(0, 1.5, 8)
    corners = measure.moved_corners(H_TRUE).ravel() + shifts
    _, gradient = measure.loss_and_gradient(corners)
    steps = 0.3 * np.eye(8)
    numeric = [
        (measure.loss_and_gradient(corners + s)[0] - measure.loss_and_gradient(corners - s)[0])
        / 0.6
        for s in steps
    ]
    np.testing.assert_allclose(gradient, numeric, atol=0.15 * np.abs(numeric).max())


def test_corners_and_homography_are_inverse(images):
    measure = MattesMeasure(*images, 80)
    H = np.array([[1.1, 0.02, 5], [-0.03, 0.9, 7], [1e-4, -2e-4, 1]])
    np.testing.assert_allclose(measure.homography(measure.moved_corners(H)), H, rtol=1e-6)


def test_no_information_without_overlap(images):
    measure = MattesMeasure(*images, 80)
    assert measure.value(np.array([[1.0, 0, 400], [0, 1, 0], [0, 0, 1]])) == 0


def test_information_of_an_image_about_itself_is_its_entropy():
    """Two equally frequent values share log 2 nats, less what the spline spreads; noise none."""
    rng = np.random.default_rng(0)
    blocks = np.kron(rng.integers(0, 2, (8, 8)), np.ones((16, 16))).astype(np.uint8) * 255
    other = np.kron(rng.integers(0, 2, (8, 8)), np.ones((16, 16))).astype(np.uint8) * 255
    own = MattesMeasure(blocks, blocks, 128).value(np.eye(3))
    foreign = MattesMeasure(blocks, other, 128).value(np.eye(3))
    assert 0.4 < own < 1.5
    assert foreign < 0.2 * own
