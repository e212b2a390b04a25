"""Decoding of image files by OpenCV and tifffile, with every failure as one clear line.

The declared size is checked before anything is decoded. The decoders' own chatter is kept off
the terminal.
"""

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import cv2
import numpy as np
import tifffile

from sdme.config import MAX_PIXELS
from sdme.errors import InputError
from sdme.io.header import Format, Size, declared_size, file_format

MAX_BYTES = 8 * MAX_PIXELS
_ACCEPTED = "PNG, TIFF, JPEG, WebP or BMP"

_stderr_lock = threading.Lock()


def decode(path: Path, label: str) -> np.ndarray:
    """Pixels of an image file, red first; ``label`` begins every error message."""
    with _opened(path, label) as file:
        return decode_stream(file, label)


def decode_stream(file: IO[bytes], label: str) -> np.ndarray:
    """As :func:`decode`, of an open file that can be searched."""
    kind = _known_format(file, label)
    return _decode_tiff(file, label) if kind == "tiff" else _decode_8(file, kind, label)


def file_size(path: Path, label: str) -> Size:
    """Width and height of an image file by its header: cheap, and the pixels may still be broken.

    Raises:
        InputError: as :func:`decode`, as far as the header tells.
    """
    with _opened(path, label) as file:
        return stream_size(file, label)


def stream_size(file: IO[bytes], label: str) -> Size:
    """As :func:`file_size`, of an open file that can be searched."""
    kind = _known_format(file, label)
    if kind != "tiff":
        return _checked_size(file, kind, label)
    with _open_tiff(file, label) as tiff:
        page = _only_page(tiff, label)
        _check_page(page, file, label)
        return Size(page.imagewidth, page.imagelength)


@contextlib.contextmanager
def _opened(path: Path, label: str) -> Iterator[IO[bytes]]:
    try:
        with path.open("rb") as file:
            yield file
    except FileNotFoundError:
        raise InputError(f"{label} does not exist; check the path") from None
    except IsADirectoryError:
        raise InputError(f"{label} is a folder; give an image file") from None
    except OSError as error:
        raise InputError(f"{label} cannot be read: {error.strerror or error}") from None


def _known_format(file: IO[bytes], label: str) -> Format:
    if file.seek(0, os.SEEK_END) == 0:
        raise InputError(f"{label} is an empty file; give a {_ACCEPTED} image")
    kind = file_format(file)
    if kind is None:
        raise InputError(f"{label} is not an image that can be read; give {_ACCEPTED}")
    return kind


def too_large(width: int, height: int, size: int = 0) -> str | None:
    """What is wrong with an image of so many pixels and ``size`` decoded bytes; None if nothing."""
    if width * height <= MAX_PIXELS and size <= MAX_BYTES:
        return None
    return (
        f"{width}x{height} px ({size / 1e9:.1f} GB decoded); at most {MAX_PIXELS // 1_000_000} "
        f"million pixels and {MAX_BYTES / 1e9:.1f} GB are read: shrink or crop it"
        if size
        else f"{width}x{height} px; at most {MAX_PIXELS // 1_000_000} million pixels are read: "
        "shrink or crop it"
    )


def _checked_size(file: IO[bytes], kind: Format, label: str) -> Size:
    size = declared_size(file, kind)
    if size is None or min(size) < 1:
        raise InputError(f"{label} has a broken {kind.upper()} header; give an undamaged file")
    if problem := too_large(*size):
        raise InputError(f"{label} declares {problem}")
    return size


def _decode_8(file: IO[bytes], kind: Format, label: str) -> np.ndarray:
    _checked_size(file, kind, label)
    file.seek(0)
    data = np.frombuffer(file.read(), dtype=np.uint8)
    with silent_stderr():
        try:
            image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
        except cv2.error:
            image = None
    if image is None:
        raise InputError(
            f"{label} cannot be decoded: the {kind.upper()} data is damaged or cut short; "
            "give an undamaged file"
        )
    if image.ndim == 3 and image.shape[2] in (3, 4):
        cv2.cvtColor(
            image, cv2.COLOR_BGRA2RGBA if image.shape[2] == 4 else cv2.COLOR_BGR2RGB, dst=image
        )
    return image


def _decode_tiff(file: IO[bytes], label: str) -> np.ndarray:
    with _open_tiff(file, label) as tiff:
        page = _only_page(tiff, label)
        _check_page(page, file, label)
        return _page_pixels(page)


@contextlib.contextmanager
def _open_tiff(file: IO[bytes], label: str) -> Iterator[tifffile.TiffFile]:
    file.seek(0)
    with _silent_logger("tifffile"):
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


def _only_page(tiff: tifffile.TiffFile, label: str) -> tifffile.TiffPage:
    """The one full-size page; overviews and masks beside it do not count."""
    pages = [
        page
        for page in (tiff.pages.get(i) for i in range(len(tiff.pages)))
        if isinstance(page, tifffile.TiffPage) and not (page.is_reduced or page.is_mask)
    ]
    if len(pages) != 1:
        raise InputError(f"{label} is a TIFF of {len(pages)} pages; write the wanted page alone")
    return pages[0]


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


def _page_pixels(page: tifffile.TiffPage) -> np.ndarray:
    """Bands last; palettes resolved; a floating image's declared no-data value as NaN."""
    image = page.asarray()
    if page.axes == "SYX":
        image = np.moveaxis(image, 0, -1)
    if page.photometric == tifffile.PHOTOMETRIC.PALETTE and page.colormap is not None:
        return (page.colormap.T[image] >> 8).astype(np.uint8)
    if image.dtype.kind == "f" and "GDAL_NODATA" in page.tags:
        image = np.where(image == image.dtype.type(page.nodata), np.nan, image)
    return image


@contextlib.contextmanager
def _silent_logger(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


@contextlib.contextmanager
def silent_stderr() -> Iterator[None]:
    """Close the C libraries' way to stderr, which no Python setting reaches."""
    with _stderr_lock, Path(os.devnull).open("w") as nothing:
        if sys.stderr is not None:
            sys.stderr.flush()
        try:
            keep = os.dup(2)
        except OSError:  # there is no stderr
            yield
            return
        os.dup2(nothing.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(keep, 2)
            os.close(keep)
