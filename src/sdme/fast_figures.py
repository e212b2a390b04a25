"""Figures that tell a right answer of the preset ``fast`` from a wrong one.

The error that a network predicts is a belief. What it does not know of is asked here: whether
refinement from places around the answer comes back to it, how alike the maps are there, and how
closely the matches lie. A calibration (:mod:`sdme.config.calibration`) weighs them.
"""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sdme.fast_stages import Views
from sdme.fast_verdict import Prediction
from sdme.geometry.homography import apply_homography, corners, normalise
from sdme.refine.unrolled import likeness
from sdme.stages import Sparse

_SHIFTS = ((2.0, 0.0), (0.0, 2.0))  # px of the fixed frame: one pixel of the finest maps
_STEPS = (4, 2, 0)  # of Lucas-Kanade at 1/2, 1/4 and 1/8: the first few tell enough
_AROUND = 4.0  # px; matches further from where the answer puts them have no say
FARTHEST = 99.0  # px; what is further off, or nowhere, counts as this
FIGURES = ("predicted_error", "instability", "likeness", "weight", "match_distance")


def figures_of(views: Views, found: Prediction, sparse: Sparse | None) -> Mapping[str, float]:
    """What is known of an answer, by ``FIGURES``.

    ``predicted_error`` is the mean corner error as if the fixed image had 128 px a side.
    ``instability`` is how far from the answer, px of the frames, refinement ends that begins 2 px
    beside it. ``likeness`` is the mean inner product of the finest maps, ``weight`` how much those
    at 1/4 count, both where the answer lays them on each other. ``match_distance`` is the median
    distance, in pixels of the moving frame, of the matches within 4 px; 4 if there are none, and
    missing if nothing was matched.
    """
    H = views.on_device([found.matrix])
    fine, _ = likeness(views.fixed, views.moving, H, level=0)
    _, weight = likeness(views.fixed, views.moving, H, level=1)
    figures = {
        "predicted_error": found.error,
        "instability": _instability(views, H),
        "likeness": fine.item(),
        "weight": weight.item(),
    }
    if sparse is not None:
        distances = sparse.distances(found.matrix) if len(sparse.fixed) else np.empty(0)
        near = distances[distances < _AROUND]
        figures["match_distance"] = float(np.median(near)) if len(near) else _AROUND
    return figures


def _instability(views: Views, H: Float[Tensor, "1 3 3"]) -> float:
    """Mean distance of the corners from the answer, where refinement from beside it ends.

    The starts are shifted, as every family of transforms holds shifts.
    """
    width, height = views.fixed.size
    beside = torch.eye(3).to(H).repeat(len(_SHIFTS), 1, 1)
    beside[:, :2, 2] = torch.tensor(_SHIFTS).to(H)
    reached = views.align(normalise(H @ beside), _STEPS)
    square = corners(width, height, like=H)[None]
    there = apply_homography(torch.cat([H, reached]), square.expand(len(reached) + 1, -1, -1))
    distance = (there[1:] - there[:1]).norm(dim=-1).mean(1)
    return torch.nan_to_num(distance, nan=FARTHEST).clamp(max=FARTHEST).mean().item()
