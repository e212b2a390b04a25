"""``sdme refine`` as a stranger uses it."""

import json

import cv2
import numpy as np
import pytest
from hand_made_fast import HandMadeFast

from sdme.cli.app import main
from sdme.io.image import write_image
from sdme.transform import Transform

SIZE = (160, 128)
TRUTH = Transform([[1, 0, 6.0], [0, 1, -4.0], [0, 0, 1]], SIZE, SIZE, "translation")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two images, and a network that knows how they lie."""
    monkeypatch.chdir(tmp_path)
    network = HandMadeFast(TRUTH.matrix.copy())
    monkeypatch.setattr("sdme.refinement.network_of", lambda _model, _device: network)
    coarse = np.random.default_rng(0).uniform(0, 255, (12, 16)).astype(np.float32)
    moving = cv2.resize(coarse, SIZE, interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)
    fixed = cv2.warpAffine(
        moving,
        TRUTH.matrix[:2],
        SIZE,
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT,
    )
    write_image("fixed.png", fixed)
    write_image("moving.png", moving)
    return tmp_path


IMAGES = ["refine", "fixed.png", "moving.png"]


def test_four_numbers_become_a_transform(folder, capsys):
    assert main([*IMAGES, "--shift", "3,-2", "-o", "out", "--transform", "translation"]) == 0
    found = Transform.load("out/transform.json")
    assert found.kind == "translation" and found.corner_error(TRUTH) < 0.3
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("before residual") and out[1].startswith("after  residual")
    assert out[2].startswith("improved: the corners moved by 3.")


SLOW = [pytest.param(f"t.{s}", marks=pytest.mark.slow) for s in ("npy", "points", "yml", "json")]


@pytest.mark.parametrize("name", ["t.tfm", "t.csv", *SLOW])
def test_files_of_other_programs_are_starts(folder, name, capsys):
    Transform([[1, 0, 4.0], [0, 1, -2.5], [0, 0, 1]], SIZE, SIZE, "translation").save("s.json")
    images = ["--fixed", "fixed.png", "--moving", "moving.png"]
    assert main(["export", "s.json", "-o", name, *images]) == 0
    capsys.readouterr()
    assert main([*IMAGES, "-i", name, "-o", "out", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["outcome"] == "improved" and set(content["files"]) == {
        *("folder", "transform", "picture", "result")
    }
    kind = "homography" if name in ("t.csv", "t.points") else "translation"
    assert Transform.load("out/transform.json").kind == kind
    assert Transform.load("out/transform.json").corner_error(TRUTH) < 0.5


def test_negative_numbers_are_numbers(folder):
    numbers = ["--shift", "-1,-3", "--rotation", "-1"]
    assert main([*IMAGES, *numbers, "-o", "out", "--quiet"]) == 0


def test_a_start_too_far_off_writes_nothing(folder, capsys):
    before = sorted(folder.rglob("*"))
    assert main([*IMAGES, "--shift", "95,60", "-o", "out"]) == 3
    assert "could not refine" in capsys.readouterr().err
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "there is no start"),
        (["--shift", "1"], "DX,DY"),
        (["--shift", "1,2", "--initial", "s.json"], "exclude each other"),
        (["--scale", "0"], "scale"),
        (["--initial", "fixed.png"], "no format is known"),
        (["--initial", "gone.json"], "does not exist"),
        (["--initial", "few.csv", "--transform", "affine"], "0 usable point"),
        (["--initial", "small.json"], "is for a fixed image of 50x40 px"),
        (["--shift", "1,2", "-o", "fixed.png"], "fixed.png"),
        (["--initial", "transform.json", "-o", "."], "would be replaced"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(folder, capsys, arguments, said):
    TRUTH.save("s.json")
    TRUTH.save("transform.json")
    Transform(np.eye(3), (50, 40), SIZE).save("small.json")
    (folder / "few.csv").write_text("x_fixed,y_fixed,x_moving,y_moving\n")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert main([*IMAGES, *arguments]) == 2
    out, err = capsys.readouterr()
    assert not out and said in err and err.count("\n") == 1
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
