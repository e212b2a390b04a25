"""Batches of fixed and moving crops, made wholly on the training device.

Pictures lie there as uint8; cropping, warping and rendering happen in float batches, with one
bilinear look-up from the stored picture to the crop.
"""

import math
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from sdme.config import DataSettings
from sdme.data import synthesis
from sdme.data.packs import PackItem, read_pack
from sdme.errors import InputError
from sdme.geometry.homography import apply_homography
from sdme.geometry.random_warp import homography_from_shifts
from sdme.geometry.sampling import pixel_grid, sample


@dataclass(frozen=True)
class Batch:
    """Training pairs: RGB images in [0, 1] and the true ``H`` from fixed to moving pixels."""

    fixed: Float[Tensor, "b 3 h w"]
    moving: Float[Tensor, "b 3 h2 w2"]
    H: Float[Tensor, "b 3 3"]


@dataclass(frozen=True)
class ImageStore:
    """Square uint8 pictures of both modalities and how often each is drawn.

    ``pairs`` of the pictures come first, then photos, whose two sides are the same. ``cumulative``
    is the distribution over pairs, packs weighted by the square root of their size.
    """

    first: UInt8[Tensor, "n 3 side side"]
    second: UInt8[Tensor, "n 3 side side"]
    pairs: int
    cumulative: Float[Tensor, " pairs"]

    @property
    def photos(self) -> int:
        """Number of photos."""
        return len(self.first) - self.pairs


def load_store(
    pair_packs: Iterable[Path],
    photo_packs: Iterable[Path],
    settings: DataSettings,
    device: torch.device,
    limit: int | None = None,
) -> ImageStore:
    """Decode packs to squares on the device; ``limit`` takes only the first items of each pack."""
    first: list[np.ndarray] = []
    second: list[np.ndarray] = []
    weights: list[float] = []
    for path in pair_packs:
        squares = _squares_of_pack(path, settings.stored_side, limit)
        first += [a for a, _ in squares]
        second += [b for _, b in squares]
        weights += [max(len(squares), 1) ** -0.5] * len(squares)
    pairs = len(first)
    for path in photo_packs:
        squares = _squares_of_pack(path, settings.stored_side, limit)
        first += [a for a, _ in squares]
        second += [b for _, b in squares]
    if not first:
        raise InputError("there is nothing to train on; give packs of pairs or photos")
    probability = torch.tensor(weights)
    cumulative = (probability / probability.sum()).cumsum(0).to(device)

    def upload(images: list[np.ndarray]) -> Tensor:
        return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous().to(device)

    return ImageStore(upload(first), upload(second), pairs, cumulative)


def _squares_of_pack(
    path: Path, side: int, limit: int | None
) -> list[tuple[np.ndarray, np.ndarray]]:
    items = [item for index, item in enumerate(read_pack(path)) if limit is None or index < limit]

    def cut(item: PackItem) -> list[tuple[np.ndarray, np.ndarray]]:
        return list(zip(_squares(item.first, side), _squares(item.second, side), strict=True))

    with ThreadPoolExecutor() as pool:
        return [pair for pairs in pool.map(cut, items) for pair in pairs]


def _squares(image: np.ndarray, side: int) -> list[np.ndarray]:
    """One middle square, or two end ones of a long image, its shorter side scaled to ``side``."""
    scale = side / min(image.shape[:2])
    size = [max(side, round(n * scale)) for n in image.shape[1::-1]]
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    spare = max(size) - side
    starts = [spare // 2] if spare < side // 4 else [0, spare]
    if size[0] >= size[1]:
        return [image[:, start : start + side] for start in starts]
    return [image[start : start + side] for start in starts]


def make_batch(
    store: ImageStore, count: int, settings: DataSettings, difficulty: float = 1.0
) -> Batch:
    """Draw, crop, warp and render ``count`` pairs, in random order.

    ``difficulty`` in [0, 1] scales the share of real pairs and how often pictures are re-rendered:
    at 0 both images come from one photo, in one modality.
    """
    device = store.first.device
    real = round(count * settings.pair_share * difficulty) if store.photos else count
    real = real if store.pairs else 0
    draw = torch.rand(count, device=device)
    order = torch.randperm(count, device=device)
    index = torch.cat(
        [
            torch.searchsorted(store.cumulative, draw[:real]).clamp(max=max(store.pairs - 1, 0)),
            store.pairs + (draw[real:] * store.photos).long().clamp(max=max(store.photos - 1, 0)),
        ]
    )[order]
    swap = torch.rand(count, 1, 1, 1, device=device) < 0.5
    first, second = store.first[index], store.second[index]
    first, second = torch.where(swap, second, first), torch.where(swap, first, second)
    place = _placement(count, store.first.shape[-1], settings, device)
    shifts = torch.rand(count, 4, 2, device=device) * 2 - 1
    strength = settings.max_shift * torch.rand(count, 1, 1, device=device) ** settings.shift_power
    sides = settings.fixed_side, settings.moving_side
    H = homography_from_shifts(shifts * strength, *((side, side) for side in sides))
    moving = _cut(first, place, settings.moving_side)
    fixed = _cut(second, place @ H, settings.fixed_side)
    photo = order.view(-1, 1, 1, 1) >= real
    turned = torch.rand(count, 1, 1, 1, device=device) < 0.5
    seldom = settings.pair_synthesis * difficulty
    often = torch.where(photo, settings.photo_synthesis * difficulty, seldom)
    return Batch(
        _render(fixed, torch.where(turned, often, seldom)),
        _render(moving, torch.where(turned, seldom, often)),
        H,
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


def _cut(images: Tensor, H: Float[Tensor, "b 3 3"], side: int) -> Float[Tensor, "b 3 side side"]:
    points = apply_homography(H, pixel_grid(side, side, like=H)[None])
    return sample(images.float() / 255, points, padding="reflection").unflatten(2, (side, side))


def _render(image: Float[Tensor, "b 3 h w"], share: Tensor) -> Float[Tensor, "b 3 h w"]:
    """Turn a share of the samples into another modality, the others to grey or jittered colour."""
    draw = synthesis.uniform(image)
    grey = synthesis.project_colour(image)
    single = torch.where(draw < share, synthesis.pseudo_modality(image), grey).expand_as(image)
    keeps_colour = (draw >= share) & (synthesis.uniform(image) < 0.6)
    image = torch.where(keeps_colour, synthesis.colour_jitter(image), single)
    return synthesis.degrade(image)
