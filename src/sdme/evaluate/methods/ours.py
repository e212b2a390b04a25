"""The package's own method, with every stage's answer kept."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from sdme.config import RegisterSettings
from sdme.errors import InputError
from sdme.evaluate.method import Image, Matrix, Method, MethodResult
from sdme.evaluate.methods.ours_fast import FAST_STAGES, matching_of, run_fast
from sdme.fast_stages import longest_side
from sdme.frames import Pair, make_frame
from sdme.model.fast import FastNetwork
from sdme.model.weights import load_network, usable_device
from sdme.refine.lucas_kanade import refine
from sdme.stages import (
    Clock,
    Dense,
    View,
    device_of,
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


def network_method(network: nn.Module, settings: RegisterSettings | None = None) -> Method:
    """The stages of a registration with this network.

    ``sparse`` is the robust fit to the matches, plausible or not. ``dense-only`` refines the
    initial placement. ``registered`` is what :func:`sdme.register` returns, so it has no answer
    where the verdict is ``failed``. ``sparse-to-dense`` refines what the matches gave, or the
    initial placement where they gave nothing; it comes last, as the final answer, since the methods
    it is compared with always answer, too. The features are computed once; the seconds of a stage
    are those of what it needs and no other.

    With a network of the preset ``fast``, ``voted`` is where votes lead from the matches' matrix,
    or from the initial placement if it is not plausible; ``dense-only`` votes before it refines.
    The final answer is ``refined``: the better one, by predicted error, of the candidates from the
    matches and from the initial placement, without a verdict.
    """
    settings = settings or RegisterSettings()
    network = network.eval()

    def method(fixed: Image, moving: Image, initial: Matrix) -> MethodResult:
        clock = Clock(device=device_of(network))
        with torch.inference_mode():
            pair = _usable_pair(fixed, moving, longest_side(network, settings))
            if pair is None:
                stages = FAST_STAGES if isinstance(network, FastNetwork) else _STAGES
                return MethodResult(dict.fromkeys(stages), verdict="failed")

            if isinstance(network, FastNetwork):
                return run_fast(network, pair, initial, settings, clock)
            return _run(network, pair, initial, settings, clock)

    return method


def _usable_pair(fixed: Image, moving: Image, side: int) -> Pair | None:
    """Both frames, unless one is blank or smaller than the network takes."""
    try:
        pair = Pair(
            make_frame(fixed, "fixed image", side), make_frame(moving, "moving image", side)
        )
    except InputError:
        return None
    return None if pair.fixed.is_blank or pair.moving.is_blank else pair


def _run(
    network: nn.Module,
    pair: Pair,
    initial: Matrix,
    settings: RegisterSettings,
    clock: Clock,
) -> MethodResult:
    views = look(network, pair.fixed, settings), look(network, pair.moving, settings)
    seen = clock.elapsed()
    sparse = match_and_estimate(pair, views, settings, Clock())
    seconds = {SPARSE: clock.elapsed()}

    start, found = pair.in_frames(initial), sparse.evidence.matrix
    dense_only, duration = _refined(start, views, settings, clock)
    seconds[DENSE_ONLY] = seen + duration
    dense = dense_only
    if found is not None:
        dense, duration = _refined(found, views, settings, clock)
    seconds[SPARSE_TO_DENSE] = seconds[SPARSE] + duration
    if sparse.answer is None:
        again = clock.elapsed()
        best = refine_best(views, sparse, pair.guesses(None), settings)
        seconds[REGISTERED] = seconds[SPARSE] + clock.elapsed() - again
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
    refined = partial(_refined_all, pair, views, settings)
    matching = matching_of(pair, sparse, [view.points for view in views])
    return MethodResult(stages, matching, seconds, verdict.status.value, refined)


def _refined(
    start: Matrix, views: tuple[View, View], settings: RegisterSettings, clock: Clock
) -> tuple[Dense, float]:
    """What refinement makes of a start, and in how many seconds."""
    began = clock.elapsed()
    dense = refine_from(start, views, settings)
    return dense, clock.elapsed() - began


def _refined_all(
    pair: Pair, views: tuple[View, View], settings: RegisterSettings, starts: Sequence[Matrix]
) -> list[Matrix]:
    """Where refinement ends from each start, accepted or not."""
    fixed, moving = views
    maps = fixed.structure, moving.structure, fixed.weight, moving.weight
    several = [tensor.expand(len(starts), -1, -1, -1) for tensor in maps]
    begun = torch.from_numpy(np.stack([pair.in_frames(start) for start in starts]))
    with torch.inference_mode():
        found = refine(
            several[0],
            several[1],
            begun.to(maps[0].device),
            several[2],
            several[3],
            settings.refine,
        )
    return [pair.in_images(end) for end in found.proposed.cpu().numpy()]


def _kept(dense: Dense, start: Matrix) -> Matrix:
    """The refined matrix, or the start where refinement was rejected."""
    return start if dense.answer is None else dense.answer
