"""Folders of pairs in each layout, with truths, strays and broken members."""

import json

import cv2
import numpy as np
import pytest
import tifffile
from scipy.io import savemat

from sdme import Transform
from sdme.data.folder_pairs import LayoutError, read_folder
from sdme.data.pairs import ImageFile, Landmarks
from sdme.errors import InputError

H = np.array([[0.9, 0.1, 5], [-0.1, 1.1, -3], [1e-4, 0, 1]])


def write_image(path, width=60, height=50, seed=0):
    image = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".tif":
        tifffile.imwrite(path, image.astype(np.uint16) * 200)
    else:
        cv2.imwrite(str(path), image)
    return path


def told(found):
    return {problem.where.rpartition("/")[2]: problem.why for problem in found.problems}


@pytest.mark.parametrize(
    "names",
    [("x.a.png", "x.b.png"), ("x_a.png", "x_b.tif"), ("x-fixed.tif", "x-moving.jpg"),
     ("x_FIXED.png", "x_MOVING.png"), ("x.fixed.webp", "x.moving.bmp"), ("x.a.JPG", "x.b.jpeg")],
)  # fmt: skip
def test_marked_files(tmp_path, names):
    folder = tmp_path / "roads"
    fixed, moving = (write_image(folder / name) for name in names)
    found = read_folder(folder)
    (pair,) = found.pairs
    assert not found.problems
    assert (pair.dataset, pair.id, pair.truth, pair.group) == ("roads", "x", None, "other")
    assert (pair.fixed, pair.moving) == (ImageFile(fixed), ImageFile(moving))
    assert pair.fixed.read().shape == (50, 60, 3)


def test_ids_with_dots_and_marks_are_sorted(tmp_path):
    for name in ("b", "a.b", "v1.2_a"):
        write_image(tmp_path / f"{name}_a.png")
        write_image(tmp_path / f"{name}_b.png")
    assert [pair.id for pair in read_folder(tmp_path).pairs] == ["a.b", "b", "v1.2_a"]


@pytest.mark.parametrize(
    "folders, fixed",
    [(("visible", "thermal"), "thermal"), (("VIS", "ir"), "ir"), (("moving", "fixed"), "fixed")],
)
def test_two_folders(tmp_path, folders, fixed):
    for folder in folders:
        for name in ("2.png", "10.png"):
            write_image(tmp_path / folder / name)
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("about")
    found = read_folder(tmp_path)
    assert not found.problems and [pair.id for pair in found.pairs] == ["10", "2"]
    assert all(pair.fixed.path.parent.name == fixed for pair in found.pairs)
    assert all(pair.moving.path.parent.name in {*folders} - {fixed} for pair in found.pairs)


def test_a_folder_a_pair(tmp_path):
    write_image(tmp_path / "one" / "fixed.png")
    write_image(tmp_path / "one" / "moving.tif", 70, 40)
    Transform(H, (60, 50), (70, 40)).save(tmp_path / "one" / "truth.json")
    write_image(tmp_path / "two" / "fixed.jpg")
    write_image(tmp_path / "two" / "moving.jpg")
    (tmp_path / "notes").mkdir()
    found = read_folder(tmp_path)
    assert not found.problems and [pair.id for pair in found.pairs] == ["one", "two"]
    np.testing.assert_array_equal(found.pairs[0].truth, H)
    assert found.pairs[1].truth is None
    assert found.truth_kinds == {"transform", "aligned"} and not found.has_truth


def test_every_kind_of_truth_lies_beside_its_pair(tmp_path):
    for name in "jtcmn":
        write_image(tmp_path / f"{name}.a.png")
        write_image(tmp_path / f"{name}.b.png", 70, 40)
    points = np.array([[3.0, 4.0], [8.0, 9.0], [1.0, 2.0]])
    (tmp_path / "j.json").write_text(json.dumps({"matrix": H.tolist()}))
    np.savetxt(tmp_path / "t.txt", H)
    (tmp_path / "c.csv").write_text("fixed_x,fixed_y,moving_x,moving_y\n3,4,5,6\n")
    savemat(tmp_path / "m.mat", {"fixedPoints": points + 1, "movingPoints": points})
    (tmp_path / "n.json").write_text('{"fixed": [[1, 2]], "moving": [[3, 4]]}')
    found = read_folder(tmp_path)
    pairs = {pair.id: pair for pair in found.pairs}
    assert not found.problems and found.has_truth and len(pairs) == 5
    np.testing.assert_array_equal(pairs["j"].truth, H)
    np.testing.assert_array_equal(pairs["t"].truth, H)
    assert isinstance(pairs["c"].truth, Landmarks)
    assert pairs["c"].truth.moving.tolist() == [[5, 6]]
    np.testing.assert_array_equal(pairs["m"].truth.fixed, points)
    np.testing.assert_array_equal(pairs["m"].truth.moving, points - 1)
    assert pairs["n"].truth.fixed.tolist() == [[1, 2]]


@pytest.mark.parametrize("place", ["", "ir", "vis"])
def test_truths_of_two_folders(tmp_path, place):
    write_image(tmp_path / "ir" / "7.png")
    write_image(tmp_path / "vis" / "7.png", 70, 40)
    np.savetxt(tmp_path / place / "7.txt", H)
    found = read_folder(tmp_path)
    np.testing.assert_array_equal(found.pairs[0].truth, H)
    assert not found.problems


def test_broken_members_of_marked_files_are_counted(tmp_path):
    for name in ("good", "size", "torn", "junk", "tiny", "badtruth", "far", "twice", "two_truths"):
        write_image(tmp_path / f"{name}.a.png")
        write_image(tmp_path / f"{name}.b.png")
    write_image(tmp_path / "alone.a.png")
    write_image(tmp_path / "alone_b_side.png")
    write_image(tmp_path / "size.b.png", 50, 60)
    (tmp_path / "torn.b.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "junk.a.png").write_bytes(b"text")
    for side in "ab":
        write_image(tmp_path / f"tiny.{side}.png", 31, 60)
    (tmp_path / "badtruth.json").write_text("{")
    np.savetxt(tmp_path / "far.txt", [[1, 0, 0], [0, 1, 0], [-0.02, 0, 1]])
    write_image(tmp_path / "twice_a.png")
    np.savetxt(tmp_path / "two_truths.txt", H)
    np.savetxt(tmp_path / "two_truths.csv", [[1, 2, 3, 4]], delimiter=",")
    np.savetxt(tmp_path / "orphan.txt", H)
    (tmp_path / "scan.a.jp2").write_bytes(b"....")
    write_image(tmp_path / "preview" / "good.png")
    (tmp_path / "LICENSE").write_text("free")
    (tmp_path / "notes.txt").write_text("taken in May")
    (tmp_path / "list.csv").write_text("name,year\ngood,2020\n")
    (tmp_path / ".hidden.png").write_bytes(b"")
    found = read_folder(tmp_path)
    assert [pair.id for pair in found.pairs] == ["good"]
    expected = {
        "alone": "no moving image",
        "alone_b_side.png": "belongs to no pair",
        "size": "two sizes, 60x50 and 50x60",
        "torn": "broken PNG header",
        "junk": "not an image that can be read",
        "tiny": "31x60 px",
        "badtruth": "not JSON",
        "far": "beyond the horizon",
        "twice": "twice.a.png and",
        "two_truths": "keep one of them",
        "orphan.txt": "belongs to no pair",
        "scan": "no moving image",
        "good.png": "belongs to no pair",
    }
    assert told(found).keys() == expected.keys() and len(found.problems) == len(expected)
    for name, words in expected.items():
        assert words in told(found)[name] and "\n" not in told(found)[name]


def test_broken_members_of_two_folders_are_counted(tmp_path):
    for name in ("good.png", "left.png"):
        write_image(tmp_path / "ir" / name)
    for name in ("good.jpg", "right.png"):
        write_image(tmp_path / "vis" / name)
    write_image(tmp_path / "stray.png")
    found = read_folder(tmp_path)
    assert [pair.id for pair in found.pairs] == ["good"]
    assert told(found).keys() == {"left", "right", "stray.png"}
    assert "no moving image" in told(found)["left"] and "no fixed" in told(found)["right"]


def test_broken_members_of_a_folder_a_pair_are_counted(tmp_path):
    for name in ("good", "other_size"):
        write_image(tmp_path / name / "fixed.png")
        write_image(tmp_path / name / "moving.png")
    Transform(H, (61, 50), (60, 50)).save(tmp_path / "other_size" / "truth.json")
    write_image(tmp_path / "half" / "fixed.png")
    np.savetxt(_made(tmp_path / "empty") / "truth.txt", H)
    write_image(tmp_path / "good" / "overlay.png")
    found = read_folder(tmp_path)
    assert [pair.id for pair in found.pairs] == ["good"]
    assert told(found).keys() == {"other_size", "half", "empty", "overlay.png"}
    assert "made for images of 61x50" in told(found)["other_size"]


def _made(folder):
    folder.mkdir()
    return folder


def test_folders_that_hold_no_pairs(tmp_path):
    with pytest.raises(LayoutError, match="holds no pairs"):
        read_folder(tmp_path)
    write_image(tmp_path / "a" / "1.png")
    write_image(tmp_path / "b" / "2.png")
    with pytest.raises(LayoutError, match="holds no pairs"):
        read_folder(tmp_path)
    with pytest.raises(InputError, match="cannot list"):
        read_folder(tmp_path / "none")


def test_the_shipped_samples(request):
    samples = request.config.rootpath / "samples"
    found = read_folder(samples)
    names = {path.parent.name for path in samples.glob("*/truth.json")}
    assert not found.problems and {pair.id for pair in found.pairs} == names
    for pair in found.pairs:
        truth = Transform.load(samples / pair.id / "truth.json")
        np.testing.assert_array_equal(pair.truth, truth.matrix)
