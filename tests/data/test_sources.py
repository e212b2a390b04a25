"""One door to all readers: what a path is taken for, and what is said when it is nothing."""

import json

import cv2
import numpy as np
import pytest

from sdme.data.pairs import ImageFile, ImagePair, Landmarks, PairList
from sdme.data.sources import read_all, read_pairs
from sdme.errors import InputError


def picture(seed, height=40, width=50):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def write_image(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image)


@pytest.fixture
def inputs(tmp_path, write_pack):
    """A folder with one input of each kind."""
    (tmp_path / "packs").mkdir()
    for name in ("roads", "sea"):
        write_pack(
            tmp_path / "packs" / f"{name}.tar", {"x.a.png": picture(0), "x.b.png": picture(1)}
        )
    for part, count in (("val", 1), ("train", 2)):
        for index in range(count):
            place = tmp_path / "GoogleEarth"
            write_image(place / f"{part}2014_input" / f"{index}.png", picture(2, 192, 192))
            write_image(place / f"{part}2014_template" / f"{index}.png", picture(3, 128, 128))
            corners = {"top_left": (32, 32), "top_right": (159, 32)}
            corners |= {"bottom_left": (32, 159), "bottom_right": (159, 159)}
            location = [{f"{k}_u": u, f"{k}_v": v} for k, (u, v) in corners.items()]
            label = place / f"{part}2014_label" / f"{index}_label.txt"
            label.parent.mkdir(exist_ok=True)
            label.write_text(json.dumps({"location": location}))
    for side in "ab":
        write_image(tmp_path / "folder" / f"y.{side}.png", picture(4))
    (tmp_path / "table.csv").write_text("fixed,moving\nfolder/y.a.png,folder/y.b.png\n")
    (tmp_path / "lines.jsonl").write_text('{"fixed": "folder/y.a.png", "moving": "folder/y.b.png"}')
    return tmp_path


@pytest.mark.parametrize(
    "name, expected",
    [
        ("packs/roads.tar", [("roads", "x")]),
        ("packs", [("roads", "x"), ("sea", "x")]),
        ("GoogleEarth", [("GoogleEarth", "0")]),
        ("GoogleEarth/train2014_input", [("GoogleEarth", "0"), ("GoogleEarth", "1")]),
        ("folder", [("folder", "y")]),
        ("table.csv", [("table", "folder/y.a")]),
        ("lines.jsonl", [("lines", "folder/y.a")]),
    ],
)
def test_every_kind_is_recognised(inputs, name, expected):
    found = read_pairs(inputs / name)
    assert [(pair.dataset, pair.id) for pair in found.pairs] == expected
    assert not found.problems


def test_the_part_reaches_published_sets(inputs):
    assert len(read_pairs(inputs / "GoogleEarth", "train").pairs) == 2
    (pair,) = read_pairs(inputs / "GoogleEarth").pairs
    np.testing.assert_allclose(pair.truth, [[1, 0, 32], [0, 1, 32], [0, 0, 1]], atol=1e-9)


def test_several_inputs_keep_their_order_and_problems(inputs):
    (inputs / "folder" / "alone.a.png").write_bytes(b"")
    found = read_all([inputs / "table.csv", inputs / "packs", inputs / "folder"])
    assert [pair.dataset for pair in found.pairs] == ["table", "roads", "sea", "folder"]
    (problem,) = found.problems
    assert problem.where.endswith("alone")


def test_two_sets_of_one_name_are_refused(inputs):
    with pytest.raises(InputError, match="both have a set named roads") as error:
        read_all([inputs / "packs", inputs / "packs" / "roads.tar"])
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="no input was given"):
        read_all([])


@pytest.mark.parametrize("name", ["none", "text.md", "empty", "plain.tar.gz"])
def test_what_is_nothing_of_this_is_told_what_is_accepted(inputs, name):
    (inputs / "empty").mkdir()
    (inputs / "text.md").write_text("text")
    (inputs / "plain.tar.gz").write_bytes(b"")
    with pytest.raises(InputError) as error:
        read_pairs(inputs / name)
    message = str(error.value)
    assert message.startswith(str(inputs / name)) and "\n" not in message
    for kind in (".tar", "val2014_input", ".csv", ".jsonl", "ID.a.EXT"):
        assert kind in message


def test_an_input_without_a_usable_pair_tells_its_first_problem(inputs):
    (inputs / "folder" / "y.b.png").unlink()
    with pytest.raises(InputError, match=r"1 problem\(s\), the first: .*y.* no moving image"):
        read_pairs(inputs / "folder")


def test_a_list_says_how_its_pairs_belong_together(tmp_path):
    points = np.zeros((1, 2))
    file = ImageFile(tmp_path / "x.png")
    aligned = ImagePair("set", "a", file, file)
    known = ImagePair("set", "b", file, file, np.eye(3))
    marked = ImagePair("set", "c", file, file, Landmarks(points, points))
    kinds = [pair.truth_kind for pair in (aligned, known, marked)]
    assert kinds == ["aligned", "transform", "landmarks"]
    assert PairList([aligned, known]).truth_kinds == {"aligned", "transform"}
    assert PairList([known, marked]).has_truth
    assert not PairList([aligned, known]).has_truth and not PairList([]).has_truth
