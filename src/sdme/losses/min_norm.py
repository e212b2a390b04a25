"""Balance of two tasks by the smallest convex combination of their gradients.

MGDA-UB: Sener and Koltun, "Multi-Task Learning as Multi-Objective Optimization", NeurIPS 2018.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from sdme import parallel

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
    ``((g2 - g1) . g2) / |g1 - g2|^2`` is kept within [0.001, 0.999]. It needs no more than three
    inner products and both losses, which are those of all processes together.
    """
    pairs = zip(gradients1, gradients2, strict=True)
    products = torch.stack([(a.float() * b.float()).sum() for a, b in pairs]).sum()
    squares = [_square(gradients1), _square(gradients2)]
    own = torch.stack([*squares, products, loss1.detach(), loss2.detach()]).double()
    # the processes' gradients may have any common factor, which cancels
    square1, square2, product, loss1, loss2 = (parallel.total(own) / parallel.count()).unbind()
    scale1 = 1 / (loss1 * square1.sqrt()).clamp(min=1e-12)
    scale2 = 1 / (loss2 * square2.sqrt()).clamp(min=1e-12)
    square1, square2 = square1 * scale1**2, square2 * scale2**2
    product = product * scale1 * scale2
    gap = (square1 + square2 - 2 * product).clamp(min=1e-12)
    share = (square2 - product) / gap
    return share.clamp(SMALLEST_SHARE, 1 - SMALLEST_SHARE).float()


def _square(gradients: Sequence[Tensor]) -> Float[Tensor, ""]:
    norms = [torch.linalg.vector_norm(g, dtype=torch.float32) for g in gradients]
    return torch.stack(norms).square().sum()
