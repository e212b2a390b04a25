"""Agents against the formulas with an explicit attention matrix."""

import pytest
import torch
import torch.nn.functional as F

from sdme.model.agents import AgentBlock, linear_attention


def explicit_attention(query, key, value):
    """Rows of phi(q) phi(k)^T, scaled to a sum of one, times the values; phi = elu + 1."""
    matrix = (F.elu(query) + 1) @ (F.elu(key) + 1).mT
    return (matrix / matrix.sum(-1, keepdim=True)) @ value


def by_definition(block, pixels):
    """The block with loops over images and heads and an n x m matrix in each."""
    outputs, updates = [], []
    for image in pixels:
        rows = image.flatten(1).T
        query, key, value = block.query(block.agents), block.key(rows), block.value(rows)
        heads = [
            explicit_attention(q, k, v)
            for q, k, v in zip(
                *(t.chunk(block.heads, dim=1) for t in (query, key, value)), strict=True
            )
        ]
        message = block.message_norm(block.merge(torch.cat(heads, dim=1)))
        updated = block.output_norm(block.mlp(torch.cat([block.agents, message], dim=1)))
        context = explicit_attention(rows, block.agents, updated)
        outputs.append(image + context.T.view_as(image))
        updates.append(updated)
    return torch.stack(outputs), torch.stack(updates)


@pytest.fixture
def block():
    torch.manual_seed(0)
    block = AgentBlock(channels=24, agents=5, heads=4)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return block


def test_linear_attention_equals_the_explicit_matrix():
    torch.manual_seed(1)
    query, key, value = (torch.randn(2, 3, n, 6, dtype=torch.float64).float() for n in (17, 40, 40))
    torch.testing.assert_close(
        linear_attention(query, key, value), explicit_attention(query, key, value)
    )


def test_attention_to_equal_values_gives_that_value():
    torch.manual_seed(2)
    value = torch.randn(1, 1, 1, 8).expand(-1, -1, 30, -1)
    found = linear_attention(torch.randn(1, 1, 9, 8), torch.randn(1, 1, 30, 8), value)
    torch.testing.assert_close(found, value[:, :, :9])


def test_block_equals_its_definition(block):
    pixels = torch.randn(2, 24, 6, 9)
    output, updated = block(pixels)
    expected_output, expected_updated = by_definition(block, pixels)
    torch.testing.assert_close(updated, expected_updated, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(output, expected_output, rtol=1e-4, atol=1e-5)


def test_gradients_equal_those_of_the_definition(block):
    pixels, gradients = torch.randn(2, 24, 4, 5), []
    for function in (block, lambda image: by_definition(block, image)):
        block.zero_grad()
        leaf = pixels.clone().requires_grad_()
        output, updated = function(leaf)
        (output.square().mean() + updated.square().sum(-1).sqrt().mean()).backward()
        gradients.append([leaf.grad, *(p.grad.clone() for p in block.parameters())])
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)


def test_updated_agents_have_no_residual(block):
    """They come out of a layer norm; agents that are added back would show in the mean."""
    torch.nn.init.ones_(block.output_norm.weight)
    torch.nn.init.zeros_(block.output_norm.bias)
    with torch.no_grad():
        block.agents += 10
    _, updated = block(torch.randn(2, 24, 6, 9))
    torch.testing.assert_close(updated.mean(-1), torch.zeros(2, 5), atol=1e-5, rtol=0)
    torch.testing.assert_close(updated.var(-1, correction=0), torch.ones(2, 5), atol=1e-2, rtol=0)


def test_context_is_added_to_the_pixels(block):
    """With updated agents all zero there is nothing to give back."""
    torch.nn.init.zeros_(block.output_norm.weight)
    torch.nn.init.zeros_(block.output_norm.bias)
    pixels = torch.randn(1, 24, 5, 5)
    torch.testing.assert_close(block(pixels)[0], pixels)


def test_agents_see_all_pixels_in_any_order(block):
    pixels = torch.randn(1, 24, 6, 8)
    shuffled = pixels.flatten(2)[..., torch.randperm(48)].view_as(pixels)
    torch.testing.assert_close(block(pixels)[1], block(shuffled)[1], rtol=1e-4, atol=1e-5)


def test_images_of_a_batch_do_not_mix(block):
    pixels = torch.randn(3, 24, 6, 8)
    output, updated = block(pixels)
    for index in range(3):
        alone_output, alone_updated = block(pixels[index : index + 1])
        torch.testing.assert_close(output[index], alone_output[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(updated[index], alone_updated[0], rtol=1e-4, atol=1e-5)


def test_memory_format_of_the_pixels_does_not_matter(block):
    pixels = torch.randn(2, 24, 6, 8)
    other = pixels.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(block(pixels)[0], block(other)[0], rtol=1e-4, atol=1e-5)


def test_parameters_of_the_full_block():
    """Agents, four square projections, MLP 256 -> 256 -> 128, two layer norms; no biases."""
    count = sum(p.numel() for p in AgentBlock().parameters())
    assert count == 32 * 128 + 4 * 128**2 + 256**2 + 256 * 128 + 2 * 2 * 128
