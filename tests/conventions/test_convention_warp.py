"""Pixel centres at integers, fixed to moving, pinned by what OpenCV and kornia do."""

import cv2
import kornia
import numpy as np
import pytest
import torch

from sdme.geometry.sampling import pixel_grid, resize_image, resize_points, sample, warp
from sdme.transform import Transform

H = np.array([[1.45, 0.12, -3.4], [-0.08, 1.55, 4.7], [4e-4, -3e-4, 1.0]])
FIXED, MOVING = (60, 50), (90, 80)


@pytest.fixture
def moving():
    rng = np.random.default_rng(0)
    coarse = rng.random((MOVING[1] // 8, MOVING[0] // 8), dtype=np.float32)
    return cv2.resize(coarse, MOVING, interpolation=cv2.INTER_CUBIC)


def with_half_pixel(matrix):
    """What a corner-based convention would make of the same matrix."""
    shift = np.array([[1.0, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    return np.linalg.inv(shift) @ matrix @ shift


def by_torch(moving, matrix):
    image, H = torch.from_numpy(moving)[None, None], torch.from_numpy(matrix)[None]
    warped, mask = warp(image, H.float(), *FIXED)
    return warped[0, 0].numpy(), mask[0, 0].numpy()


def by_opencv(moving, matrix):
    """OpenCV's own look-up, told point by point."""
    x, y = np.meshgrid(np.arange(FIXED[0]), np.arange(FIXED[1]))
    u, v, w = matrix @ np.stack([x.ravel(), y.ravel(), np.ones(x.size)])
    u, v = ((c / w).reshape(x.shape).astype(np.float32) for c in (u, v))
    return cv2.remap(moving, u, v, cv2.INTER_LINEAR)


def test_convention_warp_agrees_with_opencv(moving):
    warped, mask = by_torch(moving, H)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    for expected in (by_opencv(moving, H), cv2.warpPerspective(moving, H, FIXED, flags=flags)):
        assert mask.mean() > 0.5
        assert np.abs(warped - expected)[mask].max() < 0.01


def test_convention_warp_agrees_with_kornia(moving):
    warped, mask = by_torch(moving, H)
    image = torch.from_numpy(moving)[None, None]
    forward = torch.from_numpy(np.linalg.inv(H)).float()[None]
    expected = kornia.geometry.warp_perspective(image, forward, FIXED[::-1], align_corners=True)
    assert np.abs(warped - expected[0, 0].numpy())[mask].max() < 1e-3


@pytest.mark.parametrize("wrong", [with_half_pixel(H), np.linalg.inv(H)], ids=["half", "inverse"])
def test_convention_other_readings_differ(moving, wrong):
    """The comparison above is sharp enough to see half a pixel or the wrong direction."""
    warped, mask = by_torch(moving, wrong)
    expected = by_opencv(moving, H)
    assert np.abs(warped - expected)[mask].max() > 0.02


def test_convention_transform_warps_like_the_tensors(moving):
    warped, mask = by_torch(moving, H)
    aligned = Transform(H, FIXED, MOVING).warp(moving)
    assert aligned.shape == FIXED[::-1]
    assert np.abs(warped - aligned)[mask].max() < 0.01


def test_convention_point_and_pixel_agree():
    """A bright pixel of moving appears in the aligned image where the transform says."""
    shift = np.array([[1.0, 0, 7], [0, 1, -3], [0, 0, 1]])
    transform = Transform(shift, FIXED, MOVING)
    moving = np.zeros(MOVING[::-1], np.uint8)
    moving[17, 29] = 200
    assert np.argwhere(transform.warp(moving)).tolist() == [[20, 22]]
    assert transform.apply([22, 20]).tolist() == [29, 17]
    assert transform.inverse.apply([29, 17]).tolist() == [22, 20]


@pytest.mark.parametrize(("width", "height"), [(180, 160), (45, 40), (30, 20)])
def test_convention_resize_agrees_with_opencv(moving, width, height):
    image = torch.from_numpy(moving)[None, None]
    ours = resize_image(image, width, height)[0, 0].numpy()
    grows = width > MOVING[0]
    theirs = cv2.resize(
        moving, (width, height), interpolation=cv2.INTER_LINEAR if grows else cv2.INTER_AREA
    )
    assert np.abs(ours - theirs).max() < (1e-4 if grows else 0.06)
    assert abs((ours - theirs).mean()) < 1e-3


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_convention_resized_content_is_where_the_points_say(moving, factor):
    width, height = round(MOVING[0] * factor), round(MOVING[1] * factor)
    smooth = cv2.GaussianBlur(moving, (0, 0), 5)
    image = torch.from_numpy(smooth)[None, None]
    resized = resize_image(image, width, height)
    points = pixel_grid(20, 20, like=image) * 2 + 20
    values = sample(image, points[None])

    def error(there):
        return (sample(resized, there[None]) - values).abs().mean().item()

    right = error(resize_points(points, factor, factor))
    assert right < 0.01
    assert right < 0.3 * error(points * factor)
