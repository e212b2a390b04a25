"""The strided encoder of the preset ``fast``: five scales down to 1/16, and back up to 1/2.

Group norm throughout: batch norm of two modalities at a time has statistics in training that
evaluation does not meet again.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sdme.config import FastSettings

GROUPS = 8


def normed(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution, group norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, bias=False),
        nn.GroupNorm(GROUPS, outputs),
        nn.ReLU(inplace=True),
    )


class Residual(nn.Module):
    """Two convolutions around which the input passes; at first they add nothing."""

    def __init__(self, channels: int, dilation: int = 1) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv2d(channels, channels, 3, 1, dilation, dilation, bias=False),
            nn.GroupNorm(GROUPS, channels),
            nn.ReLU(inplace=True),
        )
        self.second = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm = nn.GroupNorm(GROUPS, channels)
        nn.init.zeros_(self.norm.weight)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Without an activation after the sum, so that gradients always pass."""
        return x + self.norm(self.second(self.first(x)))


class Down(nn.Sequential):
    """Half the size, then residual blocks.

    With an even kernel, which alone is centred on the middle of a cell of two by two pixels.
    """

    def __init__(self, inputs: int, outputs: int, depth: int, kernel: int = 4) -> None:
        super().__init__(
            normed(inputs, outputs, kernel, 2), *(Residual(outputs) for _ in range(depth))
        )


class Up(nn.Module):
    """Twice the size, joined with what was seen there on the way down."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(inputs, outputs, 1)
        self.blend = nn.Sequential(normed(outputs, outputs))

    def forward(
        self, coarse: Float[Tensor, "b c h w"], fine: Float[Tensor, "b d h2 w2"]
    ) -> Float[Tensor, "b d h2 w2"]:
        """Bilinear enlargement; both grids have pixel centres in the middle of their cells."""
        raised = F.interpolate(
            self.project(coarse), size=fine.shape[-2:], mode="bilinear", align_corners=False
        )
        return fine + self.blend(fine + raised)


class Encoder(nn.Module):
    """RGB to features at 1/2, 1/4, 1/8 and 1/16, what both tasks share.

    A cell of the map at ``1/s`` stands for ``s x s`` pixels: its centre ``c`` lies at pixel
    ``(c + 0.5) s - 0.5``. Sides have to be multiples of 16.
    """

    def __init__(self, settings: FastSettings) -> None:
        super().__init__()
        sizes = 3, *settings.channels
        self.down = nn.ModuleList(
            Down(sizes[k], sizes[k + 1], settings.depths[k], 6 if k == 0 else 4) for k in range(4)
        )

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b _c _h _w"]]:
        """Feature maps, finest first."""
        maps = []
        for stage in self.down:
            image = stage(image)
            maps.append(image)
        return maps


class Decoder(nn.Module):
    """Context from the coarsest scale carried down to the finer ones."""

    def __init__(self, settings: FastSettings) -> None:
        super().__init__()
        sizes = settings.channels
        self.up = nn.ModuleList(Up(sizes[k + 1], sizes[k]) for k in range(3))

    def forward(self, maps: list[Float[Tensor, "b _c _h _w"]]) -> list[Float[Tensor, "b _c _h _w"]]:
        """Maps at 1/2, 1/4 and 1/8, finest first, from those of :class:`Encoder`."""
        out = [maps[-1]]
        for k in (2, 1, 0):
            out.append(self.up[k](out[-1], maps[k]))
        return out[:0:-1]
