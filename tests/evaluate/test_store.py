import json
import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sdme.data.pairs import ImageFile, ImagePair, Problem
from sdme.errors import InputError
from sdme.evaluate import store
from sdme.evaluate.case import CaseKey
from sdme.evaluate.protocol import PaperProtocol, RealProtocol
from sdme.evaluate.score import MatchingScore, Score
from sdme.evaluate.store import RunFolder

MATCHING = MatchingScore(
    keypoints=7, matches=3, accuracy={1: 1 / 3, 2: math.nan}, inlier_ratio=0.1,
    inlier_precision=math.nan, repeatability=0.25,
)  # fmt: skip


def key(number, dataset="roads", truth=None):
    image = ImageFile(Path("images") / f"{number}.png")
    return CaseKey(ImagePair(dataset, f"p{number}", image, image, truth), number)


KEYS = [key(1), key(0), key(0, "tno")]


def score(key, method="sift", stage="sift", error=1.5, **more):
    return Score(
        method, stage, True, key.pair.dataset, "other", key.pair.id, key.index, "a", "corners",
        error, error, 20.0, 0.1, 99.5, **more,
    )  # fmt: skip


def start(path, keys=KEYS, protocol=None, **more):
    return RunFolder.start(path, protocol or PaperProtocol(), keys, **more)


def test_scores_come_back_as_they_were_stored(tmp_path):
    plain = score(KEYS[0], matching=MATCHING, matrix=tuple(np.linspace(0, 1 / 3, 9)), size=(3, 4))
    failed = score(KEYS[0], stage="last", error=math.inf, note='RuntimeError: "ö"\n\u2028 ')
    with start(tmp_path) as folder:
        folder.add_methods(["sift"])
        folder.add("sift", KEYS[0].name, [plain, failed])
    first, second = RunFolder.read(tmp_path).scores()
    assert second == failed
    assert first.matching is not None
    assert math.isnan(first.matching.accuracy[2])
    assert math.isnan(first.matching.inlier_precision)
    whole = {"accuracy": {1: 1 / 3}, "inlier_precision": 0.0}
    assert replace(first.matching, **whole) == replace(MATCHING, **whole)
    assert replace(first, matching=None) == replace(plain, matching=None)


def test_scores_of_an_older_run_take_todays_name_of_their_method(tmp_path):
    """Weights were called after their file before they were called after its folder."""
    method, old = "/runs/second/weights.safetensors", "weights.safetensors"
    rows = [score(KEYS[0], old, "sparse"), score(KEYS[0], old, old)]
    with start(tmp_path) as folder:
        folder.add_methods([method])
        folder.add(method, KEYS[0].name, rows)
    assert [(s.method, s.stage) for s in RunFolder.read(tmp_path).scores()] == [
        ("second", "sparse"),
        ("second", "second"),
    ]


def test_files_are_strict_json(tmp_path):
    with start(tmp_path) as folder:
        folder.add_methods(["sift"])
        folder.add("sift", KEYS[0].name, [score(KEYS[0], error=math.inf, matching=MATCHING)])

    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    for name in ("run.json", "scores.jsonl"):
        json.loads((tmp_path / name).read_text(), parse_constant=refuse)


def test_scores_are_sorted_by_method_dataset_and_case_whatever_came_first(tmp_path):
    arrivals = [(m, k) for k in reversed(KEYS) for m in ("sift", "ecc")]
    for place, order in enumerate((arrivals, arrivals[::-1])):
        with start(tmp_path / str(place)) as folder:
            folder.add_methods(["sift", "ecc"])
            for method, at in order:
                folder.add(method, at.name, [score(at, method, s) for s in ("one", "two")])
    one, two = (RunFolder.read(tmp_path / name) for name in "01")
    assert one.scores() == two.scores()
    expected = [
        (method, at, stage)
        for method in ("sift", "ecc")
        for at in ("roads/p0#0", "roads/p1#1", "tno/p0#0")
        for stage in ("one", "two")
    ]
    assert [(s.method, s.case, s.stage) for s in one.scores()] == expected
    assert {s.method for s in one.scores(["ecc"])} == {"ecc"}
    assert [s.method for s in one.scores(["ecc", "sift"])][::6] == ["ecc", "sift"]


@pytest.mark.parametrize("cut", [1, 40, 4000])
def test_half_a_line_is_cut_off_and_its_case_run_again(tmp_path, cut):
    with start(tmp_path) as folder:
        folder.add_methods(["sift"])
        for at in KEYS:
            folder.add("sift", at.name, [score(at, note="long " * 1000)])
    path = tmp_path / "scores.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    assert RunFolder.read(tmp_path).done("sift") == {at.name for at in KEYS[:2]}
    with start(tmp_path) as folder:
        assert folder.done("sift") == {at.name for at in KEYS[:2]}
        folder.add("sift", KEYS[2].name, [score(KEYS[2])])
    assert [s.case for s in RunFolder.read(tmp_path).scores()] == sorted(k.name for k in KEYS)


def test_damage_in_the_middle_is_an_error_that_names_the_line(tmp_path):
    with start(tmp_path) as folder:
        folder.add("sift", KEYS[0].name, [score(KEYS[0])])
    path = tmp_path / "scores.jsonl"
    path.write_bytes(b"{oh no}\n" + path.read_bytes())
    for open_again in (start, RunFolder.read):
        with pytest.raises(InputError, match=r"line 1 of .*scores.jsonl is damaged"):
            open_again(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"protocol": PaperProtocol(seed=5)}, "protocol seed is 0 there, 5 here"),
        ({"protocol": RealProtocol()}, "protocol name is paper there, real here"),
        ({"keys": KEYS[:2]}, r"datasets is .*tno \(1 cases\) there, roads \(2 cases\) here"),
        ({"keys": [key(1), key(2), KEYS[2]]}, "digest of the cases"),
        ({"keys": [key(1), key(0, truth=np.eye(3)), KEYS[2]]}, "digest of the cases"),
        ({"keys": [replace(KEYS[0], fixed_side="b"), *KEYS[1:]]}, "digest of the cases"),
    ],
)
def test_another_run_is_refused_and_the_old_one_stays(tmp_path, change, words):
    start(tmp_path, problems=[Problem("x.png", "missing")]).close()
    before = (tmp_path / "run.json").read_bytes()
    with pytest.raises(InputError, match=words) as raised:
        start(tmp_path, **change)
    assert "another folder" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert (tmp_path / "run.json").read_bytes() == before


def test_another_version_of_the_package_is_refused(tmp_path, monkeypatch):
    start(tmp_path).close()
    monkeypatch.setattr("sdme.evaluate.record.__version__", "77.0")
    with pytest.raises(InputError, match=r"version of sdme is .* there, 77.0 here"):
        start(tmp_path)


def test_resuming_keeps_methods_and_lists_every_start(tmp_path):
    for place, method in enumerate(("sift", "ecc")):
        with start(tmp_path, circumstances={"command": f"run {place}"}) as folder:
            folder.add_methods([method])
    record = RunFolder.read(tmp_path).record
    assert list(record.methods) == ["sift", "ecc"]
    assert [begun["command"] for begun in record.starts] == ["run 0", "run 1"]


def test_a_case_that_cannot_be_drawn_counts_for_no_method_until_it_can(tmp_path):
    problem = Problem("roads/x", "no truth")
    with start(tmp_path, problems=[problem]) as folder:
        folder.add_methods(["sift", "ecc"])
        for at in KEYS:
            folder.add("sift", at.name, [score(at)])
        folder.add_unreadable(KEYS[0].name, "cannot be decoded")
    with start(tmp_path, problems=[problem]) as folder:
        assert folder.problems == [problem, Problem(KEYS[0].name, "cannot be decoded")]
        assert {s.case for s in folder.scores()} == {at.name for at in KEYS[1:]}
        folder.add("ecc", KEYS[0].name, [score(KEYS[0], "ecc")])
        assert folder.problems == [problem]
        assert len(folder.scores()) == 4


def test_a_changed_method_file_is_refused_once_it_has_results(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("1")
    with start(tmp_path / "run") as folder:
        folder.add_methods([str(file)])
        file.write_text("2")
        folder.add_methods([str(file)])
        folder.add(str(file), KEYS[0].name, [score(KEYS[0], str(file))])
        folder.add_methods([str(file)])
        file.write_text("3")
        with pytest.raises(InputError, match=r"mine.py has changed since it was run"):
            folder.add_methods([str(file)])


def test_two_runs_do_not_share_a_folder(tmp_path):
    with start(tmp_path):
        with pytest.raises(InputError, match="another run is writing"):
            start(tmp_path)
        assert RunFolder.read(tmp_path).scores() == []
    start(tmp_path).close()


def test_full_disk_is_one_line_and_loses_nothing(tmp_path, monkeypatch):
    def full(file, data):
        if len(data) < 100:
            raise OSError(28, "No space left on device")
        return write(file, data[: len(data) // 2])

    write = os.write
    with start(tmp_path) as folder:
        folder.add_methods(["sift"])
        folder.add("sift", KEYS[0].name, [score(KEYS[0])])
        before = (tmp_path / "scores.jsonl").read_bytes()
        monkeypatch.setattr(store.os, "write", full)
        with pytest.raises(InputError, match="No space left on device; make room"):
            folder.add("sift", KEYS[1].name, [score(KEYS[1])])
        assert (tmp_path / "scores.jsonl").read_bytes() == before
        assert folder.done("sift") == {KEYS[0].name}
        monkeypatch.undo()
        folder.add("sift", KEYS[1].name, [score(KEYS[1])])
    assert len(RunFolder.read(tmp_path).scores()) == 2


def test_other_files_of_the_folder_stay(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    start(tmp_path).close()
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("make", ["nothing", "file", "broken", "orphan"])
def test_folders_that_are_no_runs_are_refused(tmp_path, make):
    path = tmp_path / "run"
    if make == "file":
        path.write_text("")
        with pytest.raises(InputError, match="cannot use folder"):
            start(path)
    if make == "broken":
        path.mkdir()
        (path / "run.json").write_text("{}")
        with pytest.raises(InputError, match=r"cannot read .*run.json"):
            start(path)
    if make == "orphan":
        with start(path) as folder:
            folder.add("sift", KEYS[0].name, [score(KEYS[0])])
        (path / "run.json").unlink()
        with pytest.raises(InputError, match=r"without its run.json"):
            start(path)
    with pytest.raises(InputError):
        RunFolder.read(path)
