"""Manifests in CSV and JSON lines: columns, truths, and rows that cannot be used."""

import json
import re

import cv2
import numpy as np
import pytest

from sdme.data.manifest import read_manifest
from sdme.data.pairs import ImageFile, Landmarks
from sdme.errors import InputError

H = [[0.9, 0.1, 5.0], [-0.1, 1.1, -3.0], [1e-4, 0.0, 1.0]]
SINGULAR = [[1, 2, 3], [2, 4, 6], [0, 0, 1]]


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c", "d"):
        side = 40 if name == "d" else 48
        (tmp_path / "img").mkdir(exist_ok=True)
        image = rng.integers(0, 256, (side, 50), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / "img" / f"{name}.png"), image)
    (tmp_path / "truth.json").write_text(json.dumps({"matrix": H}))
    (tmp_path / "points.csv").write_text("1,2,3,4\n5,6,7,8\n")
    return tmp_path


ROWS = [
    {"fixed": "img/a.png", "moving": "img/b.png", "id": "first", "note": "by day"},
    {"fixed": "img/a.png", "moving": "img/d.png", "id": "t", "truth": "truth.json", "group": "sar"},
    {"fixed": "img/a.png", "moving": "img/d.png", "id": "m", "matrix": H},
    {"fixed": "img/a.png", "moving": "img/d.png", "id": "p", "points": "points.csv"},
    {"fixed": "img/b.png", "moving": "img/c.png", "dataset": "llvip"},
    {"fixed": "img/c.png", "moving": "img/c.png"},
]


def write_jsonl(folder, rows):
    path = folder / "set.jsonl"
    path.write_text("\n\n".join(json.dumps(row) for row in rows) + "\n")
    return path


def write_csv(folder, rows, delimiter=","):
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [delimiter.join(columns)]
    for row in rows:
        flat = {**row}
        if "matrix" in flat:
            flat["matrix"] = " ".join(repr(value) for line in flat["matrix"] for value in line)
        lines.append(delimiter.join(str(flat.get(column, "")) for column in columns))
    path = folder / "set.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(
    "write", [write_jsonl, write_csv, lambda folder, rows: write_csv(folder, rows, ";")]
)
def test_rows_become_pairs(folder, write):
    found = read_manifest(write(folder, ROWS))
    assert not found.problems
    assert [(pair.dataset, pair.id, pair.group) for pair in found.pairs] == [
        ("llvip", "img/b", "thermal"),
        ("set", "first", "other"),
        ("set", "img/c", "photo"),
        ("set", "m", "other"),
        ("set", "p", "other"),
        ("set", "t", "sar"),
    ]
    pairs = {pair.id: pair for pair in found.pairs}
    assert pairs["first"].fixed == ImageFile(folder / "img" / "a.png")
    assert pairs["first"].moving == ImageFile(folder / "img" / "b.png")
    assert pairs["first"].truth is None and pairs["img/c"].is_photo
    np.testing.assert_array_equal(pairs["m"].truth, H)
    np.testing.assert_array_equal(pairs["t"].truth, H)
    assert isinstance(pairs["p"].truth, Landmarks)
    assert pairs["p"].truth.moving.tolist() == [[3, 4], [7, 8]]


def test_one_fixed_image_in_several_pairs(folder):
    rows = [{"fixed": "img/a.png", "moving": f"img/{name}.png"} for name in "bc"]
    found = read_manifest(write_csv(folder, rows))
    assert [pair.id for pair in found.pairs] == ["img/a", "img/a+img/c"]


def test_commas_of_a_matrix_are_quoted(folder):
    path = folder / "set.csv"
    numbers = ", ".join(repr(value) for line in H for value in line)
    path.write_text(
        f'fixed, moving, matrix\nimg/a.png, img/b.png, {numbers}\nimg/a.png,img/b.png,"{numbers}"\n'
    )
    found = read_manifest(path)
    np.testing.assert_array_equal(found.pairs[0].truth, H)
    (problem,) = found.problems
    assert "line 2" in problem.where and "more cells" in problem.why


@pytest.mark.parametrize(
    "row, words",
    [
        ({"fixed": "img/none.png", "moving": "img/a.png"}, "none.png does not exist"),
        ({"fixed": "img/a.png", "moving": "img"}, "is a folder"),
        ({"fixed": "points.csv", "moving": "img/a.png"}, "not an image"),
        ({"fixed": "img/a.png"}, "names no moving image"),
        ({"fixed": "", "moving": "img/a.png"}, "names no fixed image"),
        ({"fixed": "img/a.png", "moving": "img/d.png"}, "two sizes"),
        ({"fixed": "img/a.png", "moving": "img/b.png", "truth": "no.txt"}, "cannot read"),
        ({"fixed": "img/a.png", "moving": "img/b.png", "points": "truth.json"}, "no landmarks"),
        (
            {"fixed": "img/a.png", "moving": "img/b.png", "matrix": SINGULAR},
            "the matrix: .*cannot be inverted",
        ),
        (
            {"fixed": "img/a.png", "moving": "img/b.png", "truth": "truth.json", "matrix": H},
            "gives truth and matrix",
        ),
        ({"fixed": "img/c.png", "moving": "img/b.png", "id": "first"}, "was used before"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("write", [write_jsonl, write_csv])
def test_rows_that_cannot_be_used_are_told_with_their_line(folder, write, row, words):
    path = write(folder, [ROWS[0], row])
    found = read_manifest(path)
    assert [pair.id for pair in found.pairs] == ["first"]
    (problem,) = found.problems
    assert problem.where == f"{path}, line 3" and "\n" not in problem.why
    assert re.search(words, problem.why)


def test_broken_json_lines(folder):
    path = folder / "set.jsonl"
    lines = [json.dumps(ROWS[0]), '{"fixed": ', "[1]", '{"fixed": 3, "moving": "img/a.png"}']
    path.write_text("\n".join([*lines, json.dumps(ROWS[5] | {"id": 7, "truth": None})]))
    found = read_manifest(path)
    assert [pair.id for pair in found.pairs] == ["7", "first"]
    assert [problem.where[-6:] for problem in found.problems] == ["line 2", "line 3", "line 4"]
    assert "fixed is 3" in found.problems[2].why


@pytest.mark.parametrize(
    "name, text, words",
    [
        ("m.csv", "", "holds no pairs"),
        ("m.csv", "fixed,moving\n", "holds no pairs"),
        ("m.jsonl", "\n", "holds no pairs"),
        ("m.csv", "fixed,moving,angle\na,b,3\n", "unknown column angle; known are fixed, moving"),
        ("m.jsonl", '{"fixed": "a", "moving": "b", "mask": 1}', "line 1 has .* column mask"),
        ("m.csv", "img/a.png,img/b.png\n", "unknown column"),
    ],
)  # fmt: skip
def test_manifests_that_cannot_be_used(folder, name, text, words):
    (folder / name).write_text(text)
    with pytest.raises(InputError, match=words) as error:
        read_manifest(folder / name)
    assert name in str(error.value) and "\n" not in str(error.value)


def test_files_that_are_no_text(folder):
    (folder / "m.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not UTF-8"):
        read_manifest(folder / "m.csv")
    with pytest.raises(InputError, match="cannot read manifest"):
        read_manifest(folder / "none.csv")
