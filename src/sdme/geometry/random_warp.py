"""Random homographies by moving the corners of a centrally placed square (METHOD: protocol)."""

from jaxtyping import Float
from torch import Tensor

from sdme.geometry.homography import corners, from_four_points


def homography_from_shifts(
    shifts: Float[Tensor, "b 4 2"], fixed_size: tuple[int, int], moving_size: tuple[int, int]
) -> Float[Tensor, "b 3 3"]:
    """Homographies that place the fixed image centrally and move its corners by ``shifts`` px.

    ``shifts`` is drawn by the caller (uniform in +-32 px in the usual benchmark), so that the
    source of randomness is the caller's choice; sizes are ``(width, height)``.
    """
    square = corners(*fixed_size, like=shifts)
    # made on the device, so that nothing waits for a copy
    offset = corners(*moving_size, like=shifts).mean(0) - square.mean(0)
    return from_four_points(square, square + offset + shifts)
