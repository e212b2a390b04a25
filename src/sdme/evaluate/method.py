"""What a registration method is to the evaluation, and what it answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float64, UInt8

Matrix = Float64[np.ndarray, "3 3"]
Image = UInt8[np.ndarray, "h w 3"]
Points = Float64[np.ndarray, "n 2"]


@dataclass(frozen=True)
class Matching:
    """What a method that matches points saw, in pixels of the images it was given.

    ``fixed`` and ``moving`` are the matches, row by row; ``inlier`` says which the robust fit kept.
    ``fixed_keypoints`` and ``moving_keypoints`` are all keypoints, matched or not.
    """

    fixed: Points
    moving: Points
    inlier: Bool[np.ndarray, " n"]
    fixed_keypoints: Points
    moving_keypoints: Points


@dataclass(frozen=True)
class MethodResult:
    """Answers of one method on one pair.

    ``stages`` maps the name of each stage, in the order in which they run, to its 3x3 matrix from
    fixed to moving pixels, or to ``None`` where it has no answer. The last stage is the method's
    final answer. ``seconds`` is the time to each stage's answer from the start, where known.
    ``verdict`` is the method's own word on the result, if it gives one. ``refine`` is the method's
    refinement alone, if it has one: it takes matrices to start from and gives those where it ends.
    """

    stages: dict[str, Matrix | None]
    matching: Matching | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    verdict: str = ""
    refine: Callable[[Sequence[Matrix]], Sequence[Matrix]] | None = None


Method = Callable[[Image, Image, Matrix], MethodResult]
"""``method(fixed, moving, initial)``: 8-bit RGB images and the placement to start from."""
