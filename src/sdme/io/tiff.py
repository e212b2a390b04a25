"""TIFF by tifffile: pixels as they are stored, and what the tags say of missing data and alpha.

Where a GeoTIFF lies is rasterio's work; here it is only seen that it says so.
"""

import contextlib
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import tifffile

from sdme.errors import InputError
from sdme.io.header import Size
from sdme.io.limits import too_large
from sdme.io.quiet import silent_logger
from sdme.io.raster import Mask, Raster

_NODATA_TAG, _GEO_TAGS = 42113, (33550, 34264, 34735)


class TiffContent(NamedTuple):
    """A decoded TIFF; ``says_where``: it has tags of a GeoTIFF."""

    raster: Raster
    says_where: bool


def decode_tiff(file: IO[bytes], label: str) -> TiffContent:
    """Pixels with nodata value, mask, alpha and palette; ``label`` begins every error message.

    Raises:
        InputError: the file is damaged, too large, or not one flat image.
    """
    with _open(file, label) as tiff:
        page, mask_page = _only_page(tiff, label)
        _check_page(page, file, label)
        pixels = page.asarray()
        if page.axes == "SYX":
            pixels = np.moveaxis(pixels, 0, -1)
        mask = None
        if mask_page is not None:
            _check_page(mask_page, file, label)
            mask = _mask(mask_page, pixels.shape[:2])
        palette = None
        if page.photometric == tifffile.PHOTOMETRIC.PALETTE and page.colormap is not None:
            palette = (page.colormap.T >> 8).astype(np.uint8)
        raster = Raster(
            pixels=pixels,
            nodata=_nodata(page, pixels.dtype),
            mask=mask,
            has_alpha=pixels.ndim == 3 and _has_alpha(page),
            palette=palette if pixels.ndim == 2 else None,
            is_labels=palette is not None,
        )
        return TiffContent(raster, any(tag in page.tags for tag in _GEO_TAGS))


def tiff_size(file: IO[bytes], label: str) -> Size:
    """Width and height by the header.

    Raises:
        InputError: as :func:`decode_tiff`, as far as the header tells.
    """
    with _open(file, label) as tiff:
        page, _ = _only_page(tiff, label)
        _check_page(page, file, label)
        return Size(page.imagewidth, page.imagelength)


def write_tiff(path: Path, raster: Raster) -> None:
    """Store an image with its value of missing data, mask, alpha and palette, without its place."""
    image = raster.pixels
    if image.dtype.kind == "b" and image.ndim == 3:
        image = image.astype(np.uint8)  # one-bit TIFFs have one band
    bands = raster.bands
    alpha = ["unassalpha"] if raster.has_alpha else []
    is_colour = bands - len(alpha) == 3 and image.dtype in (np.uint8, np.uint16)
    samples = ["unspecified"] * (bands - (3 if is_colour else 1) - len(alpha)) + alpha
    text = "" if raster.nodata is None else repr(raster.nodata)
    tags: Sequence[tuple] = [(_NODATA_TAG, "s", 0, text, True)] if text else []
    colours: dict = {"photometric": "rgb" if is_colour else "minisblack"}
    if raster.palette is not None:
        table = np.ascontiguousarray(raster.palette.T.astype(np.uint16) * 257)
        colours = {"photometric": "palette", "colormap": table}
    hides = raster.mask is not None and raster.nodata is None and not raster.has_alpha
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(
            image,
            planarconfig="contig" if bands > 1 else None,
            compression="zlib",
            metadata=None,
            extrasamples=samples or None,
            extratags=tags,
            **colours,
        )
        if hides and raster.mask is not None:
            tiff.write(
                raster.mask,
                photometric="mask",
                subfiletype=tifffile.FILETYPE.MASK,
                compression="zlib",
                metadata=None,
            )


@contextlib.contextmanager
def _open(file: IO[bytes], label: str) -> Iterator[tifffile.TiffFile]:
    file.seek(0)
    with silent_logger("tifffile"):
        try:
            with tifffile.TiffFile(file) as tiff:
                yield tiff
        except (InputError, OSError, MemoryError):
            raise
        except Exception:  # a damaged file can make the parser and its many codecs raise anything
            raise InputError(
                f"{label} cannot be decoded: the TIFF is damaged, cut short or compressed in an "
                "unknown way; write it again as a plain TIFF"
            ) from None


def _only_page(
    tiff: tifffile.TiffFile, label: str
) -> tuple[tifffile.TiffPage, tifffile.TiffPage | None]:
    """The one full-size page, and its mask; overviews beside it do not count."""
    pages = [
        page
        for page in (tiff.pages.get(i) for i in range(len(tiff.pages)))
        if isinstance(page, tifffile.TiffPage) and not page.is_reduced
    ]
    masks = [page for page in pages if page.is_mask]
    pages = [page for page in pages if not page.is_mask]
    if len(pages) != 1:
        raise InputError(f"{label} is a TIFF of {len(pages)} pages; write the wanted page alone")
    return pages[0], masks[0] if masks else None


def _check_page(page: tifffile.TiffPage, file: IO[bytes], label: str) -> None:
    if problem := too_large(page.imagewidth, page.imagelength, page.nbytes):
        raise InputError(f"{label} declares {problem}")
    if set(page.axes) - set("YXS"):
        raise InputError(
            f"{label} is a TIFF with axes {page.axes}; give a flat image (YX, or YX and bands)"
        )
    if page.photometric == tifffile.PHOTOMETRIC.SEPARATED:
        raise InputError(f"{label} is a CMYK TIFF; convert it to RGB")
    end = max(a + b for a, b in zip(page.dataoffsets, page.databytecounts, strict=True))
    if len(page.dataoffsets) != np.prod(page.chunked) or end > file.seek(0, os.SEEK_END):
        raise InputError(f"{label} is cut short: the TIFF lacks pixels; give an undamaged file")


def _mask(page: tifffile.TiffPage, shape: tuple[int, ...]) -> Mask | None:
    values = page.asarray()
    return values > 0 if values.shape == shape else None


def _nodata(page: tifffile.TiffPage, dtype: np.dtype) -> float | None:
    """The declared value, if it is a number that a pixel can have."""
    tag = page.tags.get(_NODATA_TAG)
    try:
        text = str(tag.value).strip().strip("\0") if tag is not None else ""
        value = float(text)
        if dtype.kind == "f":
            with np.errstate(over="ignore"):
                return value if math.isinf(value) else float(dtype.type(value))
        is_plain = text.lstrip("+-").isdigit()
        exact = int(text) if is_plain else int(value)
        limits = np.iinfo(dtype)
        fits = limits.min <= exact <= limits.max and (is_plain or exact == value)
        return exact if fits else None
    except (ValueError, OverflowError):
        return None


def _has_alpha(page: tifffile.TiffPage) -> bool:
    """Whether the last band is declared to be transparency (associated or not)."""
    samples = page.extrasamples
    return bool(samples) and int(samples[-1]) in (1, 2)
