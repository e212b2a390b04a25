"""Formats through the commands: GeoTIFF and NIfTI in and out, masks, bands, missing extras."""

import json
import sys

import numpy as np
import pytest
import rasterio
import SimpleITK as sitk  # noqa: N813 - its own name

from sdme import Raster, Status, Transform, read_raster, write_raster
from sdme.cli.app import main
from sdme.io.georeference import Georeference
from sdme.io.places import Places

SHIFT = Transform(np.array([[1, 0, 3], [0, 1, 4], [0, 0, 1]]), (60, 50), (64, 56))
FIXED = rasterio.Affine(10, 0, 500_000, 0, -10, 5_600_000)
MOVING = rasterio.Affine(10, 0, 500_000, 0, -10, 5_600_000)


def noise(shape, dtype="uint16"):
    return np.random.default_rng(0).integers(1, 250, shape).astype(dtype)


def geotiff(path, pixels, transform, **options):
    stack = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
    count, height, width = stack.shape
    with rasterio.open(path, "w", driver="GTiff", width=width, height=height, count=count,
                       dtype=pixels.dtype.name, crs="EPSG:32633", transform=transform,
                       photometric="minisblack", **options) as out:  # fmt: skip
        out.write(stack)
        for band in range(count):
            out.set_band_description(band + 1, f"band {band + 1}")
    return path


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    geotiff("fixed.tif", noise((50, 60)), FIXED)
    moving = noise((56, 64, 4), "int16")
    moving[:9] = -32768
    geotiff("moving.tif", moving, MOVING, nodata=-32768)
    return tmp_path


@pytest.fixture
def registers(monkeypatch, handmade):
    """A registration by hand in the place of the real one; returns what it was given."""
    calls = []

    def fake(fixed, moving, **settings):
        calls.append((fixed, moving))
        return handmade(Status.ALIGNED, fixed_raster=fixed, moving_raster=moving, transform=SHIFT,
                        fixed_size=fixed.size, moving_size=moving.size,
                        fixed_name=fixed.name, moving_name=moving.name)  # fmt: skip

    module = type(sys)("sdme.register")
    module.register = fake
    monkeypatch.setitem(sys.modules, "sdme.register", module)
    return calls


def test_the_aligned_geotiff_lies_on_the_fixed_grid(here, registers, capsys):
    assert main(["register", "fixed.tif", "moving.tif", "-o", "out"]) == 0
    with rasterio.open("fixed.tif") as fixed, rasterio.open("out/aligned.tif") as out:
        assert out.bounds == fixed.bounds and out.crs == fixed.crs
        assert out.transform == fixed.transform and out.shape == fixed.shape
        assert out.dtypes == ("int16",) * 4 and out.nodata == -32768
        assert out.descriptions == ("band 1", "band 2", "band 3", "band 4")
        pixels = np.moveaxis(out.read(), 0, -1)
    with rasterio.open("moving.tif") as moving:
        given = np.moveaxis(moving.read(), 0, -1)
    np.testing.assert_array_equal(pixels[:50, :60], given[4:54, 3:63])
    said = capsys.readouterr().out
    assert "the georeference is corrected by 5.0 px, 50.0 m" in said
    content = json.loads((here / "out" / "result.json").read_text())
    assert content["correction"]["pixels"] == pytest.approx(5)
    assert content["correction"]["metres"] == pytest.approx(50, rel=1e-3)
    page = (here / "out" / "report.html").read_text()
    assert "Correction of the georeference" in page and "50.0" in page


def test_apply_knows_where_the_fixed_image_lies(here, registers):
    main(["register", "fixed.tif", "moving.tif", "-o", "out", "--quiet"])
    write_raster("band.png", Raster(noise((56, 64), "uint8")))
    assert main(["apply", "out/transform.json", "band.png", "--labels", "-o", "band.tif"]) == 0
    with rasterio.open("fixed.tif") as fixed, rasterio.open("band.tif") as out:
        assert (out.bounds, out.crs) == (fixed.bounds, fixed.crs)
        assert out.dtypes == ("uint8",)
    assert main(["apply", "out/transform.json", "band.png"]) == 0
    assert read_raster("band_on_fixed.tif").georeference is not None
    assert main(["apply", "out/transform.json", "fixed.tif", "--from", "fixed", "-o", "b.tif"]) == 0
    with rasterio.open("moving.tif") as moving, rasterio.open("b.tif") as out:
        assert (out.bounds, out.shape) == (moving.bounds, moving.shape)


def test_a_transform_without_places_gives_a_plain_tiff(here):
    SHIFT.save("plain.json")
    assert main(["apply", "plain.json", "moving.tif", "-o", "plain.tif"]) == 0
    out = read_raster("plain.tif")
    assert out.georeference is None
    assert out.nodata == -32768 and (out.pixels[:5] == -32768).all()


def test_without_rasterio_it_says_what_is_lost(here, registers, monkeypatch, capsys):
    main(["register", "fixed.tif", "moving.tif", "-o", "out", "--quiet"])
    monkeypatch.setitem(sys.modules, "rasterio", None)
    assert main(["register", "fixed.tif", "moving.tif", "-o", "again"]) == 0
    fixed, moving = registers[-1]
    assert moving.nodata == -32768 and fixed.georeference is None
    assert "pip install 'sdme[geo]'" in fixed.notes[0]
    capsys.readouterr()
    assert main(["apply", "out/transform.json", "moving.tif", "-o", "m.tif"]) == 2
    assert "pip install 'sdme[geo]'" in capsys.readouterr().err
    assert not (here / "m.tif").exists()


def test_options_reach_the_images(here, registers):
    mask = np.zeros((50, 60), np.uint8)
    mask[10:40] = 1
    write_raster("mask.png", Raster(mask))
    assert main(["register", "fixed.tif", "moving.tif", "-o", "out", "--fixed-mask", "mask.png",
                 "--moving-bands", "4,2,1", "--fixed-log", "yes",
                 "--ignore-places"]) == 0  # fmt: skip
    fixed, moving = registers[0]
    np.testing.assert_array_equal(fixed.use, mask > 0)
    assert moving.use is None and moving.view.bands == (4, 2, 1)
    assert (fixed.view.log, moving.view.log) == ("yes", "auto")
    assert not fixed.view.place and not moving.view.place


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--fixed-mask moving.tif", "mask of the fixed image moving.tif is 64x56 px"),
        ("--moving-mask none.png", "mask of the moving image none.png does not exist"),
        ("--fixed-bands 2", "has 1 band(s), not band 2"),
        ("--moving-bands 1,2", "'1,2' are no bands"),
        ("--moving-bands 0", "'0' are no bands"),
        ("--moving-bands x", "'x' are no bands"),
        ("--fixed-slice 3", "is no volume"),
        ("--fixed-log maybe", "--fixed-log"),
        ("--fixed-axis w", "--fixed-axis"),
    ],
)
def test_wrong_options_are_one_line(here, registers, capfd, arguments, words):
    before = sorted(here.iterdir())
    assert main(["register", "fixed.tif", "moving.tif", "-o", "out", *arguments.split()]) == 2
    said = capfd.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and words in said.err
    assert registers == [] and sorted(here.iterdir()) == before


def test_a_mask_in_the_output_folder_is_not_destroyed(here, registers, capsys):
    main(["register", "fixed.tif", "moving.tif", "-o", "out", "--quiet"])
    options = ["-o", "out", "--fixed-mask", "out/aligned.tif"]
    assert main(["register", "fixed.tif", "moving.tif", *options]) == 2
    assert "would be replaced" in capsys.readouterr().err


def test_slices_keep_their_place(here, registers):
    volume = sitk.GetImageFromArray(noise((5, 50, 60), "int16"))
    volume.SetSpacing((0.5, 0.5, 2))
    volume.SetOrigin((7, 8, 9))
    sitk.WriteImage(volume, "fixed.nii.gz")
    sitk.WriteImage(sitk.GetImageFromArray(noise((5, 56, 64), "uint8")), "moving.nrrd")
    assert main(["register", "fixed.nii.gz", "moving.nrrd", "-o", "out"]) == 2
    assert main(["register", "fixed.nii.gz", "moving.nrrd", "-o", "out", "--fixed-slice", "3",
                 "--moving-slice", "1"]) == 0  # fmt: skip
    out = sitk.ReadImage("out/aligned.nrrd")
    assert out.GetSize() == (60, 50, 1)
    assert out.GetSpacing() == (0.5, 0.5, 2) and out.GetOrigin() == (7, 8, 15)
    assert out.GetPixelIDTypeAsString() == "8-bit unsigned integer"
    assert main(["apply", "out/transform.json", "moving.nrrd", "--slice", "2", "--labels",
                 "-o", "labels.nii.gz"]) == 0  # fmt: skip
    back = read_raster("labels.nii.gz")
    np.testing.assert_array_equal(back.pixels[:50, :60], noise((5, 56, 64), "uint8")[2, 4:54, 3:63])
    assert back.plane.origin == (7, 8, 15)


def test_places_that_cannot_be_used(here, capsys):
    stored = SHIFT.to_dict() | {"places": {"fixed": {"crs": "x", "geotransform": [1, 2]}}}
    (here / "t.json").write_text(json.dumps(stored))
    assert main(["apply", "t.json", "moving.tif"]) == 2
    assert "t.json: the geotransform is [1, 2]; give six numbers" in capsys.readouterr().err
    bad = Places(Georeference.from_geotransform("nonsense", [1, 0, 0, 0, -1, 0])).to_dict()
    (here / "t.json").write_text(json.dumps(SHIFT.to_dict() | bad))
    assert main(["apply", "t.json", "moving.tif", "-o", "o.tif"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (here / "o.tif").exists()
