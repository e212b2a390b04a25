"""Writing a raster in the format that holds all of it."""

import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from sdme.errors import InputError
from sdme.files import replacing
from sdme.io.image import fits_jpeg, fits_png, store_image
from sdme.io.medical import write_slice
from sdme.io.raster import Raster
from sdme.io.tiff import write_tiff

TIFF, MEDICAL = (".tif", ".tiff"), (".nii", ".nii.gz", ".nrrd")
SUFFIXES = (".png", *TIFF, ".jpg", ".jpeg", *MEDICAL)
_LACKING = ("bool", "float16")


def suffix_of(path: Path) -> str:
    """Suffix in lower case, both parts of ``.nii.gz``."""
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else Path(name).suffix


def raster_suffix(raster: Raster, source: str | os.PathLike[str] = "") -> str:
    """Suffix of the format for an image that came from ``source``.

    That of the plane of a slice; TIFF for what has a place, declared missing data, a mask that
    hides different values or a palette, what was a TIFF, and what PNG cannot hold; else PNG.
    """
    suffix = suffix_of(Path(source))
    if raster.plane is not None:
        return suffix if suffix in MEDICAL else raster.plane.suffix
    if suffix in TIFF:
        return suffix
    says_more = (
        raster.georeference is not None
        or raster.nodata is not None
        or raster.palette is not None
        or _hides_values(raster)
    )
    return ".tif" if says_more or not fits_png(raster.pixels) else ".png"


def write_raster(path: str | os.PathLike[str], raster: Raster) -> None:
    """Write an image with all that is known of it; the file appears whole or not at all.

    The suffix says how: ``.tif`` holds everything (a GeoTIFF where the place is known), ``.png`` 8
    or 16 bits of 1, 3 or 4 bands, ``.jpg`` 8 bits of 1 or 3, ``.nii``, ``.nii.gz`` and ``.nrrd`` a
    slice with its place in a body. Pixels that a mask hides are written as the value of missing
    data or as transparent, and a ``.tif`` without these has a mask.

    Raises:
        InputError: the suffix is unknown or its format cannot hold the image; an extra is missing;
            the place cannot be written to.
    """
    path = Path(path)
    check_suffix(path, raster)
    with replacing(path) as temporary:
        try:
            store_raster(temporary, raster)
        except InputError as error:  # which names the temporary file
            raise InputError(str(error).replace(str(temporary), str(path))) from None


def check_suffix(path: Path, raster: Raster) -> None:
    """Refuse a format that cannot hold a raster.

    Raises:
        InputError: so it is.
    """
    suffix = suffix_of(path)
    if suffix not in SUFFIXES:
        raise InputError(f"cannot write {path}: end the name in {', '.join(SUFFIXES)}")
    if suffix in MEDICAL and raster.plane is None:
        raise InputError(
            f"cannot write {path}: it is not known where in a body the image lies, as the grid is "
            "not that of a NIfTI, NRRD or DICOM slice; end the name in .tif"
        )
    fits = {".png": fits_png, ".jpg": fits_jpeg, ".jpeg": fits_jpeg}.get(suffix)
    if fits is not None and not fits(raster.pixels):
        raise InputError(
            f"cannot write {path}: {suffix[1:].upper()} cannot hold {raster.bands} band(s) of "
            f"{raster.pixels.dtype}; end the name in .tif"
        )
    if suffix not in TIFF and _hides_values(raster):
        raise InputError(
            f"cannot write {path}: {suffix[1:].upper()} cannot hold the mask, and what it hides "
            "would become data; end the name in .tif"
        )


def _hides_values(raster: Raster) -> bool:
    """Whether a mask hides pixels of more than one value, which would be data without it."""
    if raster.mask is None or raster.mask.all():
        return False
    hidden = raster.pixels[~raster.mask]
    same = hidden == hidden[0]
    if hidden.dtype.kind == "f":
        same |= np.isnan(hidden) & np.isnan(hidden[0])
    return not same.all()


def _declared(raster: Raster) -> Raster:
    """Missing pixels of a mask as alpha and the value of missing data say it, where there are."""
    if raster.mask is None or (raster.nodata is None and not raster.has_alpha):
        return raster
    pixels = raster.pixels.copy()
    if raster.nodata is not None:
        pixels[~raster.mask] = raster.nodata
    if raster.has_alpha:
        pixels[~raster.mask, -1] = 0
    return replace(raster, pixels=pixels)


def store_raster(path: Path, raster: Raster) -> None:
    """Write a raster that its format can hold, straight to ``path``."""
    suffix = suffix_of(path)
    if suffix in TIFF:
        raster = _declared(raster)
    if suffix in MEDICAL:
        write_slice(path, _storable(raster))
    elif suffix in TIFF and _needs_geotiff(raster):
        _write_geotiff(path, raster)
    elif suffix in TIFF:
        write_tiff(path, raster)
    else:
        store_image(path, raster.pixels)


def _needs_geotiff(raster: Raster) -> bool:
    """Whether there is a place to be written; band names come with it."""
    return raster.georeference is not None


def _write_geotiff(path: Path, raster: Raster) -> None:
    from sdme.io.geo import Window, writing_windows

    raster = _storable(raster)
    pixels = raster.pixels
    colours = raster.bands - raster.has_alpha
    hides = raster.mask is not None and not raster.has_alpha and raster.nodata is None
    with writing_windows(
        path,
        size=raster.size,
        bands=raster.bands,
        dtype=pixels.dtype,
        georeference=raster.georeference,
        nodata=raster.nodata,
        band_names=raster.band_names,
        has_alpha=raster.has_alpha,
        is_colour=colours == 3 and pixels.dtype in (np.uint8, np.uint16),
        palette=raster.palette,
    ) as out:
        out.write(Window(0, 0, *raster.size), pixels, raster.mask if hides else None)


def _storable(raster: Raster) -> Raster:
    """Types that GDAL and ITK do not know in the next wider one that holds every value."""
    name = raster.pixels.dtype.name
    if name not in _LACKING:
        return raster
    wider = np.uint8 if name == "bool" else np.float32
    nodata = raster.nodata
    if nodata is not None and not math.isnan(nodata):
        nodata = float(wider(nodata))
    return replace(raster, pixels=raster.pixels.astype(wider), nodata=nodata)
