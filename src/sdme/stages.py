"""The stages of a registration between two frames; :func:`sdme.register` runs them in turn."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sdme.confidence import Confidence
from sdme.config import EstimateSettings, Kind, RegisterSettings, VerdictSettings
from sdme.estimate import Estimate, estimate, estimate_homography
from sdme.frames import Frame, Matrix, Pair
from sdme.geometry.family import Family
from sdme.match import mutual_nearest_neighbours
from sdme.model.keypoints import detect_keypoints, gather_descriptors
from sdme.refine.agreement import agreement, chance_agreement
from sdme.refine.lucas_kanade import refine
from sdme.result import Reason, Status
from sdme.verdict import DenseEvidence, SparseEvidence, Verdict, judge, judge_sparse

_FARTHEST = 99.0  # px; what is further off, or unknown, counts as this


class Clock:
    """Seconds by stage, and the caller's progress.

    ``device`` is where the work is done; a GPU is waited for at the end of every stage.
    """

    def __init__(
        self,
        progress: Callable[[str], None] | None = None,
        device: torch.device | None = None,
    ) -> None:
        self.device = device
        self._progress = progress
        self._began = time.perf_counter()
        self._seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure what happens inside."""
        if self._progress is not None:
            self._progress(name)
        before = self.elapsed()
        yield
        self._seconds[name] = self.elapsed() - before

    def elapsed(self) -> float:
        """Seconds since the clock was made, with all done that was asked of the device."""
        if self.device is not None and self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter() - self._began

    def seconds(self) -> dict[str, float]:
        """Of the stages that ran, and ``total``."""
        return self._seconds | {"total": self.elapsed()}


@dataclass(frozen=True)
class View:
    """What the network sees in one frame: keypoints with descriptors, structure and its weight."""

    points: Float[Tensor, "k 2"]
    descriptors: Float[Tensor, "k c"]
    structure: Float[Tensor, "1 1 h w"]
    weight: Float[Tensor, "1 1 h w"]


@dataclass(frozen=True)
class Sparse:
    """Matched points in frame pixels; ``answer`` is ``None`` unless the matrix stands.

    ``kind`` is what was fitted to them.
    """

    fixed: Float[np.ndarray, "n 2"]
    moving: Float[np.ndarray, "n 2"]
    score: Float[np.ndarray, " n"]
    inlier: Bool[np.ndarray, " n"]
    evidence: SparseEvidence
    answer: Matrix | None
    kind: Kind = "homography"

    def distances(self, matrix: Matrix) -> Float[np.ndarray, " n"]:
        """How far, px, the matrix leaves every fixed point from its match; there must be one."""
        mapped = cv2.perspectiveTransform(self.fixed[None], matrix)[0]
        return np.linalg.norm(mapped - self.moving, axis=-1)


@dataclass(frozen=True)
class Dense:
    """What refinement found, between the frames."""

    evidence: DenseEvidence
    residual_before: float
    residual_after: float

    @property
    def answer(self) -> Matrix | None:
        """The matrix, unless refinement was rejected."""
        return self.evidence.matrix if self.evidence.accepted else None


def look(network: nn.Module, frame: Frame, settings: RegisterSettings) -> View:
    """Run the network on one frame; of its many large maps only what is needed is kept."""
    device = device_of(network)
    features, valid = network(frame.pixels.to(device)), frame.valid.to(device)
    keypoints = detect_keypoints(features.repeatability[0], settings.keypoints, valid[0])
    descriptors = gather_descriptors(features.descriptors[0], keypoints.points)
    weight = features.repeatability * valid if settings.refine.weighted else valid.float()
    return View(keypoints.points, descriptors, features.structure, weight)


def match_and_estimate(
    pair: Pair, views: tuple[View, View], settings: RegisterSettings, clock: Clock
) -> Sparse:
    """Match the keypoints of two views and fit a transform to the matches."""
    fixed, moving = views
    with clock.stage("match"):
        found = mutual_nearest_neighbours(fixed.descriptors, moving.descriptors)
        points0 = fixed.points[found.indices0].double().cpu().numpy()
        points1 = moving.points[found.indices1].double().cpu().numpy()
        score = found.scores.cpu().numpy()
    with clock.stage("estimate"):
        counts = len(fixed.points), len(moving.points)
        points = points0, points1
        rules = settings.estimate, settings.verdict
        return fit(pair, points, score, counts, *rules, kind=settings.transform)


def fit(
    pair: Pair,
    points: tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, "n 2"]],
    score: Float[np.ndarray, " n"],
    counts: tuple[int, int],
    settings: EstimateSettings,
    verdict: VerdictSettings,
    matched: str = "keypoints",
    kind: Kind = "homography",
) -> Sparse:
    """Fit a transform of a kind to matched points, of which ``counts`` were to be had; judge it.

    ``matched`` says what sort of points they are.
    """
    found = fit_between_images(pair, points, kind, settings)
    too_few = min(counts) < settings.min_matches
    reason = Reason.TOO_FEW_KEYPOINTS if too_few else Reason(found.reason or "none")
    inliers = int(found.inlier.sum())
    evidence = SparseEvidence(found.matrix, reason, counts, len(score), inliers, matched)
    reason = judge_sparse(evidence, pair.fixed.size, pair.moving.size, verdict)
    answer = found.matrix if reason is Reason.NONE else None
    return Sparse(*points, score, found.inlier, evidence, answer, kind)


def fit_between_images(
    pair: Pair,
    points: tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, "n 2"]],
    kind: Kind,
    settings: EstimateSettings,
) -> Estimate:
    """The matrix between the frames whose transform between the *images* is of a kind.

    Points and threshold are in frame pixels. A homography between images is one between frames;
    all else is fitted to the points in the images, where it is what its name says.
    """
    if kind == "homography":
        return estimate_homography(*points, settings)
    in_images = pair.fixed.in_image(points[0]), pair.moving.in_image(points[1])
    threshold = settings.threshold * pair.moving.pixel
    settings = settings.model_copy(update={"threshold": float(threshold)})
    found = estimate(*in_images, kind, settings)
    matrix = None if found.matrix is None else pair.in_frames(found.matrix)
    return replace(found, matrix=matrix)


def refine_best(
    views: tuple[View, View],
    sparse: Sparse | None,
    guesses: list[Matrix],
    settings: RegisterSettings,
    family: Family | None = None,
) -> Dense:
    """Refine the matches' answer; without one refine each guess, of which the best counts.

    All of them are of the ``family``.
    """
    if sparse is not None and sparse.answer is not None:
        return with_drift(refine_from(sparse.answer, views, settings, family), sparse)
    answers = [refine_from(guess, views, settings, family) for guess in guesses]
    return max(answers, key=lambda a: (a.evidence.accepted, a.evidence.agreement))


def refine_from(
    start: Matrix,
    views: tuple[View, View],
    settings: RegisterSettings,
    family: Family | None = None,
) -> Dense:
    """Refine; then ask how well the maps agree, and how well mirrored ones would."""
    fixed, moving = views
    maps, weights = (fixed.structure, moving.structure), (fixed.weight, moving.weight)
    initial = torch.from_numpy(start)[None].to(fixed.weight.device)
    found = refine(*maps, initial, *weights, settings.refine, family)
    reached = agreement(*maps, found.proposed, *weights).item()
    chance = chance_agreement(*maps, initial, *weights, settings.refine, family).max().item()
    proposed = found.proposed[0].cpu().numpy()
    evidence = DenseEvidence(proposed, bool(found.accepted), reached, chance)
    return Dense(evidence, found.residual_before.item(), found.residual_after.item())


def with_drift(dense: Dense, sparse: Sparse) -> Dense:
    """The same, knowing how far the refined matrix is from the matches' inliers."""
    drift = float(np.median(sparse.distances(dense.evidence.matrix)[sparse.inlier]))
    return replace(dense, evidence=replace(dense.evidence, drift=drift))


def verdict_on(
    pair: Pair,
    blank: list[str],
    sparse: Sparse | None,
    dense: Dense | None,
    settings: RegisterSettings,
    confidence: Confidence | None = None,
) -> Verdict:
    """What the stages' evidence is worth; ``blank`` names the images with nothing in them.

    What passes all rules is aligned only if the ``confidence``, where there is one, is enough.
    """
    if blank:
        message = f"next to nothing is to be seen in the {' and the '.join(blank)}"
        return Verdict(Status.FAILED, Reason.BLANK_IMAGE, message, None)
    evidence = sparse.evidence if sparse else None, dense.evidence if dense else None
    verdict = judge(*evidence, pair.fixed.size, pair.moving.size, settings.verdict)
    if confidence is None:
        return verdict
    figures = f"{verdict.message}; corners: {confidence.words}"
    if verdict.status is not Status.ALIGNED or confidence.is_enough:
        return replace(verdict, message=figures)
    reason, doubt = confidence.doubt
    message = f"{figures}, less than {confidence.needed:.2f}: {doubt}"
    return replace(verdict, status=Status.UNCERTAIN, reason=reason, message=message)


def figures_of_maps(sparse: Sparse | None, dense: Dense | None) -> dict[str, float]:
    """What the preset ``paper`` tells of an answer, for its calibration.

    ``matches`` and ``inliers`` are numbers, ``inlier_share`` their ratio; ``agreement`` is the
    correlation of the maps, ``above_chance`` by how much it is above that of mirrored ones,
    ``residual_left`` the share of the misfit that refinement left, ``drift`` the median distance,
    px, by which it moved the inliers off their matches.
    """
    figures: dict[str, float] = {}
    if sparse is not None:
        matches, inliers = sparse.evidence.matches, sparse.evidence.inliers
        share = inliers / max(matches, 1)
        figures |= {"matches": matches, "inliers": inliers, "inlier_share": share}
    if dense is not None:
        found = dense.evidence
        figures |= {
            "agreement": found.agreement,
            "above_chance": found.agreement - found.chance,
            "residual_left": dense.residual_after / (dense.residual_before + 1e-9),
        }
        if sparse is not None:
            figures["drift"] = _FARTHEST if found.drift is None else found.drift
    return figures


def device_of(network: nn.Module) -> torch.device:
    """Where a network lies."""
    return next((p.device for p in network.parameters()), torch.device("cpu"))
