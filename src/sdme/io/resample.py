"""Laying a raster on another grid without mixing missing data into its values."""

from dataclasses import replace

import cv2
import numpy as np

from sdme.config import Interpolation
from sdme.io.georeference import Georeference
from sdme.io.places import Place
from sdme.io.raster import Plane, Raster
from sdme.transform import Transform

Samples = np.ndarray
"""Booleans of the shape of the pixels."""


def carry(
    raster: Raster,
    transform: Transform,
    interpolation: Interpolation | None = None,
    fill: float | None = None,
    on: Place | None = None,
) -> Raster:
    """The moving raster on the fixed grid, in its own dtype, with its own value of missing data.

    ``interpolation`` is by default nearest for labels, bilinear for all else. A sample is missing
    where the nearest one is; next to missing data the values are those of the nearest good samples,
    never mixtures with it, and no good sample is given the value that stands for missing data: it
    becomes the next one. Cubic and lanczos overshoot at edges, and what an integer type cannot hold
    is cut off there. ``fill`` (default: the value of missing data, else NaN in floating images and
    0 in others) is where the image does not reach; another one than
    a declared value is data there. ``on`` is the place of the fixed grid, and so of the result.

    Raises:
        InputError: as :meth:`sdme.Transform.warp`.
    """
    how = interpolation or ("nearest" if raster.is_labels else "bilinear")
    value = raster.fill if fill is None else fill
    out = _carried(raster, transform, how, value)
    reaches = transform.warp(
        np.ones(raster.pixels.shape[:2], np.uint8), interpolation="nearest", fill=0
    )
    mask = reaches > 0
    if fill is not None and raster.nodata is not None:
        mask = np.ones_like(mask)  # the caller's value, not the declared one, is wanted there
    if raster.mask is not None:
        own = transform.warp(raster.mask.view(np.uint8), interpolation="nearest", fill=1)
        mask &= own > 0
    use = raster.use
    if use is not None:
        use = transform.warp(use.view(np.uint8), interpolation="nearest", fill=0) > 0
    return replace(
        raster,
        pixels=out,
        mask=None if mask.all() else mask,
        use=use,
        georeference=on if isinstance(on, Georeference) else None,
        plane=on if isinstance(on, Plane) else None,
        notes=(),
    )


def _carried(raster: Raster, transform: Transform, how: Interpolation, fill: float) -> np.ndarray:
    pixels = raster.pixels
    if raster.mask is not None:  # what a mask hides is no data, also for who does not see the mask
        hidden = ~raster.mask if pixels.ndim == 2 else ~raster.mask[..., None]
        value = fill if raster.nodata is None else raster.nodata
        pixels = np.where(hidden, pixels.dtype.type(value), pixels)
    nearest = transform.warp(pixels, interpolation="nearest", fill=fill)
    if how == "nearest":
        return nearest
    missing, clear = missing_samples(raster), _transparent(raster)
    filled = _filled(pixels, missing | clear)
    out = transform.warp(filled, interpolation=how, fill=fill)
    lost = _nearest(transform, missing, 1) & ~_nearest(transform, clear, 0)
    out = np.where(lost, nearest, _apart(raster, out, lost))
    return out.astype(raster.pixels.dtype, copy=False)


def _nearest(transform: Transform, samples: Samples, fill: int) -> Samples:
    return transform.warp(samples.view(np.uint8), interpolation="nearest", fill=fill) > 0


def _transparent(raster: Raster) -> Samples:
    """Colours of pixels without opacity: their values mean nothing."""
    clear = np.zeros(raster.pixels.shape, dtype=bool)
    if raster.has_alpha:
        clear[..., :-1] = raster.pixels[..., -1:] == 0
    return clear


def missing_samples(raster: Raster) -> Samples:
    """Samples that are not finite, declared missing or hidden; of the shape of the pixels."""
    pixels = raster.pixels
    missing = np.zeros(pixels.shape, dtype=bool)
    if pixels.dtype.kind == "f":
        missing |= ~np.isfinite(pixels)
    if raster.nodata is not None and not np.isnan(raster.nodata):
        missing |= pixels == pixels.dtype.type(raster.nodata)
    if raster.mask is not None:
        missing |= ~raster.mask if pixels.ndim == 2 else ~raster.mask[..., None]
    if raster.has_alpha:
        missing[..., -1] = False
    return missing


def _apart(raster: Raster, out: np.ndarray, lost: Samples) -> np.ndarray:
    """Keep good samples off the value of missing data, which interpolation can hit by chance."""
    value = raster.nodata
    if value is None or out.dtype.kind not in "iuf":
        return out
    hit = (out == out.dtype.type(value)) & ~lost
    if raster.has_alpha:
        hit[..., -1] = False
    if not hit.any():
        return out
    out = out.copy()
    out[hit] = _beside(value, out.dtype)
    return out


def _beside(value: float, dtype: np.dtype) -> float:
    """The next value that a sample can have; beside 0 the smallest that is not subnormal."""
    if dtype.kind == "f":
        return np.nextafter(dtype.type(value), dtype.type(0)) if value else np.finfo(dtype).tiny
    return value + 1 if value < np.iinfo(dtype).max else value - 1


def _filled(pixels: np.ndarray, missing: Samples) -> np.ndarray:
    """Missing samples replaced by the nearest good ones of their band."""
    if not missing.any():
        return pixels
    if pixels.ndim == 2:
        return _filled_band(pixels, missing)
    out = pixels.copy()
    for band in range(pixels.shape[2]):
        out[..., band] = _filled_band(pixels[..., band], missing[..., band])
    return out


def _filled_band(band: np.ndarray, missing: Samples) -> np.ndarray:
    if missing.all():
        return np.zeros_like(band)
    if not missing.any():
        return band
    _, labels = cv2.distanceTransformWithLabels(
        missing.astype(np.uint8), cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL
    )
    labels = np.asarray(labels, np.int32)
    value_of = np.zeros(int(labels.max()) + 1, band.dtype)
    value_of[labels[~missing]] = band[~missing]
    return value_of[labels]
