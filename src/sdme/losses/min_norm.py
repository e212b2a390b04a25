"""Balance of two tasks by the smallest convex combination of their gradients.

MGDA-UB: Sener and Koltun, "Multi-Task Learning as Multi-Objective Optimization", NeurIPS 2018.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

SMALLEST_SHARE = 0.001


def min_norm_share(
    gradients1: Sequence[Tensor],
    gradients2: Sequence[Tensor],
    loss1: Float[Tensor, ""],
    loss2: Float[Tensor, ""],
) -> Float[Tensor, ""]:
    """Share of task 1 in the combined gradient; task 2 has the rest.

    ``gradients1`` and ``gradients2`` are the tasks' gradients with respect to the shared features
    of both images. Each task's are first divided by its loss times their norm. The closed form
    ``((g2 - g1) . g2) / |g1 - g2|^2`` is kept within [0.001, 0.999].
    """
    first = torch.cat([g.flatten() for g in gradients1]).float()
    second = torch.cat([g.flatten() for g in gradients2]).float()
    first = first / (loss1.detach() * first.norm()).clamp(min=1e-12)
    second = second / (loss2.detach() * second.norm()).clamp(min=1e-12)
    gap = second - first
    share = (gap @ second) / gap.square().sum().clamp(min=1e-12)
    return share.clamp(SMALLEST_SHARE, 1 - SMALLEST_SHARE)
