"""``sdme models``: the weights that come with the package."""

import sys
from typing import Any

from sdme.cli.output import JsonFlag, Output, QuietFlag

_COLUMNS = (
    "name",
    "default",
    "preset",
    "modalities",
    "licence",
    "training_data",
    "metric",
    "checksum",
)


def models(*, as_json: JsonFlag = False, quiet: QuietFlag = False) -> int:
    """List the shipped models: what they are for, their licence and training data.

    Example: `sdme models`

    The name goes to `sdme register --model NAME`; without it the default runs. Exit code 1: a
    file is missing or damaged.

    Parameters
    ----------
    as_json
        print one JSON object and nothing else
    quiet
        print nothing but errors
    """
    from sdme.model.weights import DEFAULT_MODEL, records

    out = Output(as_json, quiet)
    rows = [_row(record, record.name == DEFAULT_MODEL) for record in records()]
    out.result(rows)
    if not (as_json or quiet):
        _print_terminal(rows) if sys.stdout.isatty() else _print_plain(rows)
    damaged = [row["name"] for row in rows if row["checksum"] != "ok"]
    if damaged:
        out.error(f"weights missing or damaged: {', '.join(damaged)}; install sdme again")
    return 1 if damaged else 0


def _row(record: Any, is_default: bool) -> dict[str, Any]:
    return {
        "name": record.name,
        "default": is_default,
        "preset": record.preset,
        "modalities": list(record.modalities),
        "licence": record.licence,
        "training_data": record.training_data,
        "metric": record.metric,
        "sha256": record.sha256,
        "checksum": "ok" if record.is_intact() else "wrong",
    }


def _print_plain(rows: list[dict[str, Any]]) -> None:
    """Tab-separated lines."""
    print("\t".join(_COLUMNS))
    for row in rows:
        print("\t".join(_text(row[column]) for column in _COLUMNS))


def _print_terminal(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*(column.replace("_", " ") for column in _COLUMNS))
    for row in rows:
        table.add_row(*(_text(row[column]) for column in _COLUMNS))
    Console().print(table)


def _text(value: str | bool | list[str]) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    return ", ".join(value) if isinstance(value, list) else value
