"""The loss of matching cells against plain loops."""

import math

import pytest
import torch
import torch.nn.functional as F

from sdme.geometry.homography import apply_homography, invert
from sdme.losses.cells import cell_matching

CELL = 4
SHARPNESS = torch.tensor(1.3)


def unit(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, generator=generator), dim=1)


def translation(x, y):
    H = torch.eye(3)
    H[0, 2], H[1, 2] = x, y
    return H


def matched(fixed, moving, H, queries, sharpness, weight=None):
    """Of images that the maps show whole, without padding."""
    sizes = [(m.shape[-1] * CELL, m.shape[-2] * CELL) for m in (fixed, moving)]
    return cell_matching(
        fixed, moving, H, queries, CELL, sharpness.exp(), (sizes[0], sizes[1]), weight
    )


def all_cells(maps):
    return torch.arange(maps[0, 0].numel()).expand(len(maps), -1)


def shared_descriptors(H, fixed, moving, cell):
    """Both maps hold every cell's own position in the fixed image, in waves."""

    def described(points):
        generator = torch.Generator().manual_seed(5)
        frequency = torch.randn(2, 48, generator=generator) * 0.35
        return torch.cat([(points @ frequency).sin(), (points @ frequency).cos()], -1) / 48**0.5

    def centres(width, height):
        x, y = torch.meshgrid(torch.arange(width), torch.arange(height), indexing="xy")
        return (torch.stack([x, y], -1).flatten(0, 1) + 0.5) * cell - 0.5

    theirs = apply_homography(invert(H), centres(*moving)[None])
    ours = described(centres(*fixed)).expand(len(H), -1, -1)
    return ours.mT.unflatten(2, fixed[::-1]), described(theirs).mT.unflatten(2, moving[::-1])


def looped(fixed, moving, H, queries):
    """Likelihoods, hits and views of one pair, one query at a time in Python's floats."""
    (_, height, width), (_, height2, width2) = fixed.shape, moving.shape
    fixed, moving, H = fixed.double(), moving.double(), H.double()
    total, count, found, in_view = 0.0, 0, [], []
    for query in queries.tolist():
        row, column = divmod(query, width)
        point = torch.tensor([(column + 0.5) * CELL - 0.5, (row + 0.5) * CELL - 0.5, 1.0]).double()
        a, b, c = (H @ point).tolist()
        x, y = ((a / c + 0.5) / CELL - 0.5, (b / c + 0.5) / CELL - 0.5)
        seen = 0 <= x <= width2 - 1 and 0 <= y <= height2 - 1
        in_view.append(seen)
        ours = fixed[:, row, column]
        logits = {
            (i, j): math.exp(SHARPNESS) * float(ours @ moving[:, j, i])
            for i in range(width2)
            for j in range(height2)
        }
        best = max(logits, key=lambda place: logits[place])
        found.append(seen and abs(best[0] - x) <= 1 and abs(best[1] - y) <= 1)
        if not seen:
            continue
        count += 1
        everything = math.log(sum(math.exp(v) for v in logits.values()))
        theirs = torch.zeros_like(ours)
        for i in range(width2):
            for j in range(height2):
                share = max(0.0, 1 - abs(i - x)) * max(0.0, 1 - abs(j - y))
                total += share * (everything - logits[i, j])
                theirs += share * moving[:, j, i]
        theirs = theirs / theirs.norm()
        back = [
            math.exp(SHARPNESS) * float(theirs @ fixed[:, j, i])
            for j in range(height)
            for i in range(width)
        ]
        total += math.log(sum(math.exp(v) for v in back)) - back[query]
    return total, count, found, in_view


def test_loss_hits_and_views_equal_a_plain_loop():
    fixed, moving = unit(3, 6, 5, 7), unit(3, 6, 6, 8, seed=1)
    H = torch.stack([translation(1.3, -2.1), translation(30, 3), translation(5, 4)])
    H[2] = torch.tensor([[0.9, 0.2, 1.5], [-0.1, 1.1, 2.5], [2e-3, -1e-3, 1.0]])
    H[0, :2, :2] *= 1.2
    queries = torch.stack(
        [torch.randperm(35, generator=torch.Generator().manual_seed(k))[:20] for k in range(3)]
    )
    matching = matched(fixed, moving, H, queries, SHARPNESS)
    total, count = 0.0, 0
    for k in range(3):
        loss, seen, found, in_view = looped(fixed[k], moving[k], H[k], queries[k])
        total, count = total + loss, count + seen
        assert matching.in_view[k].tolist() == in_view
        assert matching.found[k].tolist() == found
    assert 0 < count < 60
    assert 0 < matching.found.sum() < matching.in_view.sum()  # chance hits and chance misses
    assert matching.loss.item() == pytest.approx(total / (2 * 60), rel=1e-5)


def test_partner_on_the_last_cell_is_in_view():
    """The right and lower neighbours of the border do not exist, and are not needed."""
    fixed, moving = unit(1, 6, 4, 4), unit(1, 6, 5, 5, seed=1)
    H = translation(4.0, 4.0)[None]
    queries = torch.tensor([[15]])
    matching = matched(fixed, moving, H, queries, SHARPNESS)
    total, count, _, _ = looped(fixed[0], moving[0], H[0], queries[0])
    assert count == 1 and matching.in_view.all()
    assert matching.loss.item() == pytest.approx(total / 2, rel=1e-5)


@pytest.mark.parametrize("shift", [(0.0, 0.0), (6.0, -3.0), (1.7, 2.9)])
def test_perfect_descriptors_find_every_partner_in_view(shift):
    H = translation(*shift)[None]
    H[0, 0, 1] = 0.1
    fixed, moving = shared_descriptors(H, (9, 8), (11, 10), CELL)
    matching = matched(fixed, moving, H, all_cells(fixed), torch.tensor(4.0))
    assert matching.in_view.sum() > 20
    assert torch.equal(matching.found, matching.in_view)
    wrong = matched(fixed, moving.flip(-1), H, all_cells(fixed), torch.tensor(4.0))
    assert wrong.found.float().mean() < 0.3 and wrong.loss > 2 * matching.loss


def test_perfect_descriptors_of_whole_cells_cost_next_to_nothing():
    H = translation(2 * CELL, CELL)[None]
    fixed, moving = shared_descriptors(H, (9, 8), (11, 10), CELL)
    matching = matched(fixed, moving, H, all_cells(fixed), torch.tensor(4.0))
    assert matching.in_view.all() and matching.loss < 1e-3
    one_off = matched(
        fixed, moving, translation(3 * CELL, CELL)[None], all_cells(fixed), torch.tensor(4.0)
    )
    assert one_off.loss > 5


def test_indifferent_descriptors_cost_the_logarithm_of_the_cells():
    fixed, moving = torch.ones(1, 4, 5, 6) / 2, torch.ones(1, 4, 7, 8) / 2
    matching = matched(fixed, moving, torch.eye(3)[None], all_cells(fixed), SHARPNESS)
    assert matching.loss.item() == pytest.approx((math.log(30) + math.log(56)) / 2, rel=1e-5)


def test_pairs_without_overlap_cost_nothing_and_send_no_gradient():
    fixed, moving = unit(1, 6, 4, 4).requires_grad_(), unit(1, 6, 4, 4, seed=1).requires_grad_()
    H = translation(500, 0)[None]
    matching = matched(fixed, moving, H, all_cells(fixed), SHARPNESS)
    assert matching.loss == 0 and not matching.in_view.any() and not matching.found.any()
    matching.loss.backward()
    assert fixed.grad is not None and (fixed.grad == 0).all()


def test_what_is_behind_the_horizon_is_out_of_view():
    fixed, moving = unit(1, 6, 8, 8).requires_grad_(), unit(1, 6, 8, 8, seed=1)
    H = torch.tensor([[[1.0, 0, 0], [0, 1.0, 0], [-0.06, 0, 1.0]]])
    matching = matched(fixed, moving, H, all_cells(fixed), SHARPNESS)
    columns = (torch.arange(64) % 8 + 0.5) * CELL - 0.5
    assert not matching.in_view[0, columns > 1 / 0.06].any()
    matching.loss.backward()
    assert fixed.grad is not None and fixed.grad.isfinite().all()


def test_descending_the_gradient_makes_cells_find_their_partners():
    H = translation(1.5, 2.0)[None]
    raw = [unit(1, 16, 5, 6) * 4, unit(1, 16, 6, 7, seed=1) * 4]
    sharpness = torch.tensor(2.0, requires_grad=True)
    raw = [r.requires_grad_() for r in raw]
    optimiser = torch.optim.Adam([*raw, sharpness], 0.05)
    shares = []
    for _ in range(40):
        fixed, moving = (F.normalize(r, dim=1) for r in raw)
        matching = matched(fixed, moving, H, all_cells(fixed), sharpness)
        shares.append((matching.found.sum() / matching.in_view.sum()).item())
        optimiser.zero_grad()
        matching.loss.backward()
        optimiser.step()
    assert shares[0] < 0.5 and shares[-1] == 1
    assert sharpness.grad is not None and sharpness.grad != 0
