"""Pictures for judging a registration."""

import numpy as np
import pytest

from sdme import Raster
from sdme.report.overlay import checkerboard, match_picture, overlay, to_picture


def test_checkerboard_shows_both_images_in_turn():
    fixed, aligned = np.full((100, 140, 3), 10, np.uint8), np.full((100, 140, 3), 200, np.uint8)
    board = checkerboard(fixed, aligned, np.ones((100, 140), bool))
    assert board[5, 5, 0] == 10
    assert board[5, 15, 0] == 200
    assert board[15, 5, 0] == 200
    assert abs((board == 10).mean() - 0.5) < 0.01


def test_no_data_shows_the_fixed_image_dimmed():
    fixed, aligned = np.full((100, 140, 3), 100, np.uint8), np.full((100, 140, 3), 200, np.uint8)
    valid = np.ones((100, 140), bool)
    valid[:, :50] = False
    assert (checkerboard(fixed, aligned, valid)[:, :50] == 40).all()
    corner = overlay(fixed, aligned, valid)[:, :50]
    assert (corner[..., 0] == corner[..., 1]).all()
    assert corner.max() < 100


def blocks(seed=0):
    grid = np.random.default_rng(seed).integers(0, 255, (13, 15), np.uint8)
    return np.repeat(np.repeat(grid, 8, 0), 8, 1)[..., None].repeat(3, 2)


def test_overlay_of_equal_images_is_grey_and_of_shifted_ones_is_not():
    picture, everywhere = blocks(), np.ones((104, 120), bool)
    same = overlay(picture, picture, everywhere).astype(int)
    moved = overlay(picture, np.roll(picture, 4, axis=1), everywhere).astype(int)
    assert np.abs(same[..., 0] - same[..., 1]).max() <= 1
    assert np.abs(moved[..., 0] - moved[..., 1]).mean() > 20
    assert (moved[..., 0] == moved[..., 2]).all()


def test_overlay_forgives_brightness_that_changes_slowly():
    picture, everywhere = blocks(), np.ones((104, 120), bool)
    ramp = np.linspace(0.3, 1, 120)[None, :, None]
    same = overlay(picture, (picture * ramp).astype(np.uint8), everywhere).astype(int)
    moved = overlay(picture, np.roll(picture, 4, axis=1), everywhere).astype(int)
    colour_same, colour_moved = (np.abs(p[..., 0] - p[..., 1]).mean() for p in (same, moved))
    assert colour_same < colour_moved / 2


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "uint16", "int32", "float64"])
@pytest.mark.parametrize("bands", [(), (3,), (4,), (6,)])
def test_picture_of_any_image_is_full_range_and_bounded(dtype, bands):
    image = (np.random.default_rng(0).random((300, 200, *bands)) * 120).astype(dtype)
    if dtype == "bool":
        image = np.random.default_rng(0).random((300, 200, *bands)) > 0.5
    picture, valid = to_picture(image, 150)
    assert picture.shape == (150, 100, 3)
    assert picture.dtype == np.uint8
    assert valid.all() or bands == (4,)
    assert picture.min() < 10
    assert picture.max() > 245


def test_picture_stretches_only_what_is_valid():
    image = np.full((60, 60), 30_000, np.uint16) + np.arange(60, dtype=np.uint16)
    image[:30] = 0
    picture, valid = to_picture(image, 100, np.arange(60)[:, None].repeat(60, 1) >= 30)
    assert picture[40, 0, 0] == 0
    assert picture[40, 59, 0] == 255
    assert not valid[:30].any()


def test_picture_without_any_data_is_black():
    picture, valid = to_picture(np.full((40, 40), np.nan), 30)
    assert not picture.any()
    assert not valid.any()


def test_matches_are_drawn_where_they_are():
    fixed, moving = np.zeros((400, 400), np.uint8), np.zeros((400, 400), np.uint8)
    fixed[0, 0] = moving[0, 0] = 255
    kept, other = np.array([[100.0, 100]]), np.array([[100.0, 300]])
    points = np.concatenate([kept, other])
    bare = match_picture(fixed, moving, points[:0], points[:0], np.zeros(0, bool))
    drawn = match_picture(fixed, moving, points, points, np.array([True, False]))
    assert drawn.shape == (780, 2 * 780 + 24, 3)
    change = np.abs(drawn.astype(int) - bare).max(axis=2)
    rows = np.flatnonzero(change.max(axis=1) > 20)
    y_kept, y_other = (100.5 * 1.95 - 0.5), (300.5 * 1.95 - 0.5)
    assert all(min(abs(row - y_kept), abs(row - y_other)) <= 5 for row in rows)
    left = round(100.5 * 1.95 - 0.5)
    columns = np.flatnonzero(change[round(y_kept)] > 20)
    assert abs(columns.min() - left) <= 4
    assert abs(columns.max() - (left + 804)) <= 4
    strong, faint = change[round(y_kept), 500], change[round(y_other), 500]
    assert strong > 2 * faint > 0


def test_many_matches_are_thinned():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (200, 200), np.uint8)
    points = rng.random((5000, 2)) * 199
    bare = match_picture(image, image, points[:0], points[:0], np.zeros(0, bool))
    drawn = match_picture(image, image, points, points[::-1], np.ones(5000, bool))
    assert (np.abs(drawn.astype(int) - bare).max(axis=2) > 20).mean() < 0.35


def test_contrast_is_that_of_where_one_may_look():
    image = (np.random.default_rng(0).random((200, 200)) * 500 + 1000).astype(np.uint16)
    plain, _ = to_picture(image, 100)
    image[:40] = 65535
    use = np.arange(200)[:, None].repeat(200, 1) >= 40
    picture, valid = to_picture(Raster(image, use=use), 100)
    assert valid.all()
    assert picture[:19].min() == 255
    assert abs(float(picture[25:].std()) - float(plain[25:].std())) < 8
