import csv
import json
import math
import sys

import pytest

from sdme.errors import InputError
from sdme.evaluate.export import COLUMNS, scores_to_rows, to_data, write_csv, write_parquet
from sdme.evaluate.figures import figures_of
from sdme.evaluate.score import MatchingScore

MATRIX = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0)


@pytest.fixture
def scores(score):
    quality = MatchingScore(120, 0, dict.fromkeys(range(1, 11), math.nan), math.nan, math.nan, 0.5)
    return [
        score(0.5, matching=quality, matrix=MATRIX, size=(128, 96), pair='a "quoted", ü'),
        score(math.inf, index=1, note="ValueError: no", seconds=math.nan),
    ]


def test_rows_are_flat_and_complete(scores):
    first, second = scores_to_rows(scores)
    assert list(first) == list(second) == list(COLUMNS)
    assert (first["width"], first["height"], first["keypoints"], first["matches"]) == (
        128, 96, 120, 0
    )  # fmt: skip
    assert (first["repeatability"], first["mma_3"], first["inlier_ratio"]) == (0.5, None, None)
    assert [first[f"h{i}{j}"] for i in (1, 2, 3) for j in (1, 2, 3)] == list(MATRIX)
    assert (second["keypoints"], second["mma_1"], second["h11"]) == (None, None, None)
    assert second["error"] == math.inf
    for row in (first, second):
        assert all(value is None or type(value) is COLUMNS[name] for name, value in row.items())


def test_csv_comes_back(scores, tmp_path):
    write_csv(tmp_path / "pairs.csv", scores)
    with (tmp_path / "pairs.csv").open(encoding="utf-8", newline="") as stream:
        first, second = csv.DictReader(stream)
    assert first["pair"] == 'a "quoted", ü'
    assert float(first["error"]) == 0.5 and first["mma_3"] == ""
    assert float(second["error"]) == math.inf and second["note"] == "ValueError: no"


def test_parquet_comes_back(scores, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    write_parquet(tmp_path / "pairs.parquet", scores)
    table = parquet.read_table(tmp_path / "pairs.parquet")
    assert table.column_names == list(COLUMNS)
    assert table.column("error").to_pylist() == [0.5, math.inf]
    assert table.column("matches").to_pylist() == [0, None]
    assert table.column("is_final").to_pylist() == [True, True]


def test_parquet_without_its_package_says_what_to_do(scores, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"sdme\[compare\]"):
        write_parquet(tmp_path / "pairs.parquet", scores)
    assert not list(tmp_path.iterdir())


def test_all_figures_as_plain_data(scores):
    data = json.loads(json.dumps(to_data(figures_of(scores)), allow_nan=False))
    totals = [line for line in data["lines"] if line["set"] == "all"]
    assert [line["population"] for line in totals] == ["all", "paper"]
    everything = totals[0]
    assert (everything["cases"], everything["failures"], everything["success"]) == (2, 1, 0.5)
    assert everything["below"] == dict.fromkeys(["0.5"], 0.0) | dict.fromkeys(
        ["1", "3", "5", "10", "20"], 0.5
    )
    assert everything["median"] is None and everything["capped_mean"] == 10.25
    assert data["matching"][0]["accuracy"]["3"] == {"value": 0.0, "cases": 1}
    assert data["crashes"][0]["message"] == "ValueError: no"
    assert data["costs"][0]["milliseconds"] == pytest.approx(10)
