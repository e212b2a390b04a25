"""Random renderings: shape, range, independence of samples, and that nothing moves."""

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from sdme.data import synthesis

COLOUR = [synthesis.project_colour, synthesis.pseudo_modality]
GREY = [
    synthesis.cosine_tone,
    synthesis.random_curve,
    synthesis.power_curve,
    synthesis.tone,
    synthesis.edge_rendering,
    synthesis.local_contrast,
]
OPEN_RANGE = [
    synthesis.sensor_noise,
    synthesis.soften,
    synthesis.uneven_light,
    synthesis.foreign_patch,
    synthesis.colour_jitter,
]


def scenes(batch, channels=3, side=48, seed=0):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(batch, channels, side // 6, side // 6, generator=generator)
    return F.interpolate(coarse, (side, side + 6), mode="bicubic").clamp(0, 1)


def name(function):
    return function.__name__


@pytest.mark.parametrize("function", [*COLOUR, *GREY, synthesis.degrade], ids=name)
@pytest.mark.parametrize("kind", ["scene", "black", "white", "small"])
def test_pictures_stay_in_range(function, kind):
    channels = 1 if function in GREY else 3
    side = 32 if kind == "small" else 48
    image = scenes(16, channels, side)
    if kind in ("black", "white"):
        image = torch.full_like(image, float(kind == "white"))
    for seed in range(3):
        torch.manual_seed(seed)
        out = function(image)
        expected = image if function is synthesis.degrade else image[:, :1]
        assert out.shape == expected.shape and out.dtype == torch.float32
        assert out.isfinite().all() and out.min() >= -1e-5 and out.max() <= 1 + 1e-5


@pytest.mark.parametrize("function", OPEN_RANGE, ids=name)
def test_degradations_keep_shape_and_stay_finite(function):
    image = scenes(8)
    torch.manual_seed(0)
    out = function(image)
    assert out.shape == image.shape and out.isfinite().all() and out.abs().max() < 5
    assert not torch.equal(out, image)


@pytest.mark.parametrize("function", [*COLOUR, *GREY, *OPEN_RANGE, synthesis.degrade], ids=name)
def test_samples_draw_for_themselves_and_a_seed_repeats(function):
    image = scenes(1, 1 if function in GREY else 3).repeat(40, 1, 1, 1)
    torch.manual_seed(7)
    out = function(image)
    torch.manual_seed(7)
    assert torch.equal(function(image), out)
    random = function not in (synthesis.edge_rendering, synthesis.foreign_patch)
    assert (len(out.flatten(1).unique(dim=0)) > 1) == random


@pytest.mark.parametrize("function", [*COLOUR, *GREY, synthesis.soften], ids=name)
@pytest.mark.parametrize("axis", [-1, -2])
def test_convention_renderings_do_not_move_the_picture(function, axis):
    """What is symmetric about a pixel commutes with mirroring."""
    image = scenes(12, 1 if function in GREY else 3)
    torch.manual_seed(1)
    expected = function(image).flip(axis)
    torch.manual_seed(1)
    found = function(image.flip(axis))
    wrong = ((found - expected).abs() > 1e-3).float().mean()  # rounding moves regions' borders
    assert wrong < 1e-3


def test_one_of_draws_by_its_shares():
    torch.manual_seed(0)
    image = torch.zeros(40_000, 1, 1, 1)
    shares = [0.5, 0.3, 0.15, 0.05]
    options = [torch.full_like(image, float(i)) for i in range(4)]
    chosen = synthesis.one_of(image, shares, options).flatten().long()
    found = chosen.bincount(minlength=4) / len(chosen)
    torch.testing.assert_close(found, torch.tensor(shares), atol=0.01, rtol=0)
    assert (synthesis.one_of(image, [1.0, 0.0], options[:2]) == 0).all()
    assert (synthesis.one_of(image, [0.0, 1.0], options[:2]) == 1).all()


@pytest.mark.parametrize("sigma", [0.5, 1.0, 1.6, 2.0])
def test_blur_equals_opencv(sigma):
    image = scenes(2, 3)
    reach = max(2, int(np.ceil(2.5 * sigma)))
    size = (2 * reach + 1,) * 2
    expected = [
        cv2.GaussianBlur(i.permute(1, 2, 0).numpy(), size, sigma, borderType=cv2.BORDER_REFLECT_101)
        for i in image
    ]
    expected = torch.from_numpy(np.stack(expected)).permute(0, 3, 1, 2)
    torch.testing.assert_close(synthesis.gaussian_blur(image, sigma), expected)


def test_random_curve_is_piecewise_linear_between_knots():
    torch.manual_seed(3)
    grey = torch.linspace(0, 1, 61).view(1, 1, 1, 61)
    out = synthesis.random_curve(grey, knots=7).flatten()
    torch.manual_seed(3)
    values = torch.rand(1, 7).flatten()
    expected = np.interp(np.linspace(0, 6, 61), np.arange(7), values.numpy())
    torch.testing.assert_close(out, torch.from_numpy(expected).float())


def test_tone_curves_depend_on_the_grey_value_alone():
    levels = torch.rand(1, 1, 4, 1)
    grey = levels.expand(8, 1, 4, 9)
    torch.manual_seed(0)
    for function in GREY[:4]:
        out = function(grey)
        torch.testing.assert_close(out, out[..., :1].expand_as(out))


def test_foreign_patch_shows_the_next_sample():
    torch.manual_seed(0)
    image = torch.arange(64.0).view(-1, 1, 1, 1).expand(-1, 3, 40, 40)
    out = synthesis.foreign_patch(image)
    changed = out != image
    assert torch.equal(out[changed], image.roll(1, 0)[changed])
    share = changed.flatten(1).float().mean(1)
    assert 0.05 < (share > 0).float().mean() < 0.4 and share.max() <= 0.4**2 + 0.05
    assert (changed == changed[:, :1]).all()
