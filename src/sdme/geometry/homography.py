"""Homography algebra on batches of 3x3 tensors.

Convention: points are ``(x, y)``, pixel centres at integers; a matrix maps points of its first
frame to points of its second one as ``p1 ~ H @ (x, y, 1)``; results are scaled to ``H[2, 2] = 1``.
Nothing here waits for the device, so every function may be captured in a CUDA graph, apart from
:func:`fit_homography`.
"""

import torch
from jaxtyping import Float
from torch import Tensor

_MIN_DEPTH = 1e-6


def corners(width: int, height: int, like: Tensor) -> Float[Tensor, "4 2"]:
    """Centres of the four corner pixels, clockwise from the top left, on ``like``'s device."""
    right, bottom = width - 1, height - 1
    out = torch.zeros(4, 2, dtype=like.dtype, device=like.device)
    out[1:3, 0] = right
    out[2:4, 1] = bottom
    return out


def apply_homography(
    H: Float[Tensor, "*batch 3 3"], points: Float[Tensor, "*#batch n 2"]
) -> Float[Tensor, "*batch n 2"]:
    """Map points through homographies.

    Points on or behind the horizon (where the third coordinate is not positive) have no image;
    they are sent far away instead of dividing by zero, so validity masks exclude them.
    """
    mapped = points @ H[..., :2].mT + H[..., None, :, 2]
    depth = mapped[..., 2:]
    return mapped[..., :2] / torch.where(depth > _MIN_DEPTH, depth, torch.full_like(depth, 1e-6))


def normalise(H: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Scale so that ``H[2, 2] = 1``."""
    return H / H[..., 2:, 2:]


def invert(H: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Inverse by cofactors, scaled to ``[2, 2] = 1``: no pivoting, no host synchronisation."""
    a, b, c = H[..., 0, 0], H[..., 0, 1], H[..., 0, 2]
    d, e, f = H[..., 1, 0], H[..., 1, 1], H[..., 1, 2]
    g, h, i = H[..., 2, 0], H[..., 2, 1], H[..., 2, 2]
    adjugate = torch.stack(
        [e * i - f * h, c * h - b * i, b * f - c * e]
        + [f * g - d * i, a * i - c * g, c * d - a * f]
        + [d * h - e * g, b * g - a * h, a * e - b * d],
        dim=-1,
    )
    return normalise(adjugate.unflatten(-1, (3, 3)))


def from_unit_square(quad: Float[Tensor, "*batch 4 2"]) -> Float[Tensor, "*batch 3 3"]:
    """Homography that takes the unit square's corners (clockwise from the origin) to ``quad``.

    Closed form (Heckbert, "Fundamentals of Texture Mapping", 1989, section 2.2.3).
    """
    (x0, x1, x2, x3), (y0, y1, y2, y3) = quad[..., 0].unbind(-1), quad[..., 1].unbind(-1)
    dx1, dx2, sx = x1 - x2, x3 - x2, x0 - x1 + x2 - x3
    dy1, dy2, sy = y1 - y2, y3 - y2, y0 - y1 + y2 - y3
    det = dx1 * dy2 - dx2 * dy1
    g, h = (sx * dy2 - dx2 * sy) / det, (dx1 * sy - sx * dy1) / det
    rows = [x1 - x0 + g * x1, x3 - x0 + h * x3, x0, y1 - y0 + g * y1, y3 - y0 + h * y3, y0, g, h]
    return torch.stack([*rows, torch.ones_like(g)], dim=-1).unflatten(-1, (3, 3))


def from_four_points(
    points0: Float[Tensor, "*#batch 4 2"], points1: Float[Tensor, "*#batch 4 2"]
) -> Float[Tensor, "*batch 3 3"]:
    """Exact homography through four correspondences, each four in order around a quadrilateral."""
    dtype = points1.dtype
    first, second = from_unit_square(points0.double()), from_unit_square(points1.double())
    return normalise(second @ invert(first)).to(dtype)


def fit_homography(
    points0: Float[Tensor, "*batch n 2"],
    points1: Float[Tensor, "*batch n 2"],
    weights: Float[Tensor, "*batch n"] | None = None,
) -> Float[Tensor, "*batch 3 3"]:
    """Least-squares homography by the normalised direct linear transform, in float64.

    Needs four or more points, no three of them on a line; degenerate input gives a matrix with
    non-finite or meaningless entries, which the caller has to test for. Source: Hartley and
    Zisserman, "Multiple View Geometry", algorithm 4.2.
    """
    dtype, points0, points1 = points0.dtype, points0.double(), points1.double()
    weights = torch.ones_like(points0[..., 0]) if weights is None else weights.double()
    to_unit0, to_unit1 = _conditioner(points0, weights), _conditioner(points1, weights)
    x, y = apply_homography(to_unit0, points0).unbind(-1)
    u, v = apply_homography(to_unit1, points1).unbind(-1)
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    rows_u = torch.stack([x, y, one, zero, zero, zero, -u * x, -u * y, -u], dim=-1)
    rows_v = torch.stack([zero, zero, zero, x, y, one, -v * x, -v * y, -v], dim=-1)
    rows = torch.cat([rows_u, rows_v], dim=-2) * torch.cat([weights, weights], -1).sqrt()[..., None]
    solution = torch.linalg.eigh(rows.mT @ rows).eigenvectors[..., 0].unflatten(-1, (3, 3))
    return normalise(invert(to_unit1) @ solution @ to_unit0).to(dtype)


def _conditioner(
    points: Float[Tensor, "*batch n 2"], weights: Float[Tensor, "*batch n"]
) -> Float[Tensor, "*batch 3 3"]:
    """Similarity that centres points at the origin with a mean distance of sqrt(2)."""
    share = (weights / weights.sum(-1, keepdim=True))[..., None]
    centre = (points * share).sum(-2)
    radius = ((points - centre[..., None, :]).norm(dim=-1, keepdim=True) * share).sum((-2, -1))
    scale = 2**0.5 / radius
    zero, one = torch.zeros_like(scale), torch.ones_like(scale)
    rows = [scale, zero, -scale * centre[..., 0], zero, scale, -scale * centre[..., 1]]
    return torch.stack([*rows, zero, zero, one], dim=-1).unflatten(-1, (3, 3))


def corner_error(
    H: Float[Tensor, "*batch 3 3"], H_true: Float[Tensor, "*batch 3 3"], width: int, height: int
) -> Float[Tensor, "*batch"]:
    """Mean distance between the fixed image's corners under both maps, in moving pixels (ACE).

    For training and its validation: a corner beyond the horizon lies far away here, and the error
    is large but finite. What is reported of a registration is
    :func:`sdme.geometry.mapping.mean_corner_error`, where it is infinite.
    """
    square = corners(width, height, like=H)
    gap = apply_homography(H, square) - apply_homography(H_true, square)
    return gap.norm(dim=-1).mean(-1)


def centred_placement(
    fixed_size: tuple[int, int], moving_size: tuple[int, int]
) -> Float[Tensor, "3 3"]:
    """Translation that lays the fixed image on the middle of the moving one; sizes (w, h)."""
    H = torch.eye(3)
    H[0, 2] = (moving_size[0] - fixed_size[0]) / 2
    H[1, 2] = (moving_size[1] - fixed_size[1]) / 2
    return H
