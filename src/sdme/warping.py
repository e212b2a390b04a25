"""Warping arrays of every dtype through a homography, by inverse look-up."""

import cv2
import numpy as np

from sdme.config import MAX_PIXELS, Interpolation
from sdme.errors import InputError
from sdme.geometry.mapping import frame_centre

_FLAGS = {
    "nearest": cv2.INTER_NEAREST,
    "bilinear": cv2.INTER_LINEAR,
    "cubic": cv2.INTER_CUBIC,
    "lanczos": cv2.INTER_LANCZOS4,
}
_MAX_BANDS_A_CALL = 4
_WARPABLE = ("uint8", "uint16", "int16", "float32", "float64")
_MAX_EXACT = 2**53  # float64, in which wide integers are warped, holds all whole numbers up to it


def warp_array(
    image: np.ndarray,
    matrix: np.ndarray,
    size: tuple[int, int],
    interpolation: Interpolation = "bilinear",
    fill: float = 0,
    frame: tuple[int, int] | None = None,
) -> np.ndarray:
    """Inverse look-up of ``image`` through ``matrix`` onto a grid of ``size`` (width, height).

    Every boolean, integer and floating dtype is kept. Grid points whose nearest pixel is outside
    the image, or that lie beyond the horizon of a perspective ``matrix``, get ``fill``; it is never
    mixed with the image's own values. The centre of a ``frame`` (width, height), by default the
    grid, lies before the horizon.

    Raises:
        InputError: the interpolation is unknown, the grid is too large, ``fill`` does not fit the
            dtype, or 64-bit integers lie beyond 2**53.
    """
    if interpolation not in _FLAGS:
        raise InputError(f"interpolation {interpolation!r} is unknown; use one of {list(_FLAGS)}")
    if size[0] * size[1] > MAX_PIXELS:
        raise InputError(
            f"the grid is {size[0]}x{size[1]} px; at most {MAX_PIXELS // 1_000_000} million pixels "
            "are warped: use a smaller grid"
        )
    _check_values(image, fill)

    def warp_bands(bands: np.ndarray) -> np.ndarray:
        flags = _FLAGS[interpolation] | cv2.WARP_INVERSE_MAP
        return cv2.warpPerspective(
            bands, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE
        )

    # OpenCV refuses all other dtypes, or narrows them silently
    wide = image if image.dtype.name in _WARPABLE else image.astype(np.float64)
    step = _MAX_BANDS_A_CALL
    if image.ndim == 2:
        out = warp_bands(wide)
    else:
        parts = [warp_bands(wide[..., i : i + step]) for i in range(0, image.shape[2], step)]
        out = np.concatenate([p if p.ndim == 3 else p[..., None] for p in parts], axis=-1)
    out = _as_dtype(out, image.dtype)
    outside = ~_footprint(image.shape, matrix, size, _side(matrix, frame or size))
    out[outside] = fill >= 0.5 if image.dtype.kind == "b" else fill
    return out


def _side(matrix: np.ndarray, size: tuple[int, int]) -> float:
    """Sign of the depth at the centre of a frame, which lies before the horizon."""
    return float(np.sign(matrix[2] @ [*frame_centre(size), 1]))


def _footprint(
    shape: tuple[int, ...], matrix: np.ndarray, size: tuple[int, int], side: float
) -> np.ndarray:
    """Grid points whose nearest pixel is in an image of ``shape``, on one side of the horizon."""
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    lies = cv2.warpPerspective(np.ones(shape[:2], np.uint8), matrix, size, flags=flags) > 0
    depth = side * (np.arange(size[0]) * matrix[2, 0] + matrix[2, 2])
    rows = side * (np.arange(size[1]) * matrix[2, 1])
    if depth.min() + rows.min() <= 0:
        lies &= depth + rows[:, None] > 0
    return lies


def _check_values(image: np.ndarray, fill: float) -> None:
    """What integers cannot hold, or what float64 cannot carry, is an error."""
    if image.dtype.kind not in "iu":
        return
    limits = np.iinfo(image.dtype)
    if not (limits.min <= fill <= limits.max and fill == int(fill)):
        raise InputError(
            f"fill {fill} does not fit {image.dtype}; give a whole number from {limits.min} to "
            f"{limits.max}"
        )
    if image.dtype.itemsize == 8:
        for value in (int(image.min()), int(image.max())):
            if abs(value) > _MAX_EXACT:
                raise InputError(
                    f"the image holds the {image.dtype} value {value}; integers up to 2**53 can be "
                    "warped exactly: give smaller values, or floating numbers"
                )


def _as_dtype(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Round and clip where ``dtype`` cannot hold the values."""
    if dtype == values.dtype:
        return values
    if dtype.kind == "b":
        return values >= 0.5
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        low, high = max(limits.min, -_MAX_EXACT), min(limits.max, _MAX_EXACT)
        return np.clip(np.rint(values), low, high).astype(dtype)
    return values.astype(dtype)
