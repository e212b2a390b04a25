"""Someone else's transform, made better: the dense stages alone, near where it begins.

Nothing is searched for. What is believed of the start and of what came of it is said side by side,
and where the start cannot be improved, or is too far off for that, this is the answer.
"""

import enum
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sdme.config import Kind, RegisterSettings
from sdme.fast_figures import figures_of
from sdme.fast_stages import (
    Candidates,
    Views,
    best_of,
    longest_side,
    match_cells,
    vote,
)
from sdme.fast_verdict import Prediction, judge_prediction
from sdme.frames import Matrix, Pair, make_pair
from sdme.geometry.mapping import mean_corner_error
from sdme.io.raster import ImageSource, Raster
from sdme.model.fast import FastNetwork
from sdme.model.weights import DEFAULT_MODEL
from sdme.refine.agreement import agreement
from sdme.refine.unrolled import residual
from sdme.register import Model, confidence_of, network_of
from sdme.report.refined import RefinedFiles, save_refined
from sdme.result import Status
from sdme.stages import Clock, Sparse, device_of, look, refine_from, verdict_on
from sdme.transform import Transform
from sdme.verdict import is_plausible

# Of the network's word on the error, as a logarithm: what differs by less is told by the maps,
# which see the last pixels better.
_ALIKE = 0.7
_FARTHEST = 0.35  # of the frame's side, that the corners may go in the mean
_FINEST_STEPS = (8, 0, 0)  # of Lucas-Kanade after votes; coarse maps would lead away again


class Outcome(enum.StrEnum):
    """What became of a start."""

    IMPROVED = "improved"
    KEPT = "kept"
    FAILED = "failed"


@dataclass(frozen=True)
class Evidence:
    """What is believed of one transform; ``None`` is what the network has no word on.

    ``residual`` is the weighted mean squared difference of the maps where the images overlap.
    ``predicted_error`` is that of the corners, px of the moving image (preset ``fast``).
    ``agreement`` is the correlation of the structure maps (preset ``paper``). ``agreeing`` counts
    matched cells that it explains; they are witnesses and had no part in it.
    """

    residual: float
    predicted_error: float | None = None
    agreement: float | None = None
    agreeing: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values; what is not finite is ``None``."""
        return {
            name: value if value is not None and math.isfinite(value) else None
            for name, value in vars(self).items()
        }


@dataclass(frozen=True)
class Refined:
    """Result of :func:`refine_transform`.

    ``transform`` is the better one; the start itself, of the kind that was asked for, where it was
    ``kept``; ``None`` exactly when ``outcome`` is ``failed``. ``moved`` is the mean distance, px of
    the moving image, by which the corners went. ``is_sure`` says whether the verdict on it is
    ``aligned`` and not ``uncertain``; ``matches`` is of how many cells ``agreeing`` counts.
    """

    outcome: Outcome
    message: str
    transform: Transform | None
    initial: Transform
    before: Evidence
    after: Evidence
    moved: float
    is_sure: bool
    model: str
    matches: int | None = None
    timings: dict[str, float] = field(default_factory=dict)
    fixed_raster: Raster | None = field(default=None, repr=False)
    moving_raster: Raster | None = field(default=None, repr=False)

    @property
    def ok(self) -> bool:
        """Whether there is a transform that may be used."""
        return self.outcome is not Outcome.FAILED

    def save(self, folder: str | os.PathLike[str]) -> RefinedFiles:
        """Write ``transform.json``, ``before_after.png`` and ``refined.json`` into ``folder``.

        It is created if need be; the files appear together or not at all.

        Raises:
            InputError: it failed, or the folder cannot be written to.
        """
        return save_refined(self, Path(folder))

    def to_dict(self) -> dict[str, Any]:
        """Everything but the images as plain values, ready for JSON."""
        return {
            "outcome": self.outcome.value,
            "is_sure": self.is_sure,
            "message": self.message,
            "transform": None if self.transform is None else self.transform.to_dict(),
            "initial": self.initial.to_dict(),
            "before": self.before.to_dict(),
            "after": self.after.to_dict(),
            "moved": self.moved if math.isfinite(self.moved) else None,
            "matches": self.matches,
            "model": self.model,
            "timings": {name: round(seconds, 6) for name, seconds in self.timings.items()},
        }


@dataclass(frozen=True)
class _Found:
    """The answer between the frames, and what is believed of it and of the start."""

    matrix: Matrix | None
    message: str
    before: Evidence
    after: Evidence
    is_sure: bool
    matches: int | None = None


def refine_transform(
    fixed: ImageSource,
    moving: ImageSource,
    initial: Transform,
    *,
    kind: Kind | None = None,
    model: Model = DEFAULT_MODEL,
    settings: RegisterSettings | None = None,
    device: str = "auto",
    progress: Callable[[str], None] | None = None,
) -> Refined:
    """Improve a transform that someone else found.

    Only the dense stages run, from ``initial`` and from nowhere else. The answer is of the ``kind``
    that is given, by default of that of ``initial`` (a wider one lets it bend). It is
    ``improved`` where the network believes less error of it, or where its finest maps agree better
    if that is about the same; ``kept`` where nothing better was found and the start can be
    believed; ``failed`` where neither can: the start is too far off, or the images have nothing in
    common.

    Raises:
        InputError: an image, the model or the device cannot be used, or ``initial`` is for images
            of other sizes.
    """
    settings = settings or RegisterSettings()
    kind = kind or initial.kind
    settings = settings.model_copy(update={"transform": kind})
    clock = Clock(progress)
    with torch.inference_mode():
        with clock.stage("read"):
            network = network_of(model, device)
            clock.device = device_of(network)
            pair = make_pair(fixed, moving, longest_side(network, settings), False, kind)
            start = pair.guesses(initial, kind)[0]
        found = _search(network, pair, start, settings, clock)
    first = pair.transform(start, kind)
    assert first is not None
    transform = pair.transform(found.matrix, kind)
    reached = first if transform is None else transform
    moved = mean_corner_error(reached.matrix, first.matrix, reached.fixed_size)
    is_kept = found.matrix is start
    outcome = Outcome.KEPT if is_kept else Outcome.IMPROVED
    return Refined(
        outcome=Outcome.FAILED if transform is None else outcome,
        message=found.message,
        transform=first if is_kept else transform,
        initial=initial,
        before=found.before,
        after=found.after,
        moved=moved,
        is_sure=found.is_sure,
        model=type(model).__name__ if isinstance(model, nn.Module) else str(model),
        matches=found.matches,
        timings=clock.seconds(),
        fixed_raster=pair.fixed.raster,
        moving_raster=pair.moving.raster,
    )


def _search(
    network: nn.Module, pair: Pair, start: Matrix, settings: RegisterSettings, clock: Clock
) -> _Found:
    blank = [frame.name for frame in (pair.fixed, pair.moving) if frame.is_blank]
    nothing = Evidence(math.inf)
    if blank:
        why = verdict_on(pair, blank, None, None, settings).message
        return _Found(None, why, nothing, nothing, False)
    if not is_plausible(start, pair.fixed.size, pair.moving.size, settings.verdict):
        why = "by the start the images do not overlap, or it folds, flips or squashes the image"
        return _Found(None, why, nothing, nothing, False)
    if isinstance(network, FastNetwork):
        return _with_fast(network, pair, start, settings, clock)
    return _with_paper(network, pair, start, settings, clock)


def _with_paper(
    network: nn.Module, pair: Pair, start: Matrix, settings: RegisterSettings, clock: Clock
) -> _Found:
    """Lucas-Kanade on structure maps; believed where they agree better than mirrored ones."""
    with clock.stage("extract"):
        views = look(network, pair.fixed, settings), look(network, pair.moving, settings)
    with clock.stage("refine"):
        dense = refine_from(start, views, settings, pair.family(settings.transform))
        H = torch.from_numpy(start)[None].to(views[0].weight.device)
        maps, weights = [v.structure for v in views], [v.weight for v in views]
        reached = agreement(maps[0], maps[1], H, weights[0], weights[1]).item()
    verdict = verdict_on(pair, [], None, dense, settings)
    before = Evidence(dense.residual_before, agreement=reached)
    after = Evidence(dense.residual_after, agreement=dense.evidence.agreement)
    answer = dense.evidence.matrix
    is_sure = verdict.status is Status.ALIGNED
    if verdict.status is Status.FAILED:
        return _Found(None, verdict.message, before, after, is_sure)
    if not dense.residual_after < dense.residual_before:
        message = f"nothing better was found; {verdict.message}"
        return _Found(start, message, before, before, is_sure)
    return _Found(answer, verdict.message, before, after, is_sure)


def _with_fast(
    network: FastNetwork, pair: Pair, start: Matrix, settings: RegisterSettings, clock: Clock
) -> _Found:
    """Votes and fine Lucas-Kanade from the start; the best of what they pass through."""
    with clock.stage("extract"):
        views = Views(network, pair, pair.family(settings.transform))
    witnesses = match_cells(views, settings, clock)
    with clock.stage("vote"):
        H = views.on_device([start])
        voted = vote(views, [start], settings.fast).matrices
    with clock.stage("refine"):
        H = torch.cat([H, voted])
        H = torch.cat([H, views.align(H, _FINEST_STEPS)])
        seen = [_seen(views, matrix[None], witnesses, settings) for matrix in H]
    best = min(range(len(H)), key=lambda k: _rank(seen, k, pair, settings))
    before, after = seen[0], seen[best]
    figures = figures_of(views, after[0], None)
    confidence = confidence_of(network, pair, figures, "dense")
    sizes = pair.fixed.size, pair.moving.size
    verdict = judge_prediction(after[0], *sizes, settings, confidence)
    is_sure, matches = verdict.status is Status.ALIGNED, len(witnesses.fixed)
    answer = start if best == 0 else after[0].matrix
    message = verdict.message
    moved = mean_corner_error(after[0].matrix, start, pair.fixed.size)
    if verdict.status is Status.FAILED:
        answer = None
    elif moved > _FARTHEST * math.sqrt(math.prod(pair.fixed.size)):
        answer, message = None, f"what was found is too far from the start; {message}"
    elif best == 0:
        message = f"nothing better was found; {message}"
    return _Found(answer, message, before[1], after[1], is_sure, matches)


def _seen(
    views: Views, H: torch.Tensor, witnesses: Sparse, settings: RegisterSettings
) -> tuple[Prediction, Evidence]:
    one = Candidates(H, views.vote(H).log_error, torch.zeros(1, dtype=torch.bool))
    known = best_of(views.pair, one, witnesses, settings)
    gap = residual(views.fixed, views.moving, H).item()
    return known, Evidence(gap, known.pixels, agreeing=known.agreeing)


def _rank(
    seen: list[tuple[Prediction, Evidence]], k: int, pair: Pair, settings: RegisterSettings
) -> tuple[bool, bool, float]:
    """Plausible ones first, then those of about the least predicted error, then by residual."""
    known, evidence = seen[k]
    plausible = is_plausible(known.matrix, pair.fixed.size, pair.moving.size, settings.verdict)
    least = min(other.error for other, _ in seen)
    alike = known.error + 0.1 <= (least + 0.1) * math.exp(_ALIKE)
    return not plausible, not alike, evidence.residual if alike else known.error
