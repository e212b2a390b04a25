"""Matrices and landmarks beside a pair."""

import json

import numpy as np
import pytest

from sdme import Transform
from sdme.data.pairs import Landmarks
from sdme.data.truth import is_truth, read_matrix, read_truth
from sdme.errors import InputError
from sdme.io.header import Size

H = np.array([[0.9, 0.1, 5], [-0.1, 1.1, -3], [1e-4, 0, 1]])
SIZES = Size(60, 50), Size(70, 40)


@pytest.fixture
def write(tmp_path):
    def write(name, text):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def test_every_form_of_a_matrix(write, tmp_path):
    Transform(H, *SIZES).save(tmp_path / "saved.json")
    rows = [" ".join(map(repr, row)) for row in H.tolist()]
    files = [
        tmp_path / "saved.json",
        write("matrix.json", json.dumps({"matrix": H.tolist()})),
        write("bare.json", json.dumps(H.tolist())),
        write("rows.txt", "\n".join(rows) + "\n"),
        write("commas.txt", ",\n".join(rows).replace(" ", ", ")),
        write("remark.txt", "# fixed to moving, 2024\n" + "\n".join(rows)),
        write("line.txt", " ".join(rows)),
    ]
    for path in files:
        np.testing.assert_array_equal(read_matrix(path), H)
        np.testing.assert_array_equal(read_truth(path, *SIZES), H)
        assert is_truth(path)


def test_the_scale_of_a_matrix_does_not_matter(write):
    path = write("m.json", json.dumps({"matrix": (-2 * H).tolist()}))
    np.testing.assert_allclose(read_matrix(path), H, atol=1e-12)


def test_landmarks_in_json_and_csv(write):
    path = write("p.json", '{"fixed": [[1, 2]], "moving": [[3, 4]]}')
    for truth in (read_truth(path, *SIZES), read_truth(write("p.csv", "1,2,3,4\n"), *SIZES)):
        assert isinstance(truth, Landmarks)
        assert (truth.fixed.tolist(), truth.moving.tolist()) == ([[1, 2]], [[3, 4]])


def test_a_transform_of_other_sizes_is_refused(tmp_path):
    path = tmp_path / "t.json"
    Transform(H, SIZES[1], SIZES[0]).save(path)
    with pytest.raises(InputError, match="made for images of 70x40 and 60x50 px, these have 60x50"):
        read_truth(path, *SIZES)
    np.testing.assert_array_equal(read_matrix(path), H)


@pytest.mark.parametrize(
    "name, text, words",
    [
        ("m.txt", "1 2 3 4 5 6", "holds 6 numbers"),
        ("m.txt", "1 0 0 0 1 0 0 0 x", "more than numbers"),
        ("m.txt", "1 0 0 0 1 0 0 0 nan", "not finite"),
        ("m.txt", "1 2 3 2 4 6 0 0 1", "cannot be inverted"),
        ("m.json", "{", "not JSON"),
        ("m.json", "{}", "holds no truth"),
        ("m.json", '{"matrix": [[1, 0], [0, 1]]}', "3x3"),
        ("m.json", '{"format": "sdme-transform", "version": 9}', "version"),
    ],
)
def test_what_is_no_matrix_is_one_line(write, name, text, words):
    path = write(name, text)
    for read in (read_matrix, lambda path: read_truth(path, *SIZES)):
        with pytest.raises(InputError, match=words) as error:
            read(path)
        assert str(path) in str(error.value) and "\n" not in str(error.value)
    assert not is_truth(path)


def test_missing_and_binary_files(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        read_matrix(tmp_path / "none.txt")
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not UTF-8"):
        read_matrix(tmp_path / "b.txt")
