"""Slices of NIfTI, NRRD and DICOM files: which pixels, where they lie, how they are stored."""

import gzip
import sys

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - its own name

from sdme import InputError, Raster, Transform, read_raster, write_raster
from sdme.frames import make_frame, make_pair
from sdme.io.places import Places
from sdme.io.resample import carry

SPACING, ORIGIN = (0.5, 0.8, 3.0), (-20.0, 10.0, 5.0)
TURN = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])  # x of the file runs along y of the body


def volume(dtype="int16", shape=(6, 44, 56)):
    return np.random.default_rng(0).integers(0, 120, shape).astype(dtype)


def store(path, array, spacing=SPACING, origin=ORIGIN, direction=TURN):
    image = sitk.GetImageFromArray(array, isVector=array.ndim == 4)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    image.SetDirection(direction.ravel().tolist())
    sitk.WriteImage(image, str(path))
    return path


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd"])
@pytest.mark.parametrize(
    ("axis", "cut"), [("z", np.s_[2]), ("y", np.s_[:, 2]), ("x", np.s_[:, :, 2])]
)
def test_slices(tmp_path, suffix, axis, cut):
    array = volume(shape=(40, 44, 56))
    raster = read_raster(store(tmp_path / f"a{suffix}", array), axis=axis, place=2)
    np.testing.assert_array_equal(raster.pixels, array[cut])
    assert raster.pixels.dtype == np.int16
    order = {"z": (0, 1, 2), "y": (0, 2, 1), "x": (1, 2, 0)}[axis]
    np.testing.assert_allclose(raster.plane.spacing, np.array(SPACING)[list(order)], rtol=1e-6)
    whole = sitk.ReadImage(str(tmp_path / f"a{suffix}"))
    x, y = 7, 9  # a pixel of the slice, at the same place in the body
    index = {"z": (x, y, 2), "y": (x, 2, y), "x": (2, x, y)}[axis]
    expected = whole.TransformIndexToPhysicalPoint(index)
    plane = raster.plane
    place = np.array(plane.origin) + plane.direction[:, :2] @ (np.array(plane.spacing[:2]) * (x, y))
    np.testing.assert_allclose(place, expected, atol=1e-4)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64"])
def test_what_is_written_is_read_and_lies_where_it_did(tmp_path, suffix, dtype):
    given = read_raster(store(tmp_path / "a.nrrd", volume(dtype)), place=3)
    write_raster(tmp_path / f"b{suffix}", given)
    back = read_raster(tmp_path / f"b{suffix}")
    np.testing.assert_array_equal(back.pixels, given.pixels)
    assert back.pixels.dtype == given.pixels.dtype
    np.testing.assert_allclose(back.plane.spacing, given.plane.spacing, rtol=1e-6)
    np.testing.assert_allclose(back.plane.origin, given.plane.origin, atol=1e-4)
    np.testing.assert_allclose(back.plane.direction, given.plane.direction, atol=1e-6)


def dicom(path, array):
    image = sitk.GetImageFromArray(array[None])
    image.SetSpacing((0.7, 0.7, 2.0))
    image.SetMetaData("0008|0060", "CT")
    sitk.WriteImage(image, str(path))
    return path


def test_dicom_by_its_content(tmp_path):
    path = dicom(tmp_path / "a.dcm", volume("int16")[0])
    path = path.rename(tmp_path / "IM0001")
    raster = read_raster(path)
    np.testing.assert_array_equal(raster.pixels, volume("int16")[0])
    np.testing.assert_allclose(raster.spacing, (0.7, 0.7))


def test_labels_are_known_by_their_intent(tmp_path):
    data = bytearray(store(tmp_path / "a.nii", volume("uint8")).read_bytes())
    data[68:70] = (1002).to_bytes(2, "little")
    (tmp_path / "l.nii.gz").write_bytes(gzip.compress(bytes(data)))
    labels = read_raster(tmp_path / "l.nii.gz", place=0)
    assert labels.is_labels
    assert not read_raster(store(tmp_path / "a.nii", volume()), place=0).is_labels
    half = Transform(np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]]), labels.size, labels.size)
    out = carry(labels, half, on=labels.plane)
    assert set(np.unique(out.pixels)) <= {0, *np.unique(labels.pixels)}
    write_raster(tmp_path / "out.nii.gz", out)
    assert read_raster(tmp_path / "out.nii.gz").is_labels


def test_pixels_that_are_not_square_are_seen_square(tmp_path):
    array = volume(shape=(40, 44, 56))
    raster = read_raster(store(tmp_path / "a.nii", array, spacing=(1, 2, 4)), axis="x", place=5)
    assert raster.size == (44, 40)
    frame = make_frame(raster, "image", 640)
    assert frame.size == (44, 80)  # 2 mm a pixel
    np.testing.assert_allclose(frame.in_image(np.array([[43.0, 79.5]])), [[43, 39.5]])


def test_known_sizes_of_pixels_give_frames_of_one_scale():
    def slice_of(spacing, shape):
        image = np.random.default_rng(0).integers(0, 99, shape).astype(np.int16)
        plane = read_plane((*spacing, 1.0))
        return Raster(image, plane=plane)

    fixed, moving = slice_of((1, 1), (100, 120)), slice_of((3, 3), (50, 60))
    pair = make_pair(fixed, moving, 640)
    assert pair.fixed.size == (80, 67) and pair.moving.size == (120, 100)  # 1.5 mm
    (guess,) = pair.guesses(None)
    np.testing.assert_allclose(guess[:2, :2], np.eye(2), atol=0.01)
    matrix = pair.in_images(guess)
    np.testing.assert_allclose(
        matrix, [[1 / 3, 0, 29.5 - 59.5 / 3], [0, 1 / 3, 24.5 - 49.5 / 3], [0, 0, 1]]
    )


def read_plane(spacing):
    stored = {
        "spacing": spacing,
        "origin": [0, 0, 0],
        "direction": np.eye(3).tolist(),
        "format": ".nrrd",
    }
    from sdme.io.places import _read

    return _read(stored)


def test_colour_slices(tmp_path):
    array = volume("uint8", (6, 44, 56, 3))
    raster = read_raster(store(tmp_path / "a.nrrd", array), place=1)
    np.testing.assert_array_equal(raster.pixels, array[1])
    write_raster(tmp_path / "b.nii.gz", raster)
    np.testing.assert_array_equal(read_raster(tmp_path / "b.nii.gz").pixels, array[1])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "volume of 56x44x6 px; choose one of its slices 0 to 5 along z"),
        ({"place": 6}, "without a slice 6 along z; give 0 to 5"),
        ({"place": -1}, "without a slice -1"),
        ({"place": 60, "axis": "x"}, "give 0 to 55"),
    ],
)
def test_slices_that_are_not_there(tmp_path, options, words):
    with pytest.raises(InputError, match=words):
        read_raster(store(tmp_path / "a.nii", volume()), "fixed image", **options)


def test_files_that_cannot_be_used(tmp_path, capfd):
    path = store(tmp_path / "a.nii", volume())
    data = path.read_bytes()
    (tmp_path / "cut.nii").write_bytes(data[:-1])
    (tmp_path / "cut.nii.gz").write_bytes(gzip.compress(data)[:-5000])
    (tmp_path / "short.nii.gz").write_bytes(gzip.compress(data[:-1]))
    sitk.WriteImage(sitk.ReadImage(str(path)), str(tmp_path / "z.nrrd"), useCompression=True)
    (tmp_path / "cut.nrrd").write_bytes((tmp_path / "z.nrrd").read_bytes()[:-2000])
    whole = dicom(tmp_path / "a.dcm", volume()[0]).read_bytes()
    (tmp_path / "cut.dcm").write_bytes(whole[:-2000])
    huge = bytearray(data)
    huge[42:48] = np.array([30000, 30000, 30000], "<i2").tobytes()
    (tmp_path / "huge.nii").write_bytes(huge)
    (tmp_path / "huge.nii.gz").write_bytes(gzip.compress(bytes(huge)))
    four = sitk.JoinSeries([sitk.GetImageFromArray(volume()) for _ in range(2)])
    sitk.WriteImage(four, str(tmp_path / "four.nii"))
    (tmp_path / "far.nrrd").write_bytes(
        b"NRRD0004\ntype: short\ndimension: 2\nsizes: 40 40\nencoding: raw\n"
        b"data file: /etc/hostname\n\n"
    )
    for name, words in (
        ("cut.nii", "cut short"), ("cut.nii.gz", "cut short"), ("short.nii.gz", "cut short"),
        ("cut.nrrd", "cannot be handled as NRRD"), ("cut.dcm", "damaged or cut short"),
        ("huge.nii", "declares"), ("huge.nii.gz", "declares"),
        ("four.nii", "4 dimensions"), ("far.nrrd", "in another file"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=words) as caught:
            read_raster(tmp_path / name, place=None if "dcm" in name else 0)
        assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_without_simpleitk(tmp_path, monkeypatch):
    path = store(tmp_path / "a.nii", volume())
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(InputError, match=r"pip install 'sdme\[medical\]'"):
        read_raster(path, place=0)


def test_places_are_kept_beside_a_transform(tmp_path):
    raster = read_raster(store(tmp_path / "a.nii.gz", volume()), place=3)
    stored = Places.of(raster, Raster(np.zeros((40, 40))))
    transform = Transform(np.eye(3), (56, 44), (56, 44))
    text = __import__("json").dumps(transform.to_dict() | stored.to_dict())
    (tmp_path / "t.json").write_text(text)
    assert Transform.load(tmp_path / "t.json") == transform
    back = Places.load(tmp_path / "t.json")
    assert back.moving is None
    assert back.fixed.spacing == raster.plane.spacing and back.fixed.suffix == ".nii.gz"
    np.testing.assert_array_equal(back.fixed.direction, raster.plane.direction)
    transform.save(tmp_path / "plain.json")
    assert Places.load(tmp_path / "plain.json") == Places()
    for wrong in ('{"places": 3}', '{"places": {"fixed": {"spacing": [1]}}}',
                  '{"places": {"fixed": {"spacing": [1, 1, 0], "origin": [0, 0, 0], "direction": '
                  '[[1, 0, 0], [0, 1, 0], [0, 0, 1]], "format": ".nii"}}}'):  # fmt: skip
        (tmp_path / "wrong.json").write_text(wrong)
        with pytest.raises(InputError, match="write the file again"):
            Places.load(tmp_path / "wrong.json")
