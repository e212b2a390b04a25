"""The strided encoder and decoder: grids, symmetries, what a cell sees."""

from copy import deepcopy

import pytest
import torch

from sdme.config import FastSettings
from sdme.model.strided import Decoder, Encoder, Residual, Up, normed

SETTINGS = FastSettings(channels=(8, 16, 24, 32), depths=(0, 1, 1, 1))


@pytest.fixture(scope="module")
def nets():
    """Encoder and decoder with random weights in the residual branches too."""
    torch.manual_seed(0)
    nets = Encoder(SETTINGS).eval(), Decoder(SETTINGS).eval()
    with torch.no_grad():
        for net in nets:
            for parameter in net.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
    return nets


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("height", "width"), [(32, 32), (48, 80)])
def test_sizes_and_channels_of_the_maps(nets, height, width):
    encoder, decoder = nets
    down = encoder(draw(2, 3, height, width))
    shapes = [(2, 8 * k, height // 2**k, width // 2**k) for k in (1, 2, 3, 4)]
    assert [tuple(m.shape) for m in down] == shapes
    assert [tuple(m.shape) for m in decoder(down)] == shapes[:3]


def test_the_default_is_small():
    parameters = [*Encoder(FastSettings()).parameters(), *Decoder(FastSettings()).parameters()]
    assert 5e5 < sum(p.numel() for p in parameters) < 2.5e6


def test_images_of_a_batch_do_not_influence_each_other_not_even_in_training(nets):
    encoder, decoder = nets
    images = draw(3, 3, 48, 32)
    images[1] *= 50
    for net in nets:
        net.train()
    together = decoder(encoder(images))
    for i in range(3):
        alone = decoder(encoder(images[i : i + 1]))
        for one, all_of_them in zip(alone, together, strict=True):
            torch.testing.assert_close(one[0], all_of_them[i], rtol=1e-4, atol=1e-4)
    for net in nets:
        net.eval()
    for one, other in zip(decoder(encoder(images)), together, strict=True):
        assert torch.equal(one, other)


def test_residual_blocks_add_nothing_at_first_and_pass_every_sign():
    block, x = Residual(8), draw(2, 8, 6, 7)
    assert torch.equal(block(x), x) and (x < 0).any()
    torch.nn.init.ones_(block.norm.weight)
    assert not torch.equal(block(x), x)


def test_dilation_keeps_the_size_and_looks_further():
    x = torch.zeros(1, 8, 15, 15).requires_grad_()
    reaches = []
    for dilation in (1, 2):
        block = Residual(8, dilation)
        # of group norm's mean nothing is wanted here
        out = block.second(block.first[0](x))
        assert out.shape == x.shape
        (gradient,) = torch.autograd.grad(out[0, :, 7, 7].sum(), x)
        seen = gradient[0].abs().sum(0).sum(0).nonzero()[:, 0]
        reaches.append((seen.max() - seen.min()).item())
    assert reaches == [4, 6]


def test_enlargement_keeps_an_edge_where_it_is():
    """Enlarged about the wrong corner, the edge would be off by half a fine cell."""
    up = Up(8, 8)
    up.blend = torch.nn.Sequential()  # the enlargement alone
    up.project = torch.nn.Conv2d(8, 8, 1, bias=False)
    torch.nn.init.dirac_(up.project.weight)
    for edge in (56.0, 57.0, 60.0, 64.0):
        x = (torch.arange(128) - edge).div(6).sigmoid()
        raised = up(x.view(16, 8).mean(1).expand(1, 8, 4, 16), torch.zeros(1, 8, 8, 32))
        gap = raised[0, 0, 3] - x.view(32, 4).mean(1)
        assert gap[4:-4].sum().abs() < 0.02  # the area between two edges is their distance


def test_a_mirrored_network_sees_a_mirrored_image_mirrored(nets):
    """So cells lie in the middle of their pixels; a stride with odd kernels would look left."""
    images = draw(2, 3, 48, 80)
    mirrored = [deepcopy(net) for net in nets]
    with torch.no_grad():
        for net in mirrored:
            for module in net.modules():
                if isinstance(module, torch.nn.Conv2d):
                    module.weight.copy_(module.weight.flip(-1, -2))
    down, found_down = nets[0](images), mirrored[0](images.flip(-1, -2))
    up, found_up = nets[1](down), mirrored[1](found_down)
    for expected, found in zip(down + up, found_down + found_up, strict=True):
        torch.testing.assert_close(found.flip(-1, -2), expected, rtol=1e-3, atol=1e-3)


def test_a_shift_by_sixteen_pixels_shifts_all_maps(nets):
    """Equivariance far from the border, but for group norm's statistics, which a torus keeps."""
    encoder, _ = nets
    x = draw(1, 3, 32, 32).tile(1, 1, 5, 5)
    maps = encoder(x)
    for values in maps[:3]:
        cell = 160 // values.shape[-1]
        period, half = 32 // cell, values.shape[-1] // 2
        one = values[..., half : half + 1, half : half + 1]
        two = values[..., half - period : half - period + 1, half : half + 1]
        torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-3)


def test_contrast_does_not_matter_after_the_first_layer():
    layer, x = normed(3, 8), draw(2, 3, 16, 16)
    torch.testing.assert_close(layer(x), layer(100 * x), rtol=1e-3, atol=1e-3)


def test_context_reaches_the_finest_map(nets):
    encoder, decoder = nets
    maps = [m.detach() for m in encoder(draw(1, 3, 64, 64))]
    changed = [*maps[:-1], maps[-1] + 1]
    for one, other in zip(decoder(maps), decoder(changed), strict=True):
        assert (one - other).abs().amax((0, 1)).gt(1e-4).float().mean() > 0.9


def test_gradients_reach_all_parameters(nets):
    encoder, decoder = nets
    down = encoder(draw(2, 3, 64, 64))
    torch.cat([m.flatten() for m in decoder(down)]).square().sum().backward()
    for net in nets:
        for name, parameter in net.named_parameters():
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
