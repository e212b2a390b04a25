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
        learned = self.agents.expand(len(rows), -1, -1)
        message = linear_attention(
            self._split(self.query(learned)),
            self._split(self.key(rows)),
            self._split(self.value(rows)),
        )
        message = self.message_norm(self.merge(message.transpose(1, 2).flatten(2)))
        updated = self.output_norm(self.mlp(torch.cat([learned, message], dim=-1)))
        context = linear_attention(
            rows[:, None], learned[:, None].to(rows.dtype), updated[:, None].to(rows.dtype)
        )[:, 0]
        context = context.unflatten(1, pixels.shape[-2:]).permute(0, 3, 1, 2)
        return pixels + context, updated

    def _split(self, rows: Float[Tensor, "b n c"]) -> Float[Tensor, "b heads n d"]:
        return rows.unflatten(-1, (self.heads, -1)).transpose(1, 2).contiguous()
