"""What files say besides pixels, and that it survives being read, carried over and written."""

import cv2
import numpy as np
import pytest
import rasterio
import tifffile

from sdme import InputError, Raster, Transform, ViewSettings, read_image, read_raster, write_raster
from sdme.frames import make_frame
from sdme.io.georeference import Georeference
from sdme.io.raster import Plane
from sdme.io.read import check_content
from sdme.io.resample import carry
from sdme.io.view import see
from sdme.io.write import raster_suffix

UTM33 = rasterio.crs.CRS.from_epsg(32633).to_wkt()
PLACE = Georeference.from_geotransform(UTM33, [10, 0, 500000, 0, -10, 5600000])
HALF = Transform(np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]]), (40, 40), (40, 40))
NODATA_TAG = 42113


def content(dtype="uint16", shape=(40, 40), low=100, high=200):
    return np.random.default_rng(0).integers(low, high, shape).astype(dtype)


@pytest.mark.parametrize(
    ("text", "dtype", "expected"),
    [
        ("0", "uint8", 0), ("-9999", "int16", -9999), ("-9999", "uint16", None),
        ("7.5", "uint8", None),
        ("-9999", "float32", -9999), ("-3.4e+38", "float32", float(np.float32(-3.4e38))),
        ("nan", "float32", np.nan), ("nan", "uint8", None), ("hello", "uint8", None),
        ("9007199254740993", "int64", 2**53 + 1), ("1e999", "uint8", None), ("", "uint8", None),
    ],
)  # fmt: skip
def test_declared_missing_data(tmp_path, text, dtype, expected):
    tifffile.imwrite(tmp_path / "a.tif", content(dtype, low=1, high=99),
                     extratags=[(NODATA_TAG, "s", 0, text, True)])  # fmt: skip
    found = read_raster(tmp_path / "a.tif").nodata
    assert found == expected or (found != found and expected != expected)


def test_missing_data_of_integers_and_of_floating_numbers():
    pixels = content(shape=(40, 40, 3))
    pixels[:4] = 0
    pixels[4:8, :, 1] = 0
    whole = Raster(pixels, nodata=0)
    assert not whole.valid[:4].any() and whole.valid[4:].all()  # one band at 0 is an amount
    floating = Raster(pixels.astype(np.float32), nodata=0)
    assert not floating.valid[:8].any() and floating.valid[8:].all()
    assert np.isnan(floating.array[:4]).all() and (floating.pixels[:4] == 0).all()
    masked = Raster(pixels, mask=np.arange(1600).reshape(40, 40) >= 80)
    assert not masked.valid[:2].any() and masked.valid[2:].all()


def test_four_bands_are_alpha_only_where_the_tiff_says_so(tmp_path):
    image = content("uint8", (40, 40, 4))
    image[:5, :, 3] = 0
    for samples, expected in (("unassalpha", True), ("assocalpha", True), ("unspecified", False)):
        tifffile.imwrite(tmp_path / "a.tif", image, photometric="rgb", extrasamples=[samples])
        found = read_raster(tmp_path / "a.tif")
        assert found.has_alpha == expected
        assert found.valid[:5].any() != expected
    with rasterio.open(tmp_path / "b.tif", "w", driver="GTiff", width=40, height=40, count=4,
                       dtype="uint8", photometric="minisblack", alpha="no", crs="EPSG:32633",
                       transform=rasterio.Affine(1, 0, 5, 0, -1, 5)) as out:  # fmt: skip
        out.write(np.moveaxis(image, -1, 0))
    assert not read_raster(tmp_path / "b.tif").has_alpha


@pytest.mark.parametrize("georeference", [None, PLACE])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "uint32", "int32", "float32"])
@pytest.mark.parametrize("bands", [(), (2,), (4,), (6,)])
def test_tiff_keeps_everything(tmp_path, georeference, dtype, bands):
    pixels = content(dtype, (40, 40, *bands), high=120)
    given = Raster(pixels, nodata=117, georeference=georeference,
                   band_names=tuple(f"b{i}" for i in range(len(bands) and bands[0])))  # fmt: skip
    write_raster(tmp_path / "a.tif", given)
    back = read_raster(tmp_path / "a.tif")
    assert back.pixels.dtype == pixels.dtype
    np.testing.assert_array_equal(back.pixels, pixels)
    assert (back.nodata, back.has_alpha) == (117, False)
    assert back.georeference == georeference
    assert back.notes == ()
    if georeference is not None:
        assert back.band_names == given.band_names


@pytest.mark.parametrize("georeference", [None, PLACE])
def test_palette_survives_and_is_seen_in_colour(tmp_path, georeference):
    colours = np.random.default_rng(1).integers(0, 255, (256, 3)).astype(np.uint8)
    given = Raster(content("uint8", high=110), palette=colours, is_labels=True,
                   georeference=georeference)  # fmt: skip
    write_raster(tmp_path / "a.tif", given)
    back = read_raster(tmp_path / "a.tif")
    np.testing.assert_array_equal(back.pixels, given.pixels)
    np.testing.assert_array_equal(back.palette, colours)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), colours[given.pixels])
    seen = make_frame(back, "image", 640).pixels[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(seen, colours[given.pixels] / 255, atol=1e-6)
    assert set(np.unique(carry(back, HALF).pixels)) <= {0, *range(100, 110)}


@pytest.mark.parametrize("dtype", ["bool", "float16"])
def test_types_that_gdal_lacks_are_widened_without_loss(tmp_path, dtype):
    pixels = content(low=0, high=2).astype(dtype)
    write_raster(tmp_path / "a.tif", Raster(pixels, georeference=PLACE))
    np.testing.assert_array_equal(read_raster(tmp_path / "a.tif").pixels, pixels.astype(np.float64))


def test_mask_of_a_geotiff_is_read_with_and_without_rasterio(tmp_path, monkeypatch):
    mask = np.ones((40, 40), bool)
    mask[:7, 5:] = False
    given = Raster(content(), mask=mask, georeference=PLACE)
    write_raster(tmp_path / "a.tif", given)
    np.testing.assert_array_equal(read_raster(tmp_path / "a.tif").valid, mask)
    monkeypatch.setitem(__import__("sys").modules, "rasterio", None)
    back = read_raster(tmp_path / "a.tif")
    np.testing.assert_array_equal(back.valid, mask)
    assert back.georeference is None
    assert "pip install 'sdme[geo]'" in back.notes[0] and "a.tif" in back.notes[0]
    with pytest.raises(InputError, match=r"sdme\[geo\]"):
        write_raster(tmp_path / "b.tif", given)
    assert not (tmp_path / "b.tif").exists()


@pytest.mark.parametrize("how", ["nearest", "bilinear", "cubic", "lanczos"])
@pytest.mark.parametrize("dtype", ["int16", "uint16", "float32", "float64"])
def test_missing_data_is_never_mixed_and_stays_what_it_is(how, dtype):
    pixels = content(dtype)
    pixels[10:20, 10:20] = 30000
    raster = Raster(pixels, nodata=30000)
    out = carry(raster, HALF, how)
    assert out.nodata == 30000 and out.pixels.dtype == pixels.dtype
    missing = out.pixels == 30000
    nearest = HALF.warp(raster.valid.view(np.uint8), interpolation="nearest", fill=0) == 0
    np.testing.assert_array_equal(missing, nearest)
    assert out.pixels[~missing].max() < 260
    assert missing[-1].all()  # where the image does not reach
    if how == "bilinear":  # far from it nothing is changed
        expected = HALF.warp(pixels.astype(np.float64))
        np.testing.assert_allclose(out.pixels[:8, :39], expected[:8, :39], atol=0.51)


def test_missing_samples_of_one_band_leave_the_others_alone():
    pixels = content("int16", (40, 40, 2))
    pixels[10:20, 10:20, 0] = -1
    out = carry(Raster(pixels, nodata=-1), HALF).pixels
    assert (out[12:18, 12:18, 0] == -1).all()
    plain = HALF.warp(pixels[..., 1])
    np.testing.assert_array_equal(out[:39, :39, 1], plain[:39, :39])


def test_no_good_sample_becomes_missing():
    pixels = np.where(np.arange(40) % 2, 104, 96).astype(np.uint8)[None].repeat(40, 0)
    pixels[:3] = 100
    out = carry(Raster(pixels, nodata=100), HALF).pixels  # means of 96 and 104 are 100
    assert (out[5:39, :39] == 101).all()
    assert carry(Raster(pixels), HALF).pixels[10, 10] == 100


def test_without_a_value_a_mask_says_where_the_image_lies(tmp_path):
    shift = Transform(np.array([[1, 0, -10], [0, 1, 0], [0, 0, 1]]), (40, 40), (40, 40))
    out = carry(Raster(content()), shift, on=PLACE)
    assert not out.valid[:, :10].any() and out.valid[:, 10:].all()
    write_raster(tmp_path / "a.tif", out)
    back = read_raster(tmp_path / "a.tif")
    assert back.nodata is None and back.georeference == PLACE
    np.testing.assert_array_equal(back.valid, out.valid)
    with rasterio.open(tmp_path / "a.tif") as dataset:
        np.testing.assert_array_equal(dataset.dataset_mask() > 0, out.valid)


def test_user_masks(tmp_path):
    image, mask = content("uint8", (60, 80)), np.zeros((60, 80), np.uint8)
    mask[20:50, 30:70] = 1
    cv2.imwrite(str(tmp_path / "m.png"), mask)
    for source in (tmp_path / "m.png", mask, mask > 0, mask.astype(np.float32), Raster(mask)):
        raster = read_raster(image, mask=source)
        np.testing.assert_array_equal(raster.use, mask > 0)
    frame = make_frame(raster, "image", 640)
    valid = frame.valid[0, 0].numpy()
    assert valid[24:46, 34:66].all()
    assert valid.sum() == 22 * 32  # 4 px from what may not be looked at
    np.testing.assert_allclose(frame.pixels[0, 0].numpy(), image / 255, atol=1e-6)
    colour = np.zeros((60, 80, 4), np.uint8)
    colour[..., 3], colour[5, 5, 2] = 255, 9
    assert read_raster(image, mask=colour).use.sum() == 1


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.ones((60, 79), np.uint8), "79x60 px but the image 80x60"),
        (np.zeros((60, 80), np.uint8), "zero everywhere"),
        (np.full((60, 80), np.nan), "zero everywhere"),
        ("none.png", "does not exist"),
        (np.ones((3, 60, 80), np.uint8), "bands first"),
        (7, "is a int"),
    ],
)
def test_wrong_masks(mask, words):
    with pytest.raises(InputError, match=words) as caught:
        read_raster(content("uint8", (60, 80)), "fixed image", mask=mask)
    assert str(caught.value).startswith("mask of the fixed image")


def test_content_where_one_may_look():
    image = np.full((60, 80), 9, np.uint8)
    image[:10] = content("uint8", (10, 80))
    below = np.arange(60)[:, None].repeat(80, 1) >= 20
    check_content(read_raster(image), "image")
    with pytest.raises(InputError, match="same value everywhere"):
        check_content(read_raster(image, mask=below), "image")
    with pytest.raises(InputError, match="where its mask allows"):
        check_content(read_raster(Raster(image, mask=~below), mask=below), "image")


def test_rasters_made_by_hand_are_checked():
    with pytest.raises(InputError, match="mask of shape"):
        read_raster(Raster(content(), mask=np.ones((3, 3), bool)))
    with pytest.raises(InputError, match="1 band"):
        read_raster(content(), view=ViewSettings(bands=(2,)))
    with pytest.raises(InputError, match="no volume"):
        read_raster(content(), place=3)


@pytest.mark.parametrize(
    ("name", "raster", "words"),
    [
        ("a.gif", Raster(content("uint8")), "end the name in"),
        ("a.nii.gz", Raster(content()), "where in a body"),
        ("a.png", Raster(content("float32")), "PNG cannot hold"),
        ("none/a.tif", Raster(content(), georeference=PLACE), "cannot write"),
    ],
)
def test_what_cannot_be_written(tmp_path, name, raster, words):
    with pytest.raises(InputError, match=words):
        write_raster(tmp_path / name, raster)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("georeference", [None, PLACE])
@pytest.mark.parametrize("nodata", [None, 0])
def test_what_a_mask_hides_stays_missing(tmp_path, georeference, nodata):
    pixels, mask = content(), np.ones((40, 40), bool)
    mask[10:20, 10:20] = False
    pixels[~mask] = 65000
    given = Raster(pixels, mask=mask, nodata=nodata, georeference=georeference)
    same = Transform(np.eye(3), (40, 40), (40, 40))
    carried = carry(given, same, on=georeference)
    assert carried.pixels.max() < 200
    for raster in (given, carried):
        write_raster(tmp_path / "a.tif", raster)
        back = read_raster(tmp_path / "a.tif")
        np.testing.assert_array_equal(back.valid, mask)
        np.testing.assert_array_equal(back.pixels[mask], pixels[mask])


def test_a_mask_that_png_would_lose(tmp_path):
    mask = np.ones((40, 40), bool)
    mask[10:20, 10:20] = False
    given = Raster(content("uint8"), mask=mask)
    assert raster_suffix(given, "a.png") == ".tif"
    with pytest.raises(InputError, match=r"cannot hold the mask.*\.tif"):
        write_raster(tmp_path / "a.png", given)
    write_raster(tmp_path / "a.png", carry(given, HALF))
    assert (read_raster(tmp_path / "a.png").pixels[11:19, 11:19] == 0).all()


@pytest.mark.parametrize(
    ("dtype", "values", "nodata"),
    [("uint8", (100, 102), 101), ("float32", (-1, 1), 0), ("float64", (2, 4), 3)],
)
def test_good_samples_stay_where_none_is_missing(dtype, values, nodata):
    pixels = np.where(np.arange(40) % 2, *values).astype(dtype)[None].repeat(40, 0)
    out = carry(Raster(pixels, nodata=nodata), HALF)
    assert out.valid[:39, :39].all() and not out.valid[-1].any()
    np.testing.assert_allclose(out.pixels[:39, :39], nodata, atol=1)


@pytest.mark.parametrize("nodata", [None, 0])
def test_transparent_pixels_do_not_bleed(nodata):
    pixels = np.full((40, 40, 4), 200, np.uint8)
    pixels[..., 3] = 255
    pixels[:, 20:] = 0
    out = carry(Raster(pixels, nodata=nodata, has_alpha=True), HALF).pixels
    assert (out[:39, :20, :3] == 200).all()
    assert (out[:39, :19, 3] == 255).all() and out[5, 19, 3] == 128
    assert (out[:, 20:, 3] == 0).all()


def test_a_wanted_fill_is_written(tmp_path):
    out = carry(Raster(content(), nodata=0), HALF, fill=7)
    write_raster(tmp_path / "a.tif", out)
    assert (read_raster(tmp_path / "a.tif").pixels[-1] == 7).all()


def test_data_is_missing_by_the_chosen_bands():
    view = ViewSettings(bands=(1, 2, 3))
    pixels = content("float32", (40, 40, 4))
    pixels[..., 3] = np.nan
    given = read_raster(Raster(pixels), view=view)
    check_content(given, "image")
    assert see(given).valid.all()
    two = content("int16", (40, 40, 2))
    two[:8, :, 0] = -1
    seen = see(Raster(two, nodata=-1, view=ViewSettings(bands=(1,))))
    assert not seen.valid[:8].any() and seen.valid[8:].all()


def test_a_value_of_missing_data_may_be_of_numpy(tmp_path):
    given = Raster(content("float32"), nodata=np.float32(-9999))
    write_raster(tmp_path / "a.tif", given)
    assert read_raster(tmp_path / "a.tif").nodata == -9999


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [("uint8", -9999), ("uint16", 7.5), ("int16", np.nan), ("uint8", np.inf), ("bool", 2)],
)
def test_a_value_that_no_pixel_can_have(dtype, nodata):
    with pytest.raises(InputError, match=f"image of {dtype} cannot have .* missing data"):
        read_raster(Raster(content(dtype), nodata=nodata))


@pytest.mark.parametrize("dtype", ["bool", "float16"])
def test_types_that_medical_formats_lack_are_widened(tmp_path, dtype):
    pytest.importorskip("SimpleITK")
    pixels = content(low=0, high=2).astype(dtype)
    given = Raster(pixels, plane=Plane((1, 1, 1), (0, 0, 0), np.eye(3), ".nrrd"))
    write_raster(tmp_path / "a.nrrd", given)
    np.testing.assert_array_equal(read_raster(tmp_path / "a.nrrd").pixels, pixels.astype(float))
