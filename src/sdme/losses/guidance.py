"""Dense guidance: the alignment branch tells the detector where structure is (section 3.3)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from sdme.model.network import squash


def dense_guidance_loss(
    repeatability: Float[Tensor, "b 1 h w"],
    structure: Float[Tensor, "b 1 h w"],
    gain: Float[Tensor, ""],
) -> Float[Tensor, ""]:
    """Distance of a repeatability map from what the structure map suggests, mean over the batch.

    The target is ``g(relu(gain) * (1 - minmax(S)))`` with ``g`` the squashing of the detector. No
    gradient flows to the structure map; it does flow to the learned ``gain``.
    """
    structure = structure.detach()
    low, high = structure.amin((2, 3), keepdim=True), structure.amax((2, 3), keepdim=True)
    spread = (structure - low) / (high - low).clamp(min=1e-6)
    target = squash(F.relu(gain) * (1 - spread))
    return torch.linalg.vector_norm(repeatability - target, dim=(1, 2, 3)).mean()
