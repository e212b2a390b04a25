"""Manifests: a CSV table or JSON lines that name the images of each pair and what is known of it.

==================  =====================================================================
``fixed, moving``   image files; paths are relative to the manifest
``id``              name of the pair; without one, the fixed image's path without its suffix
``dataset``         name of the set; without one, that of the manifest
``group``           kind of modality pair, for averages
``truth``           a file with a matrix, a transform or landmarks
``matrix``          the matrix from fixed to moving pixels: nine numbers in CSV, row by row,
                    parted by blanks; a 3x3 list in JSON lines
``points``          a file with landmarks
``note``            whatever you like
==================  =====================================================================

Only the first two are needed. Of ``truth``, ``matrix`` and ``points`` a pair has at most one;
pairs without any lie on one pixel grid.
"""

import csv
import json
from pathlib import Path
from typing import Any

from sdme.data.image_files import file_pair, image_stem
from sdme.data.known_packs import PHOTO, pack_info
from sdme.data.landmarks import read_landmarks
from sdme.data.pairs import ImagePair, Landmarks, Matrix, PairList, Problem
from sdme.data.truth import checked_matrix, matrix_of_text
from sdme.errors import InputError

SUFFIXES = (".csv", ".jsonl")
_COLUMNS = ("fixed", "moving", "id", "dataset", "group", "truth", "matrix", "points", "note")
_TRUTHS = ("truth", "matrix", "points")
_DELIMITERS = (",", ";", "\t")
_Row = dict[str, Any]


def read_manifest(path: str | Path) -> PairList:
    """Read a manifest, without decoding images; pairs come in the order of set and id.

    A row that cannot be used (a file is missing or broken, the images of an aligned pair differ in
    size, the truth cannot be read, the id was used before) is a problem, told with its line.

    Raises:
        InputError: the manifest cannot be read or holds no rows, or has an unknown column.
    """
    path = Path(path)
    rows = _table_rows(path) if path.suffix.lower() == ".csv" else _json_rows(path)
    if not rows:
        raise InputError(f"{path} holds no pairs; give rows with fixed and moving images")
    pairs: dict[tuple[str, str], ImagePair] = {}
    problems = []
    for line, row in rows:
        try:
            if isinstance(row, InputError):
                raise row
            pair = _pair(row, path, pairs)
            pairs[pair.dataset, pair.id] = pair
        except InputError as error:
            problems.append(Problem(f"{path}, line {line}", str(error)))
    return PairList([pairs[key] for key in sorted(pairs)], problems)


def _pair(row: _Row, path: Path, taken: dict[tuple[str, str], ImagePair]) -> ImagePair:
    if missing := [name for name in ("fixed", "moving") if name not in row]:
        raise InputError(f"it names no {' and no '.join(missing)} image")
    for name in row.keys() - {"matrix", "note"}:
        if not isinstance(row[name], str):
            raise InputError(f"{name} is {row[name]!r}; give a text")
    dataset, identity = row.get("dataset", path.stem), row.get("id", image_stem(row["fixed"]))
    if "id" not in row and (dataset, identity) in taken:
        identity += f"+{image_stem(row['moving'])}"
    if (dataset, identity) in taken:
        raise InputError(f"the id {identity} was used before; give each pair its own")
    truth = _truth(row, path)
    is_photo = row["fixed"] == row["moving"] and truth is None
    group = row.get("group", PHOTO if is_photo else pack_info(dataset).group)
    fixed, moving = path.parent / row["fixed"], path.parent / row["moving"]
    return file_pair(dataset, identity, fixed, moving, truth, group)


def _truth(row: _Row, path: Path) -> Path | Matrix | Landmarks | None:
    given = [name for name in _TRUTHS if name in row]
    if not given:
        return None
    if len(given) > 1:
        raise InputError(f"it gives {' and '.join(given)}; keep one of them")
    value = row[given[0]]
    if given == ["truth"]:
        return path.parent / value
    if given == ["points"]:
        return read_landmarks(path.parent / value)
    if isinstance(value, str):
        return matrix_of_text(value, "the matrix")
    return checked_matrix(value, "the matrix")


def _table_rows(path: Path) -> list[tuple[int, _Row | InputError]]:
    """Line number and cells of every row; empty cells are left out."""
    lines = _text(path).splitlines()
    delimiter = max(_DELIMITERS, key=lines[0].count) if lines else ","
    reader = csv.DictReader(lines, delimiter=delimiter, restkey="")
    _check_columns([name.strip() for name in reader.fieldnames or ()], str(path))
    rows: list[tuple[int, _Row | InputError]] = []
    try:
        for cells in reader:
            if "" in cells:
                wrong = InputError("it has more cells than there are columns; quote those with a ,")
                rows.append((reader.line_num, wrong))
                continue
            full = {name.strip(): cell.strip() for name, cell in cells.items() if cell}
            rows.append((reader.line_num, {name: cell for name, cell in full.items() if cell}))
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num} is no row of a table: {error}") from None
    return rows


def _json_rows(path: Path) -> list[tuple[int, _Row | InputError]]:
    """Line number and content of every line that is not blank; empty values are left out."""
    rows: list[tuple[int, _Row | InputError]] = []
    for number, line in enumerate(_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            content = json.loads(line)
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict):
            wrong = InputError('it is no JSON object; give {"fixed": ..., "moving": ...}')
            rows.append((number, wrong))
            continue
        _check_columns(content, f"{path}, line {number}")
        row = {name: value for name, value in content.items() if value not in (None, "")}
        if isinstance(row.get("id"), int):
            row["id"] = str(row["id"])
        rows.append((number, row))
    return rows


def _check_columns(names: Any, where: str) -> None:
    if unknown := [name for name in names if name not in _COLUMNS]:
        raise InputError(
            f"{where} has the unknown column {', '.join(unknown)}; known are {', '.join(_COLUMNS)}"
        )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"cannot read manifest {path}: {error.strerror}") from None
    except ValueError:
        raise InputError(f"{path} is no manifest: it is not UTF-8 text") from None
