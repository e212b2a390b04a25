"""The structure map against its definition with an explicit 9x9 Gram matrix."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from sdme.model.structure import structure_map


def by_definition(features):
    """(max + min) / 2 of the Gram matrix's row sums, over its trace; nine explicit patches."""
    batch, channels, height, width = features.shape
    patches = F.unfold(F.pad(features, (1, 1, 1, 1), mode="replicate"), 3)
    patches = patches.view(batch, channels, 9, height * width).permute(0, 3, 2, 1)
    patches = patches - patches.mean(-1, keepdim=True)
    gram = patches @ patches.mT
    rows = gram.sum(-1)
    trace = gram.diagonal(dim1=-2, dim2=-1).sum(-1)
    return ((rows.amax(-1) + rows.amin(-1)) / 2 / trace).view(batch, 1, height, width)


def random_features(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("shape", [(2, 128, 7, 11), (1, 16, 3, 3), (1, 5, 1, 1), (3, 8, 1, 6)])
def test_equals_its_definition(shape):
    features = F.normalize(random_features(*shape), dim=1)
    torch.testing.assert_close(
        structure_map(features), by_definition(features), rtol=1e-5, atol=1e-5
    )


def test_equals_its_definition_on_smooth_features_with_an_offset():
    coarse = random_features(1, 32, 4, 5, seed=1)
    features = F.interpolate(coarse, (20, 25), mode="bilinear") + 3
    torch.testing.assert_close(
        structure_map(features), by_definition(features), rtol=1e-4, atol=1e-5
    )


def test_gradient_equals_that_of_the_definition():
    features = random_features(1, 6, 5, 4, seed=2, dtype=torch.float64).float()
    cotangent = random_features(1, 1, 5, 4, seed=3)
    gradients = []
    for function in (structure_map, by_definition):
        leaf = features.clone().requires_grad_()
        function(leaf).backward(cotangent)
        gradients.append(leaf.grad)
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-5)


def test_equal_vectors_in_a_window_give_one_and_lone_ones_less():
    alike = random_features(1, 64, 1, 1).expand(-1, -1, 6, 6)
    torch.testing.assert_close(structure_map(alike), torch.ones(1, 1, 6, 6))
    different = structure_map(random_features(1, 4096, 6, 6, seed=4))[..., 1:-1, 1:-1]
    # Vectors at right angles: every row of G sums to about its diagonal, a ninth of the trace.
    torch.testing.assert_close(different, torch.full_like(different, 1 / 9), atol=0.02, rtol=0)


def test_scale_and_channel_offset_do_not_matter():
    features = random_features(1, 32, 6, 7)
    torch.testing.assert_close(
        structure_map(5 * features + 2), structure_map(features), rtol=1e-4, atol=1e-5
    )


def test_featureless_image_gives_zero_and_a_finite_gradient():
    features = torch.full((1, 16, 5, 5), 0.25, requires_grad=True)
    structure = structure_map(features)
    structure.sum().backward()
    assert structure.abs().max() < 1e-3
    assert features.grad is not None and features.grad.isfinite().all()


def test_half_precision_features_give_float32_sums():
    features = F.normalize(random_features(1, 128, 6, 6), dim=1).bfloat16()
    structure = structure_map(features)
    assert structure.dtype == torch.float32
    torch.testing.assert_close(structure, by_definition(features.float()), rtol=0.005, atol=0)


class LargestTensor(TorchDispatchMode):
    """Records the largest tensor that any operation makes."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(tensor, torch.Tensor):
                self.numel = max(self.numel, tensor.numel())
        return out


def test_never_holds_nine_patches_of_all_channels():
    features = random_features(1, 128, 24, 24).requires_grad_()
    with LargestTensor() as forward_and_back:
        structure_map(features).sum().backward()
    assert features.numel() <= forward_and_back.numel < 3 * features.numel()
    with LargestTensor() as naive:
        by_definition(features)
    assert naive.numel >= 9 * features.numel()
