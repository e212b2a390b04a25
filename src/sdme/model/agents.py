"""Agents: a few learned vectors that carry global context between all pixels.

The paper's modality-invariant transformer block (section 3.2). Linear attention: Katharopoulos et
al. 2020; the layer's arrangement follows LoFTR (Sun et al. 2021).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


def linear_attention(
    query: Float[Tensor, "b heads n d"],
    key: Float[Tensor, "b heads m d"],
    value: Float[Tensor, "b heads m d"],
) -> Float[Tensor, "b heads n d"]:
    """Attention with the feature map ``elu + 1``, linear in the number of queries and keys."""
    query, key = F.elu(query) + 1, F.elu(key) + 1
    count = key.shape[-2]
    summary = key.mT @ (value / count)
    total = key.sum(-2, keepdim=True, dtype=torch.float32).to(key.dtype) / count
    return (query @ summary) / (query @ total.mT).clamp(min=1e-6)


class AgentBlock(nn.Module):
    """Agents gather context from all pixels and give it back to them.

    Gather: an attention layer with agents as queries and pixels as keys and values. Give back:
    pixels look up the updated agents by the learned ones; the answer is added to the pixels.
    """

    def __init__(self, channels: int = 128, agents: int = 32, heads: int = 8) -> None:
        super().__init__()
        self.heads = heads
        self.agents = nn.Parameter(torch.randn(agents, channels))
        self.query = nn.Linear(channels, channels, bias=False)
        self.key = nn.Linear(channels, channels, bias=False)
        self.value = nn.Linear(channels, channels, bias=False)
        self.merge = nn.Linear(channels, channels, bias=False)
        self.message_norm = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(
            nn.Linear(2 * channels, 2 * channels, bias=False),
            nn.ReLU(inplace=True),
            nn.Linear(2 * channels, channels, bias=False),
        )
        self.output_norm = nn.LayerNorm(channels)

    def forward(
        self, pixels: Float[Tensor, "b c h w"]
    ) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b agents c"]]:
        """Pixels with context added, and the updated agents."""
        rows = pixels.permute(0, 2, 3, 1).flatten(1, 2)
        message = self.message_norm(self.merge(self._gather(rows)))
        learned = self.agents.expand(len(rows), -1, -1)
        updated = self.output_norm(self.mlp(torch.cat([learned, message], dim=-1)))
        context = linear_attention(
            rows[:, None], learned[:, None].to(rows.dtype), updated[:, None].to(rows.dtype)
        )[:, 0]
        context = context.unflatten(1, pixels.shape[-2:]).permute(0, 3, 1, 2)
        return pixels + context, updated

    def _gather(self, rows: Float[Tensor, "b n c"]) -> Float[Tensor, "b agents c"]:
        """Linear attention of the agents to all pixels, by heads.

        Keys meet the pixels before these are projected to values: the sums over pixels are the
        same, and a tensor of the size of the image is saved.
        """
        query = F.elu(self._split(self.query(self.agents))) + 1
        key = F.elu(self.key(rows)) + 1
        summary = self._split((key.mT @ rows / rows.shape[1]).mT).mT
        total = self._split(key.mean(1, keepdim=True, dtype=torch.float32).to(key.dtype))
        weight = self.value.weight.unflatten(0, (self.heads, -1)).to(summary.dtype)
        value = summary @ weight.mT
        message = (query @ value) / (query @ total.mT).clamp(min=1e-6)
        return message.transpose(1, 2).flatten(2)

    def _split(self, rows: Float[Tensor, "*b n c"]) -> Float[Tensor, "*b heads n d"]:
        return rows.unflatten(-1, (self.heads, -1)).transpose(-3, -2)
