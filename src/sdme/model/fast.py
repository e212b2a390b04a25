"""The preset ``fast``: one strided network for both tasks, which looks at both images at once.

One encoder and decoder (:mod:`sdme.model.strided`) with attention between the images at the
coarsest scale. Matching (SM) reads descriptors of cells at 1/4 and a score of each; the middle
stage (:mod:`sdme.model.aggregator`) correlates cells at 1/8, then those at 1/4; alignment (DA) has
small maps at 1/2, 1/4 and 1/8 with a learned weight at every pixel.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sdme.config import Calibration, FastSettings
from sdme.geometry.sampling import cell_centres
from sdme.model.aggregator import CELL, Aggregator
from sdme.model.context import Context
from sdme.model.strided import Decoder, Encoder, normed

COARSEST = 16
DESCRIPTORS = 4  # pixels a cell of the descriptors' map
LEVELS = (2, 4, 8)  # pixels a cell of the maps for alignment


@dataclass(frozen=True)
class Level:
    """A map for alignment: unit vectors and how much each counts, in (0, 1)."""

    values: Float[Tensor, "b c h w"]
    weight: Float[Tensor, "b 1 h w"]


@dataclass(frozen=True)
class FastFeatures:
    """What the network sees in a batch of images, in the light of their partners.

    ``size`` is (width, height) of the images, px; maps go on beyond it where a side is no multiple
    of 16. ``descriptors`` and ``correlation`` are unit vectors; ``score`` is the logit that a cell
    finds its partner. ``valid`` is the share of each cell at 1/8 that holds data, ``None`` for all.
    """

    size: tuple[int, int]
    descriptors: Float[Tensor, "b c h4 w4"]
    score: Float[Tensor, "b 1 h4 w4"]
    correlation: Float[Tensor, "b d h8 w8"]
    context: Float[Tensor, "b e h8 w8"]
    levels: tuple[Level, Level, Level]
    valid: Float[Tensor, "b 1 h8 w8"] | None = None

    def masked(self, valid: Bool[Tensor, "b 1 h w"]) -> "FastFeatures":
        """The same, but neither votes nor alignment look at what holds no data."""
        if valid.all():
            return self
        shares = {cell: share_of_cells(valid, cell) for cell in LEVELS}
        levels = zip(self.levels, LEVELS, strict=True)
        return replace(
            self,
            descriptors=self.descriptors * shares[DESCRIPTORS],
            correlation=self.correlation * shares[CELL],
            levels=tuple(Level(v.values, v.weight * shares[cell]) for v, cell in levels),
            valid=shares[CELL],
        )

    @property
    def cells(self) -> dict[int, Tensor]:
        """What is compared with the other image, by the size of the cells, px."""
        return {DESCRIPTORS: self.descriptors, CELL: self.correlation}

    def repeated(self, count: int) -> "FastFeatures":
        """The same images ``count`` times, each beside its copies."""
        return self._with(lambda x: x.repeat_interleave(count, dim=0) if count > 1 else x)

    def each(self) -> list["FastFeatures"]:
        """The images of the batch one by one."""
        if len(self.score) == 1:
            return [self]
        return [self._with(lambda x, k=k: x[k : k + 1]) for k in range(len(self.score))]

    def _with(self, change: Callable[[Tensor], Tensor]) -> "FastFeatures":
        return FastFeatures(
            self.size,
            *(change(getattr(self, n)) for n in ("descriptors", "score", "correlation", "context")),
            levels=tuple(Level(change(v.values), change(v.weight)) for v in self.levels),  # type: ignore[arg-type]
            valid=None if self.valid is None else change(self.valid),
        )


class FastNetwork(nn.Module):
    """Both tasks and the stage between them on one strided encoder.

    Images are RGB in [0, 1], of any size from 32 px up and not necessarily of the same.
    ``calibration`` says what figures of a registration with these weights are worth.
    """

    calibration: Calibration | None = None

    def __init__(self, settings: FastSettings | None = None) -> None:
        super().__init__()
        self.settings = settings = settings or FastSettings()
        half, quarter, eighth, coarsest = settings.channels
        self.encoder = Encoder(settings)
        self.exchange = Context(coarsest, settings.attention, settings.heads)
        self.decoder = Decoder(settings)
        self.descriptors = nn.Sequential(
            normed(quarter, settings.descriptor_channels),
            nn.Conv2d(settings.descriptor_channels, settings.descriptor_channels + 1, 1),
        )
        outputs = settings.correlation_channels + settings.context_channels
        self.correlation = nn.Sequential(normed(eighth, eighth), nn.Conv2d(eighth, outputs, 1))
        sizes = zip((half, quarter, eighth), settings.level_channels, strict=True)
        self.levels = nn.ModuleList(nn.Conv2d(inputs, out + 1, 1) for inputs, out in sizes)
        self.sharpness = nn.Parameter(torch.tensor(2.3))  # logarithm of the inverse temperature
        self.damping = nn.Parameter(torch.full((len(LEVELS), 8), -6.0))  # logarithm
        self.aggregator = Aggregator(settings, tuple(CELL * 2**k for k in range(settings.scales)))
        self.fine = Aggregator(settings, (DESCRIPTORS, CELL)) if settings.fine else None

    @property
    def votes(self) -> list[Aggregator]:
        """The stages that vote, coarse to fine."""
        return [self.aggregator] if self.fine is None else [self.aggregator, self.fine]

    def forward(
        self, fixed: Float[Tensor, "b 3 h w"], moving: Float[Tensor, "b 3 h2 w2"]
    ) -> tuple[FastFeatures, FastFeatures]:
        """Features of the fixed and of the moving images of a batch of pairs."""
        images = [padded(standardised(image)) for image in (fixed, moving)]
        down = _on_both(self.encoder, *images)
        coarsest = self.exchange(down[0][-1], down[1][-1])
        maps = [[*own[:-1], context] for own, context in zip(down, coarsest, strict=True)]
        up = _on_both(self.decoder, *maps)
        return self._heads(up[0], fixed), self._heads(up[1], moving)

    def _heads(self, maps: list[Tensor], image: Tensor) -> FastFeatures:
        described = self.descriptors(maps[1]).float()
        correlated = self.correlation(maps[2]).float()
        count = self.settings.correlation_channels
        levels = []
        for head, features in zip(self.levels, maps, strict=True):
            out = head(features).float()
            levels.append(Level(F.normalize(out[:, :-1], dim=1), out[:, -1:].sigmoid()))
        return FastFeatures(
            size=(image.shape[-1], image.shape[-2]),
            descriptors=F.normalize(described[:, :-1], dim=1),
            score=described[:, -1:],
            correlation=F.normalize(correlated[:, :count], dim=1),
            context=correlated[:, count:],
            levels=tuple(levels),
        )


def standardised(image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """Every image with mean 0 and deviation 1."""
    deviation, mean = torch.std_mean(image, (1, 2, 3), keepdim=True)
    return (image - mean) / (deviation + 1e-2)


def padded_side(side: int) -> int:
    """The side, px, that an image is padded to."""
    return side + -side % COARSEST


def padded(image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
    """The border's pixels repeated to the right and below, up to multiples of 16."""
    below, right = (padded_side(side) - side for side in image.shape[-2:])
    out = F.pad(image, (0, right, 0, below), mode="replicate") if below or right else image
    return out.contiguous(memory_format=torch.channels_last)


def share_of_cells(valid: Bool[Tensor, "b 1 h w"], cell: int) -> Float[Tensor, "b 1 h2 w2"]:
    """How much of each cell of a map holds data, 0 to 1."""
    return F.avg_pool2d(padded(valid.float()), cell)


def cells_inside(
    size: tuple[int, int], cell: int, like: Float[Tensor, "b _ h w"]
) -> Bool[Tensor, "1 1 h w"]:
    """Cells of a map whose middle lies in the image of ``size``, not in its padding."""
    height, width = like.shape[-2:]
    centres = cell_centres(width, height, cell, like)
    kept = (centres[:, 0] <= size[0] - 1) & (centres[:, 1] <= size[1] - 1)
    return kept.view(1, 1, height, width)


def _on_both(
    module: nn.Module, fixed: Tensor | list[Tensor], moving: Tensor | list[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """A module on the fixed and the moving images, in one batch where their sizes agree."""
    one, two = (x if isinstance(x, list) else [x] for x in (fixed, moving))
    if one[0].shape[-2:] != two[0].shape[-2:]:
        return module(fixed), module(moving)
    joined = [torch.cat(pair) for pair in zip(one, two, strict=True)]
    out = module(joined if isinstance(fixed, list) else joined[0])
    halves = [m.chunk(2) for m in out]
    return [h[0] for h in halves], [h[1] for h in halves]
