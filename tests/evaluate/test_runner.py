import csv
import json
import tarfile

import cv2
import numpy as np
import pytest

from sdme.errors import InputError
from sdme.evaluate import baselines
from sdme.evaluate.__main__ import main
from sdme.evaluate.protocol import PaperProtocol
from sdme.evaluate.runner import chosen_device, load_cases, run_baseline


@pytest.fixture
def packs(tmp_path):
    folder = tmp_path / "packs"
    folder.mkdir()
    for pack in ("roads", "tno"):
        with tarfile.open(folder / f"{pack}.tar", "w") as archive:
            for side in "ab":
                noise = np.random.default_rng(1).uniform(0, 255, (32, 40, 3)).astype(np.float32)
                image = cv2.resize(noise, (280, 224), interpolation=cv2.INTER_CUBIC).clip(0, 255)
                cv2.imwrite(str(tmp_path / "x.png"), image)
                archive.add(tmp_path / "x.png", arcname=f"one.{side}.png")
    return folder


def test_command_writes_table_cases_and_summary(packs, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["--packs", str(packs), "--cases", "2", "--methods", "identity,sift"]
    assert main([*arguments, "--out", str(out), "--workers", "1"]) == 0
    assert "all cross-modal" in capsys.readouterr().out
    rows = list(csv.DictReader((out / "cases.csv").open()))
    assert len(rows) == 2 * 2 * 2
    summary = json.loads((out / "summary.json").read_text())
    assert summary["cases"] == 4
    assert "--methods identity,sift" in summary["command"]
    assert summary["sets"]["all"]["sift"]["all"]["below"]["3"] == 1
    assert summary["sets"]["all"]["identity"]["all"]["below"]["1"] == 0
    assert "opencv" in summary["versions"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["--methods", "magic"], "unknown method magic"), (["--methods", ","], "no method")],
)
def test_wrong_method_is_one_line_and_exit_code_2(packs, tmp_path, capsys, arguments, words):
    out = tmp_path / "out"
    assert main(["--packs", str(packs), *arguments, "--out", str(out)]) == 2
    assert capsys.readouterr().err.startswith(f"error: {words}")
    assert not out.exists()


def test_missing_packs_are_an_error_and_nothing_is_written(tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["--packs", str(tmp_path / "none"), "--out", str(out)]) == 2
    assert "holds no packs" in capsys.readouterr().err
    assert not out.exists()


def test_packs_of_one_name_are_refused(packs):
    with pytest.raises(InputError, match="roads, tno"):
        load_cases([packs, packs], 1, PaperProtocol())


def test_a_baseline_that_raises_is_a_failure_with_a_note(packs, monkeypatch):
    def broken(fixed, moving, initial):
        raise RuntimeError("out of\nluck")

    monkeypatch.setitem(baselines.BASELINES, "sift", broken)
    cases = load_cases([packs], 1, PaperProtocol())
    rows = list(run_baseline("sift", cases, PaperProtocol()))
    assert [row.error for row in rows] == [np.inf, np.inf]
    assert rows[0].note == "RuntimeError: out of luck"


def test_unknown_device_is_an_error_of_the_package():
    with pytest.raises(InputError, match="cannot be used here"):
        chosen_device("cuda:77")
