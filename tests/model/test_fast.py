"""What callers of the preset ``fast`` may rely on, whatever its weights."""

import pytest
import torch
import torch.nn.functional as F
from hand_made_fast import SMALL

from sdme.geometry.sampling import cell_centres
from sdme.model.fast import (
    LEVELS,
    FastNetwork,
    cells_inside,
    padded,
    share_of_cells,
    standardised,
)
from sdme.refine.unrolled import refine_unrolled


@pytest.fixture(scope="module")
def network():
    """Random weights, also where training starts with zeros."""
    torch.manual_seed(0)
    network = FastNetwork(SMALL).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network


def images(count, height, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, height // 8 + 2, width // 8 + 2, generator=generator)
    return F.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)


def tensors(features):
    """All maps by name."""
    named = {n: getattr(features, n) for n in ("descriptors", "score", "correlation", "context")}
    for cell, level in zip(LEVELS, features.levels, strict=True):
        named |= {f"values {cell}": level.values, f"weight {cell}": level.weight}
    return named


def assert_same(found, expected, tolerance=1e-4):
    for name, values in tensors(expected).items():
        gap = (tensors(found)[name] - values).abs().max()
        assert gap < tolerance, (name, gap)


@pytest.mark.parametrize(("height", "width"), [(64, 80), (33, 47), (50, 96)])
def test_maps_of_any_size(network, height, width):
    fixed, moving = network(images(2, height, width), images(2, 64, 64, 1))
    assert fixed.size == (width, height) and moving.size == (64, 64)
    high, wide = height + -height % 16, width + -width % 16
    cells = {"descriptors": 4, "score": 4, "correlation": 8, "context": 8}
    cells |= {f"{kind} {cell}": cell for cell in LEVELS for kind in ("values", "weight")}
    for name, values in tensors(fixed).items():
        assert values.shape[-2:] == (high // cells[name], wide // cells[name]), name
        assert values.isfinite().all() and values.dtype == torch.float32


def test_vectors_have_unit_length_and_weights_lie_between_0_and_1(network):
    pair = network(images(2, 64, 48), images(2, 64, 64, 1))
    for features in pair:
        units = [features.descriptors, features.correlation, *(v.values for v in features.levels)]
        for values in units:
            torch.testing.assert_close(values.norm(dim=1), torch.ones_like(values[:, 0]))
        for level in features.levels:
            assert (level.weight > 0).all() and (level.weight < 1).all()
    assert pair[0].descriptors.shape[1] == SMALL.descriptor_channels
    assert [v.values.shape[1] for v in pair[1].levels] == list(SMALL.level_channels)


def test_one_batch_of_both_images_gives_what_two_give(network, monkeypatch):
    """Sizes that agree go through the encoder together, others one after the other."""
    fixed, moving = images(2, 64, 64), images(2, 64, 64, 1)
    calls = []
    handle = network.encoder.register_forward_pre_hook(lambda _, x: calls.append(len(x[0])))
    together = network(fixed, moving)
    assert calls == [4]
    encode = network.encoder.forward
    taller = torch.cat([moving, moving], dim=2)
    network(fixed, taller)
    assert calls == [4, 2, 2]
    handle.remove()

    def one_by_one(batch):
        parts = [encode(image[None]) for image in batch]
        return [torch.cat(maps) for maps in zip(*parts, strict=True)]

    monkeypatch.setattr(network.encoder, "forward", one_by_one)
    apart = network(fixed, moving)
    for found, expected in zip(together, apart, strict=True):
        assert_same(found, expected)


def test_sizes_that_agree_after_padding_are_no_special_case(network):
    """A 50 px image is padded to 64 px and then shares a batch with a 64 px one."""
    small, large = images(1, 50, 64), images(1, 64, 64, 1)
    one, two = network(small, large)
    filled = F.pad(standardised(small), (0, 0, 0, 14), mode="replicate")
    torch.testing.assert_close(padded(standardised(small)), filled)
    assert one.size == (64, 50) and two.size == (64, 64)
    other_two, other_one = network(large, small)
    assert_same(one, other_one)
    assert_same(two, other_two)


def test_the_images_know_of_each_other(network):
    fixed, moving = images(1, 64, 64), images(1, 64, 64, 1)
    one, two = network(fixed, moving)
    other, _ = network(fixed, images(1, 64, 64, 2))
    assert (one.descriptors - other.descriptors).abs().max() > 1e-4
    swapped_two, swapped_one = network(moving, fixed)
    assert_same(one, swapped_one)
    assert_same(two, swapped_two)


def test_pairs_of_a_batch_do_not_influence_each_other(network):
    fixed, moving = images(3, 48, 64), images(3, 64, 64, 1)
    moving[1] = 0
    together = network(fixed, moving)
    for i in range(3):
        alone = network(fixed[i : i + 1], moving[i : i + 1])
        for found, expected in zip(together, alone, strict=True):
            for name, values in tensors(expected).items():
                assert (tensors(found)[name][i] - values[0]).abs().max() < 1e-4, name


@pytest.mark.parametrize(("gain", "offset"), [(0.3, 0.0), (1.0, 0.4), (0.5, 0.25), (-1.0, 1.0)])
def test_brightness_and_contrast_do_not_matter_but_the_sign_does(network, gain, offset):
    fixed, moving = images(1, 64, 64), images(1, 64, 64, 1)
    one, two = network(fixed, moving)
    found, other = network(gain * fixed + offset, moving)
    if gain > 0:
        assert_same(found, one, 0.02)
        assert_same(other, two, 0.02)
    else:
        assert (found.descriptors - one.descriptors).abs().max() > 0.1


def test_standardised_images_have_mean_0_and_deviation_1_each():
    image = images(3, 40, 50) * torch.tensor([1.0, 0.5, 0.2]).view(3, 1, 1, 1) + 0.3
    found = standardised(image)
    assert found.mean((1, 2, 3)).abs().max() < 1e-5
    deviation = found.std((1, 2, 3))
    assert (deviation < 1).all() and deviation.min() > 0.8
    assert standardised(torch.full((1, 3, 32, 32), 0.7)).abs().max() < 1e-3


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_flat_images_give_finite_features_and_gradients(network, value):
    flat = torch.full((1, 3, 64, 64), value)
    pair = network(flat, images(1, 64, 64))
    maps = [values for features in pair for values in tensors(features).values()]
    assert all(values.isfinite().all() for values in maps)
    network.zero_grad()
    torch.cat([values.flatten() for values in maps]).square().sum().backward()
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    assert gradients and all(g.isfinite().all() for g in gradients)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (49, 63), (65, 100), (33, 34)])
def test_padding_repeats_the_border_up_to_multiples_of_16(height, width):
    image = images(1, height, width)
    found = padded(image)
    assert found.shape[-2] % 16 == 0 == found.shape[-1] % 16
    assert 0 <= found.shape[-2] - height < 16 and 0 <= found.shape[-1] - width < 16
    for y in range(0, found.shape[-2], 3):
        for x in range(0, found.shape[-1], 3):
            expected = image[0, :, min(y, height - 1), min(x, width - 1)]
            assert torch.equal(found[0, :, y, x], expected)


@pytest.mark.parametrize("cell", [2, 4, 8])
@pytest.mark.parametrize(("height", "width"), [(64, 64), (49, 63), (65, 100)])
def test_cells_inside_are_those_whose_middle_is_a_pixel_of_the_image(height, width, cell):
    map_height, map_width = ((side + -side % 16) // cell for side in (height, width))
    found = cells_inside((width, height), cell, torch.zeros(1, 1, map_height, map_width))[0, 0]
    centres = cell_centres(map_width, map_height, cell, torch.zeros(1)).tolist()
    for row in range(map_height):
        for column in range(map_width):
            pixels = [range(c * cell, (c + 1) * cell) for c in (column, row)]
            middle = [sum(p) / cell for p in pixels]
            assert centres[row * map_width + column] == middle
            assert found[row, column] == (middle[0] <= width - 1 and middle[1] <= height - 1)


def test_repeated_features_lie_beside_their_copies(network):
    features, _ = network(images(2, 48, 64), images(2, 64, 64, 1))
    thrice = features.repeated(3)
    assert thrice.size == features.size
    for name, values in tensors(thrice).items():
        for i in range(6):
            assert torch.equal(values[i], tensors(features)[name][i // 3]), name
    for name, values in tensors(features.repeated(1)).items():
        assert values is tensors(features)[name]


def test_masked_features_ignore_what_holds_no_data(network):
    features, _ = network(images(2, 50, 64), images(2, 64, 64, 1))
    everything = torch.ones(2, 1, 50, 64, dtype=torch.bool)
    assert features.masked(everything) is features
    valid = everything.clone()
    valid[0, :, :, :20] = False
    masked = features.masked(valid)
    assert masked.valid is not None
    shares = [1 - min(max(20 - 8 * c, 0), 8) / 8 for c in range(8)]
    torch.testing.assert_close(masked.valid[0, 0, 0], torch.tensor(shares))
    assert (masked.correlation[0, :, :, :2] == 0).all()
    assert (masked.descriptors[0, :, :, :5] == 0).all()
    assert torch.equal(masked.descriptors[0, :, :, 5:], features.descriptors[0, :, :, 5:])
    for cell, level, before in zip(LEVELS, masked.levels, features.levels, strict=True):
        assert (level.weight[0, ..., : 20 // cell] == 0).all()
        kept = -(-20 // cell)
        assert torch.equal(level.weight[0, ..., kept:], before.weight[0, ..., kept:])
        assert torch.equal(level.weight[1], before.weight[1])
    assert torch.equal(masked.repeated(2).valid[1], masked.valid[0])


def test_shares_of_cells_equal_a_count_of_pixels():
    valid = torch.rand(2, 1, 32, 48, generator=torch.Generator().manual_seed(0)) < 0.6
    found = share_of_cells(valid, 8)
    for row in range(4):
        for column in range(6):
            block = valid[1, 0, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
            assert found[1, 0, row, column].item() == pytest.approx(block.sum().item() / 64)


def test_train_and_evaluation_agree(network):
    fixed, moving = images(2, 64, 64), images(2, 64, 64, 1)
    network.train()
    training = network(fixed, moving)
    network.eval()
    for one, other in zip(training, network(fixed, moving), strict=True):
        assert_same(one, other, 1e-6)


def test_an_image_found_in_itself_stays_where_it_is(network):
    """Untrained maps know at least that a picture fits itself best without moving."""
    image = images(1, 64, 64)
    fixed, moving = network(image, image)
    assert_same(fixed, moving, 1e-6)
    last = refine_unrolled(fixed, moving, torch.eye(3)[None], network.damping, (8, 5, 4))[-1]
    torch.testing.assert_close(last, torch.eye(3)[None], rtol=0, atol=1e-3)


def test_mixed_precision_gives_float32_close_to_full_precision(network):
    fixed, moving = images(1, 64, 64), images(1, 64, 64, 1)
    expected = network(fixed, moving)
    with torch.autocast("cpu", torch.bfloat16):
        found = network(fixed, moving)
    for one, other in zip(found, expected, strict=True):
        assert all(values.dtype == torch.float32 for values in tensors(one).values())
        cosine = (one.descriptors * other.descriptors).sum(1)
        assert cosine.mean() > 0.99
