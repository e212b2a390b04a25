"""Full-resolution convolutions: a stride becomes a doubling of the dilation of all later layers.

The layer table of the preset ``paper`` (R2D2's encoder, Revaud et al. 2019, split in two).
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sdme import parallel

ENCODER_CHANNELS = 64


class BatchNorm(nn.BatchNorm2d):
    """Batch norm whose statistics while training are those of all processes' images together."""

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:  # noqa: A002
        """In one process exactly PyTorch's. Each process gives as many images."""
        if not self.training or parallel.count() == 1:
            return super().forward(input)
        values = input.float()
        variance, mean = torch.var_mean(values, (0, 2, 3), correction=0)
        means, variances = parallel.gathered(torch.stack([mean, variance])[None]).unbind(1)
        mean, variance = means.mean(0), variances.mean(0) + means.var(0, correction=0)
        self._remember(mean, variance, parallel.count() * values[:, 0].numel())
        scale = (variance + self.eps).rsqrt()
        return ((values - mean[:, None, None]) * scale[:, None, None]).to(input.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, number: int) -> None:
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None and self.momentum is not None
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * (number / (number - 1)), self.momentum)
        self.num_batches_tracked.add_(1)


def _convolution(
    inputs: int, outputs: int, kernel: int, dilation: int, *, norm: bool = True, relu: bool = True
) -> list[nn.Module]:
    """Convolution that keeps the grid; a 2-wide kernel samples at -dilation/2 and +dilation/2."""
    padding = (kernel - 1) * dilation // 2
    # in front of a norm a bias would do nothing
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, 1, padding, dilation, bias=not norm)
    ]
    if norm:
        layers.append(BatchNorm(outputs, affine=False))
    if relu:
        layers.append(nn.ReLU(inplace=True))
    return layers


class Encoder(nn.Sequential):
    """Layers that both tasks share: normalised RGB to 64 channels."""

    def __init__(self) -> None:
        super().__init__(
            *_convolution(3, 32, 3, 1),
            *_convolution(32, 32, 3, 1),
            *_convolution(32, 64, 3, 1),
            *_convolution(64, ENCODER_CHANNELS, 3, 2),
        )

    def forward(self, input: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 64 h w"]:  # noqa: A002
        """Encode an image that has ImageNet's mean and deviation removed."""
        return super().forward(input)


class Branch(nn.Sequential):
    """Layers of one task: 64 shared channels to its own feature map."""

    def __init__(self, channels: int = 128) -> None:
        super().__init__(
            *_convolution(ENCODER_CHANNELS, channels, 3, 2),
            *_convolution(channels, channels, 3, 4),
            *_convolution(channels, channels, 2, 4, relu=False),
            *_convolution(channels, channels, 2, 8, relu=False),
            *_convolution(channels, channels, 2, 16, norm=False, relu=False),
        )

    def forward(self, input: Float[Tensor, "b 64 h w"]) -> Float[Tensor, "b c h w"]:  # noqa: A002
        """Features of one task on the grid of the image, from the shared ones."""
        return super().forward(input)
