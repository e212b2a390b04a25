import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from sdme.data.sources import read_all
from sdme.errors import InputError
from sdme.evaluate.evaluation import EvaluationOptions, chosen_protocol, evaluate
from sdme.evaluate.store import RunFolder

OPTIONS = EvaluationOptions(workers=1, timeout=60)
# The answers of four estimators to a known problem: right, half a pixel off in x and y, the wrong
# way round, and none.
OWN = """
import numpy as np
H = np.array({matrix})
def register(fixed, moving):
    return {answer}
"""
H_TRUE = np.array([[1.1, 0.05, 20], [-0.04, 0.95, 30], [1e-4, 0, 1.0]])


def textured(side, seed):
    noise = np.random.default_rng(seed).uniform(0, 255, (side // 4, side // 4)).astype(np.float32)
    return cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC).clip(0, 255)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """GoogleEarth as published: two good pairs, one without a label, one with a torn label."""
    root = tmp_path_factory.mktemp("sets") / "GoogleEarth"
    for part in ("input", "template", "label"):
        (root / f"val2014_{part}").mkdir(parents=True)
    corners = np.array([[[0, 0], [127, 0], [0, 127], [127, 127]]], float)
    places = cv2.perspectiveTransform(corners, H_TRUE)[0]
    keys = ("top_left", "top_right", "bottom_left", "bottom_right")
    corner = dict(zip(keys, places.tolist(), strict=True))
    location = [{f"{key}_u": x, f"{key}_v": y} for key, (x, y) in corner.items()]
    for i in range(4):
        moving = textured(192, i)
        fixed = cv2.warpPerspective(
            moving, H_TRUE, (128, 128), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        )
        cv2.imwrite(str(root / "val2014_input" / f"n{i}.jpg"), moving)
        cv2.imwrite(str(root / "val2014_template" / f"n{i}.jpg"), fixed)
        label = json.dumps({"location": location})
        if i != 2:
            text = label[:40] if i == 3 else label
            (root / "val2014_label" / f"n{i}_label.txt").write_text(text)
    return root


@pytest.fixture(scope="module")
def methods(tmp_path_factory):
    folder = tmp_path_factory.mktemp("methods")
    answers = {
        "right": "H",
        "shifted": "np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]]) @ H",
        "inverse": "np.linalg.inv(H)",
        "silent": "None",
    }
    paths = []
    for name, answer in answers.items():
        paths.append(folder / f"{name}.py")
        paths[-1].write_text(OWN.format(matrix=H_TRUE.tolist(), answer=answer))
    return [str(path) for path in paths]


@pytest.fixture(scope="module")
def run(published, methods, tmp_path_factory):
    told = []
    out = tmp_path_factory.mktemp("run") / "one"
    return evaluate([published], methods, out, OPTIONS, tell=told.append), told


def errors(run):
    return {Path(s.method).stem: s.error for s in run.scores if s.pair.endswith("n0")}


def test_published_format_is_evaluated_and_wrong_estimators_are_caught(run):
    found, told = run
    assert found.protocol == "paper"
    assert {s.pair for s in found.scores} == {"n0", "n1"}
    error = errors(found)
    assert error["right"] < 1e-6
    assert error["shifted"] == pytest.approx(0.5**0.5, abs=1e-6)
    assert error["inverse"] > 20
    assert error["silent"] == np.inf
    assert found.problems == 2
    assert told[0].startswith("2 members left out")


def test_files_of_a_run(run):
    found, _ = run
    names = {path.name for path in found.folder.iterdir()} - {"pairs.parquet"}
    assert names == {"run.json", "scores.jsonl", "table.md", "pairs.csv", "plots", "report.html"}
    with (found.folder / "pairs.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 8
    assert {Path(row["method"]).stem for row in rows if float(row["error"]) < 1} == {
        "right",
        "shifted",
    }
    table = (found.folder / "table.md").read_text()
    assert "n2" in table
    assert "n3" in table
    assert json.loads(json.dumps(found.to_data(), allow_nan=False))["protocol"] == "paper"


def test_against_an_earlier_run(run, published, methods, tmp_path):
    earlier, _ = run
    found = evaluate([published], methods[:2], tmp_path / "two", OPTIONS, against=earlier.folder)
    assert len(found.comparisons) == 2
    assert all(
        tally.won == tally.lost == 0 for c in found.comparisons for tally in c.tallies.values()
    )
    assert (tmp_path / "two" / "comparison.md").is_file()


def test_the_same_command_again_computes_nothing_and_says_the_same(run, published, methods):
    earlier, _ = run
    before = (earlier.folder / "scores.jsonl").read_bytes()
    again = evaluate([published], methods, earlier.folder, OPTIONS)
    assert (earlier.folder / "scores.jsonl").read_bytes() == before
    assert again.scores == earlier.scores
    assert len(RunFolder.read(earlier.folder).record.starts) == 2


def test_protocol_that_suits_the_inputs(published, tmp_path):
    aligned, given = tmp_path / "aligned", tmp_path / "given"
    for folder in (aligned, given):
        folder.mkdir()
        for side in "ab":
            cv2.imwrite(str(folder / f"x.{side}.png"), textured(192, 1))
    (given / "x.txt").write_text("1 0 0 0 1 0 0 0 1")
    for path, name in ((aligned, "native"), (given, "real"), (published, "paper")):
        pairs = read_all([path])
        chosen = chosen_protocol(pairs, [path], EvaluationOptions(seed=4))
        assert (chosen.name, chosen.seed) == (name, 4)
    with pytest.raises(InputError, match="choose from paper, native, hard, real"):
        chosen_protocol(read_all([aligned]), [aligned], EvaluationOptions(protocol="easy"))
