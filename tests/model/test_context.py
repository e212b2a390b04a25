"""Attention between the images: symmetries, and softmax attention written out."""

import math

import pytest
import torch
import torch.nn.functional as F

from sdme.model.context import Attention, Context


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def awake(module, strength=0.3):
    """Random weights, also where training starts with zeros."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(strength * torch.randn_like(parameter))
    return module.eval()


@pytest.fixture(scope="module")
def context():
    return awake(Context(16, 2, 4))


def test_at_first_nothing_is_added():
    fixed, moving = draw(2, 16, 3, 4), draw(2, 16, 5, 4)
    layers = Context(16, 0, 4)
    assert layers(fixed, moving) == (fixed, moving)
    rows, others = draw(2, 5, 16), draw(2, 7, 16)
    assert torch.equal(Attention(16, 4)(rows, others), rows)


def test_attention_equals_softmax_written_out():
    attention = awake(Attention(8, 2))
    rows, others = draw(1, 3, 8), draw(1, 4, 8, seed=1)
    query = attention.query(attention.query_norm(rows))[0]
    key, value = attention.key_value(attention.key_norm(others))[0].chunk(2, dim=-1)
    found = torch.zeros(3, 8)
    for head in range(2):
        part = slice(4 * head, 4 * head + 4)
        for i in range(3):
            scores = [(query[i, part] @ key[j, part]).item() / math.sqrt(4) for j in range(4)]
            shares = [math.exp(s) / sum(math.exp(t) for t in scores) for s in scores]
            found[i, part] = sum(s * value[j, part] for j, s in enumerate(shares))
    merged = rows[0] + F.linear(found, attention.merge.weight, attention.merge.bias)
    expected = merged + attention.perceptron(merged)
    torch.testing.assert_close(attention(rows, others)[0], expected, rtol=1e-4, atol=1e-5)


def test_order_of_the_others_does_not_matter():
    attention = awake(Attention(16, 4))
    rows, others = draw(2, 5, 16), draw(2, 7, 16, seed=1)
    order = torch.randperm(7, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(attention(rows, others), attention(rows, others[:, order]))


def test_exchanged_images_exchange_the_outcome(context):
    fixed, moving = draw(2, 16, 3, 4), draw(2, 16, 5, 6, seed=1)
    one, two = context(fixed, moving)
    other_two, other_one = context(moving, fixed)
    torch.testing.assert_close(one, other_one)
    torch.testing.assert_close(two, other_two)
    assert one.shape == fixed.shape and two.shape == moving.shape


def test_each_image_sees_every_cell_of_the_other_one(context):
    fixed, moving = draw(1, 16, 3, 4), draw(1, 16, 5, 6, seed=1).requires_grad_()
    (gradient,) = torch.autograd.grad(context(fixed, moving)[0].square().sum(), moving)
    assert (gradient.abs().sum(1) > 0).all()


def test_pairs_of_a_batch_do_not_influence_each_other(context):
    fixed, moving = draw(3, 16, 3, 4), draw(3, 16, 5, 6, seed=1)
    together = context(fixed, moving)
    for i in range(3):
        alone = context(fixed[i : i + 1], moving[i : i + 1])
        for one, all_of_them in zip(alone, together, strict=True):
            torch.testing.assert_close(one[0], all_of_them[i], rtol=1e-4, atol=1e-5)


def test_place_tells_cells_of_the_same_content_apart(context):
    """Without it attention would be blind to where cells lie: two equal rows stayed equal."""
    fixed = draw(1, 16, 4, 4)
    fixed[..., 3, 3] = fixed[..., 1, 1]
    one, _ = context(fixed, draw(1, 16, 4, 4, seed=1))
    assert (one[..., 3, 3] - one[..., 1, 1]).abs().max() > 1e-2


def test_gradients_reach_all_parameters(context):
    fixed, moving = context(draw(2, 16, 3, 4), draw(2, 16, 3, 4, seed=1))
    (fixed.square().mean() + moving.mean()).backward()
    for name, parameter in context.named_parameters():
        # a constant added to all keys changes no softmax
        if not name.endswith("key_value.bias"):
            assert parameter.grad is not None and parameter.grad.abs().max() > 1e-7, name
