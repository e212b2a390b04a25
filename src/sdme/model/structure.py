"""The one-channel structure map on which Lucas-Kanade works.

Construction of Zhao et al., "Deep Lucas-Kanade Homography for Multimodal Image Alignment", CVPR
2021: how close to rank one the 3x3 window around a pixel is.
"""

import torch
from jaxtyping import Float
from torch import Tensor

_WINDOW = [(y, x) for y in range(3) for x in range(3)]


def structure_map(features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 1 h w"]:
    """Turn features into a structure map with values between about 0 and 1.

    At each pixel the nine feature vectors of its window, each less its own mean, have a Gram
    matrix G with row sums r; the map is ``(max r + min r) / 2 / trace(G)``. As
    ``r_i = f_i . (f_1 + ... + f_9)``, nine inner products with the window's sum are enough and G
    is never formed. At the border the image is continued by its border pixels. Sums are float32;
    what has as many channels as the features has their precision.
    """
    height, width = features.shape[-2:]
    mean = features.mean(1, keepdim=True, dtype=torch.float32)
    centred = (features.float() - mean).to(features.dtype)
    padded = _continued(_continued(centred, 2), 3)

    def shifted(image: Tensor, y: int, x: int) -> Tensor:
        return image[..., y : y + height, x : x + width]

    rows = padded[..., :height, :] + padded[..., 1 : height + 1, :] + padded[..., 2:, :]
    total = rows[..., :width] + rows[..., 1 : width + 1] + rows[..., 2:]
    energy = padded.square().sum(1, keepdim=True, dtype=torch.float32)
    trace = torch.stack([shifted(energy, y, x) for y, x in _WINDOW]).sum(0)
    row_sums = torch.cat(
        [
            (shifted(padded, y, x) * total).sum(1, keepdim=True, dtype=torch.float32)
            for y, x in _WINDOW
        ],
        dim=1,
    )
    middle = (row_sums.amax(1, keepdim=True) + row_sums.amin(1, keepdim=True)) / 2
    return middle / trace.clamp(min=1e-8)


def _continued(image: Tensor, dim: int) -> Tensor:
    """The image with its first and last row or column once more; such a graph compiles well."""
    size = image.shape[dim]
    return torch.cat([image.narrow(dim, 0, 1), image, image.narrow(dim, size - 1, 1)], dim)
