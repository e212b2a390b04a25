"""A stand-in for trained weights of the preset ``fast``: what it sees and believes is hand-made."""

from dataclasses import replace

import torch
import torch.nn.functional as F

from sdme.config import FastSettings
from sdme.geometry.homography import apply_homography, corners
from sdme.model.aggregator import Aggregator, log_error_of
from sdme.model.fast import FastFeatures, FastNetwork, Level, padded

TINY = FastSettings(
    channels=(8, 8, 16, 16),
    depths=(0, 0, 1, 1),
    attention=1,
    heads=2,
    context_channels=8,
    aggregator_channels=16,
    aggregator_depth=1,
    fine=False,
)

SMALL = TINY.model_copy(
    update={
        "channels": (8, 16, 24, 32),
        "depths": (0, 1, 1, 1),
        "heads": 4,
        "descriptor_channels": 16,
        "correlation_channels": 16,
        "fine": True,
    }
)


class Oracle(Aggregator):
    """An untrained aggregator, which votes for the best correlation, and knows the true error.

    ``truth`` maps pixels of the frames; ``believed`` replaces the error that it knows, px.
    """

    truth = None
    believed = None

    def forward(
        self, scales, contexts, H, moving_size, fixed_size, valid=(None, None), family=None
    ):
        vote = super().forward(scales, contexts, H, moving_size, fixed_size, valid, family)
        square = corners(*fixed_size, like=H)
        gap = apply_homography(H, square) - apply_homography(self.truth.to(H), square)
        error = gap.norm(dim=-1).mean(-1)
        if self.believed is not None:
            error = torch.full_like(error, self.believed)
        return replace(vote, log_error=log_error_of(error, fixed_size))


class HandMadeFast(FastNetwork):
    """Descriptors are grey patches around the cells, the maps for alignment the image itself."""

    def __init__(self, truth, calls=None, fine=False):
        super().__init__(TINY.model_copy(update={"fine": fine}))
        self.aggregator = Oracle(TINY, self.aggregator.cells)
        self.fine = Oracle(TINY, self.fine.cells) if fine else None
        for votes in self.votes:
            votes.truth = torch.as_tensor(truth)
            torch.nn.init.constant_(votes.sharpness, 3.5)
        self.calls = [] if calls is None else calls
        self.eval()

    def forward(self, fixed, moving):
        self.calls.append((fixed.shape, moving.shape))
        fixed, moving = self.seen(fixed), self.seen(moving)
        # windows of cells at the border reach beyond the image and find no partner
        return replace(fixed, correlation=inner(fixed.correlation)), moving

    def seen(self, image):
        grey = padded(image).mean(1, keepdim=True)
        halved = F.avg_pool2d(grey, 2)
        blurred = F.avg_pool2d(halved, 7, stride=1, padding=3, count_include_pad=False)
        described = patches(halved, 10, 2, 4)
        return FastFeatures(
            size=(image.shape[-1], image.shape[-2]),
            descriptors=F.normalize(described, dim=1),
            score=described.square().mean(1, keepdim=True),
            correlation=F.normalize(patches(blurred, 16, 4, 6), dim=1),
            context=grey.new_zeros(
                len(grey), TINY.context_channels, *F.avg_pool2d(grey, 8).shape[2:]
            ),
            levels=tuple(
                Level(5 * F.avg_pool2d(grey, cell), torch.ones_like(F.avg_pool2d(grey, cell)))
                for cell in (2, 4, 8)
            ),
        )


def patches(grey, side, stride, margin):
    """Mean-free square windows, one a stride."""
    grey = F.pad(grey, (margin,) * 4, mode="replicate")
    columns = (grey.shape[-1] - side) // stride + 1
    out = F.unfold(grey, side, stride=stride).unflatten(2, (-1, columns))
    return out - out.mean(1, keepdim=True)


def inner(maps):
    """The same with nothing in the cells at the border."""
    return F.pad(maps[..., 1:-1, 1:-1], (1, 1, 1, 1))
