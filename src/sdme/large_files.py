"""Images larger than memory: parts of them from disk, a warp block by block, a journal of a run."""

import contextlib
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sdme.config import Interpolation, ViewSettings
from sdme.errors import InputError
from sdme.files import write_text
from sdme.geometry.mapping import Matrix, frame_centre, map_points
from sdme.geometry.sampling import resize_matrix
from sdme.io.geo import GeoHeader, Window, read_window, writing_windows
from sdme.io.raster import Raster
from sdme.io.resample import carry
from sdme.tiling import Held
from sdme.transform import Transform

_MARGIN = 4  # px around what a block shows, for interpolation
_BORDER = 9  # points along a block's side that are sent to the moving image


@dataclass(frozen=True)
class OnDisk:
    """A GeoTIFF, or any TIFF that rasterio reads, of which parts are read when they are needed."""

    header: GeoHeader
    view: ViewSettings
    name: str

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, px."""
        return self.header.size

    def part(self, low: np.ndarray, high: np.ndarray, shrink: float) -> tuple[Raster, Matrix]:
        """The bands that the network sees, shrunk while they are read."""
        width, height = (int(v) for v in high - low)
        small = max(1, math.ceil(width * shrink)), max(1, math.ceil(height * shrink))
        bands = None if self.view.bands is None else [band - 1 for band in self.view.bands]
        window = Window(int(low[0]), int(low[1]), width, height)
        found = read_window(self.header.path, window, small, bands=bands, name=self.name)
        shift = np.eye(3)
        shift[:2, 2] = -low
        matrix = resize_matrix(small[0] / width, small[1] / height).numpy() @ shift
        view = self.view.model_copy(update={"bands": None})
        return Raster(found.pixels, mask=found.valid, view=view), matrix


LargeSource = OnDisk | Held


def reduced(header: GeoHeader, side: int, view: ViewSettings, name: str) -> Raster:
    """The whole image with a longer side of ``side`` px at most, with its place."""
    scale = min(1.0, side / max(header.size))
    small = (max(1, round(header.size[0] * scale)), max(1, round(header.size[1] * scale)))
    found = read_window(header.path, size=small, name=name)
    return Raster(
        found.pixels,
        mask=found.valid,
        has_alpha=header.has_alpha,
        georeference=found.georeference,
        band_names=header.band_names,
        view=view,
        name=str(header.path),
    )


def warp_to_file(
    path: Path,
    fixed: LargeSource,
    moving: LargeSource,
    transform: Transform,
    *,
    block: int,
    interpolation: Interpolation | None,
    progress: Callable[[int, int], object] | None = None,
) -> None:
    """Write the moving image on the fixed grid as a GeoTIFF, ``block`` px a side at once.

    Raises:
        InputError: rasterio is missing, the place cannot be written to, or the disk is full.
    """
    held = moving.raster if isinstance(moving, Held) else None
    bands = held.bands if held is not None else moving.header.bands  # type: ignore[union-attr]
    example = _part_of(moving, Window(0, 0, 1, 1))
    place = fixed.raster.georeference if isinstance(fixed, Held) else fixed.header.georeference
    boxes = list(_blocks(fixed.size, block))
    with writing_windows(
        path,
        size=fixed.size,
        bands=bands,
        dtype=example.pixels.dtype,
        georeference=place,
        nodata=example.fill if example.nodata is not None or _is_floating(example) else None,
        band_names=example.band_names,
        has_alpha=example.has_alpha,
        is_colour=bands - example.has_alpha == 3 and example.pixels.dtype.kind == "u",
    ) as writer:
        for done, box in enumerate(boxes):
            if progress is not None:
                progress(done, len(boxes))
            pixels, valid = _warped(box, moving, transform, example, interpolation)
            writer.write(box, pixels, None if example.has_alpha else valid)


def _warped(
    box: Window,
    moving: LargeSource,
    transform: Transform,
    example: Raster,
    interpolation: Interpolation | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of a block and which of them carry data."""
    seen = _window_for(box, moving.size, transform)
    if seen is None:
        shape = (box.height, box.width, *example.pixels.shape[2:])
        empty = np.full(shape, example.fill, example.pixels.dtype)
        return empty, np.zeros(shape[:2], dtype=bool)
    to_block, to_part = np.eye(3), np.eye(3)
    to_block[:2, 2] = box.x, box.y
    to_part[:2, 2] = -seen.x, -seen.y
    sizes = (box.width, box.height), (seen.width, seen.height)
    local = Transform(to_part @ transform.matrix @ to_block, *sizes)
    out = carry(_part_of(moving, seen), local, interpolation)
    valid = out.mask if out.mask is not None else np.ones(out.pixels.shape[:2], dtype=bool)
    return out.pixels, valid


def _window_for(box: Window, size: tuple[int, int], transform: Transform) -> Window | None:
    """The part of the moving image that a block of the fixed one shows; ``None`` for nothing."""
    x = np.linspace(box.x, box.x + box.width - 1, _BORDER)
    y = np.linspace(box.y, box.y + box.height - 1, _BORDER)
    points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    there = map_points(transform.matrix, points, frame_centre(transform.fixed_size))
    there = there[np.isfinite(there).all(1)]
    if not len(there):
        return None
    low = np.maximum(np.floor(there.min(0)).astype(int) - _MARGIN, 0)
    high = np.minimum(np.ceil(there.max(0)).astype(int) + _MARGIN + 1, size)
    if (high <= low).any():
        return None
    return Window(int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1]))


def _part_of(source: LargeSource, window: Window) -> Raster:
    """All bands of a part, with what is known of missing data."""
    if isinstance(source, Held):
        low = np.array([window.x, window.y])
        return source.part(low, low + [window.width, window.height], 1.0)[0]
    header = source.header
    found = read_window(header.path, window, name=source.name)
    return Raster(
        found.pixels,
        nodata=header.nodata,
        mask=None if header.has_alpha or header.nodata is not None else found.valid,
        has_alpha=header.has_alpha,
        band_names=header.band_names,
        is_labels=header.has_palette,
    )


def _blocks(size: tuple[int, int], side: int) -> Iterator[Window]:
    for y in range(0, size[1], side):
        for x in range(0, size[0], side):
            yield Window(x, y, min(side, size[0] - x), min(side, size[1] - y))


def _is_floating(raster: Raster) -> bool:
    return raster.pixels.dtype.kind == "f"


class Journal:
    """What a run has found so far, a JSON line each, so that one that was ended goes on.

    A journal of other images, settings or weights is begun anew; a line that was cut off is lost.
    """

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        self.path, self._about = path, json.dumps(about, sort_keys=True)
        self.lines = self._read()
        if not self.lines:
            write_text(path, self._about + "\n")

    def add(self, line: dict[str, Any]) -> None:
        """Keep a line; it is on disk when this returns.

        Raises:
            InputError: it cannot be written, as on a full disk.
        """
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise InputError(f"cannot write {self.path}: {error.strerror}") from None

    def remove(self) -> None:
        """Leave nothing behind."""
        with contextlib.suppress(OSError):
            self.path.unlink()

    def _read(self) -> list[dict[str, Any]]:
        """Lines of an earlier run of the same; the file ends with a whole line afterwards."""
        try:
            text = self.path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return []
        first, *rest = text.split("\n")
        if first != self._about:
            return []
        found = []
        for line in rest[:-1]:
            try:
                found.append(json.loads(line))
            except ValueError:
                break
        kept = [self._about, *(json.dumps(line) for line in found)]
        write_text(self.path, "\n".join(kept) + "\n")
        return found
