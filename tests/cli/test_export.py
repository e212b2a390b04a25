"""``sdme export`` as a stranger uses it."""

import json

import numpy as np
import pytest

from sdme.cli.app import main
from sdme.io.image import write_image
from sdme.transform import Transform

FIXED, MOVING = (60, 45), (70, 52)


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Transform([[1, 0, 4.5], [0, 1, -2], [0, 0, 1]], FIXED, MOVING, "translation").save("t.json")
    rng = np.random.default_rng(0)
    for name, size in (("fixed.png", FIXED), ("moving.png", MOVING)):
        write_image(name, rng.integers(0, 255, size[::-1]).astype(np.uint8))
    return tmp_path


BOTH = ["--fixed", "fixed.png", "--moving", "moving.png"]


def test_there_and_back(files, capsys):
    assert main(["export", "t.json", "-o", "t.tfm"]) == 0
    assert "t.json (json, translation) as itk: t.tfm" in capsys.readouterr().out
    assert main(["export", "t.tfm", "-o", "back.json", *BOTH]) == 0
    assert Transform.load("back.json") == Transform.load("t.json")


def test_a_wrong_control_point_is_named(files, capsys):
    lines = ["x_fixed,y_fixed,x_moving,y_moving"]
    rng = np.random.default_rng(0)
    for k, (x, y) in enumerate(rng.uniform(0, 40, (9, 2))):
        lines.append(f"{x},{y},{x + 4.5 + (30 if k == 3 else 0)},{y - 2}")
    (files / "points.csv").write_text("\n".join(lines))
    command = ["export", "points.csv", "-o", "p.json", *BOTH, "--transform", "translation"]
    assert main([*command, "--json"]) == 0
    out, err = capsys.readouterr()
    content = json.loads(out)
    assert content["left_out"] == 1 and content["residuals"][3] == pytest.approx(30)
    assert "left out: line 5 (30.0 px)" in err
    np.testing.assert_allclose(Transform.load("p.json").matrix[:2, 2], [4.5, -2])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["t.json", "-o", "t.json"], "is the input itself"),
        (["t.json", "-o", "moving.png"], "no format is known"),
        (["nothing.json", "-o", "a.tfm"], "does not exist"),
        (["fixed.png", "-o", "a.tfm"], "no format is known"),
        (["t.json", "-o", "a.vrt", *BOTH], "georeference"),
        (["t.json", "-o", "a.csv", "--fixed", "moving.png"], "this one is 70x52"),
        (["t.json", "-o", "a.csv", "--format", "shape"], "unknown"),
        (["t.json"], "output"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(files, capsys, arguments, said):
    before = {path: path.read_bytes() for path in files.iterdir()}
    assert main(["export", *arguments]) == 2
    out, err = capsys.readouterr()
    assert not out and said in err and err.count("\n") == 1
    assert {path: path.read_bytes() for path in files.iterdir()} == before
