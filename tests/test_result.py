"""What a registration says, and what it leaves in a folder."""

import json
import re

import numpy as np
import pytest

from sdme import InputError, Status, Transform, read_image
from sdme.report import output

SUCCESS = {
    "aligned.png", "checkerboard.png", "matches.png", "overlay.png", "report.html", "result.json",
    "transform.json",
}  # fmt: skip
FAILURE = {"matches.png", "report.html", "result.json"}


def listing(folder):
    return {path.name for path in folder.iterdir()}


def test_success_leaves_everything(tmp_path, handmade):
    result = handmade()
    saved = result.save(tmp_path / "a" / "out")
    assert listing(saved.folder) == SUCCESS
    assert {path.name for path in vars(saved).values()} == SUCCESS | {"out"}
    assert Transform.load(saved.transform) == result.transform
    np.testing.assert_array_equal(read_image(saved.aligned), result.aligned)
    for picture in (saved.checkerboard, saved.overlay):
        assert read_image(picture).shape == (90, 120, 3)


def test_result_file_is_the_dictionary(tmp_path, handmade):
    result = handmade(residual_before=float("nan"), residual_after=0.5, fixed_name="f.png")
    content = json.loads(result.save(tmp_path).result.read_text())
    assert content == result.to_dict()
    assert content["status"] == "aligned"
    assert (content["inliers"], content["matches"]) == (40, 60)
    assert content["residual_before"] is None
    assert content["residual_after"] == 0.5
    assert content["fixed"] == {"name": "f.png", "size": [120, 90]}
    assert Transform.from_dict(content["transform"]) == result.transform


def test_failure_leaves_no_transform_and_takes_away_the_old_one(tmp_path, handmade):
    (tmp_path / "mine.txt").write_text("keep")
    handmade(moving=np.ones((100, 130), np.float32)).save(tmp_path)
    assert "aligned.tif" in listing(tmp_path)
    saved = handmade(Status.FAILED).save(tmp_path)
    assert listing(tmp_path) == FAILURE | {"mine.txt"}
    assert saved.transform is saved.aligned is saved.overlay is saved.checkerboard is None
    assert json.loads(saved.result.read_text())["transform"] is None


@pytest.mark.parametrize(
    ("dtype", "bands", "name", "suffix"),
    [
        ("uint8", (), "", ".png"),
        ("uint16", (3,), "m.jpg", ".png"),
        ("uint8", (4,), "m.webp", ".png"),
        ("uint8", (), "folder/m.TIF", ".tif"),
        ("uint16", (), "m.tiff", ".tiff"),
        ("float32", (), "", ".tif"),
        ("int16", (), "m.png", ".tif"),
        ("uint8", (5,), "", ".tif"),
    ],
)
def test_aligned_image_keeps_depth_and_bands(tmp_path, handmade, dtype, bands, name, suffix):
    moving = (np.random.default_rng(0).random((100, 130, *bands)) * 250).astype(dtype)
    result = handmade(moving=moving, moving_name=name)
    saved = result.save(tmp_path)
    assert saved.aligned.name == f"aligned{suffix}"
    back = read_image(saved.aligned)
    assert back.dtype == moving.dtype
    assert back.shape == (90, 120, *bands)
    np.testing.assert_array_equal(back, result.aligned)


def test_outside_is_no_data(handmade):
    transform = Transform(np.array([[1.0, 0, -30], [0, 1, 0], [0, 0, 1]]), (120, 90), (130, 100))
    floating = handmade(moving=np.ones((100, 130), np.float32), transform=transform).aligned
    assert np.isnan(floating[:, :30]).all()
    assert (floating[:, 30:] == 1).all()
    rgba = handmade(moving=np.full((100, 130, 4), 255, np.uint8), transform=transform).aligned
    assert (rgba[:, :30] == 0).all()
    assert (rgba[:, 30:] == 255).all()


def test_interpolation_is_chosen(handmade):
    moving = np.where(np.arange(130) % 2, np.uint8(200), np.uint8(0))[None].repeat(100, 0)
    result = handmade(moving=moving)
    assert set(np.unique(result.align("nearest"))) == {0, 200}
    assert len(np.unique(result.aligned)) > 50


def test_failed_registration_has_no_aligned_image(handmade):
    assert handmade(Status.FAILED).aligned is None
    with pytest.raises(InputError, match="made by hand to be failed"):
        handmade(Status.FAILED).align()


def test_images_must_be_held(tmp_path, handmade):
    with pytest.raises(InputError, match="does not hold its images"):
        handmade(fixed_image=None).save(tmp_path / "out")
    assert listing(tmp_path) == set()


@pytest.mark.parametrize("failure", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_saving_that_fails_half_way_changes_nothing(tmp_path, handmade, monkeypatch, failure):
    def fail(*_):
        raise failure

    handmade().save(tmp_path / "old")
    before = {path.name: path.read_bytes() for path in (tmp_path / "old").iterdir()}
    monkeypatch.setattr(output, "render_page", fail)
    expected = InputError if isinstance(failure, OSError) else KeyboardInterrupt
    for folder in ("old", "new"):
        with pytest.raises(expected):
            handmade(Status.UNCERTAIN).save(tmp_path / folder)
    assert listing(tmp_path) == {"old"}
    assert {path.name: path.read_bytes() for path in (tmp_path / "old").iterdir()} == before


@pytest.mark.parametrize("status", list(Status))
def test_no_matches_at_all(tmp_path, handmade, status):
    none = type(handmade().matches)(
        np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0), np.zeros(0, bool)
    )
    text = handmade(status, matches=none).save(tmp_path).report.read_text()
    assert re.search(r"0 of 0\s*<", text)
