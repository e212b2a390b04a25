"""Reading an image of any format, with everything its file says, and the caller's own mask."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sdme.config import Axis, ViewSettings
from sdme.errors import InputError
from sdme.io.decode import decode_flat, known_format, opened
from sdme.io.header import MEDICAL
from sdme.io.limits import too_large
from sdme.io.medical import decode_slice
from sdme.io.raster import ImageSource, Mask, Raster
from sdme.io.tiff import decode_tiff

MIN_SIDE = 32


def read_raster(
    source: ImageSource,
    name: str = "image",
    *,
    mask: ImageSource | None = None,
    view: ViewSettings | None = None,
    axis: Axis = "z",
    place: int | None = None,
) -> Raster:
    """Read an image with all that is known of it; pixels and missing data stay as they are stored.

    ``source`` is a PNG, TIFF, GeoTIFF, JPEG, WebP, BMP, NIfTI, NRRD or DICOM file, told by its
    content, or an array, or a raster that is given a mask or view. ``mask`` is an image of the same
    size; a registration looks at pixels where it is not zero, and at nothing else. ``view`` says
    what the network sees. ``place`` (from 0) and ``axis`` choose the slice of a volume. ``name``
    says in error messages which image is meant.

    Raises:
        InputError: there is no such image, it cannot be decoded or is too large, an extra is
            missing, the slice, mask or band does not fit.
    """
    label = _label(source, name)
    raster = _read(source, name, label, axis, place)
    if place is not None and raster.plane is None:
        raise InputError(f"{label} is no volume; leave the slice out")
    raster = replace(raster, pixels=checked(raster.pixels, label))
    _check_parts(raster, label)
    if mask is not None:
        raster = replace(raster, use=_read_mask(mask, raster.size, f"mask of the {name}"))
    if view is not None:
        raster = replace(raster, view=view)
    if raster.view.bands and max(raster.view.bands) > raster.bands:
        raise InputError(
            f"{label} has {raster.bands} band(s), not band {max(raster.view.bands)}; "
            "bands count from 1"
        )
    return raster


def check_content(raster: Raster, name: str) -> None:
    """Refuse what cannot be registered.

    Raises:
        InputError: a side is below 32 px, or the image holds no data or one value only, in the
            bands that are looked at.
    """
    from sdme.io.view import Looker  # which needs this module

    label = f"{name} {raster.name}" if raster.name else name
    width, height = raster.size
    if min(width, height) < MIN_SIDE:
        raise InputError(
            f"{label} is {width}x{height} px; give an image of at least {MIN_SIDE}x{MIN_SIDE} px"
        )
    looker = Looker(raster)
    if not looker.content.any():
        raise InputError(
            f"{label} holds no data: every pixel is NaN, transparent or declared missing; "
            "give an image with content"
        )
    seen = looker.content if raster.use is None else looker.content & raster.use
    if not seen.any():
        raise InputError(f"{label} holds no data where its mask allows to look; check the mask")
    bands = raster.pixels[..., None] if raster.pixels.ndim == 2 else raster.pixels
    if all(_is_constant(bands[..., i][seen]) for i in looker.indices):
        raise InputError(
            f"{label} has the same value everywhere, so there is nothing to align; "
            "give an image with content"
        )


def checked(image: np.ndarray, label: str) -> np.ndarray:
    """Native byte order, one band as ``(h, w)``.

    Raises:
        InputError: the shape or dtype means nothing, or the image is too large.
    """
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


def as_raster(image: np.ndarray) -> Raster:
    """A raster of an array; four bands of 8 or 16 bits are RGBA."""
    return Raster(image, has_alpha=has_alpha(image))


def has_alpha(image: np.ndarray) -> bool:
    """Whether the fourth band of an array is alpha; one that is zero everywhere is not."""
    is_rgba = image.ndim == 3 and image.shape[2] == 4 and image.dtype in (np.uint8, np.uint16)
    return is_rgba and bool(image[..., 3].any())


def _read(source: ImageSource, name: str, label: str, axis: Axis, place: int | None) -> Raster:
    if isinstance(source, Raster):
        return source
    if isinstance(source, np.ndarray):
        return as_raster(source)
    if not isinstance(source, str | os.PathLike):
        raise InputError(f"{name} is a {type(source).__name__}; give a path or a numpy array")
    path = Path(source)
    with opened(path, label) as file:
        kind = known_format(file, label, medical=True)
        if kind in MEDICAL:
            raster = decode_slice(file, path, kind, label, axis, place)
        elif kind == "tiff":
            content = decode_tiff(file, label)
            raster = _placed(content.raster, path, name) if content.says_where else content.raster
        else:
            raster = decode_flat(file, kind, label)
    return replace(raster, name=str(source))


def _placed(raster: Raster, path: Path, name: str) -> Raster:
    """With what rasterio knows of the place; what it does not is noted, never hidden."""
    from sdme.io.geo import read_header

    try:
        header = read_header(path, name)
    except InputError as error:
        return replace(raster, notes=(f"where {path} lies is not used: {error}",))
    names = tuple(header.band_names) if any(header.band_names) else ()
    notes: tuple[str, ...] = ()
    if header.georeference is None:
        notes = (
            f"where {path} lies is not used: it has no coordinate system, or no affine placement "
            "(control points alone are not enough); gdalwarp can give it one",
        )
    return replace(raster, georeference=header.georeference, band_names=names, notes=notes)


def _check_parts(raster: Raster, label: str) -> None:
    """Whoever builds a raster by hand may have mixed up sizes."""
    for mask in (raster.mask, raster.use):
        if mask is not None and (mask.shape != raster.pixels.shape[:2] or mask.dtype != bool):
            raise InputError(
                f"{label} is {_text(raster.size)} px but has a mask of shape {mask.shape} and "
                f"dtype {mask.dtype}; give booleans (h, w)"
            )


def _read_mask(source: ImageSource, size: tuple[int, int], name: str) -> Mask:
    """Pixels that are not zero in any of the mask's colour bands."""
    raster = read_raster(source, name)
    label = _label(source, name)
    if raster.size != size:
        raise InputError(
            f"{label} is {_text(raster.size)} px but the image {_text(size)}; "
            "give a mask of the image's size"
        )
    bands = raster.pixels[..., None] if raster.pixels.ndim == 2 else raster.pixels
    bands = bands[..., : bands.shape[2] - raster.has_alpha]
    use = np.asarray(((bands != 0) & (bands == bands)).any(axis=-1))  # noqa: PLR0124 - no NaN
    if not use.any():
        raise InputError(f"{label} is zero everywhere; it is not zero where to look")
    return use


def _label(source: Any, name: str) -> str:
    if isinstance(source, Raster):
        return f"{name} {source.name}" if source.name else name
    return f"{name} {source}" if isinstance(source, str | os.PathLike) else name


def _is_constant(values: np.ndarray) -> bool:
    return bool(values.min() == values.max())


def _text(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
