"""From two images to a transform and an honest word on it: the whole pipeline on one page."""

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from sdme.confidence import Confidence, confidence_in
from sdme.config import OF_SIDE, Kind, RegisterSettings, Stages
from sdme.fast_figures import figures_of
from sdme.fast_stages import (
    Views,
    best_of,
    longest_side,
    match_cells,
    refine_candidates,
    starts,
    vote,
)
from sdme.fast_verdict import judge_prediction
from sdme.frames import Matrix, Pair, make_pair
from sdme.io.raster import ImageSource
from sdme.model.fast import FastNetwork
from sdme.model.weights import DEFAULT_MODEL, load_network, usable_device
from sdme.result import Matches, Registration, Search, Status
from sdme.search import Candidate, Ranking, as_searched, paying
from sdme.simplest import keep_simplest
from sdme.stages import (
    Clock,
    Sparse,
    device_of,
    figures_of_maps,
    look,
    match_and_estimate,
    refine_best,
    verdict_on,
)
from sdme.transform import Transform
from sdme.verdict import Verdict

Model = str | os.PathLike[str] | nn.Module


def register(
    fixed: ImageSource,
    moving: ImageSource,
    *,
    model: Model = DEFAULT_MODEL,
    settings: RegisterSettings | None = None,
    initial: Transform | None = None,
    device: str = "auto",
    progress: Callable[[str], None] | None = None,
) -> Registration:
    """Find the transform from the fixed to the moving image.

    Images are paths, arrays ``(h, w)`` or ``(h, w, bands)``, or rasters (:func:`sdme.read_raster`:
    with a mask, chosen bands or a slice); ones larger than ``settings.max_side`` are shrunk for the
    network, and everything returned is in pixels of the originals. ``settings.stages`` says what
    runs. A guess is ``initial``; without one the images' georeferences or sizes of pixels, if both
    have them; without these the fixed image is laid on the middle of the moving one, and if their
    sizes differ also stretched over it. The answer is of the kind ``settings.transform``; guesses
    are brought to it first, and georeferences that it cannot express are not used. With
    ``settings.simplest`` it is of the simplest kind up to that one that the matches do not speak
    against (:mod:`sdme.simplest`), which takes twice the time.

    With a network of the preset ``paper``, ``sparse`` matches keypoints; ``dense`` refines each
    guess on structure maps, and the better answer counts; ``sparse-to-dense`` refines what the
    matches gave, or the guesses if they gave nothing.

    With one of the preset ``fast``, ``sparse`` matches cells of 4x4 px; ``dense`` lets cells of
    8x8 px vote on the guesses, and cells of 4x4 px after them if the network has that stage;
    ``sparse-to-dense`` lets them vote on what the matches gave, too. The vote that is believed to
    be best is refined; the refined one is the answer unless it is implausible or its predicted
    error is clearly larger. The answer is ``aligned`` when the calibrated confidence is high and
    more matches agree than by chance, where there are any; of a network that is not calibrated when
    its predicted error is small and matches confirm it, and so never with ``dense``.

    ``model`` names shipped weights or a weights file, or is a network, which is then put in
    evaluation mode and used where it lies. ``device`` is ``auto`` (CUDA where there is any)
    or one that PyTorch knows. ``progress`` is called with the name of each stage as it begins.

    Raises:
        InputError: an image, the model, the device or ``initial`` cannot be used, or the network is
            of the preset ``fast`` and the frames too large for it. Images that cannot be aligned
            are a result of status ``failed``, not an error.
    """
    settings = settings or RegisterSettings()
    if settings.simplest:

        def run(kind: Kind) -> Registration:
            one = settings.model_copy(update={"transform": kind, "simplest": False})
            return register(
                fixed, moving, model=network, settings=one, initial=initial, progress=progress
            )

        network = network_of(model, device)
        result = keep_simplest(run, settings.transform)
        return replace(result, model=name_of(model))
    clock = Clock(progress)
    with torch.inference_mode():
        with clock.stage("read"):
            network = network_of(model, device)
            clock.device = device_of(network)
            side = longest_side(network, settings)
            pair = make_pair(fixed, moving, side, initial is None, settings.transform)
            guesses = pair.guesses(initial, settings.transform)
        blank = [frame.name for frame in (pair.fixed, pair.moving) if frame.is_blank]
        search = None
        if blank:
            found = Found(pair, verdict_on(pair, blank, None, None, settings))
        else:
            found = run_stages(network, pair, guesses, settings, clock)
            if _is_searched(found, initial, settings):
                with clock.stage("search"):
                    found, search = _search(network, found, settings)
    verdict, pair, kind = found.verdict, found.pair, settings.transform
    return Registration(
        status=verdict.status,
        reason=verdict.reason,
        message=verdict.message,
        transform=pair.transform(verdict.matrix, kind),
        matches=_matches(pair, found.sparse),
        model=name_of(model),
        fixed_size=pair.fixed.image_size,
        moving_size=pair.moving.image_size,
        sparse=pair.transform(found.sparse.answer, found.sparse.kind) if found.sparse else None,
        dense=pair.transform(found.dense if verdict.matrix is not None else None, kind),
        residual_before=found.residual_before,
        residual_after=found.residual_after,
        predicted_error=found.predicted_error,
        confidence=None if found.confidence is None else found.confidence.value,
        confidence_within=None if found.confidence is None else found.confidence.within,
        figures=found.figures,
        timings=clock.seconds(),
        search=search,
        fixed_raster=pair.fixed.raster,
        moving_raster=pair.moving.raster,
        fixed_name=pair.fixed.raster.name,
        moving_name=pair.moving.raster.name,
        notes=pair.notes,
    )


@dataclass(frozen=True)
class Found:
    """What the stages found, between the frames; ``dense`` is ``None`` unless it was accepted."""

    pair: Pair
    verdict: Verdict
    sparse: Sparse | None = None
    dense: Matrix | None = None
    residual_before: float | None = None
    residual_after: float | None = None
    predicted_error: float | None = None
    figures: Mapping[str, float] = field(default_factory=dict)
    confidence: Confidence | None = None

    @property
    def rank(self) -> tuple[int, float, float]:
        """Larger is better: the status, the confidence, the predicted error, where there are."""
        status = [Status.FAILED, Status.UNCERTAIN, Status.ALIGNED].index(self.verdict.status)
        confidence = 0.0 if self.confidence is None else self.confidence.value
        error = math.inf if self.predicted_error is None else self.predicted_error
        return status, confidence, -error if error < math.inf else -math.inf


def run_stages(
    network: nn.Module, pair: Pair, guesses: list[Matrix], settings: RegisterSettings, clock: Clock
) -> Found:
    """All stages between two frames."""
    if isinstance(network, FastNetwork):
        return _with_fast(network, pair, guesses, settings, clock)
    return _with_paper(network, pair, guesses, settings, clock)


def _is_searched(plain: Found, initial: Transform | None, settings: RegisterSettings) -> bool:
    """Whether to try rotations and scales after the plain way."""
    if settings.search == "auto":
        is_told = initial is not None or plain.pair.is_placed
        is_lost = plain.verdict.status is not Status.ALIGNED and not is_told
        is_of_use = settings.stages != "dense" and settings.transform != "translation"
        return is_lost and is_of_use
    return settings.search == "on"


def _search(network: nn.Module, plain: Found, settings: RegisterSettings) -> tuple[Found, Search]:
    """Run what hypotheses make of the pair; the plain answer stands unless one is better."""
    clock = Clock(device=device_of(network))
    is_fast = isinstance(network, FastNetwork)
    scout = network if is_fast else load_network(DEFAULT_MODEL, str(device_of(network)))
    assert isinstance(scout, FastNetwork), "the default model is of the preset fast"
    best, side = plain, longest_side(network, settings)
    ranking = Ranking(scout, plain.pair, settings)
    for one in ranking.candidates(side):
        found = _looked_twice(network, one, ranking, side)
        if found.verdict.matrix is not None and found.rank > best.rank:
            best = found
        is_clear = ranking.ratio >= settings.hypotheses.clear_ratio
        if is_clear and found.verdict.status is not Status.FAILED:
            break
    if best is not plain:  # the best of many is not what the calibration was fitted on
        best = replace(best, confidence=None)
    return best, Search(len(ranking.tried), clock.elapsed(), best is not plain, ranking.ratio)


def _looked_twice(network: nn.Module, one: Candidate, ranking: Ranking, side: int) -> Found:
    """All stages on what a hypothesis led to, and on what they made of it; the better answer."""
    rules = paying(ranking.settings, ranking.ratio)
    found = run_stages(network, one.pair, one.guesses, rules, Clock())
    if found.verdict.matrix is not None:
        again = one.looked_again(found.verdict.matrix, side, ranking.settings)
        second = run_stages(network, again.pair, again.guesses, rules, Clock())
        found = second if second.rank >= found.rank else found
    known = found.pair, found.sparse, ranking.ratio, ranking.settings
    verdict = as_searched(found.verdict, *known)
    return replace(found, verdict=verdict)


def _with_paper(
    network: nn.Module, pair: Pair, guesses: list[Matrix], settings: RegisterSettings, clock: Clock
) -> Found:
    """Match keypoints; refine on structure maps what the matches gave, or a guess."""
    sparse = dense = None
    with clock.stage("extract"):
        views = look(network, pair.fixed, settings), look(network, pair.moving, settings)
    if settings.stages != "dense":
        sparse = match_and_estimate(pair, views, settings, clock)
    if settings.stages != "sparse":
        with clock.stage("refine"):
            family = pair.family(settings.transform)
            dense = refine_best(views, sparse, guesses, settings, family)
    figures = figures_of_maps(sparse, dense)
    confidence = confidence_of(network, pair, figures, settings.stages)
    verdict = verdict_on(pair, [], sparse, dense, settings, confidence)
    known: dict[str, Any] = {"figures": figures, "confidence": confidence}
    if dense is None:
        return Found(pair, verdict, sparse, **known)
    residuals = dense.residual_before, dense.residual_after
    return Found(pair, verdict, sparse, dense.answer, *residuals, **known)


def _with_fast(
    network: FastNetwork,
    pair: Pair,
    guesses: list[Matrix],
    settings: RegisterSettings,
    clock: Clock,
) -> Found:
    """Match cells; let them vote on what the matches gave and on the guesses; refine the best."""
    sparse = None
    with clock.stage("extract"):
        views = Views(network, pair, pair.family(settings.transform))
    if settings.stages != "dense":
        sparse = match_cells(views, settings, clock)
    if settings.stages == "sparse":
        return Found(pair, verdict_on(pair, [], sparse, None, settings), sparse)
    with clock.stage("vote"):
        candidates = vote(views, starts(pair, sparse, guesses, settings), settings.fast)
    with clock.stage("refine"):
        best = best_of(pair, refine_candidates(views, candidates, settings), sparse, settings)
    with clock.stage("judge"):
        figures = figures_of(views, best, sparse)
        confidence = confidence_of(network, pair, figures, settings.stages)
    verdict = judge_prediction(best, pair.fixed.size, pair.moving.size, settings, confidence)
    dense = best.matrix if best.refined else None
    known: dict[str, Any] = {"figures": figures, "confidence": confidence}
    return Found(pair, verdict, sparse, dense, predicted_error=best.pixels, **known)


def confidence_of(
    network: nn.Module, pair: Pair, figures: Mapping[str, float], stages: Stages
) -> Confidence | None:
    """How sure the figures make the answer; ``None`` of a network that was not calibrated."""
    calibration = getattr(network, "calibration", None)
    side = math.sqrt(math.prod(pair.fixed.size)) * pair.moving.pixel
    return confidence_in(calibration, stages, figures, side / OF_SIDE)


def _matches(pair: Pair, sparse: Sparse | None) -> Matches:
    """The matches in pixels of the original images."""
    if sparse is None:
        return Matches(np.empty((0, 2)), np.empty((0, 2)), np.empty(0), np.empty(0, bool))
    points = pair.fixed.in_image(sparse.fixed), pair.moving.in_image(sparse.moving)
    return Matches(*points, sparse.score, sparse.inlier)


def name_of(model: Model) -> str:
    """What results call a model."""
    return type(model).__name__ if isinstance(model, nn.Module) else str(model)


def network_of(model: Model, device: str) -> nn.Module:
    """The network itself, or the one that a name or a file stands for."""
    if isinstance(model, nn.Module):
        return model.eval()
    usable = usable_device(device)
    return load_network(model if isinstance(model, str) else Path(model), usable)
