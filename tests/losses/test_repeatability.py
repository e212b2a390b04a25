"""Cosine repeatability and peakiness against loops over patches and windows."""

import pytest
import torch

from sdme.geometry.sampling import warp
from sdme.losses.repeatability import cosine_repeatability_loss, peakiness_loss


def cosine_by_loops(fixed, warped):
    """1 - mean cosine of 16x16 patches every 8 px that lie wholly inside."""
    batch, _, height, width = fixed.shape
    cosines = []
    for b in range(batch):
        for y in range(0, height - 15, 8):
            for x in range(0, width - 15, 8):
                one = fixed[b, 0, y : y + 16, x : x + 16].flatten()
                two = warped[b, 0, y : y + 16, x : x + 16].flatten()
                cosines.append(torch.dot(one, two) / (one.norm() * two.norm()).clamp(min=1e-12))
    return 1 - torch.stack(cosines).mean()


def maps(batch, height, width, seed=0):
    return torch.rand(batch, 1, height, width, generator=torch.Generator().manual_seed(seed))


def shift(dx, dy, batch=2):
    H = torch.eye(3).repeat(batch, 1, 1)
    H[:, 0, 2], H[:, 1, 2] = dx, dy
    return H


def test_cosine_equals_loops_with_and_without_a_view_of_everything():
    fixed, moving = maps(2, 40, 33), maps(2, 60, 61, seed=1)
    for H in (shift(11.3, 7.6), shift(-9.5, 30.25)):
        warped, mask = warp(moving, H, 33, 40)
        found = cosine_repeatability_loss(fixed, moving, H)
        torch.testing.assert_close(found, cosine_by_loops(fixed * mask, warped * mask))


def test_convention_cosine_is_zero_for_the_true_shift_only():
    moving = maps(2, 60, 64)
    fixed = moving[..., 5:45, 9:49]
    assert cosine_repeatability_loss(fixed, moving, shift(9, 5)).abs() < 1e-5
    for wrong in (shift(-9, -5), shift(5, 9), shift(0, 0)):
        assert cosine_repeatability_loss(fixed, moving, wrong) > 0.1


def test_cosine_ignores_the_level_of_a_map():
    moving = maps(1, 40, 40)
    assert cosine_repeatability_loss(0.01 * moving, moving, shift(0, 0, 1)).abs() < 1e-5


def test_cosine_sends_a_gradient_to_both_maps():
    fixed, moving = maps(2, 32, 32).requires_grad_(), maps(2, 40, 40, seed=1).requires_grad_()
    cosine_repeatability_loss(fixed, moving, shift(3.3, 4.2)).backward()
    for leaf in (fixed, moving):
        assert leaf.grad.isfinite().all() and leaf.grad.abs().sum() > 0


def test_cosine_of_an_empty_map_has_a_finite_gradient():
    fixed = torch.zeros(1, 1, 32, 32, requires_grad=True)
    loss = cosine_repeatability_loss(fixed, maps(1, 32, 32), shift(0, 0, 1))
    loss.backward()
    assert loss == 1 and fixed.grad.isfinite().all()


def peakiness_by_loops(values):
    """Zeros around the image count in both averages, as in R2D2."""
    batch, _, height, width = values.shape
    padded = torch.zeros(batch, height + 2, width + 2)
    padded[:, 1:-1, 1:-1] = values[:, 0]
    smooth = torch.zeros(batch, height, width)
    gaps = []
    for y in range(height):
        for x in range(width):
            smooth[:, y, x] = padded[:, y : y + 3, x : x + 3].sum((1, 2)) / 9
    for y in range(height):
        for x in range(width):
            window = smooth[:, max(y - 8, 0) : y + 9, max(x - 8, 0) : x + 9]
            gaps.append(window.amax((1, 2)) - window.sum((1, 2)) / 17**2)
    return 1 - torch.stack(gaps).mean()


def test_peakiness_equals_loops():
    values = maps(2, 24, 31)
    torch.testing.assert_close(peakiness_loss(values), peakiness_by_loops(values))


def test_peakiness_prefers_lone_peaks():
    flat, lone = torch.zeros(1, 1, 64, 64), torch.zeros(1, 1, 64, 64)
    flat[:] = 0.5
    lone[..., 4::8, 4::8] = 0.99
    blobs = torch.nn.functional.max_pool2d(lone, 3, 1, 1)
    assert peakiness_loss(blobs) < peakiness_loss(flat) - 0.2
    assert peakiness_loss(torch.zeros(1, 1, 64, 64)) == 1
    inner = 1 - peakiness_loss(flat).item()
    assert inner == pytest.approx(0.5 - 0.5 * (1 - 8 * 9 / (17 * 64)) ** 2, abs=0.01)
