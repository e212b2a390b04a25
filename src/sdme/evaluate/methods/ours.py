"""The package's own method, with every stage's answer kept."""

import time
from pathlib import Path

import torch

from sdme.config import RegisterSettings
from sdme.errors import InputError
from sdme.evaluate.method import Image, Matching, Matrix, Method, MethodResult
from sdme.frames import Pair, make_frame
from sdme.model.network import SdmeNetwork
from sdme.model.weights import load_network, usable_device
from sdme.stages import (
    Clock,
    Dense,
    Sparse,
    View,
    look,
    match_and_estimate,
    refine_best,
    refine_from,
    verdict_on,
    with_drift,
)

SPARSE, DENSE_ONLY = "sparse", "dense-only"
SPARSE_TO_DENSE, REGISTERED = "sparse-to-dense", "registered"
_STAGES = (SPARSE, DENSE_ONLY, REGISTERED, SPARSE_TO_DENSE)


def build_ours(model: str | Path, device: str = "cpu") -> Method:
    """A model by its name or the path of its weights; see :func:`network_method`.

    Raises:
        InputError: the weights or the device are not to be had.
    """
    return network_method(load_network(model, usable_device(device)))


def network_method(network: SdmeNetwork, settings: RegisterSettings | None = None) -> Method:
    """The stages of a registration with this network.

    ``sparse`` is the robust fit to the matches, plausible or not. ``dense-only`` refines the
    initial placement. ``registered`` is what :func:`sdme.register` returns, so it has no answer
    where the verdict is ``failed``. ``sparse-to-dense`` refines what the matches gave, or the
    initial placement where they gave nothing; it comes last, as the final answer, since the methods
    it is compared with always answer, too. The features are computed once; the seconds of a stage
    are those of what it needs and no other.
    """
    settings = settings or RegisterSettings()
    network = network.eval()

    def method(fixed: Image, moving: Image, initial: Matrix) -> MethodResult:
        with torch.inference_mode():
            return _run(network, fixed, moving, initial, settings)

    return method


def _run(
    network: SdmeNetwork, fixed: Image, moving: Image, initial: Matrix, settings: RegisterSettings
) -> MethodResult:
    began = time.perf_counter()
    nothing = MethodResult(dict.fromkeys(_STAGES), verdict="failed")
    try:
        pair = Pair(
            make_frame(fixed, "fixed image", settings.max_side),
            make_frame(moving, "moving image", settings.max_side),
        )
    except InputError:  # blank, or smaller than the network takes
        return nothing
    if any(frame.is_blank for frame in (pair.fixed, pair.moving)):
        return nothing
    views = look(network, pair.fixed, settings), look(network, pair.moving, settings)
    seen = time.perf_counter() - began
    sparse = match_and_estimate(pair, views, settings, Clock())
    seconds = {SPARSE: time.perf_counter() - began}

    start, found = pair.in_frames(initial), sparse.evidence.matrix
    dense_only, duration = _refined(start, views, settings)
    seconds[DENSE_ONLY] = seen + duration
    dense, duration = (dense_only, duration) if found is None else _refined(found, views, settings)
    seconds[SPARSE_TO_DENSE] = seconds[SPARSE] + duration
    if sparse.answer is None:
        again = time.perf_counter()
        best = refine_best(views, sparse, pair.guesses(None), settings)
        seconds[REGISTERED] = seconds[SPARSE] + time.perf_counter() - again
    else:
        best, seconds[REGISTERED] = with_drift(dense, sparse), seconds[SPARSE_TO_DENSE]
    verdict = verdict_on(pair, [], sparse, best, settings)

    matrices = {
        SPARSE: found,
        DENSE_ONLY: _kept(dense_only, start),
        REGISTERED: verdict.matrix,
        SPARSE_TO_DENSE: _kept(dense, start if found is None else found),
    }
    stages = {k: None if m is None else pair.in_images(m) for k, m in matrices.items()}
    return MethodResult(stages, _matching(pair, views, sparse), seconds, verdict.status.value)


def _refined(
    start: Matrix, views: tuple[View, View], settings: RegisterSettings
) -> tuple[Dense, float]:
    """What refinement makes of a start, and in how many seconds."""
    began = time.perf_counter()
    dense = refine_from(start, views, settings)
    return dense, time.perf_counter() - began


def _kept(dense: Dense, start: Matrix) -> Matrix:
    """The refined matrix, or the start where refinement was rejected."""
    return start if dense.answer is None else dense.answer


def _matching(pair: Pair, views: tuple[View, View], sparse: Sparse) -> Matching:
    fixed, moving = (view.points.double().cpu().numpy() for view in views)
    return Matching(
        fixed=pair.fixed.in_image(sparse.fixed),
        moving=pair.moving.in_image(sparse.moving),
        inlier=sparse.inlier,
        fixed_keypoints=pair.fixed.in_image(fixed),
        moving_keypoints=pair.moving.in_image(moving),
    )
