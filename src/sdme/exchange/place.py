"""What a format needs to know of an image beside its transform: size, and place on the ground."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile

from sdme.errors import InputError
from sdme.io.decode import file_size
from sdme.io.georeference import Georeference

ImageSource = str | os.PathLike[str] | np.ndarray

# What a program for maps makes of an image that has no place: y runs upwards from its upper edge.
UNPLACED = Georeference.from_geotransform("", [1, 0, 0, 0, -1, 0])


@dataclass(frozen=True)
class Place:
    """Size (width, height) in px; ``path`` and ``georeference`` where there are any."""

    size: tuple[int, int]
    path: Path | None = None
    georeference: Georeference | None = None

    @property
    def on_the_ground(self) -> Georeference:
        """The georeference; without one ``(x + 0.5, -(y + 0.5))`` of a pixel ``(x, y)``."""
        return self.georeference or UNPLACED


def place_of(image: ImageSource, name: str) -> Place:
    """Look at an image without decoding it; ``name`` is used in error messages.

    Raises:
        InputError: it cannot be read, or it lies on the ground and rasterio is missing.
    """
    if isinstance(image, np.ndarray):
        if image.ndim < 2:
            raise InputError(f"{name} has shape {image.shape}; give (h, w) or (h, w, bands)")
        return Place((image.shape[1], image.shape[0]))
    path = Path(image)
    size = file_size(path, f"{name} {path}")
    georeference = None
    if _is_geotiff(path):
        from sdme.io.geo import read_header

        georeference = read_header(path, name).georeference
    return Place((size.width, size.height), path, georeference)


def _is_geotiff(path: Path) -> bool:
    try:
        with tifffile.TiffFile(path) as tiff:
            return bool(tiff.is_geotiff)
    except (tifffile.TiffFileError, OSError, ValueError):
        return False
