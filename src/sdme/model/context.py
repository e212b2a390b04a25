"""Attention on the coarsest cells: what an image sees of itself and of the other one.

Self and cross attention as in SuperGlue (Sarlin et al. 2020), with full softmax over the few cells
at 1/16. Where a cell lies is told by a depthwise convolution (Chu et al., "Conditional Positional
Encodings", 2023), which knows no largest size.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class Attention(nn.Module):
    """One residual layer of attention and one of a perceptron; at first they add nothing."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query_norm, self.key_norm = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.query = nn.Linear(channels, channels)
        self.key_value = nn.Linear(channels, 2 * channels)
        self.merge = nn.Linear(channels, channels)
        contract = nn.Linear(2 * channels, channels)
        self.perceptron = nn.Sequential(
            nn.LayerNorm(channels), nn.Linear(channels, 2 * channels), nn.GELU(), contract
        )
        for last in (self.merge, contract):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(
        self, rows: Float[Tensor, "b n c"], others: Float[Tensor, "b m c"]
    ) -> Float[Tensor, "b n c"]:
        """``rows`` gather from ``others``."""
        query = self._split(self.query(self.query_norm(rows)))
        key, value = self.key_value(self.key_norm(others)).chunk(2, dim=-1)
        found = F.scaled_dot_product_attention(query, self._split(key), self._split(value))
        rows = rows + self.merge(found.transpose(1, 2).flatten(2))
        return rows + self.perceptron(rows)

    def _split(self, rows: Float[Tensor, "b n c"]) -> Float[Tensor, "b heads n d"]:
        return rows.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class Context(nn.Module):
    """Layers in turn of self and of cross attention, the same for both images."""

    def __init__(self, channels: int, layers: int, heads: int) -> None:
        super().__init__()
        self.place = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, 1, 1, groups=channels) for _ in range(layers)
        )
        self.own = nn.ModuleList(Attention(channels, heads) for _ in range(layers))
        self.cross = nn.ModuleList(Attention(channels, heads) for _ in range(layers))

    def forward(
        self, fixed: Float[Tensor, "b c h w"], moving: Float[Tensor, "b c h2 w2"]
    ) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b c h2 w2"]]:
        """Both images' cells, knowing their image and the other one."""
        for place, own, cross in zip(self.place, self.own, self.cross, strict=True):
            rows = [_rows(x + place(x)) for x in (fixed, moving)]
            one, two = (own(r, r) for r in rows)
            one, two = cross(one, two), cross(two, one)
            fixed, moving = _cells(one, fixed), _cells(two, moving)
        return fixed, moving


def _rows(cells: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n c"]:
    return cells.flatten(2).transpose(1, 2)


def _cells(rows: Float[Tensor, "b n c"], like: Tensor) -> Float[Tensor, "b c h w"]:
    cells = rows.transpose(1, 2).unflatten(2, like.shape[-2:])
    return cells.contiguous(memory_format=torch.channels_last)
