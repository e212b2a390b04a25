"""Decoding of image files by OpenCV and tifffile, with every failure as one clear line.

The declared size is checked before anything is decoded. The decoders' own chatter is kept off
the terminal.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import cv2
import numpy as np

from sdme.errors import InputError
from sdme.io.header import (
    MEDICAL,
    Format,
    Size,
    declared_size,
    file_format,
    is_palette_png,
    png_bytes,
    png_is_whole,
)
from sdme.io.limits import too_large
from sdme.io.quiet import silent_stderr
from sdme.io.raster import Raster
from sdme.io.tiff import decode_tiff, tiff_size

_MAX_RATIO = 1100  # no byte of deflate unpacks to more
_ACCEPTED = "PNG, TIFF, JPEG, WebP or BMP"


def decode_stream(file: IO[bytes], label: str) -> np.ndarray:
    """Pixels of an open file that can be searched; ``label`` begins every error message.

    Colours instead of a palette's places; NaN for missing data of a floating TIFF.
    """
    kind = known_format(file, label)
    if kind == "tiff":
        return decode_tiff(file, label).raster.array
    return decode_flat(file, kind, label).pixels


def file_size(path: Path, label: str) -> Size:
    """Width and height of an image file by its header: cheap, and the pixels may still be broken.

    Raises:
        InputError: as :func:`decode_stream`, as far as the header tells.
    """
    with opened(path, label) as file:
        return stream_size(file, label)


def stream_size(file: IO[bytes], label: str) -> Size:
    """As :func:`file_size`, of an open file that can be searched."""
    kind = known_format(file, label)
    return tiff_size(file, label) if kind == "tiff" else _checked_size(file, kind, label)


@contextlib.contextmanager
def opened(path: Path, label: str) -> Iterator[IO[bytes]]:
    """Yield the file.

    Raises:
        InputError: it cannot be opened or read.
    """
    try:
        with path.open("rb") as file:
            yield file
    except FileNotFoundError:
        raise InputError(f"{label} does not exist; check the path") from None
    except IsADirectoryError:
        raise InputError(f"{label} is a folder; give an image file") from None
    except OSError as error:
        raise InputError(f"{label} cannot be read: {error.strerror or error}") from None


def known_format(file: IO[bytes], label: str, medical: bool = False) -> Format:
    """Format of a file by its content; those of medicine only where they are asked for.

    Raises:
        InputError: it is empty or of another format.
    """
    if file.seek(0, os.SEEK_END) == 0:
        raise InputError(f"{label} is an empty file; give a {_ACCEPTED} image")
    kind = file_format(file)
    if kind is None or (kind in MEDICAL and not medical):
        accepted = _ACCEPTED + (", or a NIfTI, NRRD or DICOM file" if medical else "")
        raise InputError(f"{label} is not an image that can be read; give {accepted}")
    return kind


def decode_flat(file: IO[bytes], kind: Format, label: str) -> Raster:
    """Decode PNG, JPEG, WebP or BMP; red first."""
    _checked_size(file, kind, label)
    if kind == "png":
        _check_png(file, label)
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
    has_alpha = image.ndim == 3 and image.shape[2] == 4 and bool(image[..., 3].any())
    is_labels = kind == "png" and is_palette_png(file)
    return Raster(image, has_alpha=has_alpha, is_labels=is_labels)


def _check_png(file: IO[bytes], label: str) -> None:
    """Lengths that cannot be true would make the decoder take much memory."""
    size = file.seek(0, os.SEEK_END)
    if not png_is_whole(file) or png_bytes(file) > _MAX_RATIO * size:
        raise InputError(
            f"{label} cannot be decoded: the PNG data is damaged or cut short; give an undamaged "
            "file"
        )


def _checked_size(file: IO[bytes], kind: Format, label: str) -> Size:
    size = declared_size(file, kind)
    if size is None or min(size) < 1:
        raise InputError(f"{label} has a broken {kind.upper()} header; give an undamaged file")
    if problem := too_large(*size):
        raise InputError(f"{label} declares {problem}")
    return size
