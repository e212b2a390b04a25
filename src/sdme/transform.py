"""The transform between two images as a value, with one documented file format."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from sdme.config import KINDS, Interpolation, Kind
from sdme.errors import InputError
from sdme.files import write_text
from sdme.geometry.mapping import frame_centre, map_points, mean_corner_error
from sdme.warping import warp_array

FORMAT, VERSION = "sdme-transform", 1

_MAX_SIDE = 2**31 - 1


@dataclass(frozen=True, eq=False)
class Transform:
    """Map from fixed to moving pixels of the original images.

    Convention: points are ``(x, y)``, pixel centres at integers, origin at the top-left pixel.
    ``matrix`` is 3x3 float64 with ``matrix[2, 2] = 1``; sizes are ``(width, height)`` in pixels;
    ``kind`` is the smallest family the matrix is declared to belong to, and is checked.

    Raises:
        InputError: the matrix is not 3x3, not finite, not invertible or not of its kind; a size
            is not positive.
    """

    matrix: np.ndarray
    fixed_size: tuple[int, int]
    moving_size: tuple[int, int]
    kind: Kind = "homography"

    def __post_init__(self) -> None:
        matrix = _checked_matrix(self.matrix)
        if self.kind not in KINDS:
            raise InputError(f"transform kind {self.kind!r} is unknown; use one of {list(KINDS)}")
        if not _is_of_kind(matrix, self.kind):
            raise InputError(f"the matrix {matrix.tolist()} is no {self.kind}; name a wider kind")
        object.__setattr__(self, "matrix", matrix)
        for name in ("fixed_size", "moving_size"):
            object.__setattr__(self, name, _checked_size(name, getattr(self, name)))

    @property
    def inverse(self) -> Self:
        """The map from moving to fixed pixels."""
        matrix = np.linalg.inv(self.matrix)
        return type(self)(matrix, self.moving_size, self.fixed_size, self.kind)

    def __matmul__(self, first: "Transform") -> "Transform":
        """Composition: ``(second @ first).apply(p)`` is ``second.apply(first.apply(p))``."""
        if not isinstance(first, Transform):
            return NotImplemented
        matrix = self.matrix @ first.matrix
        kind = KINDS[max(KINDS.index(self.kind), KINDS.index(first.kind))]
        return Transform(matrix, first.fixed_size, self.moving_size, kind)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Transform) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        positive_zeros = self.matrix + 0.0
        return hash((positive_zeros.tobytes(), self.fixed_size, self.moving_size, self.kind))

    def apply(self, points: Any) -> np.ndarray:
        """Moving pixels of fixed pixels; ``points`` is ``(..., 2)``.

        Points beyond the horizon of a perspective transform, seen from the centre of the fixed
        image, have no image and become NaN.
        """
        points = np.asarray(points, dtype=np.float64)
        if points.shape[-1:] != (2,):
            raise InputError(f"points have shape {points.shape}; give (..., 2) as x, y")
        return map_points(self.matrix, points, frame_centre(self.fixed_size))

    def warp(
        self,
        image: np.ndarray,
        like: np.ndarray | None = None,
        interpolation: Interpolation = "bilinear",
        fill: float = 0,
    ) -> np.ndarray:
        """Lay a moving image (or another band of it) on the fixed image's grid.

        ``image`` is ``(h, w)`` or ``(h, w, bands)`` of the moving image's size. Its dtype is kept.
        The grid is ``fixed_size``, or the size of ``like``. Fixed pixels that fall outside the
        image get ``fill``.

        Raises:
            InputError: the image has another size, the grid is too large, ``fill`` does not fit
                the dtype, or 64-bit integers lie beyond 2**53.
        """
        image = np.asarray(image)
        if image.shape[1::-1] != self.moving_size:
            raise InputError(
                f"the image is {image.shape[1]}x{image.shape[0]} px but the transform was made for "
                f"a moving image of {self.moving_size[0]}x{self.moving_size[1]}; give that image "
                "or a band of the same grid"
            )
        size = self.fixed_size if like is None else (like.shape[1], like.shape[0])
        return warp_array(image, self.matrix, size, interpolation, fill, self.fixed_size)

    def corner_error(self, truth: "Transform") -> float:
        """Mean distance of the fixed image's corners under both maps, in moving pixels (ACE).

        Infinite where a corner is on the horizon or beyond it, seen from the image's centre.
        """
        return mean_corner_error(self.matrix, truth.matrix, self.fixed_size)

    def to_dict(self) -> dict[str, Any]:
        """The content of a transform file."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "kind": self.kind,
            "moving_from_fixed": self.matrix.tolist(),
            "fixed_size": list(self.fixed_size),
            "moving_size": list(self.moving_size),
        }

    @classmethod
    def from_dict(cls, data: Any, name: str = "the transform") -> "Transform":
        """Read what :meth:`to_dict` gave; ``name`` is used in error messages."""
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise InputError(f'{name} is no transform file: it lacks "format": "{FORMAT}"')
        if data.get("version") != VERSION:
            raise InputError(
                f"{name} has transform version {data.get('version')!r}; this program reads "
                f"version {VERSION}: write the file again or update sdme"
            )
        missing = [k for k in ("kind", "moving_from_fixed", "fixed_size", "moving_size")
                   if k not in data]  # fmt: skip
        if missing:
            raise InputError(f"{name} lacks {', '.join(missing)}; write the file again")
        try:
            return cls(
                data["moving_from_fixed"], data["fixed_size"], data["moving_size"], data["kind"]
            )
        except InputError as error:
            raise InputError(f"{name}: {error}") from None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the transform as JSON; the file appears whole or not at all."""
        write_text(path, json.dumps(self.to_dict(), indent=2) + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Transform":
        """Read a transform file.

        Raises:
            InputError: the file is missing, no transform, of another version, or its matrix
                cannot be used.
        """
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"cannot read transform {path}: {error.strerror}") from None
        except (ValueError, RecursionError):
            raise InputError(f"{path} is no transform file: it is not JSON") from None
        return cls.from_dict(data, str(path))


def smallest_kind(matrix: np.ndarray) -> Kind:
    """The smallest kind that a 3x3 matrix, ``[2, 2] = 1``, is of, within rounding."""
    return next(kind for kind in KINDS if _is_of_kind(matrix, kind))


def _checked_matrix(matrix: Any) -> np.ndarray:
    try:
        matrix = np.array(matrix, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InputError("the matrix is not a table of numbers; give 3x3 numbers") from None
    if matrix.shape != (3, 3):
        raise InputError(f"the matrix has shape {matrix.shape}; give 3x3 numbers")
    if not np.isfinite(matrix).all():
        raise InputError("the matrix has entries that are not finite; give 3x3 finite numbers")
    with np.errstate(all="ignore"):
        scaled = matrix / matrix[2, 2]
    if not _is_invertible(scaled):
        raise InputError(
            f"the matrix {matrix.tolist()} cannot be inverted or sends the origin to infinity; "
            "give an invertible one"
        )
    scaled.setflags(write=False)
    return scaled


def _is_invertible(matrix: np.ndarray) -> bool:
    """Whether the part without translation is, ``A - t v^T``; units of either image are no matter.

    A matrix ``[[A, t], [v^T, 1]]`` has the determinant of this 2x2 part (Schur complement).
    """
    with np.errstate(all="ignore"):
        linear, shift = matrix[:2, :2], np.outer(matrix[:2, 2], matrix[2, :2])
        scale = np.abs(linear).max() + np.abs(shift).max()
        part = (linear - shift) / scale
    finite = np.isfinite(part).all() and np.isfinite(matrix).all()
    return bool(finite and np.linalg.svd(part, compute_uv=False)[-1] >= 1e-12)


def _checked_size(name: str, size: Any) -> tuple[int, int]:
    try:
        width, height = (int(v) for v in size)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{name} is {size!r}; give [width, height] in pixels") from None
    if min(width, height) < 1 or max(width, height) > _MAX_SIDE or [width, height] != list(size):
        raise InputError(
            f"{name} is {list(size)}; give whole, positive [width, height] below 2**31"
        )
    return width, height


def _is_of_kind(matrix: np.ndarray, kind: Kind) -> bool:
    linear = matrix[:2, :2]
    is_affine = np.abs(matrix[2, :2]).max() < 1e-12
    gram = linear.T @ linear
    scale = np.trace(gram) / 2
    is_similarity = is_affine and np.allclose(gram, scale * np.eye(2), atol=1e-7 * scale)
    return {
        "homography": True,
        "affine": is_affine,
        "similarity": is_similarity and np.linalg.det(linear) > 0,
        "euclidean": is_similarity and np.isclose(np.linalg.det(linear), 1, atol=1e-7),
        "translation": is_affine and np.allclose(linear, np.eye(2), atol=1e-9),
    }[kind]
