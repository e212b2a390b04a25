"""Control points: places of the fixed image and the same places in the moving one.

As a table they have the columns ``x_fixed, y_fixed, x_moving, y_moving`` in pixels, centres at
whole numbers; other columns are left alone.
"""

import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from sdme.config import Kind
from sdme.errors import InputError
from sdme.files import write_text
from sdme.geometry.fit import POINTS_NEEDED, fit_points
from sdme.io.points import read_cells
from sdme.transform import Transform

COLUMNS = ("x_fixed", "y_fixed", "x_moving", "y_moving")
_SIDE = 6
_SPARE = 3  # points more than a kind needs, from which on a wrong one can be told
_LEAST_GAP, _FACTOR = 1.0, 4.0  # px, and how much better the others fit without a wrong one
_MOST_WRONG = 0.25


@dataclass(frozen=True)
class ControlPoints:
    """Points ``(n, 2)`` of both images; ``names`` say where each came from, for messages."""

    fixed: Float[np.ndarray, "n 2"]
    moving: Float[np.ndarray, "n 2"]
    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.fixed)


@dataclass(frozen=True)
class ControlFit:
    """The transform through control points.

    ``residuals`` are the distances, px of the moving image, of all points from where it sends them;
    ``left_out`` are places in the list of those that do not fit the others.
    """

    transform: Transform
    residuals: Float[np.ndarray, " n"]
    left_out: tuple[int, ...] = ()


def control_points_of(transform: Transform) -> ControlPoints:
    """A grid of 6 x 6 points over the moving image and where the fixed image shows them.

    A transform is fixed by them; what lies beyond the horizon is left out.
    """
    x, y = (np.linspace(0, side - 1, _SIDE) for side in transform.moving_size)
    moving = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    fixed = transform.inverse.apply(moving)
    seen = np.isfinite(fixed).all(1)
    return ControlPoints(fixed[seen], moving[seen])


def fit_control_points(
    points: ControlPoints,
    fixed_size: tuple[int, int],
    moving_size: tuple[int, int],
    kind: Kind | None = None,
    name: str = "the list",
) -> ControlFit:
    """Least squares through control points, without those that plainly do not fit the others.

    Without a ``kind`` their number says it: one gives a translation, two a similarity, three to
    five an affine map, more a homography. A point is left out where, of three more than are needed,
    the others lie at least four times closer (in the root mean square) without it and all together
    are more than a pixel off; at most a quarter of them are.

    Raises:
        InputError: there are too few points, or they lie in one place or on a line.
    """
    kind = kind or _kind_for(len(points))
    if len(points) < POINTS_NEEDED[kind]:
        raise InputError(
            f"{name} has {len(points)} usable point(s), but a transform of the kind {kind} needs "
            f"{POINTS_NEEDED[kind]}; give more points or a smaller kind"
        )
    kept = np.ones(len(points), dtype=bool)
    matrix, gap = _fitted(points, kept, kind)
    while matrix is not None and gap > _LEAST_GAP:
        worst = _worst(points, kept, kind, gap)
        if worst is None:
            break
        kept[worst] = False
        matrix, gap = _fitted(points, kept, kind)
    if matrix is None:
        raise InputError(
            f"the {len(points)} points of {name} fix no {kind}: they lie in one place, on a line "
            "or contradict each other; spread them out"
        )
    transform = Transform(matrix, fixed_size, moving_size, kind)
    mapped = transform.apply(points.fixed)
    residuals = np.linalg.norm(mapped - points.moving, axis=1)
    return ControlFit(transform, residuals, tuple(np.flatnonzero(~kept).tolist()))


def _kind_for(count: int) -> Kind:
    if count >= 6:
        return "homography"
    return "affine" if count >= 3 else "similarity" if count == 2 else "translation"


def _fitted(points: ControlPoints, kept: np.ndarray, kind: Kind) -> tuple[np.ndarray | None, float]:
    """The transform through the kept points and their root mean square distance."""
    matrix = fit_points(points.fixed[kept], points.moving[kept], kind)
    if matrix is None:
        return None, math.inf
    mapped = points.fixed[kept] @ matrix[:, :2].T + matrix[:, 2]
    with np.errstate(all="ignore"):
        gaps = mapped[:, :2] / mapped[:, 2:] - points.moving[kept]
    return matrix, float(np.sqrt((gaps**2).sum(1).mean()))


def _worst(points: ControlPoints, kept: np.ndarray, kind: Kind, gap: float) -> int | None:
    """The point without which the others fit far better; ``None`` if there is none."""
    dropped = (~kept).sum() + 1
    if kept.sum() < POINTS_NEEDED[kind] + _SPARE or dropped > _MOST_WRONG * len(points):
        return None
    gaps = {}
    for place in np.flatnonzero(kept):
        others = kept.copy()
        others[place] = False
        gaps[int(place)] = _fitted(points, others, kind)[1]
    best = min(gaps, key=lambda place: gaps[place])
    return best if gaps[best] * _FACTOR <= gap else None


def write_control_points(path: str | os.PathLike[str], points: ControlPoints) -> None:
    """Write the table, with all digits."""
    rows = np.hstack([points.fixed, points.moving]).tolist()
    lines = [",".join(COLUMNS), *(",".join(map(repr, row)) for row in rows)]
    write_text(path, "\n".join(lines) + "\n")


def read_control_points(path: str | os.PathLike[str]) -> ControlPoints:
    """Read a table of control points, parted by comma, semicolon or tab.

    Raises:
        InputError: there is no such file, the columns are not there, or a row lacks a number.
    """
    delimiter, numbered = read_cells(path)
    if not numbered:
        raise InputError(f"{path} is an empty table; give columns {', '.join(COLUMNS)}")
    header = [cell.lower() for cell in numbered[0][1]]
    if all(name in header for name in COLUMNS):
        places = [header.index(name) for name in COLUMNS]
        numbered = numbered[1:]
    elif _numbers(numbered[0][1], range(4)) is not None and len(header) == len(COLUMNS):
        places = list(range(4))
    else:
        raise InputError(
            f"{path} starts with {delimiter.join(numbered[0][1])!r}; give a header with "
            f"{', '.join(COLUMNS)}, or these four numbers a line"
        )
    rows = []
    for line, cells in numbered:
        row = _numbers(cells, places)
        if row is None:
            raise InputError(
                f"{path}, line {line}: {delimiter.join(cells)!r} lacks four finite numbers; "
                f"give {', '.join(COLUMNS)}"
            )
        rows.append(row)
    table = np.array(rows, dtype=np.float64).reshape(-1, 4)
    names = tuple(f"line {line}" for line, _ in numbered)
    return ControlPoints(table[:, :2], table[:, 2:], names)


def is_control_table(path: Path) -> bool:
    """Whether the first line of a text file looks like that of such a table."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            first = file.readline().lower()
    except (OSError, ValueError):
        return False
    return all(name in first for name in COLUMNS)


def _numbers(cells: tuple[str, ...], places: "range | list[int]") -> list[float] | None:
    try:
        row = [float(cells[place]) for place in places]
    except (ValueError, IndexError):
        return None
    return row if all(map(math.isfinite, row)) else None
