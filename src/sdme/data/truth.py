"""What is known of a pair, from a file beside it: a 3x3 matrix, a transform or landmarks."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from sdme.data.landmarks import read_landmarks
from sdme.data.pairs import Landmarks, Matrix
from sdme.errors import InputError
from sdme.geometry.mapping import frame_centre, frame_corners, map_points
from sdme.io.header import Size
from sdme.transform import FORMAT, Transform

SUFFIXES = (".json", ".txt", ".csv", ".mat")


def read_matrix(path: str | os.PathLike[str]) -> Matrix:
    """Read the 3x3 matrix that maps fixed to moving pixels, scaled so that its last entry is 1.

    A text file holds nine numbers row by row, parted by blanks, commas or semicolons; what follows
    a ``#`` is a remark. A JSON file is a transform file (:meth:`sdme.Transform.save`),
    ``{"matrix": [[...], ...]}`` or the bare 3x3 list.

    Raises:
        InputError: the file cannot be read, or holds no finite and invertible 3x3 matrix.
    """
    path = Path(path)
    data = _read(path)
    return matrix_of_text(data, str(path)) if isinstance(data, str) else _matrix_of_json(data, path)


def read_truth(
    path: str | os.PathLike[str], fixed_size: Size, moving_size: Size
) -> Matrix | Landmarks:
    """Read the truth of a pair of images of these sizes: a matrix or landmarks.

    ``.json`` may be either, ``.txt`` is a matrix, ``.csv`` and ``.mat`` are landmarks.

    Raises:
        InputError: the file cannot be read, or was made for images of other sizes.
    """
    path = Path(path)
    if path.suffix.lower() in (".csv", ".mat"):
        return read_landmarks(path)
    data = _read(path)
    if isinstance(data, str):
        return matrix_of_text(data, str(path))
    if isinstance(data, dict) and {"fixed", "moving"} & data.keys():
        return read_landmarks(path)
    if isinstance(data, dict) and data.get("format") == FORMAT:
        transform = Transform.from_dict(data, str(path))
        made_for = transform.fixed_size, transform.moving_size
        if made_for != (tuple(fixed_size), tuple(moving_size)):
            raise InputError(
                f"{path} was made for images of {_times(made_for[0])} and {_times(made_for[1])} "
                f"px, these have {_times(fixed_size)} and {_times(moving_size)}; write it again"
            )
    return _matrix_of_json(data, path)


def matrix_of_text(text: str, name: str) -> Matrix:
    """A matrix in nine numbers, as in a text file; ``name`` begins the error message."""
    lines = (line.partition("#")[0] for line in text.splitlines())
    words = " ".join(lines).replace(",", " ").replace(";", " ").split()
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        raise InputError(f"{name} holds more than numbers; give nine numbers, 3x3") from None
    if len(numbers) != 9:
        raise InputError(f"{name} holds {len(numbers)} numbers; give nine, 3x3")
    return checked_matrix(np.reshape(numbers, (3, 3)), name)


def is_truth(path: Path) -> bool:
    """Whether a file holds a matrix or landmarks, for whichever images."""
    for read in (read_matrix, read_landmarks):
        try:
            read(path)
        except InputError:
            continue
        return True
    return False


def checked_matrix(matrix: Any, name: str) -> Matrix:
    """A finite, invertible 3x3 matrix with the last entry 1; ``name`` begins the error message."""
    try:
        return Transform(matrix, (1, 1), (1, 1)).matrix
    except InputError as error:
        raise InputError(f"{name}: {error}") from None


def check_corners(matrix: Matrix, fixed_size: tuple[int, int]) -> None:
    """Every corner of the fixed image needs a place in the moving image, or no error is defined."""
    corners = map_points(matrix, frame_corners(fixed_size), frame_centre(fixed_size))
    if not np.isfinite(corners).all():
        raise InputError("the transform sends a corner of the fixed image beyond the horizon")


def _read(path: Path) -> Any:
    """Text, or the content of a JSON file."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        return json.loads(text) if path.suffix.lower() == ".json" else text
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError):
        kind = "JSON" if path.suffix.lower() == ".json" else "UTF-8 text"
        raise InputError(f"{path} holds no transform: it is not {kind}") from None


def _matrix_of_json(data: Any, path: Path) -> Matrix:
    if isinstance(data, dict) and data.get("format") == FORMAT:
        return Transform.from_dict(data, str(path)).matrix
    if isinstance(data, dict):
        if "matrix" not in data:
            raise InputError(
                f'{path} holds no truth; give a transform file, {{"matrix": 3x3}}, or '
                '{"fixed": [[x, y], ...], "moving": [[x, y], ...]}'
            )
        data = data["matrix"]
    return checked_matrix(data, str(path))


def _times(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
