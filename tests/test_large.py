"""Files that are registered by tiles: what is written, and that an interrupted run goes on."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

import sdme
from sdme.cli.app import main
from sdme.config import RegisterSettings, TileSettings
from sdme.errors import InputError
from sdme.large import JOURNAL, OWNED, _judged, is_large, register_large
from sdme.large_files import Journal, OnDisk, warp_to_file
from sdme.tiling import Tile, TileAnswer, Tiled
from sdme.transform import Transform

pytest.importorskip("rasterio")

SIZE = (700, 600)
H = np.array([[1.0, 0.02, 20.0], [-0.02, 1.0, 9.0], [1e-5, 0, 1.0]])
SETTINGS = RegisterSettings(
    max_side=128, tiles=TileSettings(side=128, coarse_side=256, most=2, block=256)
)


def texture(size, seed=0):
    rng = np.random.default_rng(seed)
    out = np.zeros(size[::-1], np.float32)
    for grain in (6, 24, 96):
        small = rng.uniform(-1, 1, (size[1] // grain + 2, size[0] // grain + 2)).astype(np.float32)
        out += cv2.resize(small, size, interpolation=cv2.INTER_CUBIC)
    return (128 + 40 * out).clip(1, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("large")
    moving = texture(SIZE)
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    fixed = cv2.warpPerspective(moving, H, SIZE, flags=flags, borderMode=cv2.BORDER_REFLECT)
    paths = folder / "fixed.tif", folder / "moving.tif"
    for path, image in zip(paths, (fixed, moving), strict=True):
        sdme.write_image(path, image)
    return paths


@pytest.fixture(scope="module")
def network():
    return sdme.load_network("universal")


@pytest.fixture(scope="module")
def finished(files, network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "out"
    said = []
    found = register_large(*files, folder, model=network, settings=SETTINGS, progress=said.append)
    return folder, found, said


@pytest.mark.slow
def test_tiles_are_closer_than_the_reduced_copies(finished):
    folder, found, said = finished
    truth = Transform(H, SIZE, SIZE)
    assert found.status == "aligned", found.message
    assert found.transform.corner_error(truth) < 0.5
    assert found.transform.corner_error(truth) <= found.coarse.corner_error(truth) + 0.05
    assert sorted(path.name for path in folder.iterdir()) == sorted(OWNED)
    content = json.loads((folder / "result.json").read_text())
    assert content["status"] == "aligned" and len(content["tiles"]) == 4
    assert Transform.load(folder / "transform.json") == found.transform
    assert "level 1, tile 1 of 4" in said and any(line.startswith("writing block") for line in said)


@pytest.mark.slow
def test_the_aligned_image_is_that_of_a_warp_in_memory(finished, files):
    folder, found, _ = finished
    written = sdme.read_image(folder / "aligned.tif")
    whole = found.transform.warp(sdme.read_image(files[1]))
    assert written.shape == whole.shape and written.dtype == whole.dtype
    assert (np.abs(written.astype(int) - whole) > 1).mean() < 0.001


class Stop(Exception):  # noqa: N818 - stands for Ctrl-C
    """Ends a run."""


@pytest.mark.slow
def test_an_ended_run_goes_on_and_leaves_no_result_before(files, network, tmp_path, finished):
    folder = tmp_path / "out"

    def stop(text):
        if text == "level 1, tile 3 of 4":
            raise Stop

    with pytest.raises(Stop):
        register_large(*files, folder, model=network, settings=SETTINGS, progress=stop)
    assert [path.name for path in folder.iterdir()] == [JOURNAL]
    with (folder / JOURNAL).open("a") as journal:
        journal.write('{"tile": {"lev')  # as a run that was killed while it wrote
    said = []
    found = register_large(*files, folder, model=network, settings=SETTINGS, progress=said.append)
    assert found.resumed == 3  # where it began, and two tiles
    assert found.transform == finished[1].transform
    assert sorted(path.name for path in folder.iterdir()) == sorted(OWNED)


def test_the_journal_of_other_settings_is_not_taken(tmp_path):
    path = tmp_path / JOURNAL
    Journal(path, {"a": 1}).add({"tile": 1})
    assert Journal(path, {"a": 1}).lines == [{"tile": 1}]
    assert Journal(path, {"a": 2}).lines == []
    assert Journal(path, {"a": 1}).lines == []
    path.write_bytes(b"\xff\xfe nothing")
    assert Journal(path, {"a": 1}).lines == []


def test_a_full_disk_is_told_in_one_line(tmp_path, monkeypatch):
    journal = Journal(tmp_path / JOURNAL, {})

    def full(*_given, **_named):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(InputError, match="No space left on device"):
        journal.add({})


def coarse(status):
    whole = Transform(H, SIZE, SIZE)
    nothing = sdme.Matches(np.empty((0, 2)), np.empty((0, 2)), np.empty(0), np.empty(0, bool))
    return sdme.Registration(status, sdme.Reason.NONE, "said", whole, nothing, "m", SIZE, SIZE)


@pytest.mark.parametrize(
    ("tiles", "status", "expected"),
    [
        ("aaaaaa", "uncertain", "aligned"),
        ("aaa---", "uncertain", "aligned"),
        ("uuu---", "aligned", "uncertain"),
        ("aaa------", "uncertain", "uncertain"),
        ("aa----", "uncertain", "failed"),
        ("aa----", "aligned", "uncertain"),
        ("------", "uncertain", "failed"),
        ("a", "aligned", "aligned"),
        ("", "uncertain", "failed"),
    ],
)
def test_the_verdict_is_that_of_the_tiles(tiles, status, expected):
    words = {"a": "aligned", "u": "uncertain", "-": "failed"}
    found = [
        TileAnswer(Tile(0, k, 0, 1.0), words[t], None if t == "-" else H, 0.1, agrees=t != "-")
        for k, t in enumerate(tiles)
    ]
    start = Transform(H, SIZE, SIZE)
    result = _judged(coarse(sdme.Status(status)), start, Tiled(H, found), SETTINGS)
    assert result.status == expected
    assert (result.transform is None) == (expected == "failed")


def test_images_that_cannot_be_aligned_fail_without_an_image(files, network, tmp_path):
    other = tmp_path / "other.tif"
    sdme.write_image(other, texture(SIZE, seed=5))
    settings = SETTINGS.model_copy(update={"search": "off"})
    found = register_large(files[0], other, tmp_path / "out", model=network, settings=settings)
    assert not found.ok and found.transform is None
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert left == {"report.html", "result.json"}


def test_images_beyond_a_size_are_large(files):
    small = RegisterSettings(tiles=TileSettings(beyond=SIZE[0] * SIZE[1] - 1))
    assert is_large(files[0], small) and not is_large(files[0])
    assert not is_large(files[0].with_name("none.tif"))


def test_missing_data_is_kept_apart_block_by_block(tmp_path):
    from sdme.config import ViewSettings
    from sdme.io.geo import Window, read_header, writing_windows

    pixels = texture((300, 200)).astype(np.float32)
    pixels[50:120, 60:150] = -9999
    path = tmp_path / "moving.tif"
    with writing_windows(path, size=(300, 200), bands=1, dtype="float32", nodata=-9999) as writer:
        writer.write(Window(0, 0, 300, 200), pixels)
    source = OnDisk(read_header(path), ViewSettings(), "moving image")
    shift = Transform(np.array([[1, 0, 10.5], [0, 1, -20.25], [0, 0, 1]]), (300, 200), (300, 200))
    out = tmp_path / "aligned.tif"
    warp_to_file(out, source, source, shift, block=64, interpolation=None)
    found = sdme.io.read.read_raster(out)
    assert found.nodata == -9999
    good = found.pixels[found.valid]
    assert good.min() > 0 and found.valid[150, 200] and not found.valid[90, 90]
    assert not found.valid[:20].any()  # beyond the moving image


def test_the_command_says_how_it_went(files, tmp_path, capsys):
    out = tmp_path / "out"
    limits = ["--tiles", "on", "--fixed-mask", str(files[0])]
    assert main(["register", *map(str, files), "-o", str(out), *limits]) == 2
    assert "--fixed-mask cannot be used with tiles" in capsys.readouterr().err
    assert not out.exists()
