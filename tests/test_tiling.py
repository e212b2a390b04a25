"""Tiles: windows of large images, one transform for all their answers, and runs that go on."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from sdme.config import RegisterSettings, TileSettings, ViewSettings
from sdme.errors import InputError
from sdme.geometry.mapping import mean_corner_error
from sdme.io.raster import Raster
from sdme.result import Status
from sdme.tiling import (
    Answer,
    Held,
    Tile,
    TileAnswer,
    fit_tiles,
    frames_of,
    levels,
    refine_by_tiles,
    settled_view,
    tiles_of,
)

SIZE = (1600, 1200)
H = np.array([[0.98, 0.05, 30.0], [-0.04, 1.01, 60.0], [1e-5, -8e-6, 1.0]])
SETTINGS = RegisterSettings(tiles=TileSettings(side=128, most=4))


def scene(size=SIZE, seed=0):
    """Smooth texture, 8-bit."""
    grain = np.random.default_rng(seed).uniform(0, 255, (size[1] // 8, size[0] // 8))
    return cv2.resize(grain.astype(np.float32), size, interpolation=cv2.INTER_CUBIC)


@pytest.fixture(scope="module")
def sources():
    moving = scene()
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    fixed = cv2.warpPerspective(moving, H, SIZE, flags=flags, borderMode=cv2.BORDER_REFLECT)
    return [Held(Raster(image.clip(0, 255).astype(np.uint8))) for image in (fixed, moving)]


def knowing(truth, wrong=(), noise=0.0):
    """Answers that are right but for some tiles, in the order in which they are asked for."""
    asked = []

    def settle(pair, guesses):
        asked.append(pair)
        rng = np.random.default_rng(len(asked))
        matrix = truth.copy()
        matrix[:2, 2] += rng.normal(0, noise, 2)
        if len(asked) - 1 in wrong:
            matrix[:2, 2] += 40
        return Answer(Status.ALIGNED, matrix)

    settle.asked = asked
    return settle


def test_convention_tiles_show_the_same_place_once_the_transform_is_right(sources):
    tile = Tile(0, 800.0, 500.0, 1.0)
    pair = frames_of(tile, *sources, H, 128)
    left = pair.in_frames(H)
    # what is no similarity is left to the network
    assert mean_corner_error(left, np.eye(3), (128, 128)) < 2.5
    there = left @ [63.5, 63.5, 1]
    assert np.allclose(there[:2] / there[2], 63.5)
    inner = np.s_[0, 0, 48:-48, 48:-48]
    likeness = np.corrcoef(
        pair.fixed.pixels[inner].ravel().numpy(), pair.moving.pixels[inner].ravel().numpy()
    )
    assert likeness[0, 1] > 0.98
    assert np.allclose(pair.in_images(left), H)


def test_every_level_is_finer_and_the_last_is_full_resolution():
    small = TileSettings(step=4)
    assert levels((20_000, 20_000), (20_000, 20_000), np.eye(3), 512 / 20_000, small) == [
        *(1 / 16, 1 / 4, 1.0)
    ]
    assert levels((1000, 800), (1000, 800), np.eye(3), 0.512, small) == [1.0]
    half = np.diag([0.5, 0.5, 1])
    assert levels((4000, 4000), (2000, 2000), half, 0.128, small)[-1] == pytest.approx(0.5)


def test_tiles_are_spread_evenly_and_lie_on_the_moving_image():
    tiles = list(tiles_of(SIZE, SIZE, np.eye(3), 0, 1.0, SETTINGS.tiles))
    assert len(tiles) == 16
    assert {t.x for t in tiles} == {63.5, 554.2, 1044.8, 1535.5}
    shifted = np.eye(3)
    shifted[0, 2] = 800
    assert len(list(tiles_of(SIZE, SIZE, shifted, 0, 1.0, SETTINGS.tiles))) == 8
    assert len({t.name for t in tiles}) == 16


def test_one_transform_is_fitted_and_wrong_tiles_are_told(sources):
    start = H.copy()
    start[:2, 2] += 5
    settle = knowing(H, wrong=(2, 7, 9), noise=0.2)
    found = refine_by_tiles(*sources, start, settle, SETTINGS, begun_at=0.5)
    assert mean_corner_error(found.matrix, H, SIZE) < 0.5
    assert len(found.agreeing) == found.tried - 3
    assert [k for k, t in enumerate(found.tiles) if not t.agrees] == [2, 7, 9]
    assert "3 disagree" in found.words and found.spread < 1


def test_most_tiles_decide_even_if_the_others_are_all_off_alike(sources):
    found = refine_by_tiles(*sources, H, knowing(H, wrong=range(5)), SETTINGS, begun_at=0.5)
    assert mean_corner_error(found.matrix, H, SIZE) < 0.1


def answers(*matrices, status="aligned"):
    places = [(200.0, 200.0), (1400.0, 200.0), (200.0, 1000.0), (1400.0, 1000.0), (800.0, 600.0)]
    return [
        TileAnswer(Tile(0, *place, 1.0), status, matrix)
        for place, matrix in zip(places, matrices, strict=False)
    ]


def moved(dx):
    out = H.copy()
    out[:2] += dx * out[2] * np.array([[1.0], [0.0]])
    return out


def test_few_tiles_give_a_shift_alone_and_none_nothing():
    assert np.allclose(fit_tiles(answers(None, None), SIZE, H, SETTINGS).matrix, H)
    bent = H @ np.array([[1.05, 0, 0], [0, 1, 0], [0, 0, 1.0]])
    two = fit_tiles(answers(bent, bent), SIZE, H, SETTINGS).matrix
    left = two @ np.linalg.inv(H)
    assert np.allclose((left / left[2, 2])[:2, :2], np.eye(2), atol=1e-6)
    assert np.allclose(fit_tiles(answers(moved(3)), SIZE, H, SETTINGS).matrix, moved(3), atol=1e-6)


def test_the_fit_keeps_to_the_kind():
    settings = SETTINGS.model_copy(update={"transform": "translation"})
    shift = np.array([[1, 0, 7.0], [0, 1, -3.0], [0, 0, 1]])
    slightly = shift @ np.diag([1.0001, 1, 1])
    found = fit_tiles(answers(*[slightly] * 5), SIZE, np.eye(3), settings).matrix
    assert np.allclose(found[:2, :2], np.eye(2)) and np.allclose(found[:2, 2], [7, -3], atol=0.2)


def test_uncertain_tiles_count_less():
    right, off = answers(*[H] * 5), answers(*[moved(1.0)] * 5, status="uncertain")
    off = [replace(a, tile=replace(a.tile, x=a.tile.x + 1)) for a in off]
    found = fit_tiles([*right, *off], SIZE, H, SETTINGS).matrix
    assert mean_corner_error(found, H, SIZE) < 0.4


def test_tiles_without_data_are_not_tried(sources):
    pixels = sources[0].raster.pixels
    mask = np.ones(pixels.shape, bool)
    mask[:, :800] = False
    half = Held(Raster(pixels, mask=mask))
    settle = knowing(H)
    found = refine_by_tiles(half, sources[1], H, settle, SETTINGS, begun_at=0.5)
    assert len(settle.asked) == found.tried < len(found.tiles)
    assert "show too little" in found.words


def test_what_is_known_is_not_asked_again(sources):
    told = []

    def progress(level, done, count, answer):
        told.append((done, count, answer))

    first = knowing(H)
    whole = refine_by_tiles(*sources, H, first, SETTINGS, begun_at=0.5, progress=progress)
    known = {a.tile.name: a for *_, a in told if a is not None}
    assert len(known) == 15 and told[0][:2] == (0, 15)
    for name in list(known)[10:]:
        del known[name]
    second = knowing(H)
    again = refine_by_tiles(*sources, H, second, SETTINGS, begun_at=0.5, known=known)
    assert len(second.asked) == sum(t.status != "no data" for t in whole.tiles[10:])
    assert np.array_equal(again.matrix, whole.matrix)
    assert json.dumps(again.tiles[0].to_dict())


def test_parts_are_seen_as_the_whole_is():
    pixels = np.random.default_rng(0).integers(0, 1000, (64, 64, 5)).astype(np.uint16)
    view = settled_view(Raster(pixels, view=ViewSettings(bands=(4, 2, 1))))
    assert (view.bands, view.log, view.collar) == ((4, 2, 1), "no", "no")
    assert settled_view(Raster(pixels[..., 0])).bands == (1,)


def test_a_tile_beyond_the_image_shows_nothing(sources):
    far = np.eye(3)
    far[0, 2] = 5000
    assert frames_of(Tile(0, 800.0, 500.0, 1.0), *sources, far, 128) is None
    assert torch.is_tensor(frames_of(Tile(0, 800.0, 500.0, 1.0), *sources, H, 64).fixed.pixels)


def test_answers_without_a_matrix_have_no_points():
    from sdme.tiling import _mapped

    with pytest.raises(InputError):
        _mapped(None, np.zeros((1, 2)), Tile(0, 0, 0, 1))
