"""What a registration returns."""

import enum
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sdme.config import Interpolation
from sdme.errors import InputError
from sdme.io.placement import Correction, correction
from sdme.io.raster import Raster
from sdme.io.resample import carry
from sdme.report.output import SavedFiles, save_registration
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
    REFINEMENT_DIVERGED = "refinement_diverged"
    NO_AGREEMENT = "no_agreement"
    PREDICTED_ERROR = "predicted_error"
    UNCONFIRMED = "unconfirmed"


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
class Search:
    """What trying rotations and scales cost, in ``hypotheses`` and ``seconds``.

    ``used`` says whether the answer came of it, ``ratio`` how many times as many matches agreed
    with the best hypothesis as with any other that says something else.
    """

    hypotheses: int
    seconds: float
    used: bool
    ratio: float

    def __str__(self) -> str:
        tried = f"{self.hypotheses} rotations and scales were tried in {self.seconds:.1f} s"
        return f"{tried}, {'and gave the answer' if self.used else 'but nothing better was found'}"


@dataclass(frozen=True)
class Registration:
    """Result of :func:`sdme.register`.

    ``transform`` maps fixed to moving pixels of the original images; it is ``None`` exactly when
    ``status`` is ``failed``. ``sparse`` and ``dense`` are the stages' own answers (``None`` where
    a stage did not run or gave none). ``residual_before`` and ``residual_after`` are the weighted
    mean squared differences of the structure maps around the refinement, of models of the preset
    ``paper``; ``predicted_error`` is the corner error in pixels of the moving image that a model of
    the preset ``fast`` believes its answer to have, also one that failed. ``timings`` are seconds
    by stage. ``search`` is ``None`` where no rotations and scales were tried. The rasters are the
    images as they were given (own dtype and bands, missing data, place), kept for :meth:`save`, and
    their names are the paths they came from, empty for arrays. ``notes`` are lines on what the
    files say that was not used. ``confidence`` is the calibrated probability, in [0, 1], that the
    corners are off by less than ``confidence_within`` pixels of the moving image (5 px of an image
    of 640 px, more of a larger one), also of an answer that failed; ``None`` of models and stages
    that were not calibrated (docs/verdict.md). It rests on ``figures``, by name.
    """

    status: Status
    reason: Reason
    message: str
    transform: Transform | None
    matches: Matches = field(repr=False)
    model: str
    fixed_size: tuple[int, int]
    moving_size: tuple[int, int]
    sparse: Transform | None = None
    dense: Transform | None = None
    residual_before: float | None = None
    residual_after: float | None = None
    predicted_error: float | None = None
    confidence: float | None = None
    confidence_within: float | None = None
    figures: Mapping[str, float] = field(default_factory=dict, repr=False)
    timings: dict[str, float] = field(default_factory=dict)
    search: Search | None = None
    fixed_raster: Raster | None = field(default=None, repr=False)
    moving_raster: Raster | None = field(default=None, repr=False)
    fixed_name: str = ""
    moving_name: str = ""
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether there is a transform that may be used."""
        return self.status is not Status.FAILED

    @property
    def fixed_image(self) -> np.ndarray | None:
        """The fixed image's pixels, if they are held."""
        return None if self.fixed_raster is None else self.fixed_raster.pixels

    @property
    def moving_image(self) -> np.ndarray | None:
        """The moving image's pixels, if they are held."""
        return None if self.moving_raster is None else self.moving_raster.pixels

    @property
    def correction(self) -> Correction | None:
        """How far the georeferences of the two images were off; ``None`` if not both have one."""
        fixed, moving = self.fixed_raster, self.moving_raster
        if self.transform is None or fixed is None or moving is None:
            return None
        return correction(self.transform, fixed, moving)

    @property
    def aligned(self) -> np.ndarray | None:
        """The moving image on the fixed grid; ``None`` when the registration failed."""
        return None if self.transform is None else self.align()

    def align(self, interpolation: Interpolation | None = None) -> np.ndarray:
        """The moving image on the fixed grid in its own dtype and bands.

        Where it does not reach there is NaN in floating images, the value that it declares for
        missing data in others, or else 0, which is transparent in RGBA. ``interpolation`` is as in
        :meth:`align_raster`.

        Raises:
            InputError: the registration failed, or does not hold its images.
        """
        raster = self.align_raster(interpolation)
        return raster.pixels if raster.palette is not None else raster.array

    def align_raster(self, interpolation: Interpolation | None = None) -> Raster:
        """As :meth:`align`, with missing data as the moving image has it, and the fixed's place.

        ``interpolation`` is by default nearest for labels and bilinear for all else.

        Raises:
            InputError: as :meth:`align`.
        """
        if self.transform is None:
            raise InputError(f"there is no aligned image: {self.message}")
        if self.moving_raster is None:
            raise InputError("this registration does not hold its images; register them again")
        fixed = self.fixed_raster
        place = None if fixed is None else fixed.georeference or fixed.plane
        return carry(self.moving_raster, self.transform, interpolation, on=place)

    def save(
        self, folder: str | os.PathLike[str], interpolation: Interpolation | None = None
    ) -> SavedFiles:
        """Write everything into ``folder``, which is created if need be.

        ``transform.json``; ``aligned.png``, or ``aligned.tif`` where the moving image was a TIFF
        or PNG cannot hold it (a GeoTIFF where the fixed image has a place on the ground), or
        ``aligned.nii.gz`` or ``.nrrd`` where it has one in a body; ``checkerboard.png``,
        ``overlay.png``, ``matches.png``; ``report.html``, one file for a person; ``result.json``,
        the content of :meth:`to_dict`.
        A failed registration leaves only matches, report and result. Files of these names from an
        earlier run go, all others stay. The files appear together or not at all.

        Raises:
            InputError: the folder cannot be written to, the disk is full, or the images are not
                held.
        """
        return save_registration(self, Path(folder), interpolation)

    def to_dict(self) -> dict[str, Any]:
        """Everything but images and matches as plain values, ready for JSON."""
        moved = self.correction
        return {
            "status": self.status.value,
            "reason": self.reason.value,
            "message": self.message,
            "transform": None if self.transform is None else self.transform.to_dict(),
            "fixed": {"name": self.fixed_name, "size": list(self.fixed_size)},
            "moving": {"name": self.moving_name, "size": list(self.moving_size)},
            "matches": len(self.matches),
            "inliers": int(np.count_nonzero(self.matches.inlier)),
            "sparse": None if self.sparse is None else self.sparse.to_dict(),
            "dense": None if self.dense is None else self.dense.to_dict(),
            "residual_before": _finite(self.residual_before),
            "residual_after": _finite(self.residual_after),
            "predicted_error": _finite(self.predicted_error),
            "correction": None if moved is None else asdict(moved),
            "notes": list(self.notes),
            "confidence": self.confidence,
            "confidence_within": self.confidence_within,
            "figures": {name: _finite(value) for name, value in self.figures.items()},
            "search": None if self.search is None else asdict(self.search),
            "model": self.model,
            "timings": {name: round(seconds, 6) for name, seconds in self.timings.items()},
        }


def _finite(value: float | None) -> float | None:
    """JSON knows no NaN."""
    return value if value is not None and math.isfinite(value) else None
