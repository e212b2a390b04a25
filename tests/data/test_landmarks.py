"""Landmarks from tables, JSON and MATLAB files; pixels start at 0 in all but the last."""

import json
import pickle
import sys

import numpy as np
import pytest
from scipy.io import savemat

from sdme.data.landmarks import read_landmarks
from sdme.errors import InputError

FIXED = np.array([[0.0, 0.0], [10.5, 2.0], [3.0, 7.25]])
MOVING = np.array([[1.0, -2.0], [11.0, 2.5], [4.0, 8.0]])
ROWS = "0,0,1,-2\n10.5,2,11,2.5\n3,7.25,4,8\n"


def check(landmarks):
    np.testing.assert_array_equal(landmarks.fixed, FIXED)
    np.testing.assert_array_equal(landmarks.moving, MOVING)


@pytest.mark.parametrize(
    "name, text",
    [
        ("p.csv", ROWS),
        ("p.csv", "fixed_x,fixed_y,moving_x,moving_y\n" + ROWS),
        ("p.csv", "x1, y1, x2, y2\r\n" + ROWS.replace("\n", "\r\n")),
        ("p.tsv", ROWS.replace(",", "\t")),
        ("p.txt", ROWS.replace(",", "  ")),
        ("p.txt", "x1 y1 x2 y2\n" + ROWS.replace(",", " ")),
        (
            "p.csv",
            "name;moving_y;moving_x;Fixed_X;fixed_y\na;-2;1;0;0\nb;2.5;11;10.5;2\n\nc;8;4;3;7.25\n",
        ),
        ("p.json", json.dumps({"fixed": FIXED.tolist(), "moving": MOVING.tolist(), "by": "me"})),
    ],
)
def test_tables_and_json(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    check(read_landmarks(path))


@pytest.mark.parametrize(
    "names", [("fixedPoints", "movingPoints"), ("fixed", "moving"), ("pts1", "pts2")]
)
def test_matlab_counts_from_one(tmp_path, names):
    path = tmp_path / "p.mat"
    for fixed, moving in ((FIXED, MOVING), (FIXED.T, MOVING.T), (FIXED, MOVING.T)):
        savemat(path, {names[0]: fixed + 1, names[1]: moving + 1, "remark": "by hand", "n": 3})
        check(read_landmarks(path))


def test_a_single_matlab_array(tmp_path):
    path = tmp_path / "p.mat"
    savemat(path, {"anything": np.hstack([FIXED, MOVING]) + 1})
    check(read_landmarks(path))


def test_two_points_in_matlab_are_rows(tmp_path):
    path = tmp_path / "p.mat"
    savemat(path, {"fixed": np.array([[1, 2], [30, 40]]), "moving": np.array([[5, 6], [7, 8]])})
    landmarks = read_landmarks(path)
    assert landmarks.fixed.tolist() == [[0, 1], [29, 39]]
    assert landmarks.moving.tolist() == [[4, 5], [6, 7]]


def test_small_integers_do_not_wrap_around(tmp_path):
    path = tmp_path / "p.mat"
    points = np.zeros((3, 2), np.uint8)
    savemat(path, {"fixed": points, "moving": points})
    assert (read_landmarks(path).fixed == -1).all()


@pytest.mark.parametrize(
    "name, text, words",
    [
        ("p.csv", "", "at least one point"),
        ("p.csv", "x1,y1,x2,y2\n", "at least one point"),
        ("p.csv", "1,2,3\n", "3 columns and no header"),
        ("p.csv", "1,2,3,4,5\n", "5 columns and no header"),
        ("p.csv", "1,2,3,4\n1,2,3\n", "line 2 lacks four numbers"),
        ("p.csv", "1,2,3,4\n1,2,3,inf\n", "not finite"),
        ("p.csv", "a,b,c,d\n1,2,3,4\n", "name the columns fixed_x"),
        ("p.json", "{", "not JSON"),
        ("p.json", "[[1, 2, 3, 4]]", "holds no landmarks"),
        ("p.json", '{"fixed": [[1, 2]], "moving": [[1, 2], [3, 4]]}', "1 fixed and 2 moving"),
        ("p.json", '{"fixed": [], "moving": []}', "at least one point"),
        ("p.json", '{"fixed": [[1, 2, 3]], "moving": [[1, 2, 3]]}', "shape"),
        ("p.json", '{"fixed": [[1, "x"]], "moving": [[1, 2]]}', "no .x, y. numbers"),
        ("p.json", '{"fixed": [[1, NaN]], "moving": [[1, 2]]}', "not finite"),
        ("p.mat", "no matlab", "no MATLAB file"),
        ("p.xls", "", "unknown type"),
    ],
)
def test_what_cannot_be_used_is_one_line(tmp_path, name, text, words):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(InputError, match=words) as error:
        read_landmarks(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["p.csv", "p.json", "p.mat"])
def test_missing_files(tmp_path, name):
    with pytest.raises(InputError, match="cannot read"):
        read_landmarks(tmp_path / name)


@pytest.mark.parametrize(
    "content, words",
    [
        ({"foo": FIXED, "bar": MOVING}, "holds foo, bar"),
        ({"text": "only"}, "no arrays of numbers"),
        ({"fixed": np.ones((3, 3)), "moving": np.ones((3, 3))}, r"shape \(3, 3\)"),
        ({"fixed": FIXED, "moving": MOVING[:2]}, "3 fixed and 2 moving"),
        ({"fixed": np.empty((0, 2)), "moving": np.empty((0, 2))}, "at least one"),
        ({"fixed": FIXED * np.nan, "moving": MOVING}, "not finite"),
        ({"fixed": FIXED * 1j, "moving": MOVING}, "holds moving"),
    ],
)
def test_matlab_files_without_landmarks(tmp_path, content, words):
    path = tmp_path / "p.mat"
    savemat(path, content)
    with pytest.raises(InputError, match=words) as error:
        read_landmarks(path)
    assert "\n" not in str(error.value)


class _Bomb:
    def __reduce__(self):
        return (sys.exit, (3,))


def test_a_pickle_is_never_opened(tmp_path):
    path = tmp_path / "p.mat"
    path.write_bytes(pickle.dumps(_Bomb()))
    with pytest.raises(InputError, match="no MATLAB file"):
        read_landmarks(path)


def test_without_scipy_the_extra_is_named(tmp_path, monkeypatch):
    path = tmp_path / "p.mat"
    savemat(path, {"fixed": FIXED, "moving": MOVING})
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(InputError, match=r"pip install 'sdme\[compare\]'"):
        read_landmarks(path)
