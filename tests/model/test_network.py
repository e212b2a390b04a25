"""The network against the paper's table of layers, and what callers may rely on."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sdme.config import NetworkSettings
from sdme.errors import InputError
from sdme.model.network import Features, SdmeNetwork, squash
from sdme.model.structure import structure_map

# inputs, outputs, kernel, dilation, batch norm, ReLU
ENCODER = [
    (3, 32, 3, 1, True, True),
    (32, 32, 3, 1, True, True),
    (32, 64, 3, 1, True, True),
    (64, 64, 3, 2, True, True),
]
BRANCH = [
    (64, 128, 3, 2, True, True),
    (128, 128, 3, 4, True, True),
    (128, 128, 2, 4, True, False),
    (128, 128, 2, 8, True, False),
    (128, 128, 2, 16, False, False),
]


@pytest.fixture(scope="module")
def network():
    """Random weights, running statistics of real images, evaluation mode."""
    torch.manual_seed(0)
    network = SdmeNetwork().train()
    with torch.no_grad():
        for parameter in network.alignment.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.02)
        for _ in range(2):
            network(smooth_images(2, 48, 48))
    return network.eval()


def smooth_images(batch, height, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(batch, 3, height // 8 + 2, width // 8 + 2, generator=generator)
    return F.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)


def table(layers):
    """Rows like those of ENCODER, read off a chain of modules."""
    rows = []
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            assert layer.kernel_size[0] == layer.kernel_size[1] and layer.stride == (1, 1)
            assert layer.dilation[0] == layer.dilation[1]
            has_bias = layer.bias is not None
            rows.append(
                [layer.in_channels, layer.out_channels, layer.kernel_size[0], layer.dilation[0]]
                + [False, False]
            )
        elif isinstance(layer, nn.BatchNorm2d):
            assert not layer.affine and layer.track_running_stats and not rows[-1][5]
            assert not has_bias  # it would do nothing
            rows[-1][4] = True
        else:
            assert isinstance(layer, nn.ReLU)
            rows[-1][5] = True
    return [tuple(row) for row in rows]


def plain_chain(layers, rows, image):
    """The same layers by functions; a 2-wide kernel sees places at -d/2 and +d/2."""
    convolutions = (layer for layer in layers if isinstance(layer, nn.Conv2d))
    norms = (layer for layer in layers if isinstance(layer, nn.BatchNorm2d))
    for (_, _, kernel, dilation, norm, relu), layer in zip(rows, convolutions, strict=True):
        reach = dilation if kernel == 3 else dilation // 2
        padded = F.pad(image, (reach,) * 4)
        height, width = image.shape[-2:]
        starts = range(0, 2 * reach + 1, dilation)
        image = sum(
            torch.einsum(
                "oi,bihw->bohw",
                layer.weight[:, :, row, column],
                padded[..., y : y + height, x : x + width],
            )
            for row, y in enumerate(starts)
            for column, x in enumerate(starts)
        )
        if norm:
            batch_norm = next(norms)
            mean, variance = (
                t.view(1, -1, 1, 1) for t in (batch_norm.running_mean, batch_norm.running_var)
            )
            image = (image - mean) / (variance + batch_norm.eps).sqrt()
        else:
            image = image + layer.bias.view(1, -1, 1, 1)
        if relu:
            image = image.clamp(min=0)
    return image


def test_number_of_parameters():
    assert sum(p.numel() for p in SdmeNetwork().parameters()) == 1_069_794


def test_layers_are_those_of_the_paper():
    network = SdmeNetwork()
    assert table(network.encoder) == ENCODER
    assert table(network.matching) == BRANCH
    assert table(network.alignment) == BRANCH
    head = network.repeatability
    assert (head.in_channels, head.out_channels, head.kernel_size) == (128, 1, (1, 1))


@torch.no_grad()
def test_outputs_equal_a_plain_forward_pass(network):
    image = smooth_images(1, 33, 40, seed=1)
    mean, deviation = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[..., None, None]
    shared = plain_chain(network.encoder, ENCODER, (image - mean) / deviation)
    matching = plain_chain(network.matching, BRANCH, shared)
    matching = network.agent_block(matching)[0]
    weight, bias = network.repeatability.weight.flatten(), network.repeatability.bias
    positive = ((matching**2 * weight.view(1, -1, 1, 1)).sum(1, keepdim=True) + bias).exp()
    positive = positive.log1p()
    alignment = plain_chain(network.alignment, BRANCH, shared)
    features = network(image)
    close = {"rtol": 1e-3, "atol": 1e-5}
    torch.testing.assert_close(
        features.descriptors, matching / matching.norm(dim=1, keepdim=True), **close
    )
    torch.testing.assert_close(features.repeatability, positive / (1 + positive), **close)
    torch.testing.assert_close(
        features.structure, structure_map(alignment / alignment.norm(dim=1, keepdim=True)), **close
    )


@torch.no_grad()
@pytest.mark.parametrize("height, width", [(32, 32), (33, 47), (128, 192)])
def test_outputs_lie_on_the_grid_of_the_image(network, height, width):
    features = network(smooth_images(1, height, width))
    assert isinstance(features, Features)
    assert features.descriptors.shape == (1, 128, height, width)
    assert features.repeatability.shape == features.structure.shape == (1, 1, height, width)
    assert features.repeatability.min() >= 0 and features.repeatability.max() < 1
    length = features.descriptors.norm(dim=1)
    torch.testing.assert_close(length, torch.ones_like(length))
    for values in vars(features).values():
        assert values.isfinite().all() and values.dtype == torch.float32


@torch.no_grad()
def test_shifting_the_image_shifts_the_outputs():
    """The grid stays put: no half pixel is lost or won in the 2-wide layers."""
    network = SdmeNetwork(NetworkSettings(use_agents=False)).eval()
    image = smooth_images(1, 120, 120, seed=2)
    here, there = network(image[..., 4:, 6:]), network(image)
    middle = (..., slice(48, 64), slice(48, 64))
    moved = (..., slice(52, 68), slice(54, 70))
    for name in ("descriptors", "repeatability", "structure"):
        torch.testing.assert_close(
            getattr(here, name)[middle], getattr(there, name)[moved], rtol=1e-4, atol=1e-5
        )


@torch.no_grad()
def test_mirrored_kernels_see_a_mirrored_image():
    """An even kernel that sampled off centre would break the symmetry."""
    torch.manual_seed(1)
    network = SdmeNetwork(NetworkSettings(use_agents=False)).eval()
    image = smooth_images(1, 64, 64, seed=3)
    expected = network(image.flip(-1))
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.weight.copy_(layer.weight.flip(-1))
    found = network(image)
    for name in ("descriptors", "repeatability", "structure"):
        torch.testing.assert_close(
            getattr(found, name).flip(-1), getattr(expected, name), rtol=1e-4, atol=1e-5
        )


@torch.no_grad()
def test_a_batch_gives_what_its_images_give_alone(network):
    images = smooth_images(3, 40, 36, seed=4)
    together = network(images)
    for index in range(3):
        alone = network(images[index : index + 1])
        for name, values in vars(alone).items():
            torch.testing.assert_close(
                getattr(together, name)[index : index + 1], values, rtol=1e-4, atol=1e-5
            )


def test_alignment_starts_as_a_copy_of_matching():
    network = SdmeNetwork()
    copied = zip(network.alignment.parameters(), network.matching.parameters(), strict=True)
    for mine, other in copied:
        assert torch.equal(mine, other) and mine is not other
        assert mine.data_ptr() != other.data_ptr()


@torch.no_grad()
def test_without_agents():
    network = SdmeNetwork(NetworkSettings(use_agents=False)).eval()
    image = smooth_images(1, 32, 32)
    assert network.match(network.encode(image)).agents is None
    assert not [name for name, _ in network.named_parameters() if "agent" in name]
    features = network(image)
    plain = F.normalize(network.matching(network.encode(image)), dim=1)
    torch.testing.assert_close(features.descriptors, plain)


@torch.no_grad()
def test_other_sizes_of_descriptors_and_agents():
    settings = NetworkSettings(descriptor_channels=64, agents=7, agent_heads=4)
    network = SdmeNetwork(settings).eval()
    matching = network.match(network.encode(smooth_images(2, 32, 32)))
    assert matching.descriptors.shape == (2, 64, 32, 32)
    assert matching.agents.shape == (2, 7, 64)


@torch.no_grad()
def test_bfloat16_is_close_to_float32(network):
    image = smooth_images(1, 32, 32, seed=5)
    exact = network(image)
    with torch.autocast("cpu", torch.bfloat16):
        rough = network(image)
    cosine = (exact.descriptors * rough.descriptors).sum(1)
    assert cosine.median() > 0.999 and cosine.min() > 0.98
    assert (exact.repeatability - rough.repeatability).abs().max() < 0.02
    assert (exact.structure - rough.structure).abs().mean() < 0.02
    assert {v.dtype for v in vars(rough).values()} == {torch.float32}


@pytest.mark.parametrize("height, width", [(31, 64), (64, 31), (1, 1)])
def test_too_small_images_are_refused(network, height, width):
    with pytest.raises(InputError, match=rf"{width}x{height} px.*32 px") as error:
        network(torch.zeros(1, 3, height, width))
    assert "\n" not in str(error.value)


@torch.no_grad()
def test_flat_images_give_finite_outputs(network):
    for level in (0.0, 0.5, 1.0):
        for values in vars(network(torch.full((1, 3, 32, 32), level))).values():
            assert values.isfinite().all()


def test_squash():
    values = torch.tensor([-20.0, -1.0, 0.0, 1.0, 15.0])
    positive = (1 + values.double().exp()).log()
    torch.testing.assert_close(squash(values).double(), positive / (1 + positive))
    assert squash(torch.tensor(-1000.0)) >= 0 and squash(torch.tensor(1e4)) < 1


def test_every_parameter_gets_a_gradient():
    network = SdmeNetwork().train()
    features = network(smooth_images(2, 32, 32))
    loss = features.descriptors[:, 0].sum() + features.repeatability.sum()
    (loss + features.structure.sum() + network.guidance_gain).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
