"""Transforms in files of other programs: what those programs make of them is what we do."""

import json

import cv2
import numpy as np
import pytest
import tifffile

from sdme.config import KINDS
from sdme.errors import InputError
from sdme.exchange.formats import FORMATS, export_transform, read_transform
from sdme.geometry.mapping import frame_corners
from sdme.io.georeference import Georeference
from sdme.io.image import write_image
from sdme.transform import Transform

FIXED, MOVING = (60, 45), (70, 52)


def on_the_ground(*geotransform):
    rasterio = pytest.importorskip("rasterio")
    return Georeference.from_geotransform(
        rasterio.crs.CRS.from_epsg(32633).to_wkt(), [*map(float, geotransform)]
    )


def of_kind(kind):
    turn = 0 if kind == "translation" else 0.1
    matrix = np.array(
        [[np.cos(turn), -np.sin(turn), 7.25], [np.sin(turn), np.cos(turn), -2.5], [0, 0, 1]]
    )
    if kind in ("similarity", "affine", "homography"):
        matrix[:2, :2] *= 1.07
    if kind in ("affine", "homography"):
        matrix[0, :2] *= 0.9
    if kind == "homography":
        matrix[2, :2] = 1e-3, -5e-4
    return Transform(matrix, FIXED, MOVING, kind)


def picture(size, seed=0):
    coarse = np.random.default_rng(seed).uniform(0, 255, (9, 12)).astype(np.float32)
    return cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)


@pytest.fixture
def images(tmp_path):
    paths = tmp_path / "fixed.png", tmp_path / "moving.png"
    for path, size in zip(paths, (FIXED, MOVING), strict=True):
        write_image(path, picture(size).clip(0, 255).astype(np.uint8))
    return dict(zip(("fixed", "moving"), paths, strict=True))


def geotiff(path, size, georeference):
    from sdme.io.geo import Window, writing_windows

    kind = {"size": size, "bands": 1, "dtype": np.uint8, "georeference": georeference}
    with writing_windows(path, **kind) as writer:
        writer.write(Window(0, 0, *size), picture(size).clip(0, 255).astype(np.uint8))
    return path


@pytest.fixture
def placed(tmp_path):
    """A fixed GeoTIFF, and a moving one without a place."""
    utm = on_the_ground(10, 0, 500000, 0, -10, 5600000)
    paths = geotiff(tmp_path / "placed.tif", FIXED, utm), tmp_path / "raw.tif"
    write_image(paths[1], picture(MOVING).clip(0, 255).astype(np.uint8))
    return dict(zip(("fixed", "moving"), paths, strict=True))


def assert_same(found, expected, tolerance=1e-6):
    assert found.fixed_size == expected.fixed_size and found.moving_size == expected.moving_size
    assert found.corner_error(expected) < tolerance


@pytest.mark.parametrize("name", ["t.json", "t.npz", "t.yml", "t.xml"])
@pytest.mark.parametrize("kind", KINDS)
def test_formats_that_hold_everything_give_the_same_transform_back(tmp_path, name, kind):
    export_transform(of_kind(kind), tmp_path / name)
    assert read_transform(tmp_path / name).transform == of_kind(kind)


@pytest.mark.parametrize("name", ["t.npy", "t.tfm", "t.txt", "t.csv", "t.points"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_others_do_with_the_images(tmp_path, images, name, kind):
    if kind == "homography" and name in ("t.tfm", "t.txt"):
        return
    export_transform(of_kind(kind), tmp_path / name, **images)
    found = read_transform(tmp_path / name, **images)
    assert_same(found.transform, of_kind(kind))
    if name in ("t.npy", "t.tfm", "t.txt"):
        assert found.transform.kind == kind
    with pytest.raises(InputError, match="how large the images are"):
        read_transform(tmp_path / name)


@pytest.mark.parametrize("kind", KINDS[:-1])
def test_convention_simpleitk_resamples_the_same_picture(tmp_path, kind):
    sitk = pytest.importorskip("SimpleITK")
    export_transform(of_kind(kind), tmp_path / "t.tfm")
    moving = picture(MOVING)
    theirs = sitk.Resample(
        sitk.GetImageFromArray(moving),
        sitk.GetImageFromArray(picture(FIXED)),
        sitk.ReadTransform(str(tmp_path / "t.tfm")),
        sitk.sitkLinear,
    )
    ours = of_kind(kind).warp(moving)
    inner = of_kind(kind).warp(np.pad(np.ones((48, 66), np.uint8), 2), interpolation="nearest") > 0
    np.testing.assert_allclose(sitk.GetArrayFromImage(theirs)[inner], ours[inner], atol=0.7)
    assert inner.mean() > 0.5  # OpenCV rounds coordinates to a 32nd of a pixel


@pytest.mark.parametrize("kind", ["similarity", "homography"])
def test_convention_simpleitk_resamples_the_same_picture_by_a_field(tmp_path, kind):
    sitk = pytest.importorskip("SimpleITK")
    export_transform(of_kind(kind), tmp_path / "t.mha")
    field = sitk.DisplacementFieldTransform(
        sitk.ReadImage(str(tmp_path / "t.mha"), sitk.sitkVectorFloat64)
    )
    x, y = 31.0, 17.0
    np.testing.assert_allclose(field.TransformPoint((x, y)), of_kind(kind).apply([x, y]), atol=1e-6)


def test_itk_has_no_homography(tmp_path):
    with pytest.raises(InputError, match=r"ITK has no transform for a homography.*\.mha"):
        export_transform(of_kind("homography"), tmp_path / "t.tfm")
    assert not (tmp_path / "t.tfm").exists()


def test_what_simpleitk_writes_is_read(tmp_path, images):
    sitk = pytest.importorskip("SimpleITK")
    written = sitk.Similarity2DTransform(1.2, 0.3, (4.0, -6.0), (30.0, 20.0))
    sitk.WriteTransform(written, str(tmp_path / "t.tfm"))
    found = read_transform(tmp_path / "t.tfm", **images).transform
    points = np.array([[0.0, 0], [59, 3], [12, 44]])
    expected = [written.TransformPoint(point) for point in points.tolist()]
    np.testing.assert_allclose(found.apply(points), expected, atol=1e-9)
    assert found.kind == "similarity"


@pytest.mark.parametrize("content", ["", "#Insight Transform File V1.0\n", "hello",
    "#Insight Transform File V1.0\nTransform: AffineTransform_double_3_3\nParameters: 1\n",
    "#Insight Transform File V1.0\nTransform: AffineTransform_double_2_2\nParameters: 1 0 0 x 2 3",
    "#Insight Transform File V1.0\nTransform: AffineTransform_double_2_2\nParameters: 1 0 0 1\n",
    "#Insight Transform File V1.0\nTransform: BSplineTransform_double_2_2\nParameters: 1\n",
    "#Insight Transform File V1.0\nTransform: Euler2DTransform_double_2_2\nParameters: 0 1 1\n"
    "FixedParameters: 0 0\nTransform: Euler2DTransform_double_2_2\nParameters: 0 1 1\n",
])  # fmt: skip
def test_other_files_of_itk_are_refused(tmp_path, images, content):
    (tmp_path / "t.tfm").write_text(content)
    with pytest.raises(InputError, match=r"t\.tfm"):
        read_transform(tmp_path / "t.tfm", **images)


@pytest.mark.parametrize("kind", KINDS)
def test_convention_remap_by_the_field_gives_the_same_picture(tmp_path, kind):
    export_transform(of_kind(kind), tmp_path / "t.tif")
    field = tifffile.imread(tmp_path / "t.tif")
    assert field.shape == (2, *FIXED[::-1]) and field.dtype == np.float32
    x, y = np.meshgrid(np.arange(FIXED[0]), np.arange(FIXED[1]))
    moving = picture(MOVING)
    maps = (x + field[0]).astype(np.float32), (y + field[1]).astype(np.float32)
    theirs = cv2.remap(moving, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    ours = of_kind(kind).warp(moving, fill=-1)
    lies = ours != -1
    assert lies.mean() > 0.5
    np.testing.assert_allclose(theirs[lies], ours[lies], atol=0.7)


def test_a_field_beyond_the_horizon_is_nan_and_none_for_itk(tmp_path):
    transform = Transform([[1.0, 0, 0], [0, 1, 0], [-1 / 40, 0, 1]], FIXED, MOVING)
    export_transform(transform, tmp_path / "t.tif")
    field = tifffile.imread(tmp_path / "t.tif")
    assert np.isnan(field[:, :, 45:]).all() and np.isfinite(field[:, :, :39]).all()
    pytest.importorskip("SimpleITK")
    with pytest.raises(InputError, match="horizon"):
        export_transform(transform, tmp_path / "t.mha")


def test_a_field_lies_where_the_fixed_image_lies(tmp_path, placed):
    rasterio = pytest.importorskip("rasterio")
    export_transform(of_kind("affine"), tmp_path / "t.tif", fixed=placed["fixed"])
    with rasterio.open(tmp_path / "t.tif") as field, rasterio.open(placed["fixed"]) as fixed:
        assert field.crs == fixed.crs and field.transform == fixed.transform
        x, y = 12, 30
        expected = of_kind("affine").apply([x, y]) - [x, y]
        np.testing.assert_allclose(field.read()[:, y, x], expected, atol=1e-5)


@pytest.mark.parametrize("name", ["t.vrt", "t.tif"])
def test_convention_control_points_read_by_rasterio_give_the_same_transform(tmp_path, placed, name):
    rasterio = pytest.importorskip("rasterio")
    truth = of_kind("affine")
    export_transform(truth, tmp_path / name, "gcps", **placed)
    with rasterio.open(tmp_path / name) as dataset:
        gcps, crs = dataset.gcps
        np.testing.assert_array_equal(dataset.read(1), tifffile.imread(placed["moving"]))
    assert crs.to_epsg() == 32633 and len(gcps) == 36
    centre_of_first = rasterio.transform.from_gcps(gcps) @ (0.5, 0.5)  # it counts from corners
    x, y = truth.inverse.apply([0.0, 0.0])
    expected = 500000 + 10 * (x + 0.5), 5600000 - 10 * (y + 0.5)
    np.testing.assert_allclose(centre_of_first, expected, atol=1e-4)
    found = read_transform(tmp_path / name, fixed=placed["fixed"], moving=placed["moving"])
    assert_same(found.transform, truth, 1e-5)


@pytest.mark.parametrize("name", ["t.vrt", "t.tif"])
def test_control_points_take_the_place_of_an_earlier_placement(tmp_path, placed, name):
    rasterio = pytest.importorskip("rasterio")
    wrong = geotiff(tmp_path / "wrong.tif", MOVING, on_the_ground(5, 0, 1000, 0, -5, 2000))
    (tmp_path / "deep").mkdir()
    path = tmp_path / "deep" / name
    export_transform(of_kind("affine"), path, "gcps", fixed=placed["fixed"], moving=wrong)
    moved = tmp_path.parent / f"{tmp_path.name}_moved"
    tmp_path.rename(moved)
    with rasterio.open(moved / "deep" / name) as dataset:
        assert dataset.transform.is_identity and dataset.crs is None
        assert len(dataset.gcps[0]) == 36
        np.testing.assert_array_equal(dataset.read(1), tifffile.imread(moved / "wrong.tif"))


def test_ground_control_points_need_a_place_and_the_moving_file(tmp_path, images, placed):
    pytest.importorskip("rasterio")
    with pytest.raises(InputError, match="fixed image with a georeference"):
        export_transform(of_kind("affine"), tmp_path / "t.vrt", **images)
    with pytest.raises(InputError, match="name it with --moving"):
        export_transform(of_kind("affine"), tmp_path / "t.vrt", fixed=placed["fixed"])


def test_without_rasterio_one_line_says_what_to_install(tmp_path, images, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "rasterio", None)
    with pytest.raises(InputError, match=r"pip install 'sdme\[geo\]'"):
        export_transform(of_kind("affine"), tmp_path / "t.vrt", **images)
    export_transform(of_kind("affine"), tmp_path / "t.points", **images)
    export_transform(of_kind("affine"), tmp_path / "t.tif", **images)


def test_without_simpleitk_one_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "SimpleITK", None)
    with pytest.raises(InputError, match=r"pip install 'sdme\[medical\]'"):
        export_transform(of_kind("affine"), tmp_path / "t.mha")
    export_transform(of_kind("affine"), tmp_path / "t.tfm")


def test_convention_qgis_counts_from_the_corner_and_upwards(tmp_path, placed):
    """The centre of the first moving pixel is 0.5, -0.5; the map side is on the ground."""
    still = Transform(np.eye(3), FIXED, MOVING, "translation")
    export_transform(still, tmp_path / "t.points", **placed)
    crs, header, first = (tmp_path / "t.points").read_text().splitlines()[:3]
    assert crs.startswith("#CRS: PROJC") and "UTM zone 33N" in crs
    assert header == "mapX,mapY,sourceX,sourceY,enable,dX,dY,residual"
    assert [float(v) for v in first.split(",")[:4]] == [500005, 5599995, 0.5, -0.5]
    assert_same(read_transform(tmp_path / "t.points", **placed).transform, still)


def test_a_moving_image_that_lies_on_the_ground_has_ground_coordinates_in_qgis(tmp_path, placed):
    elsewhere = on_the_ground(5, 0, 1000, 0, -5, 2000)
    moving = geotiff(tmp_path / "moving.tif", MOVING, elsewhere)
    still = Transform(np.eye(3), FIXED, MOVING, "translation")
    both = {"fixed": placed["fixed"], "moving": moving}
    export_transform(still, tmp_path / "t.points", **both)
    first = (tmp_path / "t.points").read_text().splitlines()[2]
    assert [float(v) for v in first.split(",")[2:4]] == [1002.5, 1997.5]
    assert_same(read_transform(tmp_path / "t.points", **both).transform, still)


def test_points_that_are_switched_off_and_older_names_are_understood(tmp_path, images):
    (tmp_path / "t.points").write_text(
        "mapX,mapY,pixelX,pixelY,enable\n"
        "0.5,-0.5,3.5,-4.5,1\n10.5,-0.5,13.5,-4.5,1\n99,99,-50,-7,0\n"
    )
    found = read_transform(tmp_path / "t.points", kind="translation", **images)
    np.testing.assert_allclose(found.transform.matrix[:2, 2], [3, 4])


@pytest.mark.parametrize(("text", "why"), [
    ("", "no list of points"),
    ("a,b\n1,2\n", "no list of points"),
    ("mapX,mapY,sourceX,sourceY,enable\n1,2,x,4,1\n", "line 2"),
    ("#CRS: EPSG:32633\nmapX,mapY,sourceX,sourceY,enable\n1,2,3,4,1\n", "no georeference"),
    ("mapX,mapY,sourceX,sourceY,enable\n", "0 usable point"),
])  # fmt: skip
def test_other_lists_of_points_are_refused(tmp_path, images, text, why):
    (tmp_path / "t.points").write_text(text)
    with pytest.raises(InputError, match=why):
        read_transform(tmp_path / "t.points", **images)


@pytest.mark.parametrize("kind", ["translation", "affine"])
def test_foreign_matrices_of_opencv_and_numpy_are_read(tmp_path, images, kind):
    matrix = of_kind(kind).matrix
    storage = cv2.FileStorage(str(tmp_path / "t.yml"), cv2.FileStorage_WRITE)
    storage.write("M", matrix[:2])
    storage.write("remark", "mine")
    storage.release()
    np.save(tmp_path / "t.npy", matrix[:2])
    for name in ("t.yml", "t.npy"):
        found = read_transform(tmp_path / name, **images).transform
        assert_same(found, of_kind(kind), 1e-9)
        assert found.kind == kind


@pytest.mark.parametrize("name", ["t.yml", "t.xml", "t.npy", "t.npz", "t.tfm", "t.csv", "t.json"])
@pytest.mark.parametrize(
    "content", [b"", b"\x00\xff\x13nonsense", b"hello: [1, 2\n", b"1,2\n3,4\n"]
)
def test_broken_files_are_one_clear_line(tmp_path, images, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as error:
        read_transform(tmp_path / name, **images)
    assert name in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("array", [np.eye(4), np.zeros((3, 3)), np.full((3, 3), np.nan)])
def test_matrices_that_are_no_transform_are_refused(tmp_path, images, array):
    np.save(tmp_path / "t.npy", array)
    with pytest.raises(InputError, match=r"t\.npy"):
        read_transform(tmp_path / "t.npy", **images)
    whole = tmp_path / "whole.npz"
    np.savez(whole, moving_from_fixed=np.eye(3))
    (tmp_path / "t.npz").write_bytes(whole.read_bytes()[:60])
    with pytest.raises(InputError, match=r"t\.npz"):
        read_transform(tmp_path / "t.npz", **images)


def test_images_of_other_sizes_are_refused(tmp_path, images):
    turned = {"fixed": images["moving"], "moving": images["fixed"]}
    with pytest.raises(InputError, match="70x52 px, but the transform is for one of 60x45"):
        export_transform(of_kind("affine"), tmp_path / "t.points", **turned)
    export_transform(of_kind("affine"), tmp_path / "t.json")
    with pytest.raises(InputError, match="is for a fixed image of 60x45 px"):
        read_transform(tmp_path / "t.json", **turned)


def test_names_that_say_no_format_are_refused(tmp_path, images):
    with pytest.raises(InputError, match="no format is known by the name of"):
        export_transform(of_kind("affine"), tmp_path / "t.doc")
    with pytest.raises(InputError, match="end the name in"):
        export_transform(of_kind("affine"), tmp_path / "t.json", "itk")
    with pytest.raises(InputError, match="unknown; use one of json"):
        export_transform(of_kind("affine"), tmp_path / "t.json", "matlab")
    with pytest.raises(InputError, match="does not exist"):
        read_transform(tmp_path / "nothing.json", **images)


def test_an_image_is_never_overwritten(tmp_path, placed):
    before = placed["moving"].read_bytes()
    for image in placed.values():
        with pytest.raises(InputError, match="image itself"):
            export_transform(of_kind("affine"), image, "field", **placed)
    assert placed["moving"].read_bytes() == before


def test_every_format_leaves_nothing_behind_when_the_folder_is_not_there(tmp_path, images, placed):
    for name, known in FORMATS.items():
        with pytest.raises(InputError, match="gone"):
            path = tmp_path / "gone" / f"t{known.suffixes[0]}"
            export_transform(of_kind("affine"), path, name, **placed)
    assert not (tmp_path / "gone").exists()


def test_corners_of_all_kinds_are_fixed_by_their_control_points(tmp_path, images):
    export_transform(of_kind("homography"), tmp_path / "t.csv")
    found = read_transform(tmp_path / "t.csv", **images)
    corners = frame_corners(FIXED)
    gap = found.transform.apply(corners) - of_kind("homography").apply(corners)
    assert np.abs(gap).max() < 1e-6 and found.control.residuals.max() < 1e-6
    assert not found.warnings
    assert json.dumps(found.transform.to_dict())
