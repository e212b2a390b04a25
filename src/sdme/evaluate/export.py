"""Scores as flat rows for other programs, and all figures as plain data."""

import csv
import dataclasses
import math
import os
from collections.abc import Iterable
from typing import Any

from sdme.errors import InputError
from sdme.evaluate.convergence import START_ERRORS
from sdme.evaluate.figures import Figures
from sdme.evaluate.metrics import MATCHING_THRESHOLDS
from sdme.evaluate.score import MatchingScore, Score
from sdme.files import replacing

_PLAIN = {
    "dataset": str, "group": str, "pair": str, "index": int, "fixed_side": str, "method": str,
    "stage": str, "is_final": bool, "measure": str, "error": float, "final_error": float,
    "unregistered_error": float, "seconds": float, "memory": float, "verdict": str, "note": str,
    "remark": str, "redraws": int,
}  # fmt: skip
_MATCHING = {
    "keypoints": int, "matches": int, "inlier_ratio": float, "inlier_precision": float,
    "repeatability": float,
}  # fmt: skip
_MMA = {f"mma_{k}": k for k in MATCHING_THRESHOLDS}
_DRIFT, _REACHED = "drift", {f"reached_from_{k}": k for k in START_ERRORS}
_MATRIX = [f"h{row}{column}" for row in range(1, 4) for column in range(1, 4)]
COLUMNS: dict[str, type] = {
    **_PLAIN, "width": int, "height": int, **_MATCHING, **dict.fromkeys(_MMA, float),
    **dict.fromkeys(_MATRIX, float), _DRIFT: float, **dict.fromkeys(_REACHED, float),
}  # fmt: skip
"""Names of the columns and the type of their values, in their order."""


def scores_to_rows(scores: Iterable[Score]) -> list[dict[str, Any]]:
    """One flat row a score: see :class:`Score`; ``mma_k`` is its matching accuracy at k px.

    ``width`` and ``height`` are the fixed image's. ``h11`` to ``h33`` are the estimate, row by
    row. ``drift`` and ``reached_from_k`` are its :class:`ConvergenceScore`. What a score does not
    have is ``None``.
    """
    return [_row(score) for score in scores]


def write_csv(path: str | os.PathLike[str], scores: Iterable[Score]) -> None:
    """Write one line a score under a header; errors may be ``inf``, what is missing is empty."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(scores_to_rows(scores))


def write_parquet(path: str | os.PathLike[str], scores: Iterable[Score]) -> None:
    """Write the same rows as a Parquet file.

    Raises:
        InputError: pyarrow is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise InputError(
            f"cannot write {path}: Parquet needs pyarrow; pip install 'sdme[compare]', or use the "
            "CSV file"
        ) from None
    types = {str: "string", int: "int64", float: "float64", bool: "bool_"}
    schema = pyarrow.schema(
        [(name, getattr(pyarrow, types[kind])()) for name, kind in COLUMNS.items()]
    )
    table = pyarrow.Table.from_pylist(scores_to_rows(scores), schema=schema)
    with replacing(path) as temporary:
        pyarrow.parquet.write_table(table, temporary)


def to_data(figures: Figures) -> dict[str, Any]:
    """Every figure as lists and dictionaries fit for JSON; what is not finite is ``None``.

    An infinite median and a missing one look alike; the numbers of cases and failures beside them
    tell them apart.
    """
    return {
        "lines": [
            {
                "set": line.scope.name,
                "kind": line.scope.kind,
                "average": "macro" if line.is_macro else "cases",
                "population": line.population,
                "method": line.method,
                "stage": line.stage,
                "is_final": line.is_final,
                "success": _plain(line.summary.success),
                **_plain(line.summary),
            }
            for line in figures.lines
        ],
        "matching": [
            {"set": scope.name, "kind": scope.kind, "method": method, **_plain(summary)}
            for scope, methods in figures.matching.items()
            for method, summary in methods.items()
        ],
        "convergence": [
            {"set": scope.name, "kind": scope.kind, "method": method, **_plain(summary)}
            for scope, methods in figures.convergence.items()
            for method, summary in methods.items()
        ],
        "costs": [_plain(cost) for cost in figures.costs],
        "crashes": [_plain(crash) for crash in figures.crashes],
        "measures": figures.measures,
        "has_equal_cases": figures.has_equal_cases,
    }


def _row(score: Score) -> dict[str, Any]:
    row = {name: getattr(score, name) for name in _PLAIN}
    row |= {"width": score.size[0], "height": score.size[1]}
    row |= _matching(score.matching)
    row |= dict(zip(_MATRIX, score.matrix or [None] * 9, strict=True))
    found = score.convergence
    if found is None:
        return row | dict.fromkeys([_DRIFT, *_REACHED])
    return row | {_DRIFT: found.drift, **{name: found.reached[k] for name, k in _REACHED.items()}}


def _matching(score: MatchingScore | None) -> dict[str, Any]:
    if score is None:
        return dict.fromkeys([*_MATCHING, *_MMA])
    shares = {name: score.accuracy[k] for name, k in _MMA.items()}
    values = {name: getattr(score, name) for name in _MATCHING} | shares
    return {name: None if math.isnan(value) else value for name, value in values.items()}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {k if isinstance(k, str) else f"{k:g}": _plain(v) for k, v in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
