"""Bare matrices: OpenCV's files (``.yml``, ``.yaml``, ``.xml``) and NumPy's (``.npy``, ``.npz``).

The matrix maps fixed to moving pixels, centres at whole numbers, which is what
``cv2.warpPerspective`` takes with ``WARP_INVERSE_MAP``. All but ``.npy`` also hold sizes and kind.
"""

import contextlib
import os
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from sdme.errors import InputError
from sdme.files import replacing, write_text
from sdme.transform import Transform

_MATRIX = "moving_from_fixed"
_SIZES = ("fixed_size", "moving_size")


@dataclass(frozen=True)
class Bare:
    """A 3x3 matrix, and the rest where the file has it."""

    matrix: np.ndarray
    sizes: tuple[tuple[int, int], tuple[int, int]] | None = None
    kind: str | None = None


def write_opencv(path: str | os.PathLike[str], transform: Transform) -> None:
    """Write a ``cv2.FileStorage`` with ``moving_from_fixed``, both sizes and ``kind``."""
    # in memory, as OpenCV does not tell of a full disk; the name says which of its formats
    name = Path(path).name
    storage = cv2.FileStorage(name, cv2.FileStorage_WRITE | cv2.FileStorage_MEMORY)
    storage.write(_MATRIX, transform.matrix)
    for key in _SIZES:
        storage.write(key, np.array(getattr(transform, key), dtype=np.int32))
    storage.write("kind", transform.kind)
    write_text(path, storage.releaseAndGetString())


def read_opencv(path: str | os.PathLike[str]) -> Bare:
    """Read ``moving_from_fixed``, or the only matrix of 3x3 or 2x3 numbers in the file.

    Raises:
        InputError: it is no file of OpenCV's, or there is no such matrix, or there are several.
    """
    _check_there(path)
    try:
        storage = cv2.FileStorage(str(path), cv2.FileStorage_READ)
        root = storage.root()
        names = list(root.keys()) if root.isMap() else []
        found = {name: _storage_matrix(storage.getNode(name)) for name in names}
    except (cv2.error, SystemError, UnicodeError):
        raise InputError(f"{path} is no file that OpenCV's FileStorage wrote") from None
    tables = {n: m for n, m in found.items() if m is not None and m.shape in ((3, 3), (2, 3))}
    if _MATRIX in tables:
        tables = {_MATRIX: tables[_MATRIX]}
    if len(tables) != 1:
        listed = ", ".join(tables) or "none"
        raise InputError(
            f"{path} should hold one matrix of 3x3 or 2x3 numbers, found: {listed}; name it "
            f"{_MATRIX}"
        )
    matrix = _squared(next(iter(tables.values())))
    values = [found.get(name) for name in _SIZES]
    sizes = None if any(v is None or v.size != 2 for v in values) else _two_sizes(values)
    kind = storage.getNode("kind").string() if "kind" in names else None
    return Bare(matrix, sizes, kind or None)


def write_numpy(path: str | os.PathLike[str], transform: Transform) -> None:
    """Write the matrix (``.npy``), or everything by name (``.npz``)."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        if Path(path).suffix.lower() == ".npy":
            np.save(file, transform.matrix)
        else:
            fixed, moving = (np.array(getattr(transform, name)) for name in _SIZES)
            content = {"fixed_size": fixed, "moving_size": moving}
            kind = np.array(transform.kind)
            np.savez(file, moving_from_fixed=transform.matrix, kind=kind, **content)  # pyright: ignore[reportArgumentType]


def read_numpy(path: str | os.PathLike[str]) -> Bare:
    """Read what :func:`write_numpy` writes; a matrix may have 2 rows.

    Raises:
        InputError: it is no file of NumPy's or holds something else.
    """
    _check_there(path)
    try:
        with contextlib.ExitStack() as stack:
            content: Any = np.load(path, allow_pickle=False)
            if isinstance(content, np.ndarray):
                content = {_MATRIX: content}
            else:
                stack.enter_context(content)
            values = {name: np.asarray(content[name]) for name in content}
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error):
        raise InputError(f"{path} is no file of NumPy's with plain arrays") from None
    matrix = values.get(_MATRIX)
    if matrix is None or matrix.shape not in ((3, 3), (2, 3)) or matrix.dtype.kind not in "fiu":
        shape = "no such array" if matrix is None else f"{matrix.dtype} of shape {matrix.shape}"
        raise InputError(f"{path} should hold {_MATRIX} as 3x3 or 2x3 numbers, found: {shape}")
    sizes = _two_sizes([values[n] for n in _SIZES]) if set(_SIZES) <= values.keys() else None
    kind = str(values["kind"]) if "kind" in values else None
    return Bare(_squared(matrix.astype(np.float64)), sizes, kind)


def _check_there(path: str | os.PathLike[str]) -> None:
    if not Path(path).is_file():
        raise InputError(f"cannot read transform {path}: there is no such file")


def _storage_matrix(node: Any) -> np.ndarray | None:
    try:
        return node.mat()
    except (cv2.error, SystemError):
        return None


def _squared(matrix: np.ndarray) -> np.ndarray:
    return matrix if len(matrix) == 3 else np.vstack([matrix, [0.0, 0.0, 1.0]])


def _two_sizes(values: list[Any]) -> tuple[tuple[int, int], tuple[int, int]]:
    first, second = (tuple(int(v) for v in np.ravel(value)) for value in values)
    return first, second  # type: ignore[return-value]
