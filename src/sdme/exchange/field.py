"""Displacement fields: for every fixed pixel, how far off the place is that shows it.

The field is on the fixed image's grid and holds ``T(x, y) - (x, y)`` in pixels of the moving image,
first along x, then along y; NaN beyond the horizon of a perspective transform. So
``cv2.remap(moving, x + field_x, y + field_y, ...)`` is the warped image.
"""

import os
from pathlib import Path

import numpy as np
import tifffile
from jaxtyping import Float

from sdme.config import MAX_PIXELS
from sdme.errors import InputError
from sdme.exchange.place import Place
from sdme.files import replacing
from sdme.transform import Transform

_BANDS = ("displacement in x, px of the moving image", "displacement in y, px of the moving image")
_ROWS = 256


def displacement(transform: Transform, first_row: int, rows: int) -> Float[np.ndarray, "2 h w"]:
    """Some rows of the field, in float64."""
    x = np.arange(transform.fixed_size[0], dtype=np.float64)
    y = np.arange(first_row, first_row + rows, dtype=np.float64)
    points = np.stack(np.meshgrid(x, y), axis=-1)
    return np.moveaxis(transform.apply(points) - points, -1, 0)


def write_field(path: str | os.PathLike[str], transform: Transform, fixed: Place) -> None:
    """Write a TIFF of two bands of 32-bit floats; a GeoTIFF where the fixed image has a place.

    Raises:
        InputError: the image is too large, or the place cannot be written to.
    """
    width, height = _checked_size(path, transform)
    if fixed.georeference is None:
        field = np.empty((2, height, width), np.float32)
        for row, rows in _strips(height):
            field[:, row : row + rows] = displacement(transform, row, rows)
        with replacing(path) as temporary:
            tifffile.imwrite(
                temporary,
                field,
                planarconfig="separate",
                photometric="minisblack",
                compression="zlib",
                predictor=True,
                metadata=None,
                description="; ".join(_BANDS),
            )
        return
    from sdme.io.geo import Window, writing_windows

    size = {"size": (width, height), "bands": 2, "dtype": np.float32, "nodata": float("nan")}
    with writing_windows(
        Path(path), **size, georeference=fixed.georeference, band_names=_BANDS
    ) as writer:
        for row, rows in _strips(height):
            part = displacement(transform, row, rows).astype(np.float32)
            writer.write(Window(0, row, width, rows), np.moveaxis(part, 0, -1))


def write_itk_field(path: str | os.PathLike[str], transform: Transform) -> None:
    """Write an image of vectors that ITK makes a ``DisplacementFieldTransform`` of.

    Spacing is 1 and origin 0, as in :mod:`sdme.exchange.itk`; 64-bit floats, as ITK asks for.

    Raises:
        InputError: SimpleITK is missing, the image is too large, a pixel lies beyond the horizon,
            or the place cannot be written to.
    """
    try:
        import SimpleITK as sitk  # noqa: N813 - its own convention
    except ImportError:
        raise InputError(
            "a displacement field for ITK needs SimpleITK, which is not installed: "
            "pip install 'sdme[medical]'"
        ) from None
    _, height = _checked_size(path, transform)
    field = np.moveaxis(displacement(transform, 0, height), 0, -1)
    if not np.isfinite(field).all():
        raise InputError(
            f"cannot write {path}: part of the fixed image lies beyond the horizon, which ITK's "
            "fields cannot hold"
        )
    image = sitk.GetImageFromArray(np.ascontiguousarray(field), isVector=True)
    with replacing(path) as temporary:
        try:
            sitk.WriteImage(image, str(temporary), useCompression=True)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise InputError(f"cannot write {path}: {reason}") from None


def _strips(height: int) -> list[tuple[int, int]]:
    return [(row, min(_ROWS, height - row)) for row in range(0, height, _ROWS)]


def _checked_size(path: str | os.PathLike[str], transform: Transform) -> tuple[int, int]:
    width, height = transform.fixed_size
    if width * height > MAX_PIXELS:
        raise InputError(
            f"cannot write {path}: a field of {width}x{height} px is too large, at most "
            f"{MAX_PIXELS // 1_000_000} million are written; export control points"
        )
    return width, height
