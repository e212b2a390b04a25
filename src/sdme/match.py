"""Mutual nearest neighbours of two sets of descriptors."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

_BLOCK = 2048


@dataclass(frozen=True)
class NearestNeighbours:
    """Pairs in which each descriptor is the other's most similar one.

    Row ``indices0[i]`` of the first set belongs to row ``indices1[i]`` of the second one;
    ``scores`` is their cosine similarity. ``indices0`` ascends.
    """

    indices0: Int[Tensor, " n"]
    indices1: Int[Tensor, " n"]
    scores: Float[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.indices0)


def mutual_nearest_neighbours(
    descriptors0: Float[Tensor, "n c"], descriptors1: Float[Tensor, "m c"]
) -> NearestNeighbours:
    """Match unit descriptors by cosine similarity; either set may be empty.

    Similarities are formed for 2048 rows at a time, so memory grows with the size of one set.
    """
    nearest1, scores = _nearest(descriptors0.float(), descriptors1.float())
    nearest0, _ = _nearest(descriptors1.float(), descriptors0.float())
    rows = torch.arange(len(nearest1), device=nearest1.device)
    mutual = nearest0[nearest1] == rows
    return NearestNeighbours(rows[mutual], nearest1[mutual], scores[mutual])


def _nearest(
    queries: Float[Tensor, "n c"], others: Float[Tensor, "m c"]
) -> tuple[Int[Tensor, " n"], Float[Tensor, " n"]]:
    """Index and similarity of the most similar of the others for each query; none if none."""
    if len(queries) == 0 or len(others) == 0:
        none = queries.new_zeros(0)
        return none.long(), none
    best = [(block @ others.T).max(dim=1) for block in queries.split(_BLOCK)]
    return torch.cat([b.indices for b in best]), torch.cat([b.values for b in best])
