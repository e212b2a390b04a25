"""The Georeferencer's list of points in QGIS (``.points``).

``mapX, mapY`` are ground coordinates of the fixed image, ``sourceX, sourceY`` coordinates of the
moving one, which is to be placed. Of an image without a georeference QGIS counts pixels from the
upper left corner with y upwards: the centre of the first pixel is ``0.5, -0.5``. Of one that has a
georeference the columns are its ground coordinates.
"""

import csv
import os
from pathlib import Path

import numpy as np

from sdme.errors import InputError
from sdme.exchange.control_points import ControlPoints
from sdme.exchange.place import Place
from sdme.files import write_text

_HEADER = "mapX,mapY,sourceX,sourceY,enable,dX,dY,residual"
_SOURCE_NAMES = (("sourcex", "sourcey"), ("pixelx", "pixely"))  # the latter until QGIS 3.26
_OFF = ("0", "false")


def write_qgis_points(
    path: str | os.PathLike[str], points: ControlPoints, fixed: Place, moving: Place
) -> None:
    """Write the list; the coordinate system of the fixed image stands in its first line."""
    ground = fixed.on_the_ground.ground(points.fixed)
    source = moving.on_the_ground.ground(points.moving)
    crs = fixed.on_the_ground.crs
    lines = [f"#CRS: {crs}"] if crs else []
    lines.append(_HEADER)
    for row in np.hstack([ground, source]).tolist():
        lines.append(",".join(map(repr, row)) + ",1,0,0,0")
    write_text(path, "\n".join(lines) + "\n")


def read_qgis_points(path: str | os.PathLike[str], fixed: Place, moving: Place) -> ControlPoints:
    """Read the points that are not switched off, as pixels of both images.

    Raises:
        InputError: the file is no such list, or ground coordinates are given in another system
            than the fixed image's.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"cannot read points {path}: {error.strerror}") from None
    except ValueError:
        raise InputError(f"{path} is no list of points: it is not UTF-8 text") from None
    lines = [(n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip()]
    crs = next((line[5:].strip() for _, line in lines if line.startswith("#CRS:")), "")
    rows = [(n, line) for n, line in lines if not line.startswith("#")]
    columns = _columns(rows[0][1] if rows else "", path)
    ground, source, names = [], [], []
    for n, line in rows[1:]:
        cells = next(csv.reader([line]))
        try:
            if "enable" in columns and cells[columns["enable"]].strip().lower() in _OFF:
                continue
            values = [float(cells[columns[c]]) for c in ("mapx", "mapy", "sourcex", "sourcey")]
        except (ValueError, IndexError):
            values = [float("nan")]
        if not np.isfinite(values).all():
            raise InputError(f"{path}, line {n}: {line!r} lacks four finite numbers; correct it")
        ground.append(values[:2])
        source.append(values[2:])
        names.append(f"line {n}")
    placed = _in_system_of(fixed, crs, np.array(ground, np.float64).reshape(-1, 2), path)
    pixels = moving.on_the_ground.pixels(np.array(source, np.float64).reshape(-1, 2))
    return ControlPoints(fixed.on_the_ground.pixels(placed), pixels, tuple(names))


def _columns(header: str, path: str | os.PathLike[str]) -> dict[str, int]:
    """Places of the columns by their lower-case names; the newer names of the source's."""
    cells = [cell.strip().lower() for cell in header.split(",")]
    columns = {cell: place for place, cell in enumerate(cells)}
    for names in _SOURCE_NAMES:
        if {"mapx", "mapy", *names} <= columns.keys():
            x, y = (columns[name] for name in names)
            return columns | {"sourcex": x, "sourcey": y}
    raise InputError(
        f"{path} is no list of points of QGIS: no line says {_HEADER.partition(',enable')[0]}; "
        "save it with the Georeferencer"
    )


def _in_system_of(
    fixed: Place, crs: str, ground: np.ndarray, path: str | os.PathLike[str]
) -> np.ndarray:
    """Ground coordinates in the fixed image's own system."""
    if fixed.georeference is None:
        if crs:
            raise InputError(
                f"{path} has ground coordinates, but the fixed image has no georeference; give "
                "the GeoTIFF that they belong to"
            )
        return ground
    if not crs:
        return ground
    from sdme.io.georeference import reproject

    placed = reproject(crs, fixed.georeference.crs, ground)
    if not np.isfinite(placed).all():
        raise InputError(f"{path}: its points do not lie in the fixed image's coordinate system")
    return placed
