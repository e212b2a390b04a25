"""An image with what its file says about it: missing data, place, bands. One value for all formats.

Pixels stay in their own dtype, and missing data keeps the value it has in the file.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Bool

from sdme.config import ViewSettings
from sdme.errors import InputError
from sdme.io.georeference import Georeference

_VIEW = ViewSettings()
Mask = Bool[np.ndarray, "h w"]


@dataclass(frozen=True, eq=False)
class Plane:
    """Where a slice lies in the body: what a medical file needs beside pixels.

    ``spacing`` (x, y, and through the slice) and ``origin`` of the first pixel's centre are in mm,
    ``direction`` has the unit vectors of the three as its columns; LPS, as ITK has it. ``suffix``
    is the format's.
    """

    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    direction: np.ndarray
    suffix: str


@dataclass(frozen=True, eq=False)
class Raster:
    """One image.

    ``pixels`` are ``(h, w)`` or ``(h, w, bands)``. No data are samples that equal ``nodata`` or are
    not finite, and pixels where ``mask`` is False or the last band, if ``has_alpha``, is 0.
    ``use`` is the caller's own mask: what a registration may look at. ``georeference`` is the place
    on the ground, ``plane`` the one in a body. ``palette`` is ``(n, 3)`` 8-bit colours where pixels
    are places in such a table. ``is_labels``: values are names, not amounts.
    ``view`` says how the network sees it. ``name`` is the path or empty. ``notes`` are lines on
    what the file holds and was not used.

    Raises:
        InputError: no pixel of this dtype can be ``nodata``.
    """

    pixels: np.ndarray
    nodata: float | None = None
    mask: Mask | None = field(default=None, repr=False)
    use: Mask | None = field(default=None, repr=False)
    georeference: Georeference | None = None
    plane: Plane | None = None
    band_names: tuple[str, ...] = ()
    has_alpha: bool = False
    palette: np.ndarray | None = field(default=None, repr=False)
    is_labels: bool = False
    view: ViewSettings = _VIEW
    name: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.nodata, np.generic):  # whose text is not a plain number
            object.__setattr__(self, "nodata", self.nodata.item())
        if self.nodata is not None and not _fits(self.nodata, self.pixels.dtype):
            label = f"image {self.name}" if self.name else "image"
            raise InputError(
                f"{label} of {self.pixels.dtype} cannot have {self.nodata} as its value of missing "
                "data; give a value that the dtype holds, or None"
            )

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, px."""
        return self.pixels.shape[1], self.pixels.shape[0]

    @property
    def bands(self) -> int:
        """How many bands there are, alpha included."""
        return 1 if self.pixels.ndim == 2 else self.pixels.shape[2]

    @property
    def spacing(self) -> tuple[float, float] | None:
        """Distance of pixels along x and y, mm; known of medical images."""
        return None if self.plane is None else self.plane.spacing[:2]

    @cached_property
    def valid(self) -> Mask:
        """Pixels that carry data.

        A value of missing data counts in a floating image where one of the bands has it, in an
        integer image where all have it: there it may be an amount like others.
        """
        return self.valid_in(range(self.bands - self.has_alpha))

    def valid_in(self, indices: Sequence[int]) -> Mask:
        """As :attr:`valid`, by these bands (from 0), the mask and alpha alone."""
        bands = self.pixels[..., None] if self.pixels.ndim == 2 else self.pixels
        valid = np.ones(self.pixels.shape[:2], dtype=bool)
        if self.has_alpha:
            valid = bands[..., -1] > 0
        if list(indices) != list(range(bands.shape[2])):
            bands = bands[..., list(indices)]
        if self.mask is not None:
            valid = valid & self.mask
        is_floating = self.pixels.dtype.kind == "f"
        if is_floating:
            valid &= np.isfinite(bands).all(axis=-1)
        if self.nodata is not None and not np.isnan(self.nodata):
            missing = bands == self.pixels.dtype.type(self.nodata)
            valid &= ~(missing.any(axis=-1) if is_floating else missing.all(axis=-1))
        return valid

    @property
    def fill(self) -> float:
        """Value of pixels that an image of this kind does not reach."""
        if self.nodata is not None:
            return self.nodata
        return float("nan") if self.pixels.dtype.kind == "f" else 0.0

    @property
    def array(self) -> np.ndarray:
        """What is to be seen: colours of a palette, NaN for missing data in floating images."""
        if self.palette is not None:
            last = min(len(self.palette) - 1, np.iinfo(self.pixels.dtype).max)
            return self.palette[np.minimum(self.pixels, last)]
        if self.pixels.dtype.kind != "f":
            return self.pixels
        missing = np.zeros(self.pixels.shape, dtype=bool)
        if self.nodata is not None and not np.isnan(self.nodata):
            missing = self.pixels == self.pixels.dtype.type(self.nodata)
        if self.mask is not None:
            missing |= ~self.mask if self.pixels.ndim == 2 else ~self.mask[..., None]
        return np.where(missing, self.pixels.dtype.type(np.nan), self.pixels)


def _fits(value: float, dtype: np.dtype) -> bool:
    if dtype.kind not in "bui":
        return True
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return bool(low <= value <= high and value == int(value))


ImageSource = str | os.PathLike[str] | np.ndarray | Raster
