"""Where an image lies on the ground, as a value; coordinate systems are rasterio's work.

Convention: pixels as everywhere here, centres at integers; ground coordinates are ``(x, y)`` of
the coordinate system (longitude first). GDAL counts from the corner of the first pixel: its
half-pixel offset is in :func:`from_corners` and nowhere else.
"""

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Float

from sdme.errors import InputError
from sdme.io.quiet import silent_stderr

Points = Float[np.ndarray, "n 2"]
Matrix = Float[np.ndarray, "3 3"]
_NUMBERS = 6


@dataclass(frozen=True, eq=False)
class Georeference:
    """Coordinate system and the affine map to it.

    ``crs`` is its WKT. ``ground_from_pixel`` is 3x3, its last row 0 0 1, and maps pixels (centres
    at integers) to ground coordinates.

    Raises:
        InputError: the matrix is not finite, not affine or cannot be inverted.
    """

    crs: str
    ground_from_pixel: Matrix

    def __post_init__(self) -> None:
        matrix = np.array(self.ground_from_pixel, dtype=np.float64)
        if matrix.shape != (3, 3) or not np.isfinite(matrix).all():
            raise InputError("the georeference is not a table of 3x3 finite numbers")
        linear = matrix[:2, :2]
        if matrix[2].tolist() != [0, 0, 1] or np.linalg.matrix_rank(linear) < 2:
            raise InputError(f"the georeference {matrix.tolist()} is no invertible affine map")
        matrix.setflags(write=False)
        object.__setattr__(self, "ground_from_pixel", matrix)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Georeference) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((self.crs, self.geotransform))

    @property
    def geotransform(self) -> tuple[float, ...]:
        """The affine map as six numbers a b c d e f of corners, in the order of rasterio."""
        return tuple(from_corners(self.ground_from_pixel, back=True)[:2].ravel().tolist())

    @classmethod
    def from_geotransform(cls, crs: str, numbers: Any) -> "Georeference":
        """Of six numbers as :attr:`geotransform` gives them."""
        try:
            rows = np.array(numbers, dtype=np.float64).reshape(2, 3)
        except (TypeError, ValueError):
            raise InputError(f"the geotransform is {numbers!r}; give six numbers") from None
        return cls(crs, from_corners(np.vstack([rows, [0, 0, 1]])))

    def to_dict(self) -> dict[str, Any]:
        """As it is stored in a transform file."""
        return {"crs": self.crs, "geotransform": list(self.geotransform)}

    @classmethod
    def from_dict(cls, data: Any) -> "Georeference":
        """Read what :meth:`to_dict` gave."""
        if not isinstance(data, dict) or not isinstance(data.get("crs"), str):
            raise InputError('a georeference needs "crs" and "geotransform"; write the file again')
        return cls.from_geotransform(data["crs"], data.get("geotransform"))

    def of_part(
        self, offset: tuple[float, float], scale: tuple[float, float] = (1, 1)
    ) -> "Georeference":
        """Of a window whose first pixel is ``offset`` (x, y), shrunk by ``scale`` (0.5: half)."""
        corner = from_corners(self.ground_from_pixel, back=True)
        part = np.array(
            [[1 / scale[0], 0, offset[0]], [0, 1 / scale[1], offset[1]], [0, 0, 1]], np.float64
        )
        return Georeference(self.crs, from_corners(corner @ part))

    def ground(self, points: Points) -> Points:
        """Ground coordinates of pixels."""
        matrix = self.ground_from_pixel
        return np.asarray(points, np.float64) @ matrix[:2, :2].T + matrix[:2, 2]

    def pixels(self, ground: Points) -> Points:
        """Pixels of ground coordinates."""
        matrix = np.linalg.inv(self.ground_from_pixel)
        return np.asarray(ground, np.float64) @ matrix[:2, :2].T + matrix[:2, 2]

    def pixels_in(self, other: "Georeference", points: Points) -> Points:
        """Pixels of another image that show the same places; not finite where there are none.

        Raises:
            InputError: rasterio is missing, or does not know one of the coordinate systems.
        """
        return other.pixels(reproject(self.crs, other.crs, self.ground(points)))

    def metres_between(self, first: Points, second: Points) -> Float[np.ndarray, " n"]:
        """Distances on the ground of pairs of pixels, in metres, whatever the units of the system.

        Measured in an equidistant projection around the mean of all points.

        Raises:
            InputError: as :meth:`pixels_in`.
        """
        ground = self.ground(np.concatenate([first, second]))
        lonlat = reproject(self.crs, "EPSG:4326", ground)
        if not np.isfinite(lonlat).all():
            return np.full(len(first), np.nan)
        lon, lat = lonlat[0] if len(lonlat) else (0.0, 0.0)
        flat = reproject(
            "EPSG:4326", f"+proj=aeqd +lat_0={lat!s} +lon_0={lon!s} +datum=WGS84 +units=m", lonlat
        )
        return np.linalg.norm(flat[: len(first)] - flat[len(first) :], axis=1)


def from_corners(matrix: Matrix, back: bool = False) -> Matrix:
    """A map of pixels with centres at integers, of one that counts from the first pixel's corner.

    This is GDAL's half pixel; ``back`` goes the other way.
    """
    shift = np.eye(3)
    shift[:2, 2] = -0.5 if back else 0.5
    return matrix @ shift


def reproject(source: str, target: str, ground: Points) -> Points:
    """Coordinates of one system in another; infinite where they have none.

    Raises:
        InputError: rasterio is missing, or does not know one of the systems.
    """
    ground = np.asarray(ground, np.float64)
    if source == target or not len(ground):
        return ground
    first, second = coordinate_system(source), coordinate_system(target)
    from rasterio.errors import RasterioError
    from rasterio.warp import transform

    if first == second:
        return ground
    try:
        x, y = transform(first, second, ground[:, 0].tolist(), ground[:, 1].tolist())[:2]
    except (RasterioError, ValueError, RuntimeError):
        return np.full(ground.shape, np.inf)
    return np.stack([x, y], axis=1)


def coordinate_system(text: str) -> Any:
    """Rasterio's value of WKT, EPSG:N or a PROJ string.

    Raises:
        InputError: rasterio is missing, or does not know it.
    """
    rasterio = load_rasterio("a coordinate system")
    from rasterio.errors import CRSError

    try:
        with silent_stderr():
            return rasterio.crs.CRS.from_user_input(text)
    except CRSError as error:
        raise InputError(f"the coordinate system cannot be used: {first_line(error)}") from None


def load_rasterio(needed_for: str) -> ModuleType:
    """rasterio, or one line that says how to get it."""
    try:
        import rasterio
        import rasterio.crs
    except ImportError:
        raise InputError(
            f"{needed_for} needs rasterio, which is not installed: pip install 'sdme[geo]'"
        ) from None
    return rasterio


def first_line(error: BaseException) -> str:
    """An error of a library as one short line."""
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:200]
