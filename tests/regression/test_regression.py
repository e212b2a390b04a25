"""The shipped model on the samples is no worse than the stored numbers say."""

import json

import pytest
from measure import QUICK_SIDE, STORED, cases, measure

RANK = {"failed": 0, "uncertain": 1, "aligned": 2}
TOLERANCE, SHARE = 0.5, 0.1  # other processors and libraries round differently
LARGEST_ERROR = {"aligned": 3, "uncertain": 10}  # px, whatever was stored


def test_every_case_is_stored():
    assert sorted(json.loads(STORED.read_text())) == sorted(f"{s} at {side}" for s, side in cases())


@pytest.mark.parametrize(
    ("sample", "max_side"),
    [
        pytest.param(*case, marks=[] if case[1] == QUICK_SIDE else pytest.mark.slow)
        for case in cases()
    ],
)
def test_no_worse_than_stored(sample, max_side):
    stored = json.loads(STORED.read_text())[f"{sample} at {max_side}"]
    now = measure(sample, max_side)
    assert RANK[now["status"]] >= RANK[stored["status"]], now
    if stored["corner_error"] is not None:
        assert now["corner_error"] <= stored["corner_error"] * (1 + SHARE) + TOLERANCE
    if now["status"] in LARGEST_ERROR:
        assert now["corner_error"] < LARGEST_ERROR[now["status"]]
