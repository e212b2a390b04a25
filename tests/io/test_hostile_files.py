"""Damaged files of every format are read or refused: no crash, no hang, no giant allocation."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import sdme

SCRIPT = Path(__file__).parent / "hostile_files.py"


def hostile(folder, seed, count, seconds):
    environment = os.environ | {"PYTHONPATH": str(Path(sdme.__file__).parent.parent)}
    done = subprocess.run(
        [sys.executable, SCRIPT, str(seed), str(count), folder], capture_output=True, text=True,
        timeout=seconds, env=environment, check=False,
    )  # fmt: skip
    left = [path.name for path in folder.glob("current*")]
    assert done.returncode == 0, f"{left}: {done.stderr[-2000:]}"
    assert done.stderr == ""
    return json.loads(done.stdout.splitlines()[-1])


def check(told, count):
    assert told["wrong"] == []
    assert told["slowest"] < 10, told["slowest_file"]
    assert told["grown_mb"] < 1000
    assert told["refused"] > count / 3 and told["read"] > count / 5


def test_a_few_damaged_files(tmp_path):
    check(hostile(tmp_path, 1, 60, 60), 60)


@pytest.mark.slow
def test_thousands_of_damaged_files(tmp_path):
    check(hostile(tmp_path, 0, 4000, 120), 4000)
