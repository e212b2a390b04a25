"""Training batches, from crop to warp to other modality, made on the device of the pictures."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from sdme.config import DataSettings
from sdme.data import synthesis
from sdme.data.store import ImageStore
from sdme.geometry.homography import apply_homography
from sdme.geometry.random_warp import homography_from_shifts
from sdme.geometry.sampling import pixel_grid

Draw = Callable[[Float[Tensor, "b 3 3"], DataSettings], Mapping[str, Tensor]]
"""Random tensors for the losses of pairs with these homographies, on their device."""


def no_draws(H: Tensor, settings: DataSettings) -> Mapping[str, Tensor]:
    """What needs no losses."""
    return {}


@dataclass(frozen=True)
class Batch:
    """Training pairs, and everything random that the losses use.

    ``fixed`` and ``moving`` are RGB in [0, 1]; ``H`` is the truth, from fixed to moving pixels.
    ``draws`` are random tensors of the losses by name, the pairs in their first dimension.
    """

    fixed: Float[Tensor, "b 3 h w"]
    moving: Float[Tensor, "b 3 h2 w2"]
    H: Float[Tensor, "b 3 3"]
    draws: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def tensors(self) -> list[Tensor]:
        """All of it, the draws in their order."""
        return [self.fixed, self.moving, self.H, *self.draws.values()]

    def like_this(self, tensors: Sequence[Tensor]) -> "Batch":
        """A batch of other tensors in the same order."""
        return Batch(*tensors[:3], draws=dict(zip(self.draws, tensors[3:], strict=True)))

    def split(self, size: int) -> list["Batch"]:
        """Parts of ``size`` pairs each, in order."""
        columns = (tensor.split(size) for tensor in self.tensors)
        return [self.like_this(part) for part in zip(*columns, strict=True)]

    @staticmethod
    def joined(batches: list["Batch"]) -> "Batch":
        """One batch of several."""
        if len(batches) == 1:
            return batches[0]
        columns = zip(*(batch.tensors for batch in batches), strict=True)
        return batches[0].like_this([torch.cat(column) for column in columns])


def seed_generators(*numbers: int) -> None:
    """Seed PyTorch's generators of all devices by several numbers (seed, step, stream ...)."""
    torch.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1))


def rendered_view(
    pictures: UInt8[Tensor, "n size size 3"],
    index: Int64[Tensor, " b"],
    H: Float[Tensor, "b 3 3"],
    side: int,
    share: Float[Tensor, "b 1 1 1"],
    degradation: float = 1.0,
    renderings: Mapping[str, float] | None = None,
) -> Float[Tensor, "b 3 side side"]:
    """Views of stored pictures through ``H``, a share of which in another modality.

    ``degradation`` is the share that is degraded, ``renderings`` are those of
    :func:`~sdme.data.synthesis.pseudo_modality`. It is most of the work of a batch; on CUDA it
    pays to compile it.
    """
    view = _render(_cut(pictures, index, H, side), share, degradation, renderings)
    return view.contiguous(memory_format=torch.channels_last)


def make_batch(
    store: ImageStore,
    count: int,
    settings: DataSettings,
    difficulty: float = 1.0,
    view: Callable[..., Tensor] = rendered_view,
    draw: Draw = no_draws,
) -> Batch:
    """Draw, crop, warp and render ``count`` pairs, in random order.

    ``difficulty`` in [0, 1] scales the share of real pairs and how often pictures are re-rendered:
    at 0 both images come from one photo, in one modality. ``view`` is :func:`rendered_view`,
    compiled or not; ``draw`` makes the losses' random tensors. Nothing waits for the device.
    """
    device = store.pictures.device
    real = round(count * settings.pair_share * difficulty) if store.photos else count
    real = real if store.pairs else 0
    number = torch.rand(count, device=device)
    order = torch.randperm(count, device=device)
    index = torch.cat(
        [
            torch.searchsorted(store.cumulative, number[:real]).clamp(max=max(store.pairs - 1, 0)),
            store.pairs + (number[real:] * store.photos).long().clamp(max=max(store.photos - 1, 0)),
        ]
    )[order]
    swap = torch.rand(count, device=device) < 0.5
    first, second = store.first[index], store.second[index]
    first, second = torch.where(swap, second, first), torch.where(swap, first, second)
    place = _placement(count, store.side, settings, device)
    shifts = torch.rand(count, 4, 2, device=device) * 2 - 1
    strength = settings.max_shift * torch.rand(count, 1, 1, device=device) ** settings.shift_power
    sides = settings.fixed_side, settings.moving_side
    H = homography_from_shifts(shifts * strength, *((side, side) for side in sides))
    if settings.turned_share:
        H = _turns(count, settings, device) @ H
    photo = order.view(-1, 1, 1, 1) >= real
    turned = torch.rand(count, 1, 1, 1, device=device) < 0.5
    seldom = settings.pair_synthesis * difficulty
    often = torch.where(photo, settings.photo_synthesis * difficulty, seldom)
    seldom = torch.full_like(often, seldom)
    looks = settings.degradation, settings.renderings or None
    shares = torch.where(turned, often, seldom), torch.where(turned, seldom, often)
    return Batch(
        view(store.pictures, second, place @ H, settings.fixed_side, shares[0], *looks),
        view(store.pictures, first, place, settings.moving_side, shares[1], *looks),
        H,
        draw(H, settings),
    )


def _placement(
    count: int, side: int, settings: DataSettings, device: torch.device
) -> Float[Tensor, "b 3 3"]:
    """Similarities, flips and transpositions from moving-crop pixels to stored pixels."""
    low, high = math.log(settings.smallest_scale), math.log(side / settings.moving_side)
    scale = torch.exp(torch.rand(count, device=device) * (high - low) + low)
    angle = (torch.rand(count, device=device) * 2 - 1) * math.radians(settings.rotation)
    flip = torch.where(torch.rand(count, device=device) < 0.5, -1.0, 1.0)
    cos, sin = scale * torch.cos(angle), scale * torch.sin(angle)
    linear = torch.stack([cos * flip, -sin, sin * flip, cos], -1).view(-1, 2, 2)
    transpose = torch.rand(count, 1, 1, device=device) < 0.5
    linear = torch.where(transpose, linear.flip(1), linear)
    slack = (side - scale * settings.moving_side).clamp(min=0) / 2
    centre = (side - 1) / 2 + (torch.rand(count, 2, device=device) * 2 - 1) * slack[:, None]
    middle = torch.full((2, 1), (settings.moving_side - 1) / 2, device=device)
    place = torch.zeros(count, 3, 3, device=device)
    place[:, :2, :2] = linear
    place[:, :2, 2] = centre - (linear @ middle)[..., 0]
    place[:, 2, 2] = 1
    return place


def _turns(count: int, settings: DataSettings, device: torch.device) -> Float[Tensor, "b 3 3"]:
    """Rotations and scalings about the middle of the moving crops; of the others, nothing."""
    number = torch.rand(3, count, device=device)
    share = (number[0] < settings.turned_share).float()
    angle = share * (number[1] * 2 - 1) * math.radians(settings.turn)
    scale = torch.exp(share * (number[2] * 2 - 1) * math.log(settings.zoom))
    cos, sin = scale * torch.cos(angle), scale * torch.sin(angle)
    middle = (settings.moving_side - 1) / 2
    rest = middle * (1 - cos)
    zero, one = torch.zeros_like(cos), torch.ones_like(cos)
    rows = [cos, -sin, rest + middle * sin, sin, cos, rest - middle * sin, zero, zero, one]
    return torch.stack(rows, -1).view(-1, 3, 3)


def _cut(
    pictures: UInt8[Tensor, "n size size 3"],
    index: Int64[Tensor, " b"],
    H: Float[Tensor, "b 3 3"],
    side: int,
) -> Float[Tensor, "b 3 side side"]:
    """Bilinear views of stored pictures, mirrored at their edges.

    The taps are gathered from the bytes: whole pictures are never turned into floats.
    """
    size = pictures.shape[1]
    points = apply_homography(H, pixel_grid(side, side, like=H)[None])
    folded = (points + 0.5).remainder(2 * size)
    points = (torch.minimum(folded, 2 * size - folded) - 0.5).clamp(0, size - 1)
    corner = points.floor().clamp(max=size - 2)
    share_x, share_y = (points - corner)[..., None].unbind(2)
    x, y = corner.long().unbind(-1)
    place = (index[:, None] * size + y) * size + x
    pixels = pictures.view(-1, 3)

    def row(start: Tensor) -> Tensor:
        left, right = pixels[start].float(), pixels[start + 1].float()
        return left + (right - left) * share_x

    upper, lower = row(place), row(place + size)
    values = (upper + (lower - upper) * share_y) / 255
    return values.unflatten(1, (side, side)).permute(0, 3, 1, 2)


def _render(
    image: Float[Tensor, "b 3 h w"],
    share: Tensor,
    degradation: float,
    renderings: Mapping[str, float] | None,
) -> Float[Tensor, "b 3 h w"]:
    """Turn a share of the samples into another modality, the others to grey or jittered colour."""
    draw = synthesis.uniform(image)
    grey = synthesis.project_colour(image)
    other = synthesis.pseudo_modality(image, renderings)
    single = torch.where(draw < share, other, grey).expand_as(image)
    keeps_colour = (draw >= share) & (synthesis.uniform(image) < 0.6)
    image = torch.where(keeps_colour, synthesis.colour_jitter(image), single)
    degraded = synthesis.uniform(image) < degradation
    return torch.where(degraded, synthesis.degrade(image), image.clamp(0, 1))
