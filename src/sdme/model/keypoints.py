"""Keypoints: local maxima of the repeatability map, the best of them, and their descriptors."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from sdme.config import KeypointSettings


@dataclass(frozen=True)
class Keypoints:
    """Keypoints of one image, best first.

    ``points`` are ``(x, y)`` in pixels of the map, centres at integers; ``scores`` are their
    repeatability.
    """

    points: Float[Tensor, "k 2"]
    scores: Float[Tensor, " k"]

    def __len__(self) -> int:
        return len(self.points)


def detect_keypoints(
    repeatability: Float[Tensor, "1 h w"],
    settings: KeypointSettings | None = None,
    mask: Bool[Tensor, "1 h w"] | None = None,
) -> Keypoints:
    """The best local maxima of one image's repeatability map.

    A keypoint is the largest value of the window around it and larger than some value in it, so
    that a constant region has none. Of equal maxima that see each other only the first in row
    order can stay. Pixels where ``mask`` is False are no keypoints, but still suppress others.
    """
    settings = settings or KeypointSettings()
    width = repeatability.shape[-1]
    scores = repeatability.float()
    peaks = (scores == _window_max(scores, settings.radius)) & (
        scores > -_window_max(-scores, settings.radius)
    )
    peaks = _first_of_equals(peaks, settings.radius)
    if mask is not None:
        peaks &= mask
    allowed = torch.zeros_like(peaks)
    border = settings.border
    allowed[..., border : scores.shape[-2] - border, border : width - border] = True
    index = torch.nonzero((peaks & allowed).flatten())[:, 0]
    best, order = scores.flatten()[index].sort(descending=True, stable=True)
    index = index[order[: settings.top_k]]
    points = torch.stack([index % width, index // width], dim=-1).to(scores.dtype)
    return Keypoints(points, best[: settings.top_k])


def gather_descriptors(
    descriptors: Float[Tensor, "c h w"], points: Float[Tensor, "k 2"]
) -> Float[Tensor, "k c"]:
    """Descriptors of one image at keypoints, which lie on pixel centres."""
    x, y = points.long().unbind(-1)
    return descriptors[:, y, x].T


def _first_of_equals(peaks: Bool[Tensor, "1 h w"], radius: int) -> Bool[Tensor, "1 h w"]:
    """Drop a peak when an earlier one in row order lies in its window."""
    order = torch.arange(peaks.numel(), dtype=torch.float64, device=peaks.device)
    order = torch.where(peaks, -order.view_as(peaks), -torch.inf)
    return peaks & (order == _window_max(order, radius))


def _window_max(values: Float[Tensor, "1 h w"], radius: int) -> Float[Tensor, "1 h w"]:
    return F.max_pool2d(values, 2 * radius + 1, stride=1, padding=radius)
