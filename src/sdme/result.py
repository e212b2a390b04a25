"""What a registration returns."""

import enum
from dataclasses import dataclass, field

import numpy as np

from sdme.transform import Transform


class Status(enum.StrEnum):
    """How far a registration can be trusted."""

    ALIGNED = "aligned"
    UNCERTAIN = "uncertain"
    FAILED = "failed"


class Reason(enum.StrEnum):
    """Why a registration is not ``aligned``; ``NONE`` when it is."""

    NONE = "none"
    BLANK_IMAGE = "blank_image"
    TOO_FEW_KEYPOINTS = "too_few_keypoints"
    TOO_FEW_MATCHES = "too_few_matches"
    NO_MODEL = "no_model"
    TOO_FEW_INLIERS = "too_few_inliers"
    IMPLAUSIBLE_TRANSFORM = "implausible_transform"
    LOW_OVERLAP = "low_overlap"
    REFINEMENT_REJECTED = "refinement_rejected"
    NO_AGREEMENT = "no_agreement"


@dataclass(frozen=True)
class Matches:
    """Mutual nearest neighbours, in pixels of the original images.

    ``fixed`` and ``moving`` are ``(n, 2)`` points, ``score`` their ``(n,)`` cosine similarity and
    ``inlier`` says which of them the robust fit kept.
    """

    fixed: np.ndarray
    moving: np.ndarray
    score: np.ndarray
    inlier: np.ndarray

    def __len__(self) -> int:
        return len(self.fixed)


@dataclass(frozen=True)
class Registration:
    """Result of :func:`sdme.register`.

    ``transform`` maps fixed to moving pixels of the original images; it is ``None`` exactly when
    ``status`` is ``failed``. ``sparse`` and ``dense`` are the stages' own answers (``None`` where
    a stage did not run or gave none). ``residual_before`` and ``residual_after`` are the weighted
    mean squared differences of the structure maps around the refinement. ``timings`` are seconds
    by stage. The images are kept as they were given (own dtype and bands) for :meth:`save`.
    """

    status: Status
    reason: Reason
    message: str
    transform: Transform | None
    matches: Matches
    model: str
    fixed_size: tuple[int, int]
    moving_size: tuple[int, int]
    sparse: Transform | None = None
    dense: Transform | None = None
    residual_before: float | None = None
    residual_after: float | None = None
    timings: dict[str, float] = field(default_factory=dict)
    fixed_image: np.ndarray | None = field(default=None, repr=False)
    moving_image: np.ndarray | None = field(default=None, repr=False)

    @property
    def ok(self) -> bool:
        """Whether there is a transform that may be used."""
        return self.status is not Status.FAILED
