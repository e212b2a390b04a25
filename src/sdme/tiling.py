"""Tiles: one transform between large images, from windows of them at full resolution.

A coarse transform is made better level by level. At each level tiles are spread over the fixed
image; every one is registered with the part of the moving image where the present transform puts
it, resampled so that little is left between the two. One transform is fitted to all of their
answers, weighted by their verdicts, and those that do not agree with it count for little and are
told. The last level has the resolution of the coarser image.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch

from sdme.config import Kind, RegisterSettings, TileSettings, ViewSettings
from sdme.errors import InputError
from sdme.frames import Frame, Matrix, Pair
from sdme.geometry.fit import fit_points
from sdme.geometry.homography import fit_homography
from sdme.geometry.mapping import frame_centre, map_points
from sdme.io.raster import Raster
from sdme.io.view import Looker
from sdme.resample import laid_out, seen_part, similarity
from sdme.result import Status
from sdme.search import shift_between, similarity_at

Size = tuple[int, int]
_GRID = 3  # points along a side of a tile that stand for its answer
_LEAST_VALID = 0.3  # of a frame's pixels; a tile that shows less of an image is not tried
_UNSURE = 0.3  # weight of what is uncertain
_FEWEST = 4  # tiles that agree, for more than a shift
_SPREAD = 0.4  # of the fixed image's sides, that they have to span for more than a similarity
_ROUNDS = 20
_APART = 3.0  # times the deviation; tiles further off disagree
_LEAST_DEVIATION = 0.5  # px of the level


class Source(Protocol):
    """An image of which parts can be had."""

    @property
    def size(self) -> Size:
        """Width and height, px."""
        ...

    def part(self, low: np.ndarray, high: np.ndarray, shrink: float) -> tuple[Raster, Matrix]:
        """Pixels from ``low`` to before ``high``, and the map from the image to them.

        They may be shrunk, but not below ``shrink`` (at most 1) times their size.
        """
        ...


@dataclass(frozen=True)
class Held:
    """An image in memory."""

    raster: Raster

    @property
    def size(self) -> Size:
        """Width and height, px."""
        return self.raster.size

    def part(self, low: np.ndarray, high: np.ndarray, shrink: float) -> tuple[Raster, Matrix]:
        """Of the pixels themselves."""
        del shrink
        raster, place = self.raster, np.s_[low[1] : high[1], low[0] : high[0]]
        matrix = np.eye(3)
        matrix[:2, 2] = -low
        cut = replace(
            raster,
            pixels=raster.pixels[place],
            mask=None if raster.mask is None else raster.mask[place],
            use=None if raster.use is None else raster.use[place],
        )
        return cut, matrix


@dataclass(frozen=True)
class Answer:
    """What a registration of two frames found, between the images; no matrix where it failed."""

    status: Status
    matrix: Matrix | None
    message: str = ""


Settle = Callable[[Pair, list[Matrix]], Answer]


@dataclass(frozen=True)
class Tile:
    """Where a tile lies: its level, its middle in the fixed image, and frame pixels a pixel."""

    level: int
    x: float
    y: float
    scale: float

    @property
    def name(self) -> str:
        """Unique within a registration."""
        return f"{self.level}/{self.x:.1f}/{self.y:.1f}"


@dataclass(frozen=True)
class TileAnswer:
    """What became of a tile: ``status`` is ``no data`` where it was not tried.

    ``residual`` is how far, in moving pixels, its answer is from the transform of all (root mean
    square), ``None`` without one; ``agrees`` says whether that is near enough.
    """

    tile: Tile
    status: str
    matrix: Matrix | None
    residual: float | None = None
    agrees: bool = False

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        matrix = None if self.matrix is None else self.matrix.tolist()
        return asdict(self.tile) | {
            "status": self.status,
            "matrix": matrix,
            "residual": self.residual,
            "agrees": self.agrees,
        }


@dataclass(frozen=True)
class Tiled:
    """The transform of all tiles, as a matrix between the images, and those of the last level."""

    matrix: Matrix
    tiles: list[TileAnswer]

    def count(self, status: str) -> int:
        """Tiles of a status."""
        return sum(tile.status == status for tile in self.tiles)

    @property
    def agreeing(self) -> list[TileAnswer]:
        """Tiles whose answers agree."""
        return [tile for tile in self.tiles if tile.agrees]

    @property
    def tried(self) -> int:
        """Tiles on which there was something to be seen."""
        return len(self.tiles) - self.count("no data")

    @property
    def spread(self) -> float | None:
        """Median distance, moving px, of the answers that agree from the transform of all."""
        known = [t.residual for t in self.agreeing if t.residual is not None]
        return float(np.median(known)) if known else None

    @property
    def words(self) -> str:
        """How the tiles fared."""
        apart = sum(t.matrix is not None and not t.agrees for t in self.tiles)
        text = f"{len(self.agreeing)} of {self.tried} tiles agree"
        if self.spread is not None:
            text += f" within {self.spread:.2g} px"
        parts = [(apart, "disagree"), (self.count("failed"), "failed")]
        parts.append((self.count("no data"), "show too little"))
        told = [f"{count} {what}" for count, what in parts if count]
        return f"{text} ({', '.join(told)})" if told else text


def refine_by_tiles(
    fixed: Source,
    moving: Source,
    matrix: Matrix,
    settle: Settle,
    settings: RegisterSettings,
    *,
    begun_at: float,
    known: Mapping[str, TileAnswer] | None = None,
    progress: Callable[[int, int, int, TileAnswer | None], None] | None = None,
) -> Tiled:
    """Make a transform better that was found on copies with ``begun_at`` pixels a fixed pixel.

    ``settle`` registers a pair of frames from guesses. ``known`` are answers of an interrupted run,
    by the names of their tiles. ``progress`` is told the level, how many tiles of it are done, of
    how many, and the answer that is new, if it is.
    """
    known, tiled = known or {}, Tiled(matrix, [])
    scales = levels(fixed.size, moving.size, matrix, begun_at, settings.tiles)
    for level, scale in enumerate(scales):
        tiles = list(tiles_of(fixed.size, moving.size, tiled.matrix, level, scale, settings.tiles))
        answers: list[TileAnswer] = []
        for done, tile in enumerate(tiles):
            answer = known.get(tile.name)
            if progress is not None:
                progress(level, done, len(tiles), None)
            if answer is None:
                answer = answer_of(tile, fixed, moving, tiled.matrix, settle, settings)
                if progress is not None:
                    progress(level, done + 1, len(tiles), answer)
            answers.append(answer)
        tiled = fit_tiles(answers, fixed.size, tiled.matrix, settings)
    return tiled


def levels(
    fixed_size: Size, moving_size: Size, matrix: Matrix, begun_at: float, settings: TileSettings
) -> list[float]:
    """Frame pixels a fixed pixel at each level, coarse to fine."""
    del moving_size
    finest = min(1.0, similarity_at(matrix, frame_centre(fixed_size))[1])
    count = max(1, math.ceil(math.log(finest / begun_at) / math.log(settings.step) - 0.01))
    return [finest * settings.step ** (k + 1 - count) for k in range(count)]


def tiles_of(
    fixed_size: Size,
    moving_size: Size,
    matrix: Matrix,
    level: int,
    scale: float,
    settings: TileSettings,
) -> Iterator[Tile]:
    """Tiles evenly spread over the fixed image whose middle lies on the moving one."""
    side = settings.side / scale
    counts = [min(settings.most, max(1, math.ceil(length / side))) for length in fixed_size]
    lines = [_spread(length, side, n) for length, n in zip(fixed_size, counts, strict=True)]
    for y in lines[1]:
        for x in lines[0]:
            there = map_points(matrix, np.array([x, y]), frame_centre(fixed_size))
            if (there > 0).all() and (there < np.array(moving_size) - 1).all():
                yield Tile(level, round(float(x), 1), round(float(y), 1), scale)


def _spread(length: int, side: float, count: int) -> np.ndarray:
    """Middles of tiles from one border to the other."""
    if count == 1:
        return np.array([(length - 1) / 2])
    return np.linspace(side / 2 - 0.5, length - 0.5 - side / 2, count)


def answer_of(
    tile: Tile,
    fixed: Source,
    moving: Source,
    matrix: Matrix,
    settle: Settle,
    settings: RegisterSettings,
) -> TileAnswer:
    """Register a tile with the part of the moving image where it is believed to lie."""
    pair = frames_of(tile, fixed, moving, matrix, settings.tiles.side)
    if pair is None:
        return TileAnswer(tile, "no data", None)
    guesses = [pair.in_frames(matrix), shift_between(pair, matrix)]
    found = settle(pair, [pair.within(guess, settings.transform) for guess in guesses])
    return TileAnswer(tile, found.status.value, found.matrix)


def frames_of(tile: Tile, fixed: Source, moving: Source, matrix: Matrix, side: int) -> Pair | None:
    """Frames of a tile, ``None`` where too little is to be seen."""
    middle = np.array([tile.x, tile.y])
    angle, scale, there = similarity_at(matrix, middle)
    size = (
        max(32, min(side, round(fixed.size[0] * tile.scale))),
        max(32, min(side, round(fixed.size[1] * tile.scale))),
    )
    half = np.eye(3)
    half[:2, 2] = (np.array(size) - 1) / 2
    views = (
        half @ similarity(0.0, tile.scale, middle),
        half @ similarity(-angle, tile.scale / scale, there),
    )
    frames = []
    for source, view, name in zip((fixed, moving), views, ("fixed", "moving"), strict=True):
        frame = _seen(source, view, size, f"{name} tile")
        if frame is None or frame.valid.float().mean() < _LEAST_VALID or frame.is_blank:
            return None
        frames.append(frame)
    return Pair(*frames)


def _seen(source: Source, view_from_image: Matrix, size: Size, name: str) -> Frame | None:
    low, high = seen_part(source.size, view_from_image, size)
    if min(high - low) < 2:
        return None
    shrink = min(1.0, math.sqrt(abs(np.linalg.det(view_from_image[:2, :2]))))
    raster, part_from_image = source.part(low, high, shrink)
    if not raster.valid.any():
        return None
    whole = Raster(np.broadcast_to(np.uint8(0), (source.size[1], source.size[0])))
    nothing = torch.zeros(1, 3, 1, 1), torch.zeros(1, 1, 1, 1, dtype=torch.bool)
    stub = Frame(name, whole, *nothing, np.eye(3))
    return laid_out(stub, raster, part_from_image, view_from_image, size)


def settled_view(raster: Raster) -> ViewSettings:
    """The view of a whole image for its parts: the same bands, logarithms or not, no collar."""
    looker = Looker(raster)
    chosen = raster.view.bands or tuple(index + 1 for index in looker.indices)
    log = "yes" if looker.is_logarithmic else "no"
    return raster.view.model_copy(update={"bands": chosen, "log": log, "collar": "no"})


def fit_tiles(
    answers: Sequence[TileAnswer], size: Size, before: Matrix, settings: RegisterSettings
) -> Tiled:
    """One transform of the kind that is asked for, robustly, to the answers of tiles.

    Too few of them correct the transform ``before`` by a shift, or by a similarity where they lie
    together.
    """
    usable = [answer for answer in answers if answer.matrix is not None]
    if not usable:
        return Tiled(before, list(answers))
    points0 = np.stack([_points(a.tile, settings.tiles.side) for a in usable])
    points1 = np.stack([_mapped(a.matrix, p, a.tile) for a, p in zip(usable, points0, strict=True)])
    weight = np.array([1.0 if a.status == Status.ALIGNED else _UNSURE for a in usable])
    unit = _LEAST_DEVIATION / usable[0].tile.scale
    unit *= similarity_at(before, frame_centre(size))[1]
    matrix, agrees = before, np.zeros(len(usable), dtype=bool)
    # what most say of a shift comes first, so that a few wild ones cannot lead the fit away
    shift = np.median((points1 - _through(before, points0, size)).reshape(-1, 2), axis=0)
    matrix = _shifted(before, shift)
    for _ in range(_ROUNDS):
        apart = _residuals(matrix, points0, points1, size)
        deviation = max(unit, 1.48 * float(np.median(apart)))
        agrees = apart < _APART * deviation
        robust = weight / (1 + (apart / deviation) ** 2) ** 2
        matrix = _fitted(points0, points1, robust, agrees, size, before, settings.transform)
    apart = _residuals(matrix, points0, points1, size)
    found = dict(zip((a.tile for a in usable), zip(apart, agrees, strict=True), strict=True))
    told = [
        replace(a, residual=float(found[a.tile][0]), agrees=bool(found[a.tile][1]))
        if a.tile in found
        else a
        for a in answers
    ]
    return Tiled(matrix, told)


def _fitted(
    points0: np.ndarray,
    points1: np.ndarray,
    weight: np.ndarray,
    agrees: np.ndarray,
    size: Size,
    before: Matrix,
    kind: Kind,
) -> Matrix:
    """Weighted least squares, with no more freedom than the tiles that agree can fix."""
    middles = points0[agrees].mean(1) if agrees.any() else np.empty((0, 2))
    if len(middles) < _FEWEST:
        gaps = (points1 - _through(before, points0, size)).mean(1)
        return _shifted(before, np.average(gaps, axis=0, weights=weight))
    is_wide = (np.ptp(middles, axis=0) >= _SPREAD * np.array(size)).all()
    flat0, flat1 = points0.reshape(-1, 2), points1.reshape(-1, 2)
    if kind == "homography" and is_wide:
        each = np.repeat(weight, points0.shape[1])
        tensors = (torch.from_numpy(v) for v in (flat0, flat1, each))
        found = fit_homography(*tensors).numpy()
        return found if np.isfinite(found).all() else before
    if kind != "homography":
        found = fit_points(points0[agrees].reshape(-1, 2), points1[agrees].reshape(-1, 2), kind)
        return before if found is None else found
    there = _through(before, points0, size)
    moved = fit_points(there[agrees].reshape(-1, 2), points1[agrees].reshape(-1, 2), "similarity")
    return before if moved is None else moved @ before / (moved @ before)[2, 2]


def _shifted(matrix: Matrix, shift: np.ndarray) -> Matrix:
    move = np.eye(3)
    move[:2, 2] = shift
    out = move @ matrix
    return out / out[2, 2]


def _points(tile: Tile, side: int) -> np.ndarray:
    line = (np.arange(_GRID) - (_GRID - 1) / 2) * side / (_GRID * tile.scale)
    x, y = np.meshgrid(tile.x + line, tile.y + line)
    return np.stack([x.ravel(), y.ravel()], axis=-1)


def _mapped(matrix: Matrix | None, points: np.ndarray, tile: Tile) -> np.ndarray:
    if matrix is None:
        raise InputError("a tile without an answer has no points")
    return map_points(matrix, points, np.array([tile.x, tile.y]))


def _through(matrix: Matrix, points: np.ndarray, size: Size) -> np.ndarray:
    return map_points(matrix, points, frame_centre(size))


def _residuals(matrix: Matrix, points0: np.ndarray, points1: np.ndarray, size: Size) -> np.ndarray:
    gaps = np.linalg.norm(_through(matrix, points0, size) - points1, axis=-1)
    return np.sqrt((np.nan_to_num(gaps, nan=1e9) ** 2).mean(-1))
