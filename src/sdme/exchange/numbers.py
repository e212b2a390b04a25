"""A transform from four numbers: shift, rotation and scale around the fixed image's middle."""

import math

import numpy as np

from sdme.config import Kind
from sdme.errors import InputError
from sdme.geometry.mapping import frame_centre
from sdme.transform import Transform


def transform_from_numbers(
    shift: str | None,
    rotation: float | None,
    scale: float | None,
    fixed_size: tuple[int, int],
    moving_size: tuple[int, int],
) -> Transform:
    """``p -> c + scale R (p - c) + shift``, with ``c`` the middle of the fixed image.

    ``shift`` is ``DX,DY`` in pixels of the moving image; ``rotation`` is in degrees, clockwise as
    seen (x to the right, y downwards). The kind is the smallest that the numbers need.

    Raises:
        InputError: the shift is not two numbers, or the scale is not positive.
    """
    kind: Kind = "translation" if rotation is None else "euclidean"
    kind = "similarity" if scale is not None else kind
    angle, size = math.radians(rotation or 0.0), 1.0 if scale is None else scale
    if not (math.isfinite(size) and size > 0 and math.isfinite(angle)):
        raise InputError(f"the scale {size} and rotation {rotation} cannot be used; give e.g. 1.1")
    centre = frame_centre(fixed_size)
    linear = size * np.array(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    )
    matrix = np.eye(3)
    matrix[:2, :2], matrix[:2, 2] = linear, centre - linear @ centre + _pair(shift)
    return Transform(matrix, fixed_size, moving_size, kind)


def _pair(text: str | None) -> np.ndarray:
    if text is None:
        return np.zeros(2)
    try:
        numbers = np.array([float(word) for word in text.split(",")])
    except ValueError:
        numbers = np.zeros(0)
    if numbers.shape != (2,) or not np.isfinite(numbers).all():
        raise InputError(f"the shift is {text!r}; give two numbers as DX,DY, for instance 12,-5")
    return numbers
