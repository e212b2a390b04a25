"""Diversity of the agents (section 3.2)."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def agent_diversity_loss(agents: Float[Tensor, "b agents c"]) -> Float[Tensor, ""]:
    """Mean cosine similarity between different updated agents of an image."""
    unit = F.normalize(agents.float(), dim=-1)
    count = unit.shape[1]
    similarity = unit @ unit.mT
    on_diagonal = similarity.diagonal(dim1=1, dim2=2).sum(-1)
    return ((similarity.sum((1, 2)) - on_diagonal) / (count * (count - 1))).mean()
