"""Two GeoTIFFs of one place, one of them badly placed: align them and look where the result lies.

    python examples/geotiff.py places        # writes places/blue.tif and places/swir.tif
    sdme register places/blue.tif places/swir.tif -o places/out

Both are made of the sample `farmland_blue_swir` (Sentinel-2 data, CC0), laid on a made-up place:
`blue.tif` in UTM at 10 m, 16 bit; `swir.tif` in longitude and latitude at about 15 m, two floating
bands with names, -9999 where there is no data, and 80 m east and 60 m south of where it belongs.
"""

import argparse
from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import Affine, array_bounds
from rasterio.warp import Resampling, calculate_default_transform, reproject

import sdme

SAMPLE = Path(__file__).parent.parent / "samples" / "farmland_blue_swir"
STEP, LEFT, TOP = 10.0, 600_000.0, 5_400_000.0
EAST, SOUTH = 80.0, 60.0
NODATA = -9999.0


def write_pair(folder: Path) -> tuple[Path, Path]:
    """Write both rasters; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    fixed = sdme.read_image(SAMPLE / "fixed.png").astype(np.uint16) * 40
    moving = sdme.read_image(SAMPLE / "moving.png").astype(np.float32)
    grid = Affine.translation(LEFT, TOP) @ Affine.scale(STEP, -STEP)
    blue = folder / "blue.tif"
    height, width = fixed.shape
    with rasterio.open(blue, "w", driver="GTiff", width=width, height=height, count=1,
                       dtype="uint16", crs="EPSG:32631", transform=grid) as out:  # fmt: skip
        out.write(fixed, 1)
        out.set_band_description(1, "blue")
    truth = sdme.Transform.load(SAMPLE / "truth.json")  # a shift, in pixels of 10 m
    shift = Affine.translation(-truth.matrix[0, 2], -truth.matrix[1, 2])
    true_place = grid @ shift
    wrong_place = Affine.translation(EAST, -SOUTH) @ true_place
    return blue, _write_moving(folder / "swir.tif", moving, wrong_place)


def _write_moving(path: Path, image: np.ndarray, place: Affine) -> Path:
    """Two bands in longitude and latitude, with missing data around the turned scene."""
    height, width = image.shape
    bounds = array_bounds(height, width, place)
    systems = "EPSG:32631", "EPSG:4326"
    target, columns, rows = calculate_default_transform(
        *systems, width, height, *bounds, resolution=15 / 90_000
    )
    assert columns is not None and rows is not None
    with rasterio.open(path, "w", driver="GTiff", width=columns, height=rows, count=2,
                       dtype="float32", crs=systems[1], transform=target, nodata=NODATA,
                       compress="deflate") as out:  # fmt: skip
        for band, (name, values) in enumerate((("swir", image), ("half", image / 2)), 1):
            there = np.full((rows, columns), NODATA, np.float32)
            reproject(
                values, there, src_transform=place, src_crs=systems[0], dst_transform=target,
                dst_crs=systems[1], dst_nodata=NODATA, resampling=Resampling.cubic,
            )  # fmt: skip
            out.write(there, band)
            out.set_band_description(band, name)
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    for written in write_pair(parser.parse_args().folder):
        print(written)
