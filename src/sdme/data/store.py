"""Pictures for training: decoded once to uint8 squares, and the part of them on the device.

Everything fits on a GPU as a rule and stays there. What does not fit stays in main memory, and a
part drawn anew every few hundred steps takes its turn on the device.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from sdme.config import DataSettings
from sdme.data.pairs import ImagePair
from sdme.errors import InputError


@dataclass(frozen=True)
class ImageStore:
    """Square RGB pictures, and which two of them make up an item.

    ``pairs`` of the items come first; then photos, both sides of which are one picture.
    ``cumulative`` is the distribution over pairs: sets are weighted by the square root of their
    size, so that a small one is not drowned by a large one.
    """

    pictures: UInt8[Tensor, "n side side 3"]
    first: Int64[Tensor, " items"]
    second: Int64[Tensor, " items"]
    pairs: int
    cumulative: Float[Tensor, " pairs"]

    @property
    def photos(self) -> int:
        """Number of photos."""
        return len(self.first) - self.pairs

    @property
    def side(self) -> int:
        """Side of the pictures, px."""
        return self.pictures.shape[1]

    def to(self, device: torch.device) -> "ImageStore":
        """The same on another device."""
        tensors = (self.pictures, self.first, self.second)
        pictures, first, second = (t.to(device, non_blocking=True) for t in tensors)
        return ImageStore(pictures, first, second, self.pairs, self.cumulative.to(device))


def load_store(items: Sequence[ImagePair], settings: DataSettings) -> ImageStore:
    """Decode the chosen sets of pairs and photos into main memory.

    ``settings.datasets`` names the sets (none: all), ``settings.pair_fraction`` the share of each
    set of pairs that is used, spread evenly over its order.

    Raises:
        InputError: nothing is left, a file cannot be read, or a pair is not on one pixel grid.
    """
    items = chosen_items(items, settings)
    if not items:
        raise InputError("there is nothing to train on; give pairs on one pixel grid, or photos")
    for item in items:
        if item.truth is not None:
            raise InputError(
                f"{item.fixed} and {item.moving} are not on one pixel grid, which training needs; "
                "align them first (sdme register, sdme apply)"
            )
    ordered = [i for i in items if not i.is_photo] + [i for i in items if i.is_photo]
    with ThreadPoolExecutor() as pool:
        decoded = list(pool.map(lambda item: _squares_of(item, settings.stored_side), ordered))
    pictures: list[np.ndarray] = []
    first: list[int] = []
    second: list[int] = []
    sets: list[str] = []
    for item, (one, two) in zip(ordered, decoded, strict=True):
        for index, square in enumerate(one):
            first.append(len(pictures))
            pictures.append(square)
            if not item.is_photo:
                pictures.append(two[index])
                sets.append(item.dataset)
            second.append(len(pictures) - 1)
    return ImageStore(
        torch.from_numpy(np.stack(pictures)),
        torch.tensor(first),
        torch.tensor(second),
        len(sets),
        _distribution(sets),
    )


def chosen_items(items: Sequence[ImagePair], settings: DataSettings) -> list[ImagePair]:
    """The items of the chosen sets, and of each set of pairs the chosen share (at least one).

    Raises:
        InputError: a set that is named does not exist.
    """
    known = {item.dataset for item in items}
    missing = [name for name in settings.datasets if name not in known]
    if missing:
        raise InputError(
            f"there is no set {', '.join(missing)} in the data, which has "
            f"{', '.join(sorted(known)) or 'none'}; give it, or change data.datasets"
        )
    chosen: list[ImagePair] = []
    for name in dict.fromkeys(item.dataset for item in items):
        if settings.datasets and name not in settings.datasets:
            continue
        own = [item for item in items if item.dataset == name]
        if not own[0].is_photo and settings.pair_fraction < 1:
            count = max(1, round(len(own) * settings.pair_fraction))
            own = [own[index * len(own) // count] for index in range(count)]
        chosen += own
    return chosen


def _distribution(sets: Sequence[str]) -> Float[Tensor, " pairs"]:
    weights = torch.tensor([sets.count(name) ** -0.5 for name in sets])
    return (weights / weights.sum()).cumsum(0)


def _squares_of(item: ImagePair, side: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    first = item.fixed.read()
    if item.is_photo:
        return _squares(first, side), []
    second = item.moving.read()
    if first.shape != second.shape:
        sizes = " and ".join("x".join(str(n) for n in i.shape[1::-1]) for i in (first, second))
        raise InputError(
            f"{item.fixed} and {item.moving} have {sizes} px; training needs them on one pixel grid"
        )
    return _squares(first, side), _squares(second, side)


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


class DeviceStore:
    """The pictures on the device at a step: all of them, or where they do not fit a part.

    The part is drawn by the seed and the number of its turn, so that a resumed run sees the same.
    """

    def __init__(
        self, whole: ImageStore, settings: DataSettings, device: torch.device, seed: int
    ) -> None:
        picture = whole.pictures[0].numel()
        self.capacity = max(2, int(settings.device_gib * 2**30 / picture))
        self.refresh, self.device, self.seed = settings.refresh_every, device, seed
        self.fits = len(whole.pictures) <= self.capacity
        self.turn, self.current = -1, whole.to(device) if self.fits else whole
        if not self.fits and device.type == "cuda":
            pinned = whole.pictures.pin_memory()
            whole = ImageStore(pinned, whole.first, whole.second, whole.pairs, whole.cumulative)
        self.whole = whole

    def at(self, step: int) -> ImageStore:
        """The pictures to draw from at a step."""
        turn = step // self.refresh
        if not self.fits and turn != self.turn:
            self.turn = turn
            self.current = draw_part(self.whole, self.capacity, [self.seed, turn]).to(self.device)
        return self.current


def draw_part(whole: ImageStore, capacity: int, seed: Sequence[int]) -> ImageStore:
    """Items whose pictures number ``capacity`` at most, drawn without replacement.

    Pairs are drawn by their probability and are equally likely within the part; pairs and photos
    keep the proportion of their pictures.
    """
    random = np.random.default_rng(seed)
    share = 2 * whole.pairs / (2 * whole.pairs + whole.photos)
    pairs = min(whole.pairs, max(int(capacity * share / 2), 1 if whole.pairs else 0))
    photos = min(whole.photos, max(capacity - 2 * pairs, 1 if whole.photos else 0))
    chosen = np.empty(0, np.int64)
    if pairs:
        probability = np.diff(whole.cumulative.double().numpy(), prepend=0)
        chosen = random.choice(whole.pairs, pairs, replace=False, p=probability / probability.sum())
    chosen = np.concatenate([chosen, whole.pairs + random.permutation(whole.photos)[:photos]])
    first, second = whole.first[chosen], whole.second[chosen]
    used, places = torch.unique(torch.cat([first, second]), return_inverse=True)
    cumulative = torch.linspace(0, 1, pairs + 1)[1:] if pairs else whole.cumulative[:0]
    return ImageStore(
        whole.pictures[used], places[: len(first)], places[len(first) :], pairs, cumulative
    )
