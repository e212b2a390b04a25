"""The network of the paper: one shared encoder, one branch for matching and one for alignment."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sdme.config import Calibration, NetworkSettings
from sdme.errors import InputError
from sdme.model.agents import AgentBlock
from sdme.model.backbone import Branch, Encoder
from sdme.model.structure import structure_map

MIN_SIDE = 32


@dataclass(frozen=True)
class Matching:
    """What the matching (SM) branch sees.

    ``descriptors`` have unit length, to the precision of the convolutions; ``repeatability`` lies
    in [0, 1); ``agents`` are the updated agents, ``None`` when the block is switched off.
    """

    descriptors: Float[Tensor, "b c h w"]
    repeatability: Float[Tensor, "b 1 h w"]
    agents: Float[Tensor, "b agents c"] | None


@dataclass(frozen=True)
class Features:
    """Everything a registration needs of one batch of images, on the grid of the image."""

    descriptors: Float[Tensor, "b c h w"]
    repeatability: Float[Tensor, "b 1 h w"]
    structure: Float[Tensor, "b 1 h w"]


def squash(values: Tensor) -> Tensor:
    """``softplus(u) / (1 + softplus(u))``: any real number to (0, 1)."""
    positive = F.softplus(values)
    return positive / (1 + positive)


class SdmeNetwork(nn.Module):
    """Sparse matching (SM) and direct alignment (DA) on one shared encoder.

    Images are RGB in [0, 1], any size from 32 px up; every output is at full resolution.
    """

    mean: Tensor
    deviation: Tensor
    calibration: Calibration | None = None

    def __init__(self, settings: NetworkSettings | None = None) -> None:
        super().__init__()
        self.settings = settings or NetworkSettings()
        channels = self.settings.descriptor_channels
        self.encoder = Encoder()
        self.matching = Branch(channels)
        self.alignment = Branch(channels)
        self.alignment.load_state_dict(self.matching.state_dict())
        self.agent_block = (
            AgentBlock(channels, self.settings.agents, self.settings.agent_heads)
            if self.settings.use_agents
            else None
        )
        self.repeatability = nn.Conv2d(channels, 1, 1)
        self.guidance_gain = nn.Parameter(torch.ones(()))
        imagenet = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).view(2, 1, 3, 1, 1)
        self.register_buffer("mean", imagenet[0], persistent=False)
        self.register_buffer("deviation", imagenet[1], persistent=False)

    def encode(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 64 h w"]:
        """Shared features, the tensor at which the two tasks part."""
        if min(image.shape[-2:]) < MIN_SIDE:
            size = f"{image.shape[-1]}x{image.shape[-2]}"
            raise InputError(f"the image is {size} px; the network needs {MIN_SIDE} px a side")
        return self.encoder((image - self.mean) / self.deviation)

    def match(self, shared: Float[Tensor, "b 64 h w"]) -> Matching:
        """Descriptors and repeatability (SM)."""
        features, agents = self.matching(shared), None
        if self.agent_block is not None:
            features, agents = self.agent_block(features)
        repeatability = squash(self.repeatability(features.square()).float())
        descriptors = F.normalize(features.float(), dim=1).to(features.dtype)
        return Matching(descriptors, repeatability, agents)

    def align(self, shared: Float[Tensor, "b 64 h w"]) -> Float[Tensor, "b 1 h w"]:
        """Structure map (DA)."""
        features = self.alignment(shared)
        return structure_map(F.normalize(features.float(), dim=1).to(features.dtype))

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Features:
        """Both tasks on a batch of images."""
        shared = self.encode(image)
        matching = self.match(shared)
        descriptors = matching.descriptors.float()
        return Features(descriptors, matching.repeatability, self.align(shared))
