"""Filters against OpenCV's, and where they put things."""

import math

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from sdme.data import filters

EDGE = cv2.BORDER_REFLECT_101


def pictures(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def oracle(images, function) -> Tensor:
    rows = [function(i.permute(1, 2, 0).numpy()).reshape(*i.shape[1:], -1) for i in images]
    return torch.from_numpy(np.stack(rows)).permute(0, 3, 1, 2)


@pytest.mark.parametrize("shape", [(2, 3, 48, 54), (1, 1, 37, 11)])
@pytest.mark.parametrize("sigma", [0.5, 1.0, 1.6, 2.0])
def test_blur_equals_opencv(sigma, shape):
    image = pictures(*shape)
    size = (2 * max(2, math.ceil(2.5 * sigma)) + 1,) * 2
    expected = oracle(image, lambda i: cv2.GaussianBlur(i, size, sigma, borderType=EDGE))
    torch.testing.assert_close(filters.gaussian_blur(image, sigma), expected)


def test_varied_blur_gives_each_sample_its_own_deviation():
    image = pictures(3, 2, 24, 31)
    sigmas = [0.2, 1.0, 2.2]
    found = filters.varied_blur(image, torch.tensor(sigmas).view(-1, 1, 1, 1), reach=5)
    for one, sigma, out in zip(image, sigmas, found, strict=True):
        expected = oracle(
            [one], lambda i, s=sigma: cv2.GaussianBlur(i, (11, 11), s, borderType=EDGE)
        )
        torch.testing.assert_close(out, expected[0])
    torch.testing.assert_close(found[0], image[0], atol=1e-4, rtol=0)


@pytest.mark.parametrize("shape", [(2, 2, 48, 54), (1, 1, 37, 11)])
def test_box_mean_equals_opencv(shape):
    image = pictures(*shape)
    expected = oracle(image, lambda i: cv2.blur(i, (17, 17), borderType=EDGE))
    torch.testing.assert_close(filters.box_mean(image), expected, atol=1e-5, rtol=0)


def test_convention_slopes_are_centred_differences_along_x_and_y():
    y, x = torch.meshgrid(torch.arange(9.0), torch.arange(12.0), indexing="ij")
    dx, dy = filters.slopes((3 * x - 0.5 * y).expand(2, 1, 9, 12))
    assert (dx[..., 1:-1] == 6).all() and (dx[..., [0, -1]] == 0).all()
    assert (dy[..., 1:-1, :] == -1).all() and (dy[..., [0, -1], :] == 0).all()


def test_input_stays_as_it_was():
    image = pictures(2, 1, 20, 20)
    kept = image.clone()
    filters.gaussian_blur(image, 1.0)
    filters.varied_blur(image, torch.ones(2, 1, 1, 1), reach=3)
    filters.box_mean(image)
    assert torch.equal(image, kept)
