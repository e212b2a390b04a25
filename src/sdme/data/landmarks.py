"""Landmarks: corresponding points of a pair, from tables, JSON and MATLAB files."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from sdme.data.pairs import Landmarks
from sdme.errors import InputError
from sdme.io.points import read_cells

SUFFIXES = (".csv", ".tsv", ".txt", ".json", ".mat")
_HEADERS = (("fixed_x", "fixed_y", "moving_x", "moving_y"), ("x1", "y1", "x2", "y2"))
_MATLAB_NAMES = (
    ("fixedpoints", "movingpoints"),
    ("fixed_points", "moving_points"),
    ("fixed", "moving"),
    ("pts1", "pts2"),
    ("points1", "points2"),
)
_MATLAB_ORIGIN = 1


def read_landmarks(path: str | os.PathLike[str]) -> Landmarks:
    """Read corresponding points; the suffix says how.

    - ``.csv``, ``.tsv``, ``.txt``: one point a line, parted by commas, semicolons, tabs or blanks,
      in columns ``fixed_x, fixed_y, moving_x, moving_y`` or ``x1, y1, x2, y2`` (1 is fixed) among
      any others; without a header line exactly these four.
    - ``.json``: ``{"fixed": [[x, y], ...], "moving": [[x, y], ...]}``.
    - ``.mat`` (up to version 7): two n x 2 or 2 x n arrays named ``fixedPoints`` and
      ``movingPoints``, ``fixed`` and ``moving``, ``pts1`` and ``pts2`` or ``points1`` and
      ``points2``, or a single n x 4 array. A 2 x 2 array holds one point a row.

    Convention: pixel centres at integers, the first pixel at 0. MATLAB counts pixels from 1, so 1
    is subtracted from every coordinate of a ``.mat`` file, and of no other file.

    Raises:
        InputError: the file cannot be read, or does not hold the same number (at least one) of
            finite points for both images.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"landmarks {path} have an unknown type; give {', '.join(SUFFIXES)}")
    if suffix == ".json":
        fixed, moving = _from_json(path)
    elif suffix == ".mat":
        fixed, moving = _from_matlab(path)
    else:
        fixed, moving = _from_table(path)
    if fixed.shape != moving.shape:
        raise InputError(
            f"{path} has {len(fixed)} fixed and {len(moving)} moving points; give equally many"
        )
    if not len(fixed):
        raise InputError(f"{path} holds no landmarks; give at least one point")
    if not (np.isfinite(fixed).all() and np.isfinite(moving).all()):
        raise InputError(f"{path} has points that are not finite numbers; leave these out")
    return Landmarks(fixed, moving)


def _points(rows: Any, path: Path) -> np.ndarray:
    try:
        points = np.array(rows, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{path} has points that are no [x, y] numbers; correct them") from None
    if points.size == 0:
        return np.empty((0, 2))
    if points.ndim != 2 or points.shape[1] != 2:
        raise InputError(f"{path} has points of shape {points.shape}; give a list of [x, y]")
    return points


def _from_json(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"cannot read landmarks {path}: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise InputError(f"{path} holds no landmarks: it is not JSON") from None
    if not isinstance(data, dict) or not {"fixed", "moving"} <= data.keys():
        raise InputError(
            f'{path} holds no landmarks; give {{"fixed": [[x, y], ...], "moving": [[x, y], ...]}}'
        )
    return _points(data["fixed"], path), _points(data["moving"], path)


def _from_table(path: Path) -> tuple[np.ndarray, np.ndarray]:
    _, lines = read_cells(path)
    if all(len(cells) == 1 for _, cells in lines):
        lines = [(line, tuple(cells[0].split())) for line, cells in lines]
    columns = [0, 1, 2, 3]
    if lines and _numbers(lines[0][1], range(len(lines[0][1]))) is None:
        columns = _named_columns(lines.pop(0)[1], path)
    elif lines and len(lines[0][1]) != 4:
        raise InputError(
            f"{path} has {len(lines[0][1])} columns and no header; name {', '.join(_HEADERS[0])}"
        )
    rows = [_numbers(cells, columns) for _, cells in lines]
    if None in rows:
        line = lines[rows.index(None)][0]
        raise InputError(f"{path}, line {line} lacks four numbers; give one pair of points a line")
    table = np.array(rows, dtype=np.float64).reshape(-1, 4)
    return table[:, :2], table[:, 2:]


def _named_columns(header: tuple[str, ...], path: Path) -> list[int]:
    names = [name.lower() for name in header]
    for wanted in _HEADERS:
        if set(wanted) <= set(names):
            return [names.index(name) for name in wanted]
    raise InputError(
        f"{path} starts with {','.join(header)!r}; name the columns {', '.join(_HEADERS[0])}"
    )


def _numbers(cells: tuple[str, ...], columns: Any) -> list[float] | None:
    try:
        return [float(cells[column]) for column in columns]
    except (ValueError, IndexError):
        return None


def _from_matlab(path: Path) -> tuple[np.ndarray, np.ndarray]:
    arrays = _matlab_arrays(path)
    names = {name.lower(): name for name in arrays}
    for fixed, moving in _MATLAB_NAMES:
        if fixed in names and moving in names:
            pair = arrays[names[fixed]], arrays[names[moving]]
            first, second = (_upright(array, path) for array in pair)
            return first - _MATLAB_ORIGIN, second - _MATLAB_ORIGIN
    tables = [array for array in arrays.values() if array.ndim == 2 and array.shape[1] == 4]
    if len(arrays) == 1 and tables:
        return tables[0][:, :2] - _MATLAB_ORIGIN, tables[0][:, 2:] - _MATLAB_ORIGIN
    raise InputError(
        f"{path} holds {', '.join(arrays) or 'no arrays of numbers'}; give fixedPoints and "
        "movingPoints (n x 2), or a single n x 4 array"
    )


def _upright(array: np.ndarray, path: Path) -> np.ndarray:
    """One point a row."""
    if array.ndim == 2 and array.shape[1] == 2:
        return array
    if array.ndim == 2 and array.shape[0] == 2:
        return array.T
    raise InputError(f"{path} has points of shape {array.shape}; give n x 2 arrays")


def _matlab_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of real numbers in a MATLAB file, in float64."""
    try:
        from scipy.io import loadmat
    except ImportError:
        raise InputError(
            f"{path}: MATLAB files are read by SciPy; install it by pip install 'sdme[compare]'"
        ) from None
    try:
        content = loadmat(path, appendmat=False)
    except OSError as error:
        raise InputError(f"cannot read landmarks {path}: {error.strerror or error}") from None
    except NotImplementedError:
        raise InputError(f"{path} is a MATLAB 7.3 file; save it with the option '-v7'") from None
    except Exception:  # a damaged file can make the parser raise anything
        raise InputError(f"{path} is no MATLAB file, or damaged; save it again") from None
    arrays = {name: value for name, value in content.items() if not name.startswith("__")}
    return {
        name: value.astype(np.float64)
        for name, value in arrays.items()
        if isinstance(value, np.ndarray) and value.dtype.kind in "iuf"
    }
