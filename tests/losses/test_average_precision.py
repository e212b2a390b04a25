"""The soft average precision and its sampler against plain loops."""

import math

import pytest
import torch
import torch.nn.functional as F

from sdme.losses.average_precision import (
    BORDER,
    STEP,
    average_precision_loss,
    disc,
    draw_distractors,
    draw_queries,
    soft_average_precision,
)


def histogram_precision(positive, negatives, bins):
    """AP of one query with explicit triangular bins, best bin first (He et al. 2018)."""
    centres = [1 - i / (bins - 1) for i in range(bins)]

    def share(score, centre):
        clamped = max(score, 0.0)
        return max(0.0, 1 - abs(clamped - centre) * (bins - 1))

    total, true_so_far, all_so_far = 0.0, 0.0, 0.0
    for centre in centres:
        true = share(positive, centre)
        true_so_far += true
        all_so_far += true + sum(share(n, centre) for n in negatives)
        total += true * (true_so_far / all_so_far if all_so_far else 0.0)
    return total


@pytest.mark.parametrize("bins", [2, 5, 20])
def test_soft_precision_equals_explicit_bins(bins):
    generator = torch.Generator().manual_seed(bins)
    positive = torch.rand(30, generator=generator) * 2 - 1
    others = torch.rand(30, 12, generator=generator) * 2 - 1
    valid = torch.rand(30, 12, generator=generator) < 0.7
    found = soft_average_precision(positive, others, valid, bins)
    expected = [
        histogram_precision(p.item(), o[v].tolist(), bins)
        for p, o, v in zip(positive, others, valid, strict=True)
    ]
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "positive, others, expected",
    [
        (1.0, [0.0] * 10, 1.0),  # alone in the best bin
        (1.0, [1.0], 1 / 2),  # one negative beside it
        (0.0, [1.0] * 99, 1 / 100),  # behind 99 negatives
        (-0.7, [-0.2] * 3, 1 / 4),  # scores under 0 share the last bin
        (0.5, [0.5, 0.0, 0.0], 0.5),  # only what is as good or better counts
        (0.75, [1.0], 0.5 / 1.5 * 0.5 + 0.5 * 0.5),  # half in each of two bins of [1, 0.5, 0]
    ],
)
def test_hand_worked_precisions(positive, others, expected):
    bins = 3
    found = soft_average_precision(
        torch.tensor([positive]),
        torch.tensor([others]),
        torch.ones(1, len(others), dtype=torch.bool),
        bins,
    )
    assert found.item() == pytest.approx(expected, abs=1e-6)


def test_precision_grows_with_the_score_from_bin_to_bin():
    positive = torch.linspace(0, 1, 20)
    others = torch.linspace(-1, 1, 50).expand(20, -1)
    found = soft_average_precision(positive, others, torch.ones(20, 50, dtype=torch.bool))
    assert (found.diff() > 0).all() and found[-1] > 0.4 and found[0] < 0.02


@pytest.mark.parametrize("inner, outer", [(0, 3), (5, 7), (0, 0)])
def test_disc_holds_exactly_the_whole_pixels_of_its_radii(inner, outer):
    offsets, member = disc(inner, outer, torch.zeros(1))
    found = {tuple(p) for p in offsets[member].int().tolist()}
    assert len(found) == member.sum()
    expected = {
        (x, y) for x in range(-9, 10) for y in range(-9, 10) if inner <= math.hypot(x, y) <= outer
    }
    assert found == expected


def test_queries_are_one_in_each_cell_inside_the_border():
    torch.manual_seed(0)
    points = torch.cat([draw_queries(2, 80, 64, "cpu") for _ in range(60)])
    assert points.shape == (120, (64 - 32) * (80 - 32) // 8**2, 2)
    lowest, highest = points.amin((0, 1)), points.amax((0, 1))
    assert lowest.tolist() == [16, 16] and highest.tolist() == [80 - 17, 64 - 17]
    cells = (points - BORDER) // STEP
    expected = {(x, y) for x in range(6) for y in range(4)}
    assert all({tuple(c) for c in image.int().tolist()} == expected for image in cells)
    assert not torch.equal(points[0], points[1])


def loss_by_loops(descriptors0, descriptors1, H, queries, distractors):
    """The loss with one loop per query, moving pixel and distractor."""
    height, width = descriptors1.shape[-2:]
    total, count = 0.0, 0
    for b, per_image in enumerate(queries.int().tolist()):
        for x, y in per_image:
            u, v, w = (H[b].double() @ torch.tensor([x, y, 1.0]).double()).tolist()
            u, v = u / w, v / w
            if not (0 <= u <= width - 1 and 0 <= v <= height - 1):
                continue
            query = descriptors0[b, :, y, x]
            positive, negatives = -1.0, []
            for row in range(height):
                for column in range(width):
                    distance = math.hypot(column - round(u), row - round(v))
                    score = torch.dot(query, descriptors1[b, :, row, column]).item()
                    if distance <= 3:
                        positive = max(positive, score)
                    elif 5 <= distance <= 7:
                        negatives.append(score)
            for other, places in enumerate(distractors.int().tolist()):
                for column, row in places:
                    if other != b or math.hypot(column - u, row - v) > 5:
                        score = torch.dot(query, descriptors1[other, :, row, column])
                        negatives.append(score.item())
            total, count = total + histogram_precision(positive, negatives, 20), count + 1
    return 1 - total / count


@pytest.mark.parametrize("seed", range(6))
def test_loss_equals_loops(seed):
    torch.manual_seed(seed)
    descriptors0 = F.normalize(torch.randn(2, 6, 40, 48), dim=1)
    descriptors1 = F.normalize(torch.randn(2, 6, 36, 44), dim=1)
    first = [[1.0, 0.02, -16.4], [0.01, 0.9, -12.7], [1e-4, 0, 1]]  # about the upper left corner
    second = [[0.9, 0, 13.77], [0, 1, 12.2], [0, 0, 1]]  # about the right and lower border
    queries, distractors = draw_queries(2, 48, 40, "cpu"), draw_distractors(2, 44, 36, "cpu")
    H = torch.tensor([first, second])
    found = average_precision_loss(descriptors0, descriptors1, H, queries, distractors)
    assert queries.shape == (2, 2, 2) and distractors.shape == (2, 4 * 5, 2)
    expected = loss_by_loops(descriptors0, descriptors1, H, queries, distractors)
    assert found.item() == pytest.approx(expected, abs=1e-4)


def unique_descriptors(batch, height, width):
    """Descriptors that tell all pixels of all images apart, alike only for direct neighbours."""
    torch.manual_seed(2)
    return F.normalize(torch.randn(batch, 256, height, width), dim=1)


def drawn_loss(descriptors0, descriptors1, H):
    """The loss with queries and distractors drawn for images of this size."""
    sizes = [(len(H), d.shape[-1], d.shape[-2], "cpu") for d in (descriptors0, descriptors1)]
    draws = draw_queries(*sizes[0]), draw_distractors(*sizes[1])
    return average_precision_loss(descriptors0, descriptors1, H, *draws)


def shift(dx, dy, batch=2):
    H = torch.eye(3).repeat(batch, 1, 1)
    H[:, 0, 2], H[:, 1, 2] = dx, dy
    return H


def test_convention_perfect_descriptors_under_a_translation():
    """fixed(x, y) = moving(x + 9, y + 4), so H adds (9, 4); the opposite H is wrong."""
    moving = unique_descriptors(2, 64, 72)
    fixed = moving[..., 4:60, 9:65]
    assert drawn_loss(fixed, moving, shift(9, 4)) < 0.02
    assert drawn_loss(fixed, moving, shift(9.4, 3.6)) < 0.02
    for wrong in (shift(-9, -4), shift(4, 9), shift(0, 0), shift(9, 11)):
        assert drawn_loss(fixed, moving, wrong) > 0.5


def test_three_pixels_off_are_right_and_five_are_wrong():
    moving = unique_descriptors(2, 64, 72)
    fixed = moving[..., 4:60, 9:65]
    assert drawn_loss(fixed, moving, shift(12, 4)) < 0.02
    assert drawn_loss(fixed, moving, shift(9, 9)) > 0.2


def test_distractors_near_the_truth_do_not_count():
    """A disc of equal pixels costs nothing while it lies less than 5 px around the truth."""
    moving = unique_descriptors(1, 56, 56)
    line = torch.arange(56) - 28
    near = line[:, None] ** 2 + line**2 < 25
    moving[..., near] = moving[..., 28, 28][..., None]
    fixed = moving[..., 28:29, 28:29].expand_as(moving)
    H = torch.tensor([[[0, 0, 28], [0, 0, 28], [0, 0, 1.0]]])  # all fixed pixels are seen there
    for _ in range(10):
        assert drawn_loss(fixed, moving, H) < 0.02
    moving[..., 28, 28 + 6] = moving[..., 28, 28]
    assert drawn_loss(fixed, moving, H) > 0.3


def test_other_images_of_the_batch_are_distractors():
    """Two pairs of one scene: every truth has a twin in the other image."""
    moving = unique_descriptors(1, 48, 48).expand(2, -1, -1, -1)
    alone = drawn_loss(moving[:1], moving[:1], shift(0, 0, 1))
    smooth = F.normalize(F.avg_pool2d(moving, 7, 1, 3), dim=1)
    lone = [drawn_loss(smooth[:1], smooth[:1], shift(0, 0, 1)) for _ in range(8)]
    twins = [drawn_loss(smooth, smooth, shift(0, 0, 2)) for _ in range(8)]
    assert alone < 0.02
    assert sum(twins) > 1.2 * sum(lone)


def test_gradient_reaches_both_images_and_is_the_slope():
    torch.manual_seed(3)
    raw = [torch.randn(2, 16, 40, 40, dtype=torch.float64).requires_grad_() for _ in range(2)]
    H = shift(0.3, -0.2)

    def loss(images):
        torch.manual_seed(4)
        return drawn_loss(*(F.normalize(image, dim=1) for image in images), H)

    gradients = torch.autograd.grad(loss(raw), raw)
    for index, gradient in enumerate(gradients):
        assert gradient.abs().sum() > 0
        step = [1e-6 * gradient / gradient.norm() if i == index else 0 for i in range(2)]
        ahead = loss([r + s for r, s in zip(raw, step, strict=True)])
        behind = loss([r - s for r, s in zip(raw, step, strict=True)])
        torch.testing.assert_close((ahead - behind) / 2e-6, gradient.norm(), rtol=1e-4, atol=0)


def test_nothing_in_view_gives_the_worst_loss_without_a_gradient():
    descriptors = unique_descriptors(1, 40, 40).requires_grad_()
    loss = drawn_loss(descriptors, descriptors, shift(500, 0, 1))
    loss.backward()
    assert loss == 1 and descriptors.grad.abs().max() == 0
