"""Images at the door: files or arrays in, checked arrays in their own dtype out.

Convention: ``(h, w)`` or ``(h, w, bands)``, red first. Four bands of 8 or 16 bits in an array are
RGBA; a TIFF says itself. Pixels that carry no data are those that are NaN or infinite, and those
whose alpha is zero. Orientation tags (EXIF) are ignored: coordinates refer to the pixels as they
are stored. What else a file says is in :class:`sdme.io.raster.Raster`.
"""

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from sdme.errors import InputError
from sdme.files import replacing
from sdme.io.raster import ImageSource, Raster
from sdme.io.read import check_content, has_alpha, read_raster
from sdme.io.tiff import write_tiff

_STRETCH_PERCENTILES = (0.5, 99.5)
_MAX_SAMPLE = 1_000_000
_TIFF = (".tif", ".tiff")
_SUFFIXES = (".png", *_TIFF, ".jpg", ".jpeg")


def read_image(source: ImageSource, name: str = "image") -> np.ndarray:
    """Read and check an image that is to be registered; its dtype and bands are kept.

    ``source`` is a file (see :func:`sdme.read_raster`, which also tells what else it holds) or an
    array. A palette gives colours; missing data of a floating image is NaN. ``name`` says in error
    messages which image is meant.

    Raises:
        InputError: there is no such image, it cannot be decoded or is too large, a side is below
            32 px, or it holds no data or one value only.
    """
    raster = read_raster(source, name)
    check_content(raster, name)
    return raster.array


def read_layer(source: ImageSource, name: str = "image") -> np.ndarray:
    """Read an image that is only to be warped: as :func:`read_image`, whatever its content."""
    return read_raster(source, name).array


def valid_mask(image: np.ndarray) -> Bool[np.ndarray, "h w"]:
    """Which pixels carry data: finite in every colour band and, with RGBA, not transparent."""
    if image.dtype.kind == "f":
        return np.asarray(np.isfinite(image[..., _colour_bands(image)]).all(axis=-1))
    if has_alpha(image):
        return image[..., 3] > 0
    return np.ones(image.shape[:2], dtype=bool)


def to_network_input(
    image: np.ndarray, valid: Bool[np.ndarray, "h w"] | None = None
) -> Float[np.ndarray, "h w 3"]:
    """Float32 RGB in [0, 1] of an image of any dtype and number of bands.

    One or two bands: the first, three times. Three or more: the first three. 8-bit values are
    divided by 255; booleans are 0 and 1; all others are stretched so that the 0.5 and the 99.5
    percentile of the valid pixels (over all used bands together) become 0 and 1. Pixels without
    data get the median of the band. ``valid`` says which pixels carry data; the default is
    :func:`valid_mask`.
    """
    bands = image[..., _colour_bands(image)]
    valid = valid_mask(image) if valid is None else valid
    return stretched(bands, valid)


def stretched(
    bands: np.ndarray,
    valid: Bool[np.ndarray, "h w"],
    within: Bool[np.ndarray, "h w"] | None = None,
) -> Float[np.ndarray, "h w 3"]:
    """As :func:`to_network_input`, of one or three chosen ``(h, w, bands)``.

    The percentiles are those of the pixels ``within``, by default all valid ones.
    """
    if bands.dtype == np.uint8:
        values = bands.astype(np.float32) / np.float32(255)
    elif bands.dtype.kind == "b":
        values = bands.astype(np.float32)
    else:
        low, high = _stretch_limits(bands, valid if within is None else within)
        bands = bands.astype(np.result_type(bands, np.float32))
        values = np.clip((bands - low) / (high - low), 0, 1).astype(np.float32)
    if not valid.all():
        values[~valid] = np.median(_sample(values, valid), axis=0)
    return values if values.shape[2] == 3 else np.repeat(values, 3, axis=2)


def to_picture(image: np.ndarray) -> UInt8[np.ndarray, "h w 3"]:
    """8-bit RGB of an image of any dtype and number of bands, as :func:`to_network_input` sees it.

    8-bit values stay as they are.
    """
    valid = valid_mask(image)
    if image.dtype == np.uint8 and valid.all():
        bands = image[..., _colour_bands(image)]
        return np.ascontiguousarray(np.broadcast_to(bands, (*bands.shape[:2], 3)))
    return np.round(to_network_input(image, valid) * 255).astype(np.uint8)


def write_image(path: str | os.PathLike[str], image: np.ndarray) -> None:
    """Write an image in its own dtype; the file appears whole or not at all.

    The suffix says how: ``.png`` (8 or 16 bits; 1, 3 or 4 bands), ``.tif`` (everything; losslessly
    compressed) or ``.jpg`` (8 bits; 1 or 3 bands; lossy).

    Raises:
        InputError: the suffix is unknown or its format cannot hold the image; the place cannot be
            written to.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in _SUFFIXES:
        raise InputError(f"cannot write {path}: end the name in {', '.join(_SUFFIXES)}")
    if not (suffix in _TIFF or (fits_png if suffix == ".png" else fits_jpeg)(image)):
        bands = 1 if image.ndim == 2 else image.shape[2]
        raise InputError(
            f"cannot write {path}: {suffix[1:].upper()} cannot hold {bands} band(s) of "
            f"{image.dtype}; end the name in .tif"
        )
    with replacing(path) as temporary:
        store_image(temporary, image)


def store_image(path: Path, image: np.ndarray) -> None:
    """Write an image that its format can hold, straight to ``path``."""
    if path.suffix.lower() in _TIFF:
        write_tiff(path, Raster(image, has_alpha=has_alpha_place(image)))
    else:
        path.write_bytes(encode_image(path.suffix.lower(), image))


def encode_image(suffix: str, image: np.ndarray, quality: int = 95) -> bytes:
    """Content of a ``.png``, ``.jpg`` or ``.webp`` file; ``quality`` (0 to 100) is not for PNG."""
    if image.ndim == 3:
        image = cv2.cvtColor(
            image, cv2.COLOR_RGBA2BGRA if image.shape[2] == 4 else cv2.COLOR_RGB2BGR
        )
    key = cv2.IMWRITE_WEBP_QUALITY if suffix == ".webp" else cv2.IMWRITE_JPEG_QUALITY
    parameters = [key, quality] if suffix != ".png" else []
    return cv2.imencode(suffix, image, parameters)[1].tobytes()


def has_alpha_place(image: np.ndarray) -> bool:
    """Whether an array's fourth band is stored as alpha."""
    return image.ndim == 3 and image.shape[2] == 4 and image.dtype in (np.uint8, np.uint16)


def fits_png(image: np.ndarray) -> bool:
    """Whether PNG holds the image unchanged."""
    return image.dtype in (np.uint8, np.uint16) and (image.ndim == 2 or image.shape[2] in (3, 4))


def fits_jpeg(image: np.ndarray) -> bool:
    """Whether JPEG can hold such an image, if not its exact values."""
    return image.dtype == np.uint8 and (image.ndim == 2 or image.shape[2] == 3)


def _colour_bands(image: np.ndarray) -> Any:
    """Index of the bands that the network sees, as the last axis."""
    if image.ndim == 2:
        return np.newaxis
    return [0] if image.shape[2] < 3 else [0, 1, 2]


def _sample(bands: np.ndarray, valid: Bool[np.ndarray, "h w"]) -> np.ndarray:
    """At most about a million of the valid pixels, ``(n, bands)``, evenly spread."""
    step = max(1, int(np.sqrt(valid.size / _MAX_SAMPLE)))
    thin = bands[::step, ::step][valid[::step, ::step]]
    return thin if len(thin) else bands[valid]


def _stretch_limits(bands: np.ndarray, valid: Bool[np.ndarray, "h w"]) -> tuple[float, float]:
    """Percentiles, or the extremes where almost all pixels have one value."""
    sample = _sample(bands, valid).astype(np.float64)
    low, high = np.percentile(sample, _STRETCH_PERCENTILES)
    if low == high:
        full = bands[valid]
        low, high = float(full.min()), float(full.max())
    if low == high:
        return low - 0.5, low + 0.5
    return float(low), float(high)
