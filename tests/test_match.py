import pytest
import torch
import torch.nn.functional as F

from sdme import match
from sdme.match import mutual_nearest_neighbours


def unit(*shape, seed=0):
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_a_shuffled_copy_is_found_again():
    first = unit(50, 16)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(1))
    found = mutual_nearest_neighbours(first, first[order])
    assert torch.equal(found.indices0, torch.arange(50))
    assert torch.equal(order[found.indices1], found.indices0)
    torch.testing.assert_close(found.scores, torch.ones(50))


def test_agrees_with_the_definition():
    first, second = unit(37, 8), unit(61, 8, seed=1)
    similarity = first @ second.T
    expected = [
        (i, j)
        for i in range(37)
        for j in range(61)
        if similarity[i, j] == similarity[i].max() and similarity[i, j] == similarity[:, j].max()
    ]
    found = mutual_nearest_neighbours(first, second)
    assert list(zip(found.indices0.tolist(), found.indices1.tolist(), strict=True)) == expected
    torch.testing.assert_close(found.scores, similarity[found.indices0, found.indices1])
    assert 0 < len(found) < 37


def test_one_sided_neighbours_are_dropped():
    first = torch.tensor([[1.0, 0.0], [0.8, 0.6]])
    second = torch.tensor([[1.0, 0.0]])
    found = mutual_nearest_neighbours(first, second)
    assert found.indices0.tolist() == [0] and found.indices1.tolist() == [0]


@pytest.mark.parametrize(("count0", "count1"), [(0, 5), (5, 0), (0, 0), (1, 1)])
def test_empty_and_single_sets(count0, count1):
    found = mutual_nearest_neighbours(unit(count0, 4), unit(count1, 4))
    assert len(found) == min(count0, count1)
    assert found.indices0.dtype == found.indices1.dtype == torch.int64


def test_blocks_do_not_change_the_answer(monkeypatch):
    first, second = unit(100, 8), unit(90, 8, seed=1)
    whole = mutual_nearest_neighbours(first, second)
    monkeypatch.setattr(match, "_BLOCK", 7)
    parts = mutual_nearest_neighbours(first, second)
    assert torch.equal(whole.indices0, parts.indices0)
    assert torch.equal(whole.indices1, parts.indices1)
