"""Several homographies of one pair in one turn of the aggregator, and cells without data."""

import pytest
import torch

from sdme.config import FastSettings
from sdme.model.aggregator import Aggregator

SETTINGS = FastSettings(aggregator_channels=16, aggregator_depth=1, context_channels=8)
SIZES = (72, 56), (64, 48)  # moving, fixed


def unit(*shape, seed):
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return values / values.norm(dim=1, keepdim=True)


@pytest.fixture(scope="module")
def aggregator():
    torch.manual_seed(0)
    aggregator = Aggregator(SETTINGS, (8, 16)).eval()
    torch.nn.init.normal_(aggregator.vote.weight, std=0.1)
    return aggregator


@pytest.fixture(scope="module")
def pair():
    """Cells and contexts of one pair, fixed and moving."""
    cells = unit(1, 32, 6, 8, seed=1), unit(1, 32, 7, 9, seed=2)
    contexts = unit(1, 8, 6, 8, seed=3), unit(1, 8, 7, 9, seed=4)
    return cells, contexts


def compared(aggregator, maps):
    return aggregator.scales(*({8: m} for m in maps))


def matrices(count):
    H = torch.eye(3).repeat(count, 1, 1)
    H[:, :2, 2] = 6 * torch.rand(count, 2, generator=torch.Generator().manual_seed(5))
    return H


@torch.no_grad()
def test_candidates_that_share_their_maps_are_as_each_by_itself(aggregator, pair):
    cells, contexts = pair
    scales, H = compared(aggregator, cells), matrices(3)
    shared = tuple(c.expand(3, -1, -1, -1) for c in contexts)
    together = aggregator(scales, shared, H, *SIZES)
    for k in range(3):
        alone = aggregator(scales, contexts, H[k : k + 1], *SIZES)
        torch.testing.assert_close(together.matrix[k], alone.matrix[0], rtol=0, atol=1e-5)
        torch.testing.assert_close(together.log_error[k], alone.log_error[0], rtol=0, atol=1e-5)


@torch.no_grad()
def test_two_candidates_for_each_of_two_pairs(aggregator, pair):
    cells, contexts = pair
    H = matrices(4)
    both = [torch.cat([c, c.flip(-1)]) for c in cells]
    contexts = tuple(c.expand(4, -1, -1, -1) for c in contexts)
    repeated = compared(aggregator, [c.repeat_interleave(2, 0) for c in both])
    expected = aggregator(repeated, contexts, H, *SIZES)
    found = aggregator(compared(aggregator, both), contexts, H, *SIZES)
    torch.testing.assert_close(found.matrix, expected.matrix, rtol=0, atol=1e-5)


@torch.no_grad()
def test_cells_without_data_have_no_vote(pair):
    """Whatever stands in them; the untrained vote listens to correlation alone."""
    torch.manual_seed(0)
    aggregator = Aggregator(SETTINGS, (8, 16)).eval()
    cells, contexts = pair
    valid = torch.ones(1, 1, 6, 8), torch.ones(1, 1, 7, 9)
    valid[0][..., 1:4, 2:5] = 0
    other = cells[0].clone()
    other[..., 1:4, 2:5] = unit(1, 32, 3, 3, seed=9)
    H = matrices(1)

    def voted(fixed, *more):
        scales = compared(aggregator, (fixed, cells[1]))
        return aggregator(scales, contexts, H, *SIZES, *more).matrix

    assert torch.equal(voted(cells[0], valid), voted(other, valid))
    assert not torch.allclose(voted(cells[0]), voted(other))
    assert not torch.allclose(voted(cells[0]), voted(cells[0], valid))
    all_valid = torch.ones(1, 1, 6, 8), None
    assert torch.equal(voted(cells[0]), voted(cells[0], all_valid))
    # nothing is known of the moving image: nobody votes, and the matrix stands
    nothing = None, torch.zeros(1, 1, 7, 9)
    torch.testing.assert_close(voted(cells[0], nothing), H)
