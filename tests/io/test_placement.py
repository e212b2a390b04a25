"""What georeferences say of two images, and the frames that are made of it."""

import numpy as np
import pytest
import rasterio

from sdme import Transform
from sdme.frames import make_pair
from sdme.io.georeference import Georeference, reproject
from sdme.io.placement import correction, fit_placement, place
from sdme.io.raster import Raster

UTM33 = rasterio.crs.CRS.from_epsg(32633).to_wkt()
LONLAT = rasterio.crs.CRS.from_epsg(4326).to_wkt()


def utm(left, top, step, size=None):
    return Georeference.from_geotransform(UTM33, [step, 0, left, 0, -step, top])


def lonlat(left, top, step):
    x, y = reproject(UTM33, LONLAT, np.array([[left, top]], float))[0]
    return Georeference.from_geotransform(LONLAT, [step / 71000, 0, x, 0, -step / 111000, y])


def scene(georeference, size, seed=0):
    """A smooth pattern on the ground, sampled where a georeference puts the pixels."""
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    points = np.stack([x, y], -1).reshape(-1, 2).astype(float)
    ground = reproject(georeference.crs, UTM33, georeference.ground(points)) - [500_000, 5_600_000]
    waves = np.random.default_rng(seed).normal(0, 1 / 150, (10, 2))
    values = np.sin(ground @ waves.T + np.arange(10)).sum(axis=1)
    image = np.clip(values / values.std() * 3000 + 20_000, 1, 65535)
    return image.reshape(size[1], size[0]).astype(np.uint16)


def raster(georeference, size):
    return Raster(scene(georeference, size), georeference=georeference)


def test_one_system_gives_an_exact_affine_map():
    found = fit_placement(
        utm(500_000, 5_600_000, 10), (100, 80), utm(499_900, 5_600_200, 5), (400, 300)
    )
    # the corner of the fixed image is 20 px right and 40 px below the moving image's
    np.testing.assert_allclose(found.matrix, [[2, 0, 20.5], [0, 2, 40.5], [0, 0, 1]], atol=1e-6)
    assert found.misfit < 1e-6 and found.note == ""


def test_two_systems_give_a_homography_that_says_how_good_it_is():
    fixed = utm(500_000, 5_600_000, 10)
    small = fit_placement(fixed, (200, 160), lonlat(499_000, 5_601_000, 10), (500, 500))
    assert small.misfit < 0.05
    points = np.array([[0.0, 0], [199, 0], [100, 80]])
    exact = fixed.pixels_in(lonlat(499_000, 5_601_000, 10), points)
    got = Transform(small.matrix, (200, 160), (500, 500)).apply(points)
    np.testing.assert_allclose(got, exact, atol=small.misfit + 1e-6)
    wide = fit_placement(
        utm(300_000, 5_900_000, 100), (4000, 4000), lonlat(300_000, 5_900_000, 100), (9000, 6000)
    )
    assert wide.misfit > 0.5
    assert f"up to {wide.misfit:.1f} px" in wide.note


def test_images_that_show_other_ground_say_so():
    here, there = utm(500_000, 5_600_000, 10), utm(600_000, 5_600_000, 10)
    found, notes = place(raster(here, (64, 64)), raster(there, (64, 64)))
    assert found is None
    assert "do not show the same ground" in notes[0]
    assert place(raster(here, (64, 64)), Raster(np.zeros((64, 64)))) == (None, ())
    odd = Georeference("not a system", there.ground_from_pixel)
    found, notes = place(raster(here, (64, 64)), Raster(np.zeros((64, 64)), georeference=odd))
    assert found is None and "not used" in notes[0]


def test_correction_in_pixels_and_metres():
    fixed, moving = (raster(utm(500_000, 5_600_000, step), (100, 100)) for step in (10, 5))
    moved = Transform(np.array([[2, 0, 3.5], [0, 2, 4.5], [0, 0, 1]]), (100, 100), (100, 100))
    found = correction(moved, fixed, moving)  # 3 and 4 px from the placement
    assert found.pixels == pytest.approx(5)
    assert found.metres == pytest.approx(25, rel=1e-3)
    assert "5.0 px, 25.0 m" in str(found)
    assert correction(moved, fixed, Raster(np.zeros((100, 100)))) is None


@pytest.mark.parametrize(
    ("moving_place", "moving_size"),
    [
        (utm(499_900, 5_600_100, 5), (430, 390)),  # finer, larger
        (utm(500_300, 5_599_700, 10), (120, 110)),  # a part
        (utm(499_000, 5_601_000, 20), (300, 300)),  # coarser
        (lonlat(499_500, 5_600_500, 10), (400, 300)),  # another system
    ],
)
def test_placed_frames_show_the_same_ground_on_the_fixed_grid(moving_place, moving_size):
    fixed = raster(utm(500_000, 5_600_000, 10), (200, 180))
    pair = make_pair(fixed, raster(moving_place, moving_size), 256)
    assert max(*pair.fixed.size, *pair.moving.size) <= 256
    (between,) = pair.guesses(None)
    # a shift by whole frame pixels, or nearly so: sizes are rounded
    np.testing.assert_allclose(between[:2, :2], np.eye(2), atol=0.02)
    points = np.stack(np.meshgrid(np.arange(8, 150, 7.0), np.arange(8, 150, 7.0)), -1).reshape(
        -1, 2
    )
    there = points @ between[:2, :2].T + between[:2, 2]
    first, second = (
        f.pixels[0, 0].numpy()[
            np.rint(p[:, 1]).astype(int) % f.size[1], np.rint(p[:, 0]).astype(int) % f.size[0]
        ]
        for f, p in ((pair.fixed, points), (pair.moving, there))
    )
    inside = np.ones(len(points), bool)
    for f, p in ((pair.fixed, points), (pair.moving, there)):
        rounded = np.rint(p).astype(int)
        within = (rounded >= 0).all(1) & (rounded < f.size).all(1)
        inside &= within
        inside[within] &= f.valid[0, 0].numpy()[rounded[within, 1], rounded[within, 0]]
    assert inside.sum() > 60
    assert np.corrcoef(first[inside], second[inside])[0, 1] > 0.97
    # frames, images and the ground agree
    back = pair.fixed.in_image(points)
    ground = fixed.georeference.pixels_in(moving_place, back)
    np.testing.assert_allclose(pair.moving.in_image(there), ground, atol=0.2)


def test_places_are_left_alone_where_a_guess_is_given_or_they_are_not_wanted():
    fixed, moving = (raster(utm(500_000, 5_600_000, step), (200, 180)) for step in (10, 5))
    assert make_pair(fixed, moving, 256).placement is not None
    plain = make_pair(fixed, moving, 256, use_places=False)
    assert plain.placement is None
    assert plain.moving.size == (200, 180)
