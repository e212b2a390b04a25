"""Images at the door: files or arrays in, checked arrays in their own dtype out.

Convention: ``(h, w)`` or ``(h, w, bands)``, red first. Four bands of 8 or 16 bits are RGBA.
Pixels that carry no data are those that are NaN or infinite, and those whose alpha is zero.
Orientation tags (EXIF) are ignored: coordinates refer to the pixels as they are stored.
"""

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from jaxtyping import Bool, Float, UInt8

from sdme.errors import InputError
from sdme.files import replacing
from sdme.io.decode import decode, too_large

MIN_SIDE = 32
_STRETCH_PERCENTILES = (0.5, 99.5)
_MAX_SAMPLE = 1_000_000
_TIFF = (".tif", ".tiff")
_SUFFIXES = (".png", *_TIFF, ".jpg", ".jpeg")


def read_image(source: str | os.PathLike[str] | np.ndarray, name: str = "image") -> np.ndarray:
    """Read and check an image that is to be registered; its dtype and bands are kept.

    ``source`` is a PNG, TIFF (8 to 64 bits, integer or floating), JPEG, WebP or BMP file, or an
    array. ``name`` says in error messages which image is meant.

    Raises:
        InputError: there is no such image, it cannot be decoded or is too large, a side is below
            32 px, or it holds no data or one value only.
    """
    image = read_layer(source, name)
    label = _label(source, name)
    height, width = image.shape[:2]
    if min(width, height) < MIN_SIDE:
        raise InputError(
            f"{label} is {width}x{height} px; give an image of at least {MIN_SIDE}x{MIN_SIDE} px"
        )
    valid = valid_mask(image)
    if not valid.any():
        raise InputError(
            f"{label} holds no data: every pixel is NaN or transparent; give an image with content"
        )
    colours = image[..., _colour_bands(image)]
    if all(_is_constant(colours[..., i][valid]) for i in range(colours.shape[2])):
        raise InputError(
            f"{label} has the same value everywhere, so there is nothing to align; "
            "give an image with content"
        )
    return image


def read_layer(source: str | os.PathLike[str] | np.ndarray, name: str = "image") -> np.ndarray:
    """Read an image that is only to be warped: as :func:`read_image`, whatever its content."""
    label = _label(source, name)
    if isinstance(source, np.ndarray):
        return _checked(source, label)
    if isinstance(source, str | os.PathLike):
        return _checked(decode(Path(source), label), label)
    raise InputError(f"{name} is a {type(source).__name__}; give a path or a numpy array")


def valid_mask(image: np.ndarray) -> Bool[np.ndarray, "h w"]:
    """Which pixels carry data: finite in every colour band and, with RGBA, not transparent."""
    if image.dtype.kind == "f":
        return np.asarray(np.isfinite(image[..., _colour_bands(image)]).all(axis=-1))
    if has_alpha(image):
        return image[..., 3] > 0
    return np.ones(image.shape[:2], dtype=bool)


def has_alpha(image: np.ndarray) -> bool:
    """Whether the fourth band is alpha; one that is zero everywhere is not."""
    is_rgba = image.ndim == 3 and image.shape[2] == 4 and image.dtype in (np.uint8, np.uint16)
    return is_rgba and bool(image[..., 3].any())


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
    if image.dtype == np.uint8:
        values = bands.astype(np.float32) / np.float32(255)
    elif image.dtype.kind == "b":
        values = bands.astype(np.float32)
    else:
        low, high = _stretch_limits(bands, valid)
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


def no_data_value(image: np.ndarray) -> float:
    """What pixels without data are filled with: NaN in floating images, else 0 (transparent)."""
    return float("nan") if image.dtype.kind == "f" else 0.0


def image_suffix(image: np.ndarray, source_suffix: str = "") -> str:
    """Suffix for an image that came from a file with ``source_suffix``.

    A TIFF stays one; all else becomes ``.png`` where that can hold it unchanged, or ``.tif``.
    """
    if source_suffix.lower() in _TIFF:
        return source_suffix.lower()
    return ".png" if _fits_png(image) else ".tif"


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
    if not (suffix in _TIFF or (_fits_png if suffix == ".png" else _fits_jpeg)(image)):
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
        _write_tiff(path, image)
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


def _fits_png(image: np.ndarray) -> bool:
    return image.dtype in (np.uint8, np.uint16) and (image.ndim == 2 or image.shape[2] in (3, 4))


def _fits_jpeg(image: np.ndarray) -> bool:
    return image.dtype == np.uint8 and (image.ndim == 2 or image.shape[2] == 3)


def _write_tiff(path: Path, image: np.ndarray) -> None:
    if image.dtype.kind == "b" and image.ndim == 3:
        image = image.astype(np.uint8)  # one-bit TIFFs have one band
    bands = 1 if image.ndim == 2 else image.shape[2]
    is_colour = bands in (3, 4) and image.dtype in (np.uint8, np.uint16)
    tifffile.imwrite(
        path,
        image,
        photometric="rgb" if is_colour else "minisblack",
        planarconfig="contig" if bands > 1 else None,
        compression="zlib",
        metadata=None,
        extrasamples=["unassalpha"] if is_colour and bands == 4 else None,
    )


def _label(source: Any, name: str) -> str:
    return f"{name} {source}" if isinstance(source, str | os.PathLike) else name


def _checked(image: np.ndarray, label: str) -> np.ndarray:
    """Native byte order, one band as ``(h, w)``; shapes and dtypes that mean nothing are errors."""
    if image.dtype.kind not in "buif":
        raise InputError(
            f"{label} has dtype {image.dtype}; give booleans, integers or floating numbers"
        )
    if image.ndim not in (2, 3) or 0 in image.shape:
        raise InputError(f"{label} has shape {image.shape}; give (h, w) or (h, w, bands)")
    if image.ndim == 3 and image.shape[0] <= 4 and min(image.shape[1:]) >= MIN_SIDE:
        raise InputError(
            f"{label} has shape {image.shape}, which looks like bands first; "
            "move the bands to the last axis"
        )
    if problem := too_large(image.shape[1], image.shape[0], image.nbytes):
        raise InputError(f"{label} is {problem}")
    if image.dtype == np.longdouble:
        image = image.astype(np.float64)
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[..., 0]
    return np.ascontiguousarray(image, dtype=image.dtype.newbyteorder("="))


def _colour_bands(image: np.ndarray) -> Any:
    """Index of the bands that the network sees, as the last axis."""
    if image.ndim == 2:
        return np.newaxis
    return [0] if image.shape[2] < 3 else [0, 1, 2]


def _is_constant(values: np.ndarray) -> bool:
    return bool(values.min() == values.max())


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
