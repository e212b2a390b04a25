"""GeoTIFFs by windows, and where images lie on the ground."""

import math

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp
from rasterio.transform import Affine

from sdme import InputError
from sdme.io import georeference
from sdme.io.geo import Window, read_header, read_window, writing_windows
from sdme.io.georeference import Georeference, from_corners, reproject

UTM33 = rasterio.crs.CRS.from_epsg(32633).to_wkt()
LONLAT = rasterio.crs.CRS.from_epsg(4326).to_wkt()
PLACE = Georeference.from_geotransform(UTM33, [10, 0, 500000, 0, -10, 5600000])


def content(dtype="uint16", shape=(300, 280), top=250):
    return (np.random.default_rng(0).random(shape) * top + 1).astype(dtype)


def store(path, image, **options):
    height, width = image.shape[:2]
    options = {"georeference": PLACE} | options
    bands = 1 if image.ndim == 2 else image.shape[2]
    with writing_windows(
        path, size=(width, height), bands=bands, dtype=image.dtype, **options
    ) as out:
        for y in range(0, height, 128):
            part = image[y : y + 128]
            out.write(Window(0, y, width, len(part)), part)
    return path


def test_convention_first_pixel_centre_is_half_a_pixel_inside():
    np.testing.assert_allclose(PLACE.ground([[0, 0]]), [[500005, 5599995]])
    np.testing.assert_allclose(PLACE.pixels([[500005, 5599995]]), [[0, 0]], atol=1e-9)
    assert PLACE.geotransform == (10, 0, 500000, 0, -10, 5600000)
    there = from_corners(np.diag([2.0, 3, 1]))
    np.testing.assert_allclose(there[:2, 2], [1, 1.5])
    np.testing.assert_allclose(from_corners(there, back=True), np.diag([2.0, 3, 1]))


def test_convention_agrees_with_rasterio(tmp_path):
    path = store(tmp_path / "a.tif", content())
    with rasterio.open(path) as dataset:
        x, y = dataset.xy(7, 30)  # of the centre of row 7, column 30
    np.testing.assert_allclose(read_header(path).georeference.ground([[30, 7]]), [[x, y]])


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "uint32", "int32", "float32",
                                   "float64"])  # fmt: skip
@pytest.mark.parametrize("bands", [1, 3, 4, 7])
def test_what_is_written_is_read(tmp_path, dtype, bands):
    image = content(dtype, (140, 130, bands))
    names = [f"band {i}" for i in range(bands)]
    header = read_header(store(tmp_path / "a.tif", image, nodata=9, band_names=names))
    assert header.size == (130, 140)
    assert (header.bands, header.dtype, header.nodata) == (bands, image.dtype, 9)
    assert header.band_names == tuple(names)
    assert header.georeference == PLACE
    assert not header.has_alpha
    part = read_window(tmp_path / "a.tif")
    np.testing.assert_array_equal(part.pixels, image[..., 0] if bands == 1 else image)
    np.testing.assert_array_equal(part.valid, (image != 9).any(axis=-1))
    with rasterio.open(tmp_path / "a.tif") as dataset:
        assert ColorInterp.alpha not in dataset.colorinterp


def test_a_window_knows_its_place(tmp_path):
    image = content(shape=(300, 280, 3))
    path = store(tmp_path / "a.tif", image)
    part = read_window(path, Window(20, 40, 100, 60), bands=[2, 0])
    np.testing.assert_array_equal(part.pixels, image[40:100, 20:120, [2, 0]])
    np.testing.assert_allclose(part.georeference.ground([[0, 0]]), PLACE.ground([[20, 40]]))


def test_a_shrunk_window_averages_what_carries_data_and_keeps_its_place(tmp_path):
    image = np.zeros((64, 64), np.float32)
    image[:, 1::2] = 10
    image[:8, 0::2] = -9999
    image[8:16] = -9999
    part = read_window(store(tmp_path / "a.tif", image, nodata=-9999), size=(32, 32))
    np.testing.assert_allclose(part.pixels[8:], 5)
    np.testing.assert_allclose(part.pixels[:4][part.valid[:4]], 10)
    assert not part.valid[4:8].any() and part.valid[8:].all()
    # the first pixel of the small one lies between the four that it was made of
    np.testing.assert_allclose(part.georeference.ground([[0, 0]]), PLACE.ground([[0.5, 0.5]]))


def test_mask_stands_in_for_a_value_of_missing_data(tmp_path):
    image, valid = content("uint8", (300, 280)), np.ones((300, 280), bool)
    valid[:70, 30:] = False
    with writing_windows(tmp_path / "a.tif", size=(280, 300), bands=1, dtype="uint8") as out:
        out.write(Window(0, 0, 280, 300), image, valid)
    part = read_window(tmp_path / "a.tif")
    np.testing.assert_array_equal(part.valid, valid)
    np.testing.assert_array_equal(part.pixels, image)
    assert part.georeference is None
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


def test_pixels_that_are_not_finite_carry_no_data(tmp_path):
    image = content("float32", (64, 64, 2))
    image[3, 4, 1], image[5, 6, 0] = np.nan, np.inf
    part = read_window(store(tmp_path / "a.tif", image, nodata=-1))
    assert np.argwhere(~part.valid).tolist() == [[3, 4], [5, 6]]


def test_metres_on_the_ground():
    """By the length of a degree at the equator and at 60 degrees on the WGS 84 ellipsoid."""
    here = np.zeros((1, 2))
    assert PLACE.metres_between(here, here + [3, 4])[0] == pytest.approx(50, rel=1e-3)
    for latitude, east in ((0.0, 111.3195), (60.0, 55.8000)):
        place = Georeference.from_geotransform(LONLAT, [1e-3, 0, 15, 0, -1e-3, latitude + 5e-4])
        assert place.metres_between(here, here + [1, 0])[0] == pytest.approx(east, rel=2e-4)
    mercator = rasterio.crs.CRS.from_epsg(3857).to_wkt()  # its metres at 60 degrees are half ones
    x, y = reproject(LONLAT, mercator, np.array([[15.0, 60.0]]))[0]
    place = Georeference.from_geotransform(mercator, [10, 0, x, 0, -10, y])
    assert place.metres_between(here, here + [1, 0])[0] == pytest.approx(5, rel=4e-3)


def test_pixels_in_another_system():
    """A place in UTM and the same place by its longitude and latitude."""
    lonlat = reproject(UTM33, LONLAT, PLACE.ground([[10, 20]]))[0]
    other = Georeference.from_geotransform(LONLAT, [1e-4, 0, lonlat[0], 0, -1e-4, lonlat[1]])
    np.testing.assert_allclose(PLACE.pixels_in(other, [[10, 20]]), [[-0.5, -0.5]], atol=1e-5)
    assert 14 < lonlat[0] < 16 and 50 < lonlat[1] < 51


def test_a_georeference_is_a_value():
    again = Georeference.from_dict(PLACE.to_dict())
    assert again == PLACE and hash(again) == hash(PLACE)
    for wrong in ({}, {"crs": "x"}, {"crs": "x", "geotransform": [1, 2]}, 7,
                  {"crs": "", "geotransform": [0] * 6}, {"crs": "", "geotransform": [math.nan] * 6},
                  {"crs": "", "geotransform": ["a"] * 6}):  # fmt: skip
        with pytest.raises(InputError):
            Georeference.from_dict(wrong)
    with pytest.raises(InputError, match="coordinate system cannot be used"):
        reproject("nonsense", LONLAT, np.zeros((1, 2)))


@pytest.mark.parametrize("window", [(-1, 0, 5, 5), (0, 0, 281, 5), (0, 299, 5, 2), (0, 0, 0, 5)])
def test_windows_outside(tmp_path, window):
    path = store(tmp_path / "a.tif", content())
    with pytest.raises(InputError, match="280x300 px has no window"):
        read_window(path, Window(*window))


def test_files_that_are_no_geotiffs(tmp_path):
    (tmp_path / "text.tif").write_text("hello")
    (tmp_path / "a.vrt").write_text('<VRTDataset rasterXSize="9" rasterYSize="9"></VRTDataset>')
    for name, words in (("text.tif", "cannot be read as a GeoTIFF"), ("none.tif", "not exist"),
                        ("a.vrt", "cannot be read as a GeoTIFF"), ("", "is a folder")):  # fmt: skip
        with pytest.raises(InputError, match=words) as caught:
            read_header(tmp_path / name, "fixed image")
        assert str(caught.value).startswith(f"fixed image {tmp_path}")
        assert "\n" not in str(caught.value)


def test_cut_geotiff(tmp_path, capfd):
    path = store(tmp_path / "a.tif", content("uint16", (600, 600), 60000))
    path.write_bytes(path.read_bytes()[:200_000])
    with pytest.raises(InputError, match=r"cannot be (read|decoded)"):
        read_window(path)
    assert capfd.readouterr().err == ""


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
def test_huge_blocks_and_odd_types_are_refused(tmp_path):
    options = {"driver": "GTiff", "width": 40_000, "height": 40_000, "count": 1}
    tiles = {"tiled": True, "blockxsize": 32768, "blockysize": 32768, "sparse_ok": True}
    with rasterio.open(tmp_path / "a.tif", "w", dtype="uint8", **options, **tiles):
        pass
    with pytest.raises(InputError, match="blocks of 32768x32768 px"):
        read_header(tmp_path / "a.tif")
    options |= {"width": 40, "height": 40}
    with rasterio.open(tmp_path / "c.tif", "w", dtype="complex64", **options):
        pass
    with pytest.raises(InputError, match="complex64"):
        read_header(tmp_path / "c.tif")


def test_without_rasterio(tmp_path, monkeypatch):
    path = store(tmp_path / "a.tif", content())
    monkeypatch.setitem(__import__("sys").modules, "rasterio", None)
    with pytest.raises(InputError, match=r"pip install 'sdme\[geo\]'"):
        read_header(path)
    with pytest.raises(InputError, match=r"pip install 'sdme\[geo\]'"):
        georeference.reproject(UTM33, LONLAT, np.zeros((1, 2)))


def test_failure_while_writing_leaves_the_older_file(tmp_path):
    path = store(tmp_path / "a.tif", content())
    before = path.read_bytes()
    with (
        pytest.raises(InputError, match="shape"),
        writing_windows(path, size=(64, 64), bands=1, dtype="uint8") as out,
    ):
        out.write(Window(0, 0, 64, 64), np.zeros((3, 3), np.uint8))
    with (
        pytest.raises(KeyboardInterrupt),
        writing_windows(path, size=(64, 64), bands=1, dtype="uint8"),
    ):
        raise KeyboardInterrupt
    assert path.read_bytes() == before
    assert [place.name for place in tmp_path.iterdir()] == ["a.tif"]
    with (
        pytest.raises(InputError, match="cannot write"),
        writing_windows(path, size=(64, 64), bands=1, dtype="uint8", nodata=-9999),
    ):
        pass


def test_rotated_placement(tmp_path):
    turned = Affine.translation(500000, 5600000) @ Affine.rotation(30) @ Affine.scale(10, -10)
    place = Georeference.from_geotransform(UTM33, list(turned)[:6])
    path = store(tmp_path / "a.tif", content(), georeference=place)
    np.testing.assert_allclose(read_header(path).georeference.geotransform, place.geotransform)
