"""The moving image with ground control points: a GeoTIFF, or a VRT that refers to it.

``gdalwarp`` and programs for maps place the image by them. GDAL counts column and row of a point
from the corner of the first pixel, as :func:`sdme.io.georeference.from_corners` has it.
"""

import os
import warnings
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from sdme.errors import InputError
from sdme.exchange.control_points import ControlPoints
from sdme.exchange.place import Place
from sdme.files import replacing
from sdme.io.georeference import from_corners, load_rasterio

_CORNERS = from_corners(np.eye(3))  # of a pixel counted from its centre, counted from the corner


def write_gcps(
    path: str | os.PathLike[str], points: ControlPoints, fixed: Place, moving: Place
) -> None:
    """Write a copy of the moving image (``.tif``) or a VRT beside it, with control points.

    Raises:
        InputError: rasterio is missing, the moving image is no file or not of the transform's size,
            the fixed one has no georeference, or ``path`` is the moving image itself.
    """
    rasterio = load_rasterio("ground control points")
    path = Path(path)
    if fixed.georeference is None:
        raise InputError(
            f"cannot write {path}: ground control points need a fixed image with a georeference; "
            "name it with --fixed, or export control points as .csv"
        )
    if moving.path is None:
        raise InputError(
            f"cannot write {path}: control points are written into a copy of the moving image; "
            "name it with --moving"
        )
    from rasterio.control import GroundControlPoint
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    columns = points.moving @ _CORNERS[:2, :2].T + _CORNERS[:2, 2]
    ground = fixed.georeference.ground(points.fixed)
    gcps = [
        GroundControlPoint(row=row, col=column, x=x, y=y)
        for (column, row), (x, y) in zip(columns.tolist(), ground.tolist(), strict=True)
    ]
    crs = rasterio.crs.CRS.from_wkt(fixed.georeference.crs)
    with replacing(path) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            _copy(moving.path, temporary)
            with rasterio.open(temporary, "r+") as dataset:
                dataset.gcps = gcps, crs
        except RasterioError as error:
            raise InputError(f"cannot write {path}: {str(error).splitlines()[0]}") from None
        if path.suffix.lower() == ".vrt":
            _rewrite_vrt(temporary, moving.path, path.parent)


def read_gcps(path: str | os.PathLike[str], fixed: Place) -> ControlPoints:
    """The ground control points of an image, as pixels of the fixed image and of itself.

    Raises:
        InputError: rasterio is missing, the image cannot be read or has none, or the fixed image
            has no georeference.
    """
    rasterio = load_rasterio("ground control points")
    from rasterio.errors import RasterioError

    if fixed.georeference is None:
        raise InputError(f"the control points of {path} need a fixed image with a georeference")
    try:
        with rasterio.open(path) as dataset:
            gcps, crs = dataset.gcps
    except RasterioError as error:
        raise InputError(f"cannot read {path}: {str(error).splitlines()[0]}") from None
    if not gcps:
        raise InputError(f"{path} has no ground control points")
    from sdme.io.georeference import reproject

    ground = np.array([[p.x, p.y] for p in gcps], np.float64)
    if crs is not None:
        ground = reproject(crs.to_wkt(), fixed.georeference.crs, ground)
    back = np.linalg.inv(_CORNERS)
    moving = np.array([[p.col, p.row] for p in gcps], np.float64) @ back[:2, :2].T + back[:2, 2]
    names = tuple(f"point {k}" for k in range(1, len(gcps) + 1))
    return ControlPoints(fixed.georeference.pixels(ground), moving, names)


def _copy(source: Path, temporary: Path) -> None:
    """The pixels as they are."""
    from rasterio.shutil import copy

    driver = "VRT" if temporary.suffix.lower() == ".vrt" else "GTiff"
    options = {} if driver == "VRT" else {"compress": "deflate", "bigtiff": "if_safer"}
    temporary.unlink()
    copy(str(source.resolve()), str(temporary), driver=driver, **options)


def _rewrite_vrt(vrt: Path, source: Path, folder: Path) -> None:
    """Drop a placement that the image had before, and refer to it from where the VRT will lie."""
    tree = ElementTree.parse(vrt)
    root = tree.getroot()
    for name in ("SRS", "GeoTransform"):
        for element in root.findall(name):
            root.remove(element)
    for element in root.iter("SourceFilename"):
        element.text = Path(os.path.relpath(source.resolve(), folder.resolve())).as_posix()
        element.set("relativeToVRT", "1")
    tree.write(vrt, encoding="unicode")
