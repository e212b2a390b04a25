"""The published on-disk format, written here as METHOD section 4 describes it, and read back."""

import json
import re

import cv2
import numpy as np
import pytest

from sdme.data.pairs import ImageFile
from sdme.data.paper_sets import holds_paper_set, read_label, read_paper_set
from sdme.errors import InputError

CORNERS = ("top_left", "top_right", "bottom_left", "bottom_right")


def picture(seed, side):
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def quad(seed):
    """Where the 128 px template's corners lie in the 192 px input, in the order of CORNERS."""
    square = np.array([[0, 0], [127, 0], [0, 127], [127, 127]])
    return square + 32 + np.random.default_rng(seed).integers(-32, 33, (4, 2))


def label(points):
    entries = zip(CORNERS, np.asarray(points).tolist(), strict=True)
    return {"location": [{f"{name}_u": u, f"{name}_v": v} for name, (u, v) in entries]}


def spoilt(key, value):
    return json.dumps(label(quad(0))).replace(f'"{key}": ', f'"{key}": {value}, "x": ')


def write_label(path, points):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(label(points)))


def write_image(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image)


def write_coco(folder, names, part="val"):
    for seed, name in enumerate(names):
        write_image(folder / f"{part}2014_input" / f"{name}.jpg", picture(seed, 192))
        write_image(folder / f"{part}2014_template" / f"{name}.jpg", picture(seed + 100, 128))
        write_label(folder / f"{part}2014_label" / f"{name}_label.txt", quad(seed))
    return folder


def write_small(folder, other, names, part="test"):
    for seed, name in enumerate(names):
        place = folder / f"{part}_small_size"
        write_image(place / "VIS" / f"{name}.png", picture(seed, 192))
        write_image(place / other / f"{name}.png", picture(seed + 100, 128))
        write_label(place / "label" / f"{name}_label.txt", quad(seed))
    return folder


def opencv_matrix(points):
    square = np.array([[0, 0], [127, 0], [0, 127], [127, 127]], np.float32)
    return cv2.getPerspectiveTransform(square, np.asarray(points, np.float32))


def test_a_set_of_the_first_kind(tmp_path):
    folder = write_coco(tmp_path / "MSCOCO", ["COCO_val2014_000000000042", "b", "a.1"])
    found = read_paper_set(folder)
    assert [pair.id for pair in found.pairs] == ["COCO_val2014_000000000042", "a.1", "b"]
    assert not found.problems and found.has_truth
    for pair, seed in zip(found.pairs, (0, 2, 1), strict=True):
        assert (pair.dataset, pair.group) == ("MSCOCO", "photo")
        assert pair.moving == ImageFile(folder / "val2014_input" / f"{pair.id}.jpg")
        assert pair.fixed == ImageFile(folder / "val2014_template" / f"{pair.id}.jpg")
        np.testing.assert_allclose(pair.truth, opencv_matrix(quad(seed)), atol=1e-6)


@pytest.mark.parametrize(
    "name, other, group", [("VIS_NIR", "NIR", "nir"), ("VIS_IR_drone", "IR", "thermal")]
)
def test_a_set_of_the_second_kind(tmp_path, name, other, group):
    folder = write_small(tmp_path / name, other, ["7", "8"])
    place = folder / "test_small_size"
    found = read_paper_set(folder)
    assert not found.problems and [pair.id for pair in found.pairs] == ["7", "8"]
    for seed, pair in enumerate(found.pairs):
        assert (pair.dataset, pair.group) == (name, group)
        assert pair.moving == ImageFile(place / "VIS" / f"{pair.id}.png")
        assert pair.fixed == ImageFile(place / other / f"{pair.id}.png")
        np.testing.assert_allclose(pair.truth, opencv_matrix(quad(seed)), atol=1e-6)


def test_the_truth_maps_the_template_onto_the_input(tmp_path):
    """A template cut out by OpenCV is found where the reader says, to the rounding of its bytes."""
    scene = cv2.GaussianBlur(picture(5, 192), (0, 0), 4)
    scene = cv2.normalize(scene, None, 0, 255, cv2.NORM_MINMAX)
    points = quad(3)
    template = cv2.warpPerspective(scene, np.linalg.inv(opencv_matrix(points)), (128, 128))
    folder = tmp_path / "GoogleEarth"
    write_image(folder / "val2014_input" / "x.png", scene)
    write_image(folder / "val2014_template" / "x.png", template)
    write_label(folder / "val2014_label" / "x_label.txt", points)
    (pair,) = read_paper_set(folder).pairs
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    again = cv2.warpPerspective(pair.moving.read(), pair.truth, (128, 128), flags=flags)
    gap = np.abs(again.astype(int) - pair.fixed.read())
    assert pair.group == "season" and gap.mean() < 1
    half_a_pixel = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    off = cv2.warpPerspective(
        pair.moving.read(), pair.truth @ half_a_pixel, (128, 128), flags=flags
    )
    assert np.abs(off.astype(int) - pair.fixed.read()).mean() > 3 * gap.mean()


def test_parts(tmp_path):
    folder = write_coco(tmp_path / "MSCOCO", ["v"])
    write_coco(folder, ["t1", "t2"], part="train")
    drone = write_small(tmp_path / "VIS_IR_drone", "IR", ["t"], part="train")
    assert [pair.id for pair in read_paper_set(folder).pairs] == ["v"]
    assert [pair.id for pair in read_paper_set(folder, "train").pairs] == ["t1", "t2"]
    assert [pair.id for pair in read_paper_set(folder / "train2014_input").pairs] == ["t1", "t2"]
    (pair,) = read_paper_set(drone / "train_small_size").pairs
    assert (pair.dataset, pair.id) == ("VIS_IR_drone", "t")
    with pytest.raises(InputError, match=r"no part val .*found: train"):
        read_paper_set(drone)
    with pytest.raises(InputError, match="give val or train"):
        read_paper_set(folder, "all")
    assert holds_paper_set(folder) and holds_paper_set(drone / "train_small_size")
    assert not holds_paper_set(tmp_path)


def test_corrupt_and_missing_members_are_counted(tmp_path):
    folder = write_coco(tmp_path / "MSCOCO", [*"abcdefghi", "good"])
    inputs, templates, labels = (
        folder / f"val2014_{kind}" for kind in ("input", "template", "label")
    )
    (inputs / "a.jpg").unlink()
    (templates / "b.jpg").unlink()
    (labels / "c_label.txt").unlink()
    (labels / "d_label.txt").write_text('{"location": [')
    (labels / "e_label.txt").write_text(json.dumps({"location": label(quad(0))["location"][:3]}))
    (templates / "f.jpg").write_bytes(b"no image")
    (inputs / "g.jpg").write_bytes(b"")
    write_label(labels / "h_label.txt", [[0, 0], [50, 50], [100, 100], [150, 150]])
    write_label(labels / "i_label.txt", quad(0)[[0, 3, 2, 1]])
    write_label(labels / "orphan_label.txt", quad(0))
    (labels / "README.txt").write_text("labels of the val part")
    found = read_paper_set(folder)
    assert [pair.id for pair in found.pairs] == ["good"]
    told = [(problem.where, problem.why) for problem in found.problems]
    expected = {
        "/a ": "no input image",
        "/b ": "no template image",
        "/c ": "no label",
        "/d ": "not JSON",
        "/e ": "lacks the number bottom_right_u",
        "/f ": "f.jpg is not an image",
        "/g ": "g.jpg is an empty file",
        "/h ": "label .*h_label.txt: the matrix",
        "/i ": "beyond the horizon",
        "orphan": "without images",
    }
    assert len(told) == len(expected)
    for (where, why), (place, words) in zip(told, expected.items(), strict=True):
        assert place in where
        assert re.search(words, why), why
        assert "\n" not in why


@pytest.mark.parametrize(
    "content, words",
    [
        ("[]", "location"),
        ('{"location": {"top_left_u": 1}}', "location"),
        ('{"location": [1, 2, 3, 4]}', "location"),
        (spoilt("top_left_u", "null"), "lacks the number top_left_u"),
        (spoilt("top_left_v", "NaN"), "finite"),
        (spoilt("bottom_left_v", "1" + 400 * "0"), "too large"),
        ("\xff", "not JSON"),
    ],
)
def test_broken_labels(tmp_path, content, words):
    path = tmp_path / "x_label.txt"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError, match=words) as error:
        read_label(path, 128, 128)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_folder_that_lacks_its_labels(tmp_path):
    folder = write_coco(tmp_path / "MSCOCO", ["a"])
    (folder / "val2014_label" / "a_label.txt").unlink()
    (folder / "val2014_label").rmdir()
    with pytest.raises(InputError, match="lacks the folder val2014_label"):
        read_paper_set(folder)


@pytest.mark.parametrize("name", ["7.txt", "7.json", "7.png.json"])
def test_other_names_of_labels(tmp_path, name):
    folder = write_small(tmp_path / "VIS_NIR", "NIR", ["7"])
    labels = folder / "test_small_size" / "label"
    (labels / "7_label.txt").rename(labels / name)
    (pair,) = read_paper_set(folder).pairs
    np.testing.assert_allclose(pair.truth, opencv_matrix(quad(0)), atol=1e-6)
