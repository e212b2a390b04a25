"""Pictures for training: decoded once to uint8 squares, and the part of them on the device.

Everything fits on a GPU as a rule and stays there. What does not fit stays in main memory, and a
part drawn anew every few hundred steps takes its turn on the device.
"""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from jaxtyping import Float, Float64, Int64, UInt8
from torch import Tensor

from sdme.config import DataSettings
from sdme.data.pair_report import pair_name
from sdme.data.pairs import ImagePair, Problem
from sdme.errors import InputError


@dataclass(frozen=True)
class ImageStore:
    """Square RGB pictures, and which two of them make up an item.

    ``pairs`` of the items come first; then photos, both sides of which are one picture.
    ``cumulative`` is the distribution over pairs: sets are weighted by the square root of their
    size, so that a small one is not drowned by a large one. ``sets`` numbers the set of each pair.
    """

    pictures: UInt8[Tensor, "n side side 3"]
    first: Int64[Tensor, " items"]
    second: Int64[Tensor, " items"]
    pairs: int
    cumulative: Float[Tensor, " pairs"]
    sets: Int64[Tensor, " pairs"]

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
        tensors = {n: v.to(device) for n, v in vars(self).items() if torch.is_tensor(v)}
        return replace(self, **tensors)


Squares = tuple[list[np.ndarray], list[np.ndarray]]


class UnusableItemsError(InputError):
    """Some pairs or photos cannot be trained on; ``problems`` are all of them."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        first = problems[0]
        super().__init__(
            f"{len(problems)} of the pairs and photos cannot be used, the first: {first.where}: "
            f"{first.why}; mend or remove them"
        )
        self.problems = tuple(problems)


def load_store(items: Sequence[ImagePair], settings: DataSettings) -> ImageStore:
    """Decode the chosen sets of pairs and photos into main memory.

    ``settings.datasets`` names the sets (none: all), ``settings.pair_fraction`` the share of each
    set of pairs that is used, spread evenly over its order.

    Raises:
        InputError: nothing is left.
        UnusableItemsError: files cannot be read, or pairs are not on one pixel grid.
    """
    items = chosen_items(items, settings)
    if not items:
        raise InputError("there is nothing to train on; give pairs on one pixel grid, or photos")
    ordered = [i for i in items if not i.is_photo] + [i for i in items if i.is_photo]
    decoded = _decoded(ordered, settings.stored_side)
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
        *_distribution(sets),
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
        pairs = [item for item in own if not item.is_photo]
        count = max(1, round(len(pairs) * settings.pair_fraction)) if pairs else 0
        chosen += [pairs[index * len(pairs) // count] for index in range(count)]
        chosen += [item for item in own if item.is_photo]
    return chosen


def _distribution(
    sets: Sequence[str],
) -> tuple[Float[Tensor, " pairs"], Int64[Tensor, " pairs"]]:
    sizes = Counter(sets)
    weights = torch.tensor([sizes[name] ** -0.5 for name in sets], dtype=torch.float64)
    numbers = {name: number for number, name in enumerate(sizes)}
    index = torch.tensor([numbers[name] for name in sets], dtype=torch.int64)
    return (weights / weights.sum()).cumsum(0).float(), index


def _decoded(items: Sequence[ImagePair], side: int) -> list[Squares]:
    """The squares of all items.

    Raises:
        UnusableItemsError: there are none of some items.
    """

    def decode(item: ImagePair) -> Squares | Problem:
        try:
            return _squares_of(item, side)
        except InputError as error:
            return Problem(pair_name(item), str(error))

    with ThreadPoolExecutor() as pool:
        found = list(pool.map(decode, items))
    if problems := [one for one in found if isinstance(one, Problem)]:
        raise UnusableItemsError(problems)
    return [one for one in found if not isinstance(one, Problem)]


def _squares_of(item: ImagePair, side: int) -> Squares:
    if item.truth is not None:
        raise InputError(
            f"{item.fixed} and {item.moving} are not on one pixel grid, which training needs; "
            "align them first (sdme register, sdme apply)"
        )
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
        self.capacity = picture_capacity(whole, settings)
        self.refresh, self.device, self.seed = settings.refresh_every, device, seed
        self.fits = len(whole.pictures) <= self.capacity
        self.whole, self.turn = whole, -1
        self.current: ImageStore | None = whole.to(device) if self.fits else None

    def at(self, step: int) -> ImageStore:
        """The pictures to draw from at a step."""
        turn = step // self.refresh
        if self.current is None or not (self.fits or turn == self.turn):
            self.turn, self.current = turn, None  # the old part goes before the new one comes
            part = draw_part(self.whole, self.capacity, [self.seed, turn])
            self.current = part.to(self.device)
        return self.current


def picture_capacity(store: ImageStore, settings: DataSettings) -> int:
    """How many of its pictures may be on the device at once."""
    return max(2, int(settings.device_gib * 2**30 / store.pictures[0].numel()))


def draw_part(whole: ImageStore, capacity: int, seed: Sequence[int]) -> ImageStore:
    """Items whose pictures number ``capacity`` at most, drawn without replacement.

    Pairs and photos keep the proportion of their pictures. Every set of pairs has one at least, if
    there is room, and within the part as much weight as in the whole.
    """
    random = np.random.default_rng(seed)
    share = 2 * whole.pairs / (2 * whole.pairs + whole.photos)
    pairs = min(whole.pairs, max(int(capacity * share / 2), 1 if whole.pairs else 0))
    photos = min(whole.photos, max(capacity - 2 * pairs, 1 if whole.photos else 0))
    probability = np.diff(whole.cumulative.double().numpy(), prepend=0)
    kept = _drawn_pairs(random, probability, whole.sets.numpy(), pairs)
    chosen = np.concatenate([kept, whole.pairs + random.permutation(whole.photos)[:photos]])
    first, second = whole.first[chosen], whole.second[chosen]
    used, places = torch.unique(torch.cat([first, second]), return_inverse=True)
    sets = whole.sets[kept]
    mass = np.bincount(whole.sets.numpy(), probability) if pairs else np.zeros(0)
    weights = torch.from_numpy(mass / np.maximum(np.bincount(sets, minlength=len(mass)), 1))[sets]
    return ImageStore(
        whole.pictures[used],
        places[: len(first)],
        places[len(first) :],
        pairs,
        (weights / weights.sum()).cumsum(0).float(),
        sets,
    )


def _drawn_pairs(
    random: np.random.Generator,
    probability: Float64[np.ndarray, " pairs"],
    sets: Int64[np.ndarray, " pairs"],
    count: int,
) -> Int64[np.ndarray, " drawn"]:
    """One pair of each set in random order, as far as ``count`` goes, and others by probability."""
    if not count:
        return np.empty(0, np.int64)
    order = random.permutation(len(sets))
    _, place = np.unique(sets[order], return_index=True)
    ones = random.permutation(order[place])[:count]
    others = np.setdiff1d(np.arange(len(sets)), ones)
    more = count - len(ones)
    if not more:
        return ones
    weights = probability[others] / probability[others].sum()
    return np.concatenate([ones, random.choice(others, more, replace=False, p=weights)])


def shared_pictures(one: ImageStore, other: ImageStore) -> int:
    """How many pictures of ``other`` are in ``one`` as well, pixel by pixel; blank ones are not.

    Looks at every seventh pixel of every seventh row, which tells pictures apart.
    """
    known = set(_prints(one))
    return sum(found in known for found in _prints(other))


def _prints(store: ImageStore) -> list[bytes]:
    looks = store.pictures[:, ::7, ::7].flatten(1).cpu().numpy()
    return [look.tobytes() for look in looks if look.min() != look.max()]
