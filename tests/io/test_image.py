"""Reading, checking and writing images."""

import struct
import zlib

import cv2
import numpy as np
import pytest
import tifffile

from sdme import InputError
from sdme.io.header import declared_size
from sdme.io.image import (
    encode_image,
    read_image,
    read_layer,
    to_network_input,
    to_picture,
    valid_mask,
    write_image,
)


def content(dtype="uint8", shape=(40, 56), top=250):
    return (np.random.default_rng(0).random(shape) * top).astype(dtype)


def complaint(source, name="fixed image"):
    with pytest.raises(InputError) as caught:
        read_image(source, name)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(name)
    return message


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("bands", [(), (3,), (4,)])
def test_round_trip(tmp_path, suffix, dtype, bands):
    image = content(dtype, (40, 56, *bands))
    write_image(tmp_path / f"a{suffix}", image)
    back = read_image(tmp_path / f"a{suffix}")
    assert back.dtype == image.dtype
    np.testing.assert_array_equal(back, image)


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint32", "int32", "float32", "float64"])
@pytest.mark.parametrize("bands", [(), (2,), (3,), (7,)])
def test_tiff_round_trip_of_every_dtype(tmp_path, dtype, bands):
    image = content(dtype, (40, 56, *bands), top=120)
    write_image(tmp_path / "a.tif", image)
    back = read_image(tmp_path / "a.tif")
    assert back.dtype == image.dtype
    np.testing.assert_array_equal(back, image)


def test_boolean_round_trip(tmp_path):
    image = content() > 120
    write_image(tmp_path / "a.tif", image)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), image)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp"])
def test_red_comes_first(tmp_path, suffix):
    image = np.zeros((40, 40, 3), np.uint8)
    image[:20, :, 2] = 255  # red, for OpenCV
    cv2.imwrite(str(tmp_path / f"a{suffix}"), image)
    back = read_image(tmp_path / f"a{suffix}")
    assert back[:16, :, 0].min() > 220
    assert back[:16, :, 2].max() < 40


def test_format_is_told_by_content_not_by_name(tmp_path):
    image = content()
    write_image(tmp_path / "a.png", image)
    (tmp_path / "a.png").rename(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), image)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("layout", [{}, {"tile": (16, 16)}, {"rowsperstrip": 7}])
@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
def test_tiff_layouts(tmp_path, byteorder, planar, layout, compression):
    image = content("uint16", (40, 56, 3), top=60000)
    stored = image if planar == "contig" else np.moveaxis(image, -1, 0)
    tifffile.imwrite(
        tmp_path / "a.tif", stored, byteorder=byteorder, photometric="rgb", planarconfig=planar,
        compression=compression, **layout,
    )  # fmt: skip
    back = read_image(tmp_path / "a.tif")
    assert back.dtype == np.uint16
    assert back.dtype.isnative
    np.testing.assert_array_equal(back, image)


def test_tiff_overviews_are_no_pages(tmp_path):
    image = content()
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        tiff.write(image, subfiletype=0)
        tiff.write(image[::2, ::2], subfiletype=1)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), image)


def test_tiff_palette_becomes_colour(tmp_path):
    index = content(top=3)
    colours = np.zeros((3, 256), np.uint16)
    colours[:, 0], colours[:, 1], colours[:, 2] = (65535, 0, 0), (0, 65535, 0), (0, 0, 257)
    tifffile.imwrite(tmp_path / "a.tif", index, photometric="palette", colormap=colours)
    table = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 1]], np.uint8)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), table[index])


def test_tiff_declared_no_data_becomes_nan(tmp_path):
    image = content("float32")
    image[:5] = -9999
    tifffile.imwrite(tmp_path / "a.tif", image, extratags=[(42113, "s", 0, "-9999", True)])
    back = read_image(tmp_path / "a.tif")
    assert np.isnan(back[:5]).all()
    np.testing.assert_array_equal(back[5:], image[5:])


@pytest.mark.parametrize("pages", [2, 3, 12])
def test_tiff_of_many_pages_names_their_number(tmp_path, pages):
    tifffile.imwrite(tmp_path / "a.tif", content(shape=(pages, 40, 56)), photometric="minisblack")
    assert f"TIFF of {pages} pages" in complaint(tmp_path / "a.tif")


def test_tiff_volume_and_cmyk_are_refused(tmp_path):
    tifffile.imwrite(
        tmp_path / "v.tif", content(shape=(8, 48, 64)), photometric="minisblack", volumetric=True,
        tile=(8, 16, 16),
    )  # fmt: skip
    assert "axes ZYX" in complaint(tmp_path / "v.tif")
    tifffile.imwrite(tmp_path / "c.tif", content(shape=(40, 56, 4)), photometric="separated")
    assert "CMYK" in complaint(tmp_path / "c.tif")


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("share", [0.02, 0.4, 0.99])
def test_cut_tiff(tmp_path, capfd, compression, share):
    image = content("uint16", (200, 200), 60000)
    tifffile.imwrite(tmp_path / "a.tif", image, compression=compression, rowsperstrip=16)
    data = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(data[: int(len(data) * share)])
    assert "cut short" in complaint(tmp_path / "a.tif")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.97])
def test_cut_file(tmp_path, capfd, suffix, share):
    data = cv2.imencode(suffix, content(shape=(200, 200, 3)))[1].tobytes()
    (tmp_path / "a.img").write_bytes(data[: int(len(data) * share)])
    assert "cut short" in complaint(tmp_path / "a.img")
    assert capfd.readouterr().err == ""


def png_header(width, height):
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    crc = struct.pack(">I", zlib.crc32(head))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + crc


def test_huge_declared_sizes_are_refused_before_decoding(tmp_path):
    (tmp_path / "a.png").write_bytes(png_header(100_000, 100_000))
    assert "declares 100000x100000 px" in complaint(tmp_path / "a.png")
    jpeg = bytearray(encode_image(".jpg", content()))
    place = jpeg.index(b"\xff\xc0") + 5
    jpeg[place : place + 4] = struct.pack(">HH", 65000, 64000)
    (tmp_path / "a.jpg").write_bytes(jpeg)
    assert "declares 64000x65000 px" in complaint(tmp_path / "a.jpg")
    bmp = bytearray(cv2.imencode(".bmp", content())[1].tobytes())
    bmp[18:26] = struct.pack("<ii", 50_000, -50_000)
    (tmp_path / "a.bmp").write_bytes(bmp)
    assert "declares 50000x50000 px" in complaint(tmp_path / "a.bmp")
    tifffile.imwrite(tmp_path / "a.tif", content())
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as tiff:
        tiff.pages[0].tags["ImageWidth"].overwrite(60_000)
        tiff.pages[0].tags["ImageLength"].overwrite(60_000)
    assert "declares 60000x60000 px" in complaint(tmp_path / "a.tif")


@pytest.mark.parametrize("quality", [50, 101])  # lossy, lossless
@pytest.mark.parametrize("bands", [3, 4])
def test_webp_sizes_are_read(tmp_path, quality, bands):
    image = content(shape=(41, 57, bands))
    data = cv2.imencode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, quality])[1].tobytes()
    (tmp_path / "a.webp").write_bytes(data)
    with (tmp_path / "a.webp").open("rb") as file:
        assert declared_size(file, "webp") == (57, 41)


def test_files_that_are_no_images(tmp_path):
    assert "does not exist" in complaint(tmp_path / "none.png")
    (tmp_path / "empty.png").touch()
    assert "empty file" in complaint(tmp_path / "empty.png")
    (tmp_path / "text.png").write_text("hello")
    assert "not an image" in complaint(tmp_path / "text.png")
    assert "is a folder" in complaint(tmp_path)
    (tmp_path / "stub.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert "broken PNG header" in complaint(tmp_path / "stub.png")
    (tmp_path / "stub.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    assert "broken JPEG header" in complaint(tmp_path / "stub.jpg")


def test_content_that_cannot_be_registered(tmp_path):
    write_image(tmp_path / "dot.png", np.array([[7]], np.uint8))
    assert "1x1 px" in complaint(tmp_path / "dot.png")
    assert "40x31 px" in complaint(content(shape=(31, 40)))
    write_image(tmp_path / "flat.png", np.full((40, 40, 3), (9, 80, 200), np.uint8))
    assert "same value everywhere" in complaint(tmp_path / "flat.png")
    write_image(tmp_path / "nan.tif", np.full((40, 40), np.nan, np.float32))
    assert "NaN" in complaint(tmp_path / "nan.tif")
    flat = np.full((40, 40), np.nan)
    flat[5:9] = 3.0
    assert "same value everywhere" in complaint(flat)


def test_labels_may_be_constant_and_small(tmp_path):
    write_image(tmp_path / "flat.png", np.zeros((3, 4), np.uint8))
    assert read_layer(tmp_path / "flat.png").shape == (3, 4)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((40, 40), complex), "dtype complex128"),
        (np.zeros((40, 40), object), "dtype object"),
        (np.zeros((40,)), "shape (40,)"),
        (np.zeros((0, 40)), "shape (0, 40)"),
        (np.zeros((3, 40, 40)), "bands first"),
        (np.broadcast_to(np.uint8(0), (30_000, 30_000)), "30000x30000 px"),
        ([[1, 2]], "is a list"),
        (None, "is a NoneType"),
    ],
)
def test_arrays_that_mean_nothing(array, words):
    assert words in complaint(array)


def test_array_is_normalised_but_not_changed():
    image = content(">u2", (40, 56, 1))
    back = read_image(image)
    assert back.shape == (40, 56)
    assert back.dtype == np.uint16
    assert back.dtype.isnative
    np.testing.assert_array_equal(back, image[..., 0])


def test_network_sees_8_bits_unchanged():
    image = content(shape=(40, 56, 3))
    np.testing.assert_allclose(to_network_input(image), image / 255, atol=1e-7)
    grey = to_network_input(image[..., 0])
    assert grey.shape == (40, 56, 3)
    assert grey.dtype == np.float32
    np.testing.assert_array_equal(grey[..., 0], grey[..., 2])


@pytest.mark.parametrize("dtype", ["uint16", "int16", "int32", "float32", "float64"])
def test_network_sees_other_dtypes_stretched(dtype):
    image = np.linspace(100, 3100, 4000).reshape(50, 80).astype(dtype)
    image[0, 0] = 32000  # a hot pixel must not squeeze the rest
    values = to_network_input(image)[..., 0]
    assert values.min() == 0
    assert values.max() == 1
    expected = np.clip((image - 115.0) / (3085.0 - 115.0), 0, 1)
    np.testing.assert_allclose(values, expected, atol=2e-3)


def test_network_sees_one_two_many_bands():
    many = content("uint8", (40, 56, 7))
    np.testing.assert_array_equal(to_network_input(many), to_network_input(many[..., :3]))
    np.testing.assert_array_equal(to_network_input(many[..., :2]), to_network_input(many[..., 0]))


def test_network_sees_the_median_where_there_is_no_data():
    image = content("float32")
    image[:10, :10] = np.nan
    image[20, 20] = np.inf
    values = to_network_input(image)
    assert np.isfinite(values).all()
    assert not valid_mask(image)[:10, :10].any()
    assert not valid_mask(image)[20, 20]
    assert values[3, 3, 0] == values[20, 20, 0] == np.median(values[valid_mask(image)][:, 0])


def test_transparent_pixels_carry_no_data():
    image = content(shape=(40, 56, 4))
    image[..., 3] = 255
    image[:10, :, 3] = 0
    assert not valid_mask(image)[:10].any()
    assert valid_mask(image)[10:].all()
    assert (to_network_input(image)[:10] == to_network_input(image)[0, 0]).all()
    image[..., 3] = 0  # a band of zeros is no alpha
    assert valid_mask(image).all()


def test_network_sees_two_valued_images():
    image = np.zeros((100, 100), np.uint16)
    image[3, 3] = 7
    values = to_network_input(image)[..., 0]
    assert values[3, 3] == 1
    assert values.sum() == 1
    assert to_network_input(image > 0)[3, 3].tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("name", "dtype", "words"),
    [("a.gif", "uint8", "end the name in .png"), ("a.png", "float32", "PNG cannot hold"),
     ("a.jpg", "uint16", "JPG cannot hold"), ("a", "uint8", "end the name in .png")],
)  # fmt: skip
def test_what_cannot_be_written(tmp_path, name, dtype, words):
    with pytest.raises(InputError, match=words):
        write_image(tmp_path / name, content(dtype))
    assert list(tmp_path.iterdir()) == []


def test_unwritable_place(tmp_path):
    with pytest.raises(InputError, match="cannot write"):
        write_image(tmp_path / "no" / "a.tif", content())


@pytest.mark.parametrize("bands", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_picture_is_what_the_network_sees(bands, dtype):
    random = np.random.default_rng(bands)
    image = random.integers(0, 255, (12, 15, bands)).astype(dtype)
    picture = to_picture(image)
    assert picture.dtype == np.uint8 and picture.shape == (12, 15, 3)
    expected = np.round(to_network_input(image) * 255)
    np.testing.assert_array_equal(picture, expected)
    if dtype == np.uint8 and bands == 3:
        np.testing.assert_array_equal(picture, image)
