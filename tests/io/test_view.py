"""What the network is shown: bands, logarithms, collars, masks."""

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from sdme import Raster, ViewSettings, read_image
from sdme.io.image import to_network_input
from sdme.io.view import Looker, collar, is_speckled, named_colours, see


def rng():
    return np.random.default_rng(0)


def scene(size=256):
    """A smooth scene between 0.2 and 1."""
    return 0.2 + 0.8 * cv2.resize(
        rng().random((9, 9)), (size, size), interpolation=cv2.INTER_LINEAR
    )


def speckled(looks, power, dtype="uint16", top=900):
    speckle = rng().gamma(looks, 1 / looks, (256, 256))
    return (top * (scene() ** 3 * speckle) ** power).astype(dtype)


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize(("looks", "power"), [(1, 1), (1, 0.5), (4, 1), (4, 0.5)])
def test_radar_is_told_by_its_speckle(looks, power, dtype):
    image = speckled(looks, power, dtype)
    valid = np.ones(image.shape, bool)
    assert is_speckled(image, valid)
    assert Looker(Raster(image)).is_logarithmic
    assert not Looker(Raster(image, view=ViewSettings(log="no"))).is_logarithmic


@pytest.mark.parametrize("name", ["thermal", "optical", "decibel", "eight", "blank", "edges"])
def test_other_images_are_no_radar(name):
    noise = rng().normal(0, 1, (256, 256))
    image = {
        "thermal": (7800 + 900 * scene() + 8 * noise).astype(np.uint16),
        "optical": np.maximum(3000 * scene() ** 2 + 20 * noise, 0).astype(np.uint16),
        "decibel": (20 * np.log10(speckled(1, 0.5, "float32") + 1) - 40).astype(np.float32),
        "eight": speckled(1, 0.5, "uint8", 90),
        "blank": np.zeros((256, 256), np.uint16),
        "edges": (5000 * (rng().random((32, 32)) > 0.9))
        .repeat(8, 0)
        .repeat(8, 1)
        .astype(np.uint16),
    }[name]
    assert not is_speckled(image, np.ones(image.shape, bool))


@pytest.mark.parametrize("name", ["coast_rgb_nir/moving.tif", "farmland_blue_swir/fixed.png"])
def test_samples_are_no_radar_and_have_no_collar(name):
    image = read_image(f"samples/{name}")
    looker = Looker(Raster(image))
    assert not looker.is_logarithmic
    assert looker.valid.all()


def test_logarithms_even_out_the_tail():
    image = speckled(4, 1, "float32")
    image[:3] = 0
    shown = see(Raster(image)).values[..., 0]
    plain = see(Raster(image, view=ViewSettings(log="no"))).values[..., 0]
    assert np.median(plain) < 0.2 < 0.35 < np.median(shown) < 0.9
    assert np.isfinite(shown).all()
    order = np.argsort(image[3:].ravel())
    assert (np.diff(shown[3:].ravel()[order]) >= 0).all()


def test_negative_values_have_no_logarithm():
    image = rng().normal(0, 100, (64, 64)).astype(np.float32)
    asked = see(Raster(image, view=ViewSettings(log="yes"))).values
    np.testing.assert_array_equal(asked, see(Raster(image)).values)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("B2", "B3", "B4", "B8"), [2, 1, 0]),
        (("B02", "B03", "B04", "B08"), [2, 1, 0]),
        (("Red band", "nir", "green", "blue"), [0, 2, 3]),
        (("a", "b", "c"), None),
        (("red", "red", "green", "blue"), None),
        ((), None),
    ],
)
def test_colours_by_their_names(names, expected):
    assert named_colours(names) == expected


def test_choice_of_bands():
    pixels = rng().integers(0, 255, (40, 50, 6)).astype(np.uint16)
    raster = Raster(pixels)
    assert Looker(raster).indices == [0, 1, 2]
    assert Looker(Raster(pixels, view=ViewSettings(bands=(6, 1, 2)))).indices == [5, 0, 1]
    assert Looker(Raster(pixels, view=ViewSettings(bands=(4,)))).bands.shape == (40, 50, 1)
    pixels[..., 1] = 7
    assert Looker(raster).indices == [0, 2, 3]
    chosen = Raster(pixels, view=ViewSettings(bands=(4,)))
    np.testing.assert_array_equal(see(chosen).values, to_network_input(pixels[..., 3]))
    for wrong in ((1, 2), (), (0,), (1, 2, 3, 4)):
        with pytest.raises(ValidationError):
            ViewSettings(bands=wrong)


def test_stretch_knows_only_what_counts():
    image = rng().integers(1000, 2000, (64, 64)).astype(np.uint16)
    plain = see(Raster(image)).values
    image[:20] = 65535
    shown = see(Raster(image, nodata=65535)).values
    np.testing.assert_allclose(shown[20:], plain[20:], atol=0.02)
    use = np.zeros((64, 64), bool)
    use[20:] = True
    seen = see(Raster(image, use=use, view=ViewSettings(collar="no")))
    np.testing.assert_allclose(seen.values[20:], plain[20:], atol=0.02)
    assert (seen.values[:20] == 1).all() and seen.valid.all()
    np.testing.assert_array_equal(seen.used, use)


def turned(dtype, value, angle=12.0):
    top = 4000 if np.dtype(dtype).itemsize > 1 else 200
    image = (rng().random((200, 260)) * top / 2 + top / 4).astype(dtype)
    matrix = cv2.getRotationMatrix2D((130, 100), angle, 0.85)
    out = cv2.warpAffine(
        image, matrix, (260, 200), flags=cv2.INTER_NEAREST, borderValue=float(value)
    )
    inside = cv2.warpAffine(np.ones_like(image), matrix, (260, 200), flags=cv2.INTER_NEAREST) > 0
    return out, inside


@pytest.mark.parametrize(
    ("dtype", "value"),
    [("uint8", 0), ("uint8", 255), ("uint16", 0), ("uint16", 65535), ("float32", 0)],
)
def test_collar_of_a_turned_scene_is_no_data(dtype, value):
    image, inside = turned(dtype, value)
    seen = see(Raster(image))
    assert (seen.used != inside).mean() < 0.002
    assert see(Raster(image, view=ViewSettings(collar="no"))).used.all()


def test_what_is_no_collar():
    y, x = np.mgrid[:200, :260]
    texture = (rng().random((200, 260)) * 100 + 60).astype(np.uint8)
    head = np.where(((x - 130) / 90) ** 2 + ((y - 100) / 80) ** 2 < 1, texture, np.uint8(0))
    skyline = np.where(y > 80 + 25 * np.sin(x / 9), texture, np.uint8(255))
    holes = texture.copy()
    holes[50:150, 50:150] = 0  # not on the border
    shore = np.where(x + 30 * np.sin(y / 15) > 100, texture, np.uint8(0))
    for image in (head, skyline, holes, shore, texture):
        valid = np.ones(image.shape, bool)
        assert collar(image[..., None], valid) is None
