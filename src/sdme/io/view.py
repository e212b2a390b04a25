"""What the network sees of a raster: which bands, how they are stretched, which pixels count."""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from jaxtyping import Float

from sdme.io.image import stretched
from sdme.io.raster import Mask, Raster

_COLOURS = {
    "red": ("red", "r", "b4", "b04"),
    "green": ("green", "g", "b3", "b03"),
    "blue": ("blue", "b", "b2", "b02"),
}
_SPECKLE, _TAIL, _SAMPLE = 0.15, 2.5, 1024
_CORNERS, _STRAIGHT, _LEAST_COLLAR = 8, 0.004, 0.001


@dataclass(frozen=True)
class Seen:
    """Values in [0, 1] for the network; ``valid`` carry data, ``used`` may be looked at."""

    values: Float[np.ndarray, "h w 3"]
    valid: Mask
    used: Mask


def see(raster: Raster) -> Seen:
    """Show a raster as its view asks for; a registration may look at ``used``."""
    looker = Looker(raster)
    valid, used = looker.valid, looker.used
    return Seen(stretched(looker.bands, valid, used if used.any() else valid), valid, used)


@dataclass(frozen=True, eq=False)
class Looker:
    """The choices that a view leaves open, made for one raster."""

    raster: Raster

    @cached_property
    def indices(self) -> list[int]:
        """Places of the chosen bands, from 0: one or three."""
        raster = self.raster
        if raster.view.bands:
            return [band - 1 for band in raster.view.bands]
        colours = raster.bands - raster.has_alpha
        if colours < 3:
            return [0]
        return named_colours(raster.band_names[:colours]) or self._first_three(colours)

    @cached_property
    def content(self) -> Mask:
        """Pixels that carry data in the chosen bands."""
        return self.raster.valid_in(self.indices)

    @cached_property
    def valid(self) -> Mask:
        """Pixels that carry data in the chosen bands, without a collar."""
        valid = self.content
        if self.raster.view.collar != "no":
            found = collar(self._chosen, valid)
            if found is not None:
                valid = valid & ~found
        return valid

    @cached_property
    def used(self) -> Mask:
        """Those of them that the raster's own mask lets a registration look at."""
        use = self.raster.use
        return self.valid if use is None else self.valid & use

    @cached_property
    def bands(self) -> np.ndarray:
        """``(h, w, 1 or 3)``, their logarithms where that is wanted."""
        return logarithms(self._chosen, self.used) if self.is_logarithmic else self._chosen

    def shown(self, valid: Mask) -> np.ndarray:
        """As :attr:`bands`, for the eye: of the pixels that are valid here alone."""
        return logarithms(self._chosen, valid) if self.is_logarithmic else self._chosen

    @cached_property
    def is_logarithmic(self) -> bool:
        """Whether logarithms are shown."""
        choice = self.raster.view.log
        if choice == "auto":
            return self._chosen.shape[2] == 1 and is_speckled(self._chosen[..., 0], self.used)
        return choice == "yes"

    @cached_property
    def _chosen(self) -> np.ndarray:
        raster = self.raster
        if raster.palette is not None:
            return raster.array
        if raster.pixels.ndim == 2:
            return raster.pixels[..., None]
        if self.indices == [0, 1, 2]:
            return raster.pixels[..., :3]
        return raster.pixels[..., self.indices]

    def _first_three(self, colours: int) -> list[int]:
        """The first three bands with content, or the first three."""
        raster = self.raster
        if colours == 3:
            return [0, 1, 2]
        step = max(1, min(raster.size) // 256)
        thin = raster.pixels[::step, ::step][raster.valid[::step, ::step]]
        varied = [i for i in range(colours) if len(thin) and thin[:, i].min() < thin[:, i].max()]
        return varied[:3] if len(varied) >= 3 else [0, 1, 2]


def named_colours(names: tuple[str, ...]) -> list[int] | None:
    """Places of red, green and blue by the bands' names (B4, B3, B2 are Sentinel-2's)."""
    words = [name.lower().replace("_", " ").replace("-", " ").split() for name in names]
    found = []
    for known in _COLOURS.values():
        places = [i for i, parts in enumerate(words) if any(part in known for part in parts)]
        if len(places) != 1:
            return None
        found.append(places[0])
    return found if len(set(found)) == 3 else None


def is_speckled(band: np.ndarray, valid: Mask) -> bool:
    """Whether a band looks like radar amplitude or intensity.

    Not 8 bit, nothing below zero, and over the valid pixels: the 99.5 percentile is at least 2.5
    times the median, and the median of standard deviation over mean in windows of 3x3 px is at
    least 0.15. Speckle of one look has 0.5 (amplitude) or 1 (intensity), of 16 looks a quarter of
    that; other sensors have a few hundredths.
    """
    if band.dtype == np.uint8 or band.dtype.kind not in "iuf":
        return False
    height, width = band.shape
    top, left = max(0, (height - _SAMPLE) // 2), max(0, (width - _SAMPLE) // 2)
    part = np.s_[top : top + _SAMPLE, left : left + _SAMPLE]
    inner = cv2.erode(valid[part].astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    inner[[0, -1]] = inner[:, [0, -1]] = False
    values = np.where(valid[part], band[part], 0).astype(np.float64)
    sample = values[inner]
    if sample.size < 100 or sample.min() < 0:
        return False
    median, high = np.percentile(sample, (50, 99.5))
    if median <= 0 or high < _TAIL * median:
        return False
    mean = cv2.blur(values, (3, 3))[inner]
    square = cv2.blur(values**2, (3, 3))[inner]
    deviation = np.sqrt(np.maximum(square - mean**2, 0))
    return float(np.median(deviation / np.maximum(mean, 1e-12 * high))) >= _SPECKLE


def logarithms(bands: np.ndarray, valid: Mask) -> np.ndarray:
    """Logarithm of values above a hundredth of their median; what is not positive is at its foot.

    Values that are negative, as decibels are, are left as they are.
    """
    values = bands.astype(np.float32)
    sample = values[valid]
    if not sample.size or sample.min() < 0 or sample.max() <= 0:
        return bands
    positive = sample[sample > 0]
    foot = float(np.median(positive)) / 100
    return np.log(np.maximum(np.where(np.isfinite(values), values, foot), 0) + foot)


def collar(bands: np.ndarray, valid: Mask) -> Mask | None:
    """The frame of one extreme value that turned or mosaicked scenes have, where there is one.

    Pixels that hang together with the border and are all 0, or all at the dtype's highest value
    (in floating images: 0), more than a thousandth of the image; and what is left fills a polygon
    of at most eight corners. A dark sky, or black around a head, is no collar.
    """
    extremes = [0] if bands.dtype.kind in "fb" else [0, np.iinfo(bands.dtype).max]
    for value in extremes:
        same = (bands == bands.dtype.type(value)).all(axis=-1) | ~valid
        if _is_on_border(same):
            found = _border_part(same)
            if found.sum() > _LEAST_COLLAR * found.size and _is_polygon(~found):
                return found
    return None


def _is_on_border(same: Mask) -> bool:
    return bool(same[0].any() or same[-1].any() or same[:, 0].any() or same[:, -1].any())


def _border_part(same: Mask) -> Mask:
    """The part of a mask that hangs together with the image's border."""
    count, labels = cv2.connectedComponents(same.astype(np.uint8), connectivity=4)
    labels = np.asarray(labels, np.int32)
    edge = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    on_border = np.zeros(count, dtype=bool)
    on_border[edge] = True
    on_border[0] = False
    return on_border[labels]


def _is_polygon(rest: Mask) -> bool:
    """Whether a mask fills the hull around it, and the hull has few corners."""
    points = cv2.findNonZero(rest.astype(np.uint8))
    if points is None:
        return False
    hull = cv2.convexHull(points)
    tolerance = max(1.0, _STRAIGHT * max(rest.shape))
    corners = cv2.approxPolyDP(hull, tolerance, closed=True)
    filled = np.zeros(rest.shape, np.uint8)
    cv2.fillConvexPoly(filled, hull, 1)
    length = cv2.arcLength(hull, closed=True)
    holes = int(filled.sum()) - int((rest & (filled > 0)).sum())
    return len(corners) <= _CORNERS and holes <= 1.5 * length
