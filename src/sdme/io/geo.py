"""GeoTIFFs through rasterio: headers, parts of images too large to be read whole, writing.

Only GeoTIFF is opened, never another format that the library knows. Windows are in pixels of the
full image; what comes back of one carries its own georeference.
"""

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool

from sdme.config import MAX_PIXELS
from sdme.errors import InputError
from sdme.files import replacing
from sdme.io.georeference import (
    Georeference,
    coordinate_system,
    first_line,
    load_rasterio,
)
from sdme.io.quiet import silent_stderr

MAX_BLOCK_BYTES = 512 * 1024**2
_MAX_BANDS = 4096
_ROOM = "see whether there is room on the disk"


class Window(NamedTuple):
    """A part of an image: its first pixel and its size, px."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class GeoHeader:
    """What a GeoTIFF says of itself; nothing is decoded for it.

    ``size`` is (width, height), ``block`` that of the tiles or strips it is stored in.
    ``nodata`` is ``None`` where none is declared. ``georeference`` is ``None`` without a coordinate
    system or without an affine placement (a file with ground control points alone).
    ``overviews`` are the factors of the smaller copies in the file. ``has_alpha``: the last band is
    transparency. ``has_palette``: values are indices into a table of colours.
    """

    path: Path
    size: tuple[int, int]
    bands: int
    dtype: np.dtype
    nodata: float | None
    georeference: Georeference | None
    band_names: tuple[str, ...] = ()
    has_alpha: bool = False
    has_palette: bool = False
    block: tuple[int, int] = (0, 0)
    overviews: tuple[int, ...] = ()


class Part(NamedTuple):
    """Pixels ``(h, w)`` or ``(h, w, bands)`` in their own dtype, those with data, their place."""

    pixels: np.ndarray
    valid: Bool[np.ndarray, "h w"]
    georeference: Georeference | None


def read_header(path: Path | str, name: str = "image") -> GeoHeader:
    """Header of a GeoTIFF, or of any TIFF that GDAL reads.

    Raises:
        InputError: rasterio is missing, or the file is no TIFF that can be read.
    """
    path = Path(path)
    with _opened(path, f"{name} {path}") as dataset, silent_stderr():
        return _header(dataset, path)


def read_window(
    path: Path | str,
    window: Window | None = None,
    size: tuple[int, int] | None = None,
    *,
    bands: Sequence[int] | None = None,
    name: str = "image",
) -> Part:
    """Read a part of a GeoTIFF, shrunk to ``size`` (width, height) if that is given.

    ``window`` must lie inside the image; without one the whole image is read. Shrinking averages
    the pixels that carry data (a palette's are picked) and uses the overviews. ``bands`` are
    places from 0. No data are pixels that every read band declares so, that an alpha band or mask
    hides, or that are not finite in one of the bands.

    Raises:
        InputError: as :func:`read_header`; the window is outside the image, a band is not there,
            there are too many pixels to be held, or the data is damaged.
    """
    path = Path(path)
    label = f"{name} {path}"
    with _opened(path, label) as dataset:
        window = window or Window(0, 0, dataset.width, dataset.height)
        size = size or (window.width, window.height)
        chosen = _checked_bands(dataset.count, bands, label)
        _check_window(window, size, (dataset.width, dataset.height), len(chosen), label)
        with silent_stderr():
            return _read(dataset, window, size, chosen, label)


class WindowWriter:
    """A GeoTIFF that is written part by part; see :func:`writing_windows`."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    def write(self, window: Window, pixels: np.ndarray, valid: np.ndarray | None = None) -> None:
        """Write ``(h, w)`` or ``(h, w, bands)`` pixels; ``valid`` marks those with data.

        The mask is stored only where the file declares no value for missing data.
        """
        place = _rasterio_window(window)
        stack = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
        expected = (self._dataset.count, window.height, window.width)
        if stack.shape != expected:
            raise InputError(f"a window of shape {expected} got pixels of shape {stack.shape}")
        with silent_stderr():
            self._dataset.write(np.ascontiguousarray(stack), window=place)
            if valid is not None and self._dataset.nodata is None:
                self._dataset.write_mask(valid.astype(np.uint8) * np.uint8(255), window=place)


@contextlib.contextmanager
def writing_windows(
    path: Path | str,
    *,
    size: tuple[int, int],
    bands: int,
    dtype: Any,
    georeference: Georeference | None = None,
    nodata: float | None = None,
    band_names: Sequence[str] = (),
    has_alpha: bool = False,
    is_colour: bool = False,
    palette: np.ndarray | None = None,
) -> Iterator[WindowWriter]:
    """Yield a writer of a tiled, losslessly compressed GeoTIFF (BigTIFF where it must be).

    The file appears when the block succeeds, and not at all when it fails. ``palette`` is
    ``(n, 3)`` 8-bit colours of the values of a single band.

    Raises:
        InputError: rasterio is missing, ``nodata`` or the dtype cannot be stored, the place cannot
            be written to, or the disk is full.
    """
    rasterio = load_rasterio("writing a GeoTIFF")
    from rasterio.errors import RasterioError
    from rasterio.transform import Affine

    path, dtype = Path(path), np.dtype(dtype)
    profile: dict[str, Any] = {
        "driver": "GTiff", "width": size[0], "height": size[1], "count": bands, "dtype": dtype.name,
        "compress": "deflate", "predictor": 3 if dtype.kind == "f" else 2, "bigtiff": "if_safer",
        "nodata": nodata,
        "photometric": "palette" if palette is not None else "rgb" if is_colour else "minisblack",
    }  # fmt: skip
    if max(size) >= 256:
        profile |= {"tiled": True, "blockxsize": 256, "blockysize": 256}
    if bands > 1:
        profile["alpha"] = "unspecified" if not has_alpha else "yes"
        profile["interleave"] = "pixel" if bands <= 4 else "band"
    if georeference is not None:
        profile |= {
            "crs": coordinate_system(georeference.crs) if georeference.crs else None,
            "transform": Affine(*georeference.geotransform),
        }
    with replacing(path) as temporary, _quiet(rasterio, GDAL_TIFF_INTERNAL_MASK=True):
        try:
            dataset = rasterio.open(temporary, "w", **profile)
        except (RasterioError, ValueError, TypeError) as error:
            raise InputError(f"cannot write {path}: {_explained(error)}") from None
        try:
            for place, text in enumerate(band_names[:bands], 1):
                if text:
                    dataset.set_band_description(place, text)
            if palette is not None:
                table = {i: (*map(int, colour), 255) for i, colour in enumerate(palette)}
                dataset.write_colormap(1, table)
            yield WindowWriter(dataset)
        except RasterioError as error:
            raise InputError(f"cannot write {path}: {_explained(error)}; {_ROOM}") from None
        finally:
            _close(dataset, path)


@contextlib.contextmanager
def _opened(path: Path, label: str) -> Iterator[Any]:
    rasterio = load_rasterio("reading a GeoTIFF")
    from rasterio.errors import RasterioError, RasterioIOError

    if not path.is_file():
        what = "is a folder; give an image file" if path.is_dir() else "does not exist; check it"
        raise InputError(f"{label} {what}")
    with _quiet(rasterio):
        try:
            with silent_stderr():
                dataset = rasterio.open(path.absolute(), driver="GTiff")
            with dataset:
                _check_dataset(dataset, label)
                yield dataset
        except RasterioIOError as error:
            raise InputError(
                f"{label} cannot be read as a GeoTIFF: {_explained(error)}; give an undamaged file"
            ) from None
        except (RasterioError, ValueError, OverflowError, UnicodeError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{label} is damaged: {first_line(error)}") from None


@contextlib.contextmanager
def _quiet(rasterio: Any, **options: Any) -> Iterator[None]:
    """GDAL without side effects: no files written beside the image, no chatter."""
    from rasterio.errors import NotGeoreferencedWarning

    with (
        warnings.catch_warnings(),
        rasterio.Env(GDAL_PAM_ENABLED=False, **options),
    ):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def _close(dataset: Any, path: Path) -> None:
    """Most of the data is written now, so that this is where a full disk shows."""
    from rasterio.errors import RasterioError

    try:
        with silent_stderr():
            dataset.close()
    except RasterioError as error:
        raise InputError(f"cannot write {path}: {_explained(error)}; {_ROOM}") from None


def _check_dataset(dataset: Any, label: str) -> None:
    if dataset.count < 1 or dataset.count > _MAX_BANDS:
        raise InputError(f"{label} has {dataset.count} bands; 1 to {_MAX_BANDS} are read")
    kinds = set(dataset.dtypes)
    if len(kinds) > 1 or np.dtype(dataset.dtypes[0]).kind not in "uif":
        raise InputError(
            f"{label} has bands of {', '.join(sorted(kinds))}; give one integer or floating type"
        )
    height, width = dataset.block_shapes[0]
    block = width * height * np.dtype(dataset.dtypes[0]).itemsize
    if dataset.interleaving is not None and dataset.interleaving.value.upper() == "PIXEL":
        block *= dataset.count
    if block > MAX_BLOCK_BYTES:
        raise InputError(
            f"{label} is stored in blocks of {width}x{height} px ({block / 1e9:.1f} GB each); "
            "write it again with tiles"
        )


def _header(dataset: Any, path: Path) -> GeoHeader:
    from rasterio.enums import ColorInterp

    height, width = dataset.block_shapes[0]
    return GeoHeader(
        path=path,
        size=(dataset.width, dataset.height),
        bands=dataset.count,
        dtype=np.dtype(dataset.dtypes[0]),
        nodata=dataset.nodata,
        georeference=_georeference(dataset),
        band_names=tuple(text or "" for text in dataset.descriptions),
        has_alpha=dataset.count > 1 and dataset.colorinterp[-1] == ColorInterp.alpha,
        has_palette=dataset.colorinterp[0] == ColorInterp.palette,
        block=(width, height),
        overviews=tuple(dataset.overviews(1)),
    )


def _georeference(dataset: Any) -> Georeference | None:
    if dataset.crs is None or dataset.transform.is_identity:
        return None
    try:
        return Georeference.from_geotransform(dataset.crs.to_wkt(), list(dataset.transform)[:6])
    except InputError:
        return None


def _checked_bands(count: int, bands: Sequence[int] | None, label: str) -> list[int]:
    chosen = list(range(count)) if bands is None else list(bands)
    wrong = [band for band in chosen if not 0 <= band < count]
    if wrong or not chosen:
        raise InputError(f"{label} has {count} band(s), not band {[b + 1 for b in wrong]}")
    return chosen


def _check_window(
    window: Window, size: tuple[int, int], full: tuple[int, int], bands: int, label: str
) -> None:
    x, y, width, height = window
    inside = min(x, y) >= 0 and x + width <= full[0] and y + height <= full[1]
    if min(width, height, *size) < 1 or not inside:
        raise InputError(f"{label} of {full[0]}x{full[1]} px has no window {tuple(window)}")
    if size[0] * size[1] * bands > 3 * MAX_PIXELS:
        raise InputError(
            f"{label}: {size[0]}x{size[1]} px of {bands} band(s) are too many to be read at once; "
            "read a smaller window"
        )


def _read(
    dataset: Any, window: Window, size: tuple[int, int], bands: list[int], label: str
) -> Part:
    from rasterio.enums import ColorInterp, Resampling
    from rasterio.errors import RasterioIOError

    is_same = size == (window.width, window.height)
    has_palette = dataset.colorinterp[0] == ColorInterp.palette
    how = Resampling.nearest if is_same or has_palette else Resampling.average
    place, shape = _rasterio_window(window), (size[1], size[0])
    indexes = [band + 1 for band in bands]
    try:
        stack = dataset.read(indexes, window=place, out_shape=(len(bands), *shape), resampling=how)
        valid = np.zeros(shape, dtype=bool)
        for index in indexes:
            valid |= dataset.read_masks(index, window=place, out_shape=shape) > 0
    except RasterioIOError as error:
        raise InputError(
            f"{label} cannot be decoded: {_explained(error)}; give an undamaged file"
        ) from None
    if stack.dtype.kind == "f":
        valid &= np.isfinite(stack).all(axis=0)
    placement = _georeference(dataset)
    if placement is not None:
        scale = size[0] / window.width, size[1] / window.height
        placement = placement.of_part((window.x, window.y), scale)
    pixels = stack[0] if len(bands) == 1 else np.ascontiguousarray(np.moveaxis(stack, 0, -1))
    return Part(pixels, valid, placement)


def _rasterio_window(window: Window) -> Any:
    from rasterio.windows import Window as RasterioWindow

    return RasterioWindow(*window)  # pyright: ignore[reportCallIssue] - an attrs class


def _explained(error: BaseException) -> str:
    """The first cause, which rasterio hides behind a general line, without the path."""
    cause = error.__cause__ or error
    return first_line(cause).rstrip(".")
