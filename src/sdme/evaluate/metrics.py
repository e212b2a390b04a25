"""How far off a result is: corner and landmark errors, and the quality of matches.

Errors are in pixels of the moving image. A failure is infinitely wrong, so that it counts as a
miss at every threshold. What is reported of many errors is in :mod:`sdme.evaluate.summary`.
"""

import math

import cv2
import numpy as np
from jaxtyping import Float64

from sdme.data.pairs import Landmarks
from sdme.evaluate.case import Case
from sdme.evaluate.method import Matching, MethodResult
from sdme.evaluate.score import MatchingScore, Score
from sdme.geometry.mapping import frame_centre, map_points, mean_corner_error, mean_distance

MATCHING_THRESHOLDS = tuple(range(1, 11))
CORRECT_WITHIN = 3.0
_EXACT_KD_TREE: dict[str, bool | int | float | str] = {"algorithm": 4}  # FLANN's single tree

Matrix = Float64[np.ndarray, "3 3"]
Points = Float64[np.ndarray, "n 2"]


def corner_error(estimate: Matrix | None, truth: Matrix, fixed_size: tuple[int, int]) -> float:
    """Mean distance of the fixed image's corners under both maps, in moving pixels (ACE).

    Infinite for no estimate, one that is no finite 3x3 matrix, and one that sends a corner to or
    beyond its horizon. ``fixed_size`` is ``(width, height)``.
    """
    H = _usable(estimate)
    return math.inf if H is None else mean_corner_error(H, truth, fixed_size)


def landmark_error(estimate: Matrix | None, landmarks: Landmarks) -> float:
    """Mean distance of the mapped fixed landmarks to the moving ones, in moving pixels.

    Infinite for no estimate, one that is no finite 3x3 matrix, and one whose horizon lies between
    the landmarks.
    """
    if not len(landmarks.fixed):
        raise ValueError("a landmark error needs at least one landmark")
    H = _usable(estimate)
    if H is None:
        return math.inf
    mapped = map_points(H, landmarks.fixed, landmarks.fixed.mean(axis=0))
    return mean_distance(mapped, landmarks.moving)


def case_error(case: Case, estimate: Matrix | None) -> float:
    """Error of an estimate on a case: of the corners, or of the landmarks where only they are."""
    if case.H_true is not None:
        return corner_error(estimate, case.H_true, case.fixed_size)
    if case.landmarks is None:
        raise ValueError(f"case {case.key.name} has neither a transform nor landmarks")
    return landmark_error(estimate, case.landmarks)


def matching_score(matching: Matching, case: Case) -> MatchingScore:
    """Quality of matches and keypoints, apart from the transform that was fitted to them.

    Where the truth is landmarks, nothing is known between them, and what needs the truth is NaN.
    Keypoints are counted in the fixed image.
    """
    accuracy, precision, repeatability = (
        dict.fromkeys(MATCHING_THRESHOLDS, math.nan),
        math.nan,
        math.nan,
    )
    inlier = np.asarray(matching.inlier, bool)
    if case.H_true is not None:
        centre = frame_centre(case.fixed_size)
        gap = map_points(case.H_true, np.asarray(matching.fixed, np.float64), centre)
        distance = np.linalg.norm(gap - matching.moving, axis=-1)
        accuracy = {k: _share(distance <= k, 0.0) for k in MATCHING_THRESHOLDS}
        precision = _share(distance[inlier] <= CORRECT_WITHIN)
        repeatability = _repeatability(matching, case, case.H_true)
    return MatchingScore(
        keypoints=len(matching.fixed_keypoints),
        matches=len(matching.fixed),
        accuracy=accuracy,
        inlier_ratio=_share(inlier, 0.0),
        inlier_precision=precision,
        repeatability=repeatability,
    )


def score_result(
    case: Case,
    method: str,
    result: MethodResult | None,
    seconds: float,
    memory: float,
    note: str = "",
) -> list[Score]:
    """Scores of every stage of a method on a case, in the order of the stages.

    ``result`` is ``None`` for a method that crashed or hung; ``note`` says how, and there is one
    score, an infinite error, whose stage has the method's name. ``seconds`` is the time of the
    whole call, ``memory`` the peak in MiB. The convergence of its refinement
    is asked for apart, once these scores stand.
    """
    stages = result.stages if result is not None else {}
    errors = {name: case_error(case, H) for name, H in stages.items()} or {method: math.inf}
    final = list(errors)[-1]
    times = {} if result is None else result.seconds
    unregistered = case_error(case, case.initial)
    scores = []
    for place, (stage, error) in enumerate(errors.items()):
        matching = result.matching if result is not None and place == 0 else None
        scores.append(
            Score(
                method=method,
                stage=stage,
                is_final=stage == final,
                dataset=case.key.pair.dataset,
                group=case.key.pair.group,
                pair=case.key.pair.id,
                index=case.key.index,
                fixed_side=case.key.fixed_side,
                measure="landmarks" if case.H_true is None else "corners",
                error=error,
                final_error=errors[final],
                unregistered_error=unregistered,
                seconds=times.get(stage, seconds if stage == final else math.nan),
                memory=memory,
                verdict="" if result is None else result.verdict,
                note=note,
                redraws=case.redraws,
                size=case.fixed_size,
                matching=None if matching is None else matching_score(matching, case),
                matrix=_numbers(stages.get(stage)),
            )
        )
    return scores


def _usable(estimate: Matrix | None) -> Matrix | None:
    """The estimate in double precision; ``None`` for what is no finite 3x3 matrix."""
    if estimate is None:
        return None
    H = np.asarray(estimate, np.float64)
    return H if H.shape == (3, 3) and np.isfinite(H).all() else None


def _numbers(estimate: Matrix | None) -> tuple[float, ...] | None:
    """The nine numbers of an estimate, row by row; ``None`` for what is no finite 3x3 matrix."""
    H = _usable(estimate)
    return None if H is None else tuple(H.ravel().tolist())


def _share(hits: np.ndarray, of_none: float = math.nan) -> float:
    """Share of hits; ``of_none`` where there is nothing to take it of."""
    return float(hits.mean()) if len(hits) else of_none


def _repeatability(matching: Matching, case: Case, H_true: Matrix) -> float:
    """Share of the fixed keypoints in view that have a moving keypoint where the truth says."""
    fixed = np.asarray(matching.fixed_keypoints, np.float64).reshape(-1, 2)
    mapped = map_points(H_true, fixed, frame_centre(case.fixed_size))
    height, width = case.moving.shape[:2]
    with np.errstate(invalid="ignore"):
        in_view = ((mapped >= -0.5) & (mapped < (width - 0.5, height - 0.5))).all(axis=-1)
    distance = _nearest(mapped[in_view], np.asarray(matching.moving_keypoints).reshape(-1, 2))
    return _share(distance <= CORRECT_WITHIN)


def _nearest(points: Points, others: Points) -> Float64[np.ndarray, " n"]:
    """Distance of each point to the nearest other one; infinite where there is none."""
    if not len(points) or not len(others):
        return np.full(len(points), math.inf)
    tree = cv2.flann.Index(others.astype(np.float32), _EXACT_KD_TREE)
    _, squared = tree.knnSearch(points.astype(np.float32), 1, params={"checks": -1})
    return np.sqrt(squared[:, 0].astype(np.float64))
