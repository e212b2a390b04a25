"""Random renderings: range, independence of samples, each one's claim, and that nothing moves."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from sdme.data import synthesis
from sdme.errors import InputError

COLOUR = [synthesis.project_colour, synthesis.signed_projection]
GREY = [
    synthesis.cosine_tone,
    synthesis.random_curve,
    synthesis.power_curve,
    synthesis.reverse_some,
    synthesis.random_blur,
    synthesis.drawing,
    synthesis.local_contrast,
]
FIXED_GREY = [
    synthesis.exposed,
    synthesis.luminance_rank,
    synthesis.edge_rendering,
]
OPEN_RANGE = [
    synthesis.sensor_noise,
    synthesis.soften,
    synthesis.uneven_light,
    synthesis.foreign_patch,
    synthesis.colour_jitter,
]
TURNED_BY_A_MIRROR = {"relief", "palette"}  # light from a side; a palette from a grid of pixels


def rendering(key):
    def render(image):
        return synthesis.pseudo_modality(image, {key: 1})

    render.__name__ = key
    return render


RENDERED = [rendering(key) for key in synthesis.RENDERINGS]
PICTURES = [*COLOUR, *GREY, *FIXED_GREY, *RENDERED, synthesis.pseudo_modality, synthesis.degrade]


def scenes(batch, channels=3, side=48, seed=0):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(batch, channels, side // 6, side // 6, generator=generator)
    return F.interpolate(coarse, (side, side + 6), mode="bicubic").clamp(0, 1)


def channels_of(function):
    return 1 if function in GREY or function in FIXED_GREY else 3


def name(function):
    return function.__name__


@pytest.mark.parametrize("function", PICTURES, ids=name)
@pytest.mark.parametrize("kind", ["scene", "black", "white", "odd", "one"])
def test_pictures_stay_in_range(function, kind):
    image = scenes(1 if kind == "one" else 12, channels_of(function))
    if kind in ("black", "white"):
        image = torch.full_like(image, float(kind == "white"))
    if kind == "odd":
        image = image[..., :37, :11]
    for seed in range(3):
        torch.manual_seed(seed)
        out = function(image)
        colour = function is synthesis.degrade or name(function) in ("palette", "pseudo_modality")
        assert out.shape == (len(image), 3 if colour else 1, *image.shape[2:])
        assert out.dtype == torch.float32
        assert out.isfinite().all() and out.min() >= -1e-5 and out.max() <= 1 + 1e-5


@pytest.mark.parametrize("function", OPEN_RANGE, ids=name)
def test_degradations_keep_shape_and_stay_finite(function):
    image = scenes(8)
    torch.manual_seed(0)
    out = function(image)
    assert out.shape == image.shape and out.isfinite().all() and out.abs().max() < 5
    assert not torch.equal(out, image)


@pytest.mark.parametrize("function", [*PICTURES, *OPEN_RANGE], ids=name)
def test_samples_draw_for_themselves_and_a_seed_repeats(function):
    image = scenes(1, channels_of(function)).repeat(40, 1, 1, 1)
    torch.manual_seed(7)
    out = function(image)
    torch.manual_seed(7)
    assert torch.equal(function(image), out)
    random = function not in (*FIXED_GREY, synthesis.foreign_patch)
    assert (len(out.flatten(1).unique(dim=0)) > 1) == random


@pytest.mark.parametrize("function", [*PICTURES[:-2], synthesis.soften], ids=name)
@pytest.mark.parametrize("axis", [-1, -2])
def test_convention_renderings_do_not_move_the_picture(function, axis):
    """What is symmetric about a pixel commutes with mirroring."""
    if name(function) in TURNED_BY_A_MIRROR:
        return
    image = scenes(12, channels_of(function))
    torch.manual_seed(1)
    expected = function(image).flip(axis)
    torch.manual_seed(1)
    found = function(image.flip(axis))
    wrong = ((found - expected).abs() > 1e-3).float().mean()  # rounding moves regions' borders
    assert wrong < 1e-3


@pytest.mark.parametrize("key", synthesis.RENDERINGS)
def test_convention_renderings_leave_edges_where_they_are(key):
    """The steepest place of a rendered step lies at the step, between pixels 23 and 24."""
    torch.manual_seed(0)
    step = torch.full((64, 1, 32, 48), 0.2)
    step[..., 24:] = 0.8
    photo = step * torch.rand(64, 3, 1, 1)
    profile = synthesis.RENDERINGS[key].function(step, photo)[:, :, 16].mean(1)
    slope = profile.diff().abs()
    seen = slope.amax(1) > 0.02
    assert seen.float().mean() > 0.6
    away = ((slope == slope.amax(1, keepdim=True)) * (torch.arange(47) - 23)).float()
    count = (slope == slope.amax(1, keepdim=True)).sum(1)
    offset = (away.sum(1) / count)[seen]
    reach = 2 if key == "regions" else 1  # a soft step crosses several levels
    assert away[seen].abs().max() <= reach
    assert offset.mean().abs() < 0.5


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


def test_shares_choose_among_the_renderings_and_a_new_one_takes_part(monkeypatch):
    def level(value):
        return synthesis.Rendering(lambda grey, photo: torch.full_like(grey, value), 1.0)

    monkeypatch.setattr(synthesis, "RENDERINGS", {"black": level(0.0), "white": level(1.0)})
    torch.manual_seed(0)
    image = torch.zeros(4000, 3, 6, 6)
    plain = synthesis.pseudo_modality(image, {"black": 3, "white": 1})[:, 0, 0, 0]
    assert (plain == 0).float().mean() == pytest.approx(0.75 * (0.75 + 0.25 * 0.75), abs=0.04)
    assert plain.mean() == pytest.approx(0.25, abs=0.03)
    assert (synthesis.pseudo_modality(image, {"white": 0.1, "black": 0}) == 1).all()
    assert synthesis.pseudo_modality(image).mean() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("shares", [{"xray": 1.0}, {"relief": -1.0}, {"relief": 0.0}])
def test_shares_that_cannot_be_drawn_are_told(shares):
    with pytest.raises(InputError, match=r"give positive shares of some of palette, ") as caught:
        synthesis.pseudo_modality(scenes(2), shares)
    assert "\n" not in str(caught.value)


def test_random_blur_leaves_a_third_alone():
    image = scenes(600, 1)
    torch.manual_seed(0)
    same = (synthesis.random_blur(image) - image).abs().amax((1, 2, 3)) < 1e-4
    assert 0.3 < same.float().mean() < 0.45


def test_projection_is_never_cut_off():
    """Whatever the signs of the weights, corners of the colour cube stay apart."""
    torch.manual_seed(0)
    cube = torch.cartesian_prod(*[torch.linspace(0, 1, 5)] * 3).T.reshape(1, 3, 5, 25)
    grey = synthesis.project_colour(cube.repeat(500, 1, 1, 1)).flatten(1)
    at_ends = ((grey < 1e-4) | (grey > 1 - 1e-4)).sum(1)
    assert at_ends.max() <= 2


def test_exposure_stretches_only_what_is_flat():
    bright = scenes(3, 1)
    dark = bright * 0.1
    assert torch.equal(synthesis.exposed(bright), bright)
    found = synthesis.exposed(dark)
    assert (found.std((2, 3)) > 2 * dark.std((2, 3))).all()
    assert torch.equal(found.flatten(1).argmax(1), dark.flatten(1).argmax(1))
    assert (synthesis.exposed(torch.zeros(2, 1, 8, 8)) == 0.5).all()


def test_random_curve_is_piecewise_linear_between_knots():
    torch.manual_seed(3)
    grey = torch.linspace(0, 1, 61).view(1, 1, 1, 61)
    out = synthesis.random_curve(grey, knots=7).flatten()
    torch.manual_seed(3)
    values = torch.rand(1, 7).flatten()
    expected = np.interp(np.linspace(0, 6, 61), np.arange(7), values.numpy())
    torch.testing.assert_close(out, torch.from_numpy(expected).float())


@pytest.mark.parametrize("curve", GREY[:4], ids=name)
def test_tone_curves_depend_on_the_grey_value_alone(curve):
    levels = torch.rand(1, 1, 4, 1)
    torch.manual_seed(0)
    out = curve(levels.expand(8, 1, 4, 9))
    torch.testing.assert_close(out, out[..., :1].expand_as(out))


def test_some_curves_turn_and_powers_never_do():
    ramp = torch.linspace(0.01, 1, 100).expand(64, 1, 1, 100)
    torch.manual_seed(0)

    def turning(curve):
        slope = curve(ramp).diff()
        return ((slope > 1e-6).any(-1) & (slope < -1e-6).any(-1)).float().mean()

    assert turning(synthesis.cosine_tone) > 0.9  # at least half a period over the greys
    assert turning(synthesis.random_curve) > 0.9
    assert turning(synthesis.power_curve) == 0
    assert (synthesis.power_curve(ramp).diff() > 0).all()
    reversed_ = synthesis.RENDERINGS["reversed"].function(ramp, ramp)
    assert (reversed_.diff() < 0).all()
    up = (synthesis.reverse_some(ramp).diff() > 0).all(-1)
    assert 0.25 < up.float().mean() < 0.75


def test_recoloured_regions_are_constant_where_the_picture_is():
    torch.manual_seed(0)
    first = torch.rand(16, 1, 1, 3).repeat_interleave(16, 3).expand(16, 1, 24, 48)
    out = synthesis.recolour_regions(first, first.flip(0))
    for middle in (8, 24, 40):  # the blur reaches 2 px over a border
        inside = out[..., middle - 6 : middle + 6]
        assert torch.equal(inside, inside[..., :1, :1].expand_as(inside))
    assert (out[..., 8] != out[..., 24]).flatten(1).any(1).float().mean() > 0.5


def test_rank_is_the_share_of_darker_pixels():
    grey = scenes(3, 1)
    found = synthesis.luminance_rank(grey).flatten(1)
    flat = grey.flatten(1)
    expected = (flat[:, None] < flat[:, :, None]).float().mean(2)
    assert (found - expected).abs().max() < 0.05  # one bin holds up to a few per cent
    assert (synthesis.luminance_rank(torch.zeros(1, 1, 8, 8)) == 0.5).all()


def test_palette_gives_colours_of_the_other_sample_in_order_of_luminance():
    photo, grey = scenes(24), scenes(24, 1, seed=1)
    torch.manual_seed(0)
    out = synthesis.palette_transfer(grey, photo)
    way = []
    for index in range(24):
        found = {tuple(c) for c in out[index].flatten(1).T.tolist()}
        lent = {tuple(c) for c in photo[index - 1].flatten(1).T.tolist()}
        assert found <= lent and 3 < len(found) <= 64
        luminance = (out[index] * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(0)
        by_grey = luminance.flatten()[grey[index].flatten().argsort()].diff()
        assert (by_grey >= -1e-6).all() or (by_grey <= 1e-6).all()
        way.append(bool((by_grey >= -1e-6).all()))
    assert 0 < sum(way) < 24


def test_relief_is_lit_from_one_side():
    """A ridge is bright on one flank and dark on the other; both ways occur."""
    torch.manual_seed(0)
    ridge = 1 - (torch.arange(31.0) - 15).abs() / 15
    out = synthesis.relief(ridge.expand(32, 1, 31, 31))[:, 0, 15] - 0.5
    torch.testing.assert_close(out[:, 5], -out[:, 25])
    assert (out[:, 5] > 0.05).any() and (out[:, 5] < -0.05).any()


def test_foreign_patch_shows_the_next_sample():
    torch.manual_seed(0)
    image = torch.arange(64.0).view(-1, 1, 1, 1).expand(-1, 3, 40, 40)
    out = synthesis.foreign_patch(image)
    changed = out != image
    assert torch.equal(out[changed], image.roll(1, 0)[changed])
    share = changed.flatten(1).float().mean(1)
    assert 0.05 < (share > 0).float().mean() < 0.4 and share.max() <= 0.4**2 + 0.05
    assert (changed == changed[:, :1]).all()


def test_noise_grows_with_the_signal_where_there_is_speckle_alone():
    torch.manual_seed(0)
    image = torch.cat([torch.zeros(400, 1, 16, 16), torch.full((400, 1, 16, 16), 0.8)], 3)
    dark, bright = (synthesis.sensor_noise(image) - image).split(16, 3)
    dark, bright = dark.std((1, 2, 3)), bright.std((1, 2, 3))
    speckled = (dark == 0) & (bright > 0)
    assert 0.01 < speckled.float().mean() < 0.12
    assert 0.3 < (bright == 0).float().mean() < 0.6


def sensor(photo):
    return synthesis.degrade(synthesis.colour_jitter(synthesis.pseudo_modality(photo)).clamp(0, 1))


def test_nothing_waits_for_the_device():
    """Tensors without values: reading one, or a shape that depends on one, raises."""
    image = torch.empty(4, 3, 48, 54, device="meta")
    assert sensor(image).shape == image.shape


@pytest.mark.slow
def test_the_chain_is_one_graph_without_constants_from_the_host():
    graphs = []

    def collect(graph, inputs):
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(sensor, fullgraph=True, dynamic=False, backend=collect)
    image = scenes(4)
    torch.manual_seed(2)
    found = compiled(image)
    torch.manual_seed(2)
    torch.testing.assert_close(found, sensor(image))
    assert len(graphs) == 1
    called = {str(getattr(node.target, "__name__", node.target)) for node in graphs[0].graph.nodes}
    assert called.isdisjoint({"tensor", "as_tensor", "from_numpy", "item", "tolist", "cpu", "to"})
