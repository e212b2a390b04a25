"""Tables of points: text files with x and y columns; all other columns are kept as they are."""

import csv
import math
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from sdme.errors import InputError
from sdme.files import write_text

SUFFIXES = (".csv", ".tsv", ".txt")
_DELIMITERS = (",", ";", "\t")


@dataclass(frozen=True)
class PointTable:
    """Rows of text cells, the places of x and y among them, and the header if there is one."""

    rows: tuple[tuple[str, ...], ...]
    header: tuple[str, ...] | None
    columns: tuple[int, int]
    delimiter: str

    @property
    def points(self) -> Float[np.ndarray, "n 2"]:
        """The points as numbers, ``(x, y)``."""
        x, y = self.columns
        return np.array([[float(row[x]), float(row[y])] for row in self.rows]).reshape(-1, 2)

    def with_points(self, points: Float[np.ndarray, "n 2"]) -> "PointTable":
        """The same table with other points, to a millionth of a pixel; no image is ``nan``."""
        rows = []
        for cells, point in zip(self.rows, points, strict=True):
            row = list(cells)
            for column, value in zip(self.columns, point, strict=True):
                row[column] = repr(round(float(value), 6) + 0.0) if math.isfinite(value) else "nan"
            rows.append(tuple(row))
        return replace(self, rows=tuple(rows))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the table with the delimiter it was read with."""
        lines = self.rows if self.header is None else (self.header, *self.rows)
        write_text(path, "".join(_line(cells, self.delimiter) for cells in lines))


def read_points(path: str | os.PathLike[str]) -> PointTable:
    """Read a table of points.

    Columns are parted by comma, semicolon or tab. With a header line the columns named ``x`` and
    ``y`` count, whatever their case; without one the first two do.

    Raises:
        InputError: there is no such file, it is no text, a row lacks a number, or the header
            names no x and y.
    """
    delimiter, numbered = read_cells(path)
    if not numbered:
        raise InputError(f"{path} is an empty table; give lines of x{delimiter}y")
    header = None if _numbers(numbered[0][1], (0, 1)) else numbered.pop(0)[1]
    columns = (0, 1) if header is None else _named_columns(header, path)
    for line, cells in numbered:
        if not _numbers(cells, columns):
            raise InputError(
                f"{path}, line {line}: {delimiter.join(cells)!r} lacks x and y as finite numbers; "
                "give one point a line"
            )
    return PointTable(tuple(cells for _, cells in numbered), header, columns, delimiter)


def read_cells(path: str | os.PathLike[str]) -> tuple[str, list[tuple[int, tuple[str, ...]]]]:
    """Delimiter of a text file, and its lines that are not empty: line number and cells.

    Raises:
        InputError: there is no such file, or it is no text.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"cannot read points {path}: {error.strerror}") from None
    except ValueError:
        raise InputError(f"{path} is no table of points: it is not UTF-8 text") from None
    first = text.lstrip().partition("\n")[0]
    delimiter = max(_DELIMITERS, key=first.count)
    try:
        lines = list(csv.reader(text.splitlines(), delimiter=delimiter))
    except csv.Error as error:
        raise InputError(f"{path} is no table of points: {error}") from None
    numbered = [(i, tuple(c.strip() for c in cells)) for i, cells in enumerate(lines, 1) if cells]
    return delimiter, numbered


def _named_columns(header: tuple[str, ...], path: str | os.PathLike[str]) -> tuple[int, int]:
    names = [name.lower() for name in header]
    if "x" not in names or "y" not in names:
        raise InputError(
            f"{path} starts with {','.join(header)!r}, neither a point nor a header with x and y; "
            "name these columns"
        )
    return names.index("x"), names.index("y")


def _numbers(cells: tuple[str, ...], columns: tuple[int, int]) -> bool:
    try:
        return all(math.isfinite(float(cells[column])) for column in columns)
    except (ValueError, IndexError):
        return False


def _line(cells: tuple[str, ...], delimiter: str) -> str:
    quoted = [
        '"' + cell.replace('"', '""') + '"' if any(c in cell for c in f'{delimiter}"\n') else cell
        for cell in cells
    ]
    return delimiter.join(quoted) + "\n"
