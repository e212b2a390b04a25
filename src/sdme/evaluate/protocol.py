"""Protocols: which cases are drawn from aligned pairs, and how hard they are.

``paper`` is the published benchmark's 128 px patch in a 192 px one (METHOD section 4). ``native``
and ``hard`` keep the moving image whole and turn, scale and tilt a view of the other one. ``real``
takes the images as they are, with the transform or the landmarks that come with them.

Which cases are drawn follows from the settings, the names of dataset and pair, and the images
alone: every machine and every method sees the same ones, and a smaller number of cases is the
beginning of a larger one.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from sdme.config import Settings
from sdme.data.pairs import ImagePair, Landmarks
from sdme.errors import InputError
from sdme.evaluate.case import Case, CaseKey
from sdme.evaluate.drawing import Cut, Image, cut_patches, cut_view, resting_placement


class DrawnProtocol(Settings):
    """Base of the protocols that draw cases from pairs on one pixel grid."""

    seed: int = 0
    min_contrast: float = Field(
        default=2.0, description="a picture of a smaller grey standard deviation is drawn again"
    )
    max_redraws: int = Field(default=20, ge=0)


class PaperProtocol(DrawnProtocol):
    """The paper's patches. Pairs that come with a transform (the published sets) stay as they are.

    The defaults are the paper's, and the published tables use them.
    """

    name: Literal["paper"] = "paper"
    fixed_size: int = Field(default=128, ge=16)
    moving_size: int = Field(default=192, ge=16)
    max_shift: float = Field(default=32, ge=0, description="most a corner moves in x and in y, px")
    max_short_side: int = Field(
        default=256, description="larger images are shrunk to this short side before cropping"
    )

    def cut(self, fixed: Image, moving: Image, rng: np.random.Generator) -> Cut:
        """One draw from two images on one grid."""
        return cut_patches(
            fixed,
            moving,
            rng,
            fixed_side=self.fixed_size,
            moving_side=self.moving_size,
            max_shift=self.max_shift,
            max_short_side=self.max_short_side,
        )


class ViewProtocol(DrawnProtocol):
    """Whole images: the fixed one is a turned, scaled, slightly tilted view inside the moving one.

    The defaults are those of ``native``.
    """

    name: Literal["native", "hard"] = "native"
    rotation: float = Field(default=25, ge=0, le=180, description="degrees either way")
    min_scale: float = Field(default=0.75, gt=0, description="moving px a fixed px, at least")
    max_scale: float = Field(default=1.33, gt=0)
    perspective: float = Field(
        default=0.02, ge=0, le=0.2, description="corners move by this share of the sides at most"
    )
    coverage: float = Field(
        default=0.8, gt=0, le=1, description="most that the view covers of the moving image's sides"
    )

    def cut(self, fixed: Image, moving: Image, rng: np.random.Generator) -> Cut:
        """One draw from two images on one grid."""
        return cut_view(
            fixed,
            moving,
            rng,
            rotation=self.rotation,
            scales=(self.min_scale, self.max_scale),
            perspective=self.perspective,
            coverage=self.coverage,
        )


class RealProtocol(Settings):
    """Images as they are; the truth is the transform or the landmarks that come with the pair."""

    name: Literal["real"] = "real"
    seed: int = 0


Protocol = PaperProtocol | ViewProtocol | RealProtocol
PROTOCOLS = {
    "paper": PaperProtocol(),
    "native": ViewProtocol(),
    "hard": ViewProtocol(name="hard", rotation=180, min_scale=0.5, max_scale=2),
    "real": RealProtocol(),
}


def case_keys(
    pairs: Iterable[ImagePair], protocol: Protocol, count: int | None = None
) -> list[CaseKey]:
    """``count`` cases of every dataset, in the order in which datasets first appear.

    Without a count every pair gives one case. Pairs are cycled where there are fewer of them, and
    of pairs on one grid the fixed side alternates over pairs and rounds; pairs with a truth of
    their own give one case each.

    Raises:
        InputError: the protocol cannot be applied to these pairs.
    """
    datasets: dict[str, list[ImagePair]] = {}
    for pair in pairs:
        _check(pair, protocol)
        datasets.setdefault(pair.dataset, []).append(pair)
    return [
        key for name, members in datasets.items() for key in _keys(name, members, protocol, count)
    ]


def draw_case(key: CaseKey, protocol: Protocol) -> Case:
    """Read the images of a case and draw it.

    Raises:
        InputError: an image cannot be read, or those of a pair on one grid differ in size.
    """
    pair = key.pair
    first = pair.fixed.read()
    second = first if pair.is_photo else pair.moving.read()
    if isinstance(protocol, RealProtocol) or pair.truth is not None:
        return _given_case(key, first, second, protocol)
    if first.shape != second.shape:
        raise InputError(
            f"{pair.fixed} and {pair.moving} differ in size; pairs without a transform of their "
            "own have to lie on one pixel grid"
        )
    sides = (first, second) if key.fixed_side == "a" else (second, first)
    redraws = 0
    while True:
        seed = _digest(protocol.seed, pair.dataset, pair.id, key.index, redraws)
        cut = protocol.cut(*sides, np.random.Generator(np.random.PCG64(seed)))
        if cut.is_usable(protocol.min_contrast) or redraws == protocol.max_redraws:
            break
        redraws += 1
    initial = _initial(cut.fixed, cut.moving, is_stretched=False)
    return Case(key, cut.fixed, cut.moving, initial, cut.H_true, redraws=redraws)


def _keys(
    dataset: str, pairs: Sequence[ImagePair], protocol: Protocol, count: int | None
) -> list[CaseKey]:
    ordered = sorted(pairs, key=lambda pair: _digest(protocol.seed, dataset, pair.id))
    wanted = len(ordered) if count is None else count
    keys: list[CaseKey] = []
    for lap in range(wanted):
        for place, pair in enumerate(ordered):
            if pair.truth is None:
                keys.append(CaseKey(pair, lap * len(ordered) + place, "ab"[(lap + place) % 2]))
            elif lap == 0:
                keys.append(CaseKey(pair, place))
        if len(keys) >= wanted or all(pair.truth is not None for pair in ordered):
            break
    return keys[:wanted]


def _check(pair: ImagePair, protocol: Protocol) -> None:
    if pair.truth is None and isinstance(protocol, RealProtocol):
        raise InputError(
            f"pair {pair.dataset}/{pair.id} has neither a transform nor landmarks, which protocol "
            "real needs; add them or choose paper, native or hard"
        )
    if pair.truth is None or isinstance(protocol, RealProtocol):
        return
    if isinstance(protocol, ViewProtocol) or isinstance(pair.truth, Landmarks):
        raise InputError(
            f"pair {pair.dataset}/{pair.id} comes with a transform or landmarks of its own, and "
            f"protocol {protocol.name} would draw one; choose real"
        )


def _given_case(key: CaseKey, fixed: Image, moving: Image, protocol: Protocol) -> Case:
    truth = key.pair.truth
    if isinstance(protocol, PaperProtocol):
        sides = (protocol.fixed_size,) * 2, (protocol.moving_size,) * 2
        if (fixed.shape[:2], moving.shape[:2]) != sides:
            raise InputError(
                f"{key.pair.fixed} and {key.pair.moving} come with a transform, but are not of "
                f"{protocol.fixed_size} and {protocol.moving_size} px; choose protocol real"
            )
    is_stretched = isinstance(protocol, RealProtocol)
    initial = _initial(fixed, moving, is_stretched=is_stretched)
    if isinstance(truth, Landmarks):
        return Case(key, fixed, moving, initial, None, truth)
    return Case(key, fixed, moving, initial, truth)


def _initial(fixed: Image, moving: Image, *, is_stretched: bool) -> np.ndarray:
    sizes = fixed.shape[1::-1], moving.shape[1::-1]
    return resting_placement(*sizes, is_stretched=is_stretched)


def _digest(*parts: object) -> int:
    """A 128-bit number from the parts, the same on every machine."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")
