"""From two images to a transform and an honest word on it: the whole pipeline on one page."""

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sdme.config import RegisterSettings
from sdme.errors import InputError
from sdme.estimate import estimate_homography
from sdme.frames import Frame, ImageSource, Matrix, Pair, make_frame
from sdme.match import mutual_nearest_neighbours
from sdme.model.keypoints import detect_keypoints, gather_descriptors
from sdme.model.weights import DEFAULT_MODEL, load_network
from sdme.refine.agreement import agreement, chance_agreement
from sdme.refine.lucas_kanade import refine
from sdme.result import Matches, Reason, Registration, Status
from sdme.transform import Transform
from sdme.verdict import DenseEvidence, SparseEvidence, Verdict, judge, judge_sparse

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

    Images are paths or arrays ``(h, w)`` or ``(h, w, bands)``; ones larger than
    ``settings.max_side`` are shrunk for the network, and everything returned is in pixels of the
    originals. ``settings.stages`` says what runs: ``sparse`` matches keypoints, ``dense`` refines a
    guess on structure maps, ``sparse-to-dense`` refines what the matches gave, or a guess if they
    gave nothing. The guess is ``initial``; without one the fixed image is laid on the middle of
    the moving one, and if their sizes differ also stretched over it, and the better answer counts.

    ``model`` names shipped weights or a weights file, or is an :class:`SdmeNetwork`, which is then
    put in evaluation mode and used where it lies. ``device`` is ``auto`` (CUDA where there is any)
    or one that PyTorch knows. ``progress`` is called with the name of each stage as it begins.

    Raises:
        InputError: an image, the model, the device or ``initial`` cannot be used. Images that
            cannot be aligned are a result of status ``failed``, not an error.
    """
    settings = settings or RegisterSettings()
    clock = _Clock(progress)
    sparse = dense = None
    with torch.inference_mode():
        with clock.stage("read"):
            network = _network(model, device)
            pair = Pair(
                make_frame(fixed, "fixed image", settings.max_side),
                make_frame(moving, "moving image", settings.max_side),
            )
            guesses = pair.guesses(initial)
        blank = [frame.name for frame in (pair.fixed, pair.moving) if frame.is_blank]
        if not blank:
            with clock.stage("extract"):
                views = _look(network, pair.fixed, settings), _look(network, pair.moving, settings)
            if settings.stages != "dense":
                sparse = _match_and_estimate(pair, views, settings, clock)
            if settings.stages != "sparse":
                with clock.stage("refine"):
                    dense = _refine(views, sparse, guesses, settings)
    verdict = _verdict(pair, blank, sparse, dense, settings)
    return Registration(
        status=verdict.status,
        reason=verdict.reason,
        message=verdict.message,
        transform=pair.transform(verdict.matrix),
        matches=_matches(pair, sparse),
        model=type(model).__name__ if isinstance(model, nn.Module) else str(model),
        fixed_size=pair.fixed.image_size,
        moving_size=pair.moving.image_size,
        sparse=pair.transform(sparse.answer) if sparse else None,
        dense=pair.transform(dense.answer) if dense and verdict.matrix is not None else None,
        residual_before=dense.residual_before if dense else None,
        residual_after=dense.residual_after if dense else None,
        timings=clock.seconds(),
        fixed_image=pair.fixed.image,
        moving_image=pair.moving.image,
        fixed_name="" if isinstance(fixed, np.ndarray) else str(fixed),
        moving_name="" if isinstance(moving, np.ndarray) else str(moving),
    )


@dataclass(frozen=True)
class _View:
    """What the network sees in one frame: keypoints with descriptors, structure and its weight."""

    points: Float[Tensor, "k 2"]
    descriptors: Float[Tensor, "k c"]
    structure: Float[Tensor, "1 1 h w"]
    weight: Float[Tensor, "1 1 h w"]


@dataclass(frozen=True)
class _Sparse:
    """Matched points in frame pixels; ``answer`` is ``None`` unless the matrix stands."""

    fixed: Float[np.ndarray, "n 2"]
    moving: Float[np.ndarray, "n 2"]
    score: Float[np.ndarray, " n"]
    inlier: Bool[np.ndarray, " n"]
    evidence: SparseEvidence
    answer: Matrix | None


@dataclass(frozen=True)
class _Dense:
    """What refinement found, between the frames."""

    evidence: DenseEvidence
    residual_before: float
    residual_after: float

    @property
    def answer(self) -> Matrix | None:
        return self.evidence.matrix if self.evidence.accepted else None


class _Clock:
    """Seconds by stage, and the caller's progress."""

    def __init__(self, progress: Callable[[str], None] | None) -> None:
        self._progress = progress
        self._began = time.perf_counter()
        self._seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        if self._progress is not None:
            self._progress(name)
        began = time.perf_counter()
        yield
        self._seconds[name] = time.perf_counter() - began

    def seconds(self) -> dict[str, float]:
        """Of the stages that ran, and ``total``."""
        return self._seconds | {"total": time.perf_counter() - self._began}


def _look(network: nn.Module, frame: Frame, settings: RegisterSettings) -> _View:
    """Run the network on one frame; of its many large maps only what is needed is kept."""
    device = _device_of(network)
    features, valid = network(frame.pixels.to(device)), frame.valid.to(device)
    keypoints = detect_keypoints(features.repeatability[0], settings.keypoints, valid[0])
    descriptors = gather_descriptors(features.descriptors[0], keypoints.points)
    weight = features.repeatability * valid
    return _View(keypoints.points, descriptors, features.structure, weight)


def _match_and_estimate(
    pair: Pair, views: tuple[_View, _View], settings: RegisterSettings, clock: _Clock
) -> _Sparse:
    fixed, moving = views
    with clock.stage("match"):
        found = mutual_nearest_neighbours(fixed.descriptors, moving.descriptors)
        points0 = fixed.points[found.indices0].double().cpu().numpy()
        points1 = moving.points[found.indices1].double().cpu().numpy()
        score = found.scores.cpu().numpy()
    with clock.stage("estimate"):
        estimate = estimate_homography(points0, points1, settings.estimate)
        keypoints = len(fixed.points), len(moving.points)
        too_few = min(keypoints) < settings.estimate.min_matches
        reason = Reason.TOO_FEW_KEYPOINTS if too_few else Reason(estimate.reason or "none")
        inliers = int(estimate.inlier.sum())
        evidence = SparseEvidence(estimate.matrix, reason, keypoints, len(score), inliers)
        reason = judge_sparse(evidence, pair.fixed.size, pair.moving.size, settings.verdict)
        answer = estimate.matrix if reason is Reason.NONE else None
    return _Sparse(points0, points1, score, estimate.inlier, evidence, answer)


def _refine(
    views: tuple[_View, _View],
    sparse: _Sparse | None,
    guesses: list[Matrix],
    settings: RegisterSettings,
) -> _Dense:
    """Refine the matches' answer; without one refine each guess, of which the best counts."""
    if sparse is not None and sparse.answer is not None:
        dense = _refine_from(sparse.answer, views, settings)
        gap = _apply(dense.evidence.matrix, sparse.fixed) - sparse.moving
        drift = float(np.median(np.linalg.norm(gap[sparse.inlier], axis=-1)))
        return replace(dense, evidence=replace(dense.evidence, drift=drift))
    answers = [_refine_from(guess, views, settings) for guess in guesses]
    return max(answers, key=lambda a: (a.evidence.accepted, a.evidence.agreement))


def _refine_from(start: Matrix, views: tuple[_View, _View], settings: RegisterSettings) -> _Dense:
    """Refine; then ask how well the maps agree, and how well mirrored ones would."""
    fixed, moving = views
    maps, weights = (fixed.structure, moving.structure), (fixed.weight, moving.weight)
    initial = torch.from_numpy(start)[None].to(fixed.weight.device)
    found = refine(*maps, initial, *weights, settings.refine)
    reached = agreement(*maps, found.proposed, *weights).item()
    chance = chance_agreement(*maps, initial, *weights, settings.refine).max().item()
    proposed = found.proposed[0].cpu().numpy()
    evidence = DenseEvidence(proposed, bool(found.accepted), reached, chance)
    return _Dense(evidence, found.residual_before.item(), found.residual_after.item())


def _verdict(
    pair: Pair,
    blank: list[str],
    sparse: _Sparse | None,
    dense: _Dense | None,
    settings: RegisterSettings,
) -> Verdict:
    if blank:
        message = f"next to nothing is to be seen in the {' and the '.join(blank)}"
        return Verdict(Status.FAILED, Reason.BLANK_IMAGE, message, None)
    evidence = sparse.evidence if sparse else None, dense.evidence if dense else None
    return judge(*evidence, pair.fixed.size, pair.moving.size, settings.verdict)


def _matches(pair: Pair, sparse: _Sparse | None) -> Matches:
    """The matches in pixels of the original images."""
    if sparse is None:
        return Matches(np.empty((0, 2)), np.empty((0, 2)), np.empty(0), np.empty(0, bool))
    points = pair.fixed.in_image(sparse.fixed), pair.moving.in_image(sparse.moving)
    return Matches(*points, sparse.score, sparse.inlier)


def _apply(matrix: Matrix, points: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
    return cv2.perspectiveTransform(points[None], matrix)[0]


def _network(model: Model, device: str) -> nn.Module:
    if isinstance(model, nn.Module):
        return model.eval()
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch(r"cpu|cuda(:\d+)?|mps", device):
        raise InputError(f"device {device!r} is unknown; use auto, cpu, cuda, cuda:N or mps")
    try:
        usable = torch.empty(0, dtype=torch.float64, device=device).device
    except (RuntimeError, AssertionError, TypeError):
        raise InputError(
            f"device {device!r} is not to be had here or lacks float64; use auto or cpu, "
            "or install PyTorch for the accelerator"
        ) from None
    return load_network(model if isinstance(model, str) else Path(model), usable)


def _device_of(network: nn.Module) -> torch.device:
    return next((p.device for p in network.parameters()), torch.device("cpu"))
