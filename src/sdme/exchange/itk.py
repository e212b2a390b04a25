"""Transform files of ITK (``.tfm``, ``.txt``), as SimpleITK, elastix and 3D Slicer read them.

ITK's resampling asks a transform where a point of the fixed image lies in the moving one, as we do,
and numbers pixel centres from 0. So a file holds for images of spacing 1 and origin 0, which is how
ITK reads images that say nothing else; it has no matrix transform with a horizon.
"""

import math
import os
from pathlib import Path

import numpy as np

from sdme.errors import InputError
from sdme.files import write_text
from sdme.transform import Transform

FIRST_LINE = "#Insight Transform File V1.0"
_TYPES = {
    "translation": "TranslationTransform_double_2_2",
    "euclidean": "Euler2DTransform_double_2_2",
    "similarity": "Similarity2DTransform_double_2_2",
    "affine": "AffineTransform_double_2_2",
}
_READ = {
    "TranslationTransform": 2,
    "Euler2DTransform": 3,
    "Similarity2DTransform": 4,
    "AffineTransform": 6,
    "MatrixOffsetTransformBase": 6,
}


def write_itk(path: str | os.PathLike[str], transform: Transform) -> None:
    """Write the transform of ITK that has the same kind.

    Raises:
        InputError: it is a homography, for which ITK has none.
    """
    if transform.kind not in _TYPES:
        raise InputError(
            f"cannot write {path}: ITK has no transform for a homography; export a displacement "
            "field for it (a name in .mha), or register with --transform affine"
        )
    (a, _, tx), (b, _, ty) = transform.matrix[:2].tolist()
    parameters = {
        "translation": [tx, ty],
        "euclidean": [math.atan2(b, a), tx, ty],
        "similarity": [math.hypot(a, b), math.atan2(b, a), tx, ty],
        "affine": [*transform.matrix[:2, :2].ravel().tolist(), tx, ty],
    }[transform.kind]
    fixed = [] if transform.kind == "translation" else [0, 0]
    lines = [
        FIRST_LINE,
        "#Transform 0",
        f"Transform: {_TYPES[transform.kind]}",
        f"Parameters: {' '.join(map(repr, parameters))}",
        f"FixedParameters: {' '.join(map(repr, fixed))}",
    ]
    write_text(path, "\n".join(lines) + "\n")


def read_itk(path: str | os.PathLike[str]) -> np.ndarray:
    """The 3x3 matrix of a file with one linear transform of the plane.

    Raises:
        InputError: it is no such file, or holds another transform or several.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(f"cannot read transform {path}: {error.strerror}") from None
    except ValueError:
        lines = []
    if not lines or not lines[0].startswith("#Insight Transform File"):
        raise InputError(f"{path} is no transform file of ITK: it does not begin as one")
    fields = [line.partition(":") for line in lines if ":" in line and not line.startswith("#")]
    types = [value.strip() for key, _, value in fields if key.strip() == "Transform"]
    name, _, dimensions = types[0].partition("_") if len(types) == 1 else ("", "", "")
    if name not in _READ or not (dimensions.endswith("2_2") or name[-11:] == "2DTransform"):
        raise InputError(
            f"{path} holds {', '.join(types) or 'no transform'}; one linear transform of the plane "
            f"is read: {', '.join(_READ)}"
        )
    content = {key.strip(): value.split() for key, _, value in fields}
    try:
        parameters = [float(v) for v in content["Parameters"]]
        centre = np.array([float(v) for v in content.get("FixedParameters", [])] or [0.0, 0.0])
    except (KeyError, ValueError):
        parameters, centre = [], np.zeros(0)
    if len(parameters) != _READ[name] or len(centre) != 2:
        raise InputError(f"{path} is damaged: the numbers of its {name} are not all there")
    return _matrix(parameters, centre)


def _matrix(parameters: list[float], centre: np.ndarray) -> np.ndarray:
    """ITK's ``A (x - c) + t + c``; ``t`` are the last two parameters, their number tells ``A``."""
    *linear, tx, ty = parameters
    if len(linear) == 4:
        A = np.array(linear).reshape(2, 2)
    else:
        scale, angle = {0: (1.0, 0.0), 1: (1.0, *linear), 2: tuple(linear)}[len(linear)]
        cos, sin = math.cos(angle), math.sin(angle)
        A = scale * np.array([[cos, -sin], [sin, cos]])
    matrix = np.eye(3)
    matrix[:2, :2], matrix[:2, 2] = A, np.array([tx, ty]) + centre - A @ centre
    return matrix
