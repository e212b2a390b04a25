"""The folder that a refinement leaves behind: the transform, before and after, and the numbers."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from sdme.errors import InputError
from sdme.io.folder import filling
from sdme.io.image import encode_image
from sdme.io.raster import Raster
from sdme.report.overlay import Picture, overlay, to_picture
from sdme.transform import Transform

if TYPE_CHECKING:
    from sdme.refinement import Evidence, Refined

TRANSFORM, PICTURE, RESULT = "transform.json", "before_after.png", "refined.json"
OWNED = (TRANSFORM, PICTURE, RESULT)
_SIDE, _GAP, _BAR = 1000, 12, 46
_PAPER, _INK = (28, 28, 32), (235, 235, 235)


@dataclass(frozen=True)
class RefinedFiles:
    """Where things were put."""

    folder: Path
    transform: Path
    picture: Path
    result: Path


def save_refined(result: "Refined", folder: Path) -> RefinedFiles:
    """Fill the folder; see :meth:`sdme.refinement.Refined.save`."""
    fixed, moving, transform = result.fixed_raster, result.moving_raster, result.transform
    if transform is None or fixed is None or moving is None:
        raise InputError(f"there is no refined transform to save: {result.message}")
    with filling(folder, OWNED) as place:
        text = json.dumps(transform.to_dict(), indent=2)
        (place / TRANSFORM).write_text(text + "\n", encoding="utf-8")
        picture = before_after(fixed, moving, result)
        (place / PICTURE).write_bytes(encode_image(".png", picture))
        text = json.dumps(result.to_dict(), indent=2, allow_nan=False)
        (place / RESULT).write_text(text + "\n", encoding="utf-8")
    return RefinedFiles(folder, folder / TRANSFORM, folder / PICTURE, folder / RESULT)


def before_after(fixed: Raster, moving: Raster, result: "Refined") -> Picture:
    """Overlays of the fixed image with the moving one by the start and by the answer.

    Fixed in green, moving in magenta: what lies on each other is grey. Numbers stand above.
    """
    assert result.transform is not None
    panels = [
        _panel(fixed, moving, transform, [title, *_in_words(evidence, result.matches)])
        for title, transform, evidence in (
            ("before", result.initial, result.before),
            (f"after ({result.outcome.value})", result.transform, result.after),
        )
    ]
    gap = np.full((panels[0].shape[0], _GAP, 3), _PAPER, np.uint8)
    return np.hstack([panels[0], gap, panels[1]])


def _panel(fixed: Raster, moving: Raster, transform: Transform, words: list[str]) -> Picture:
    below, _ = to_picture(fixed, _SIDE)
    height, width = below.shape[:2]
    shown, valid = to_picture(moving, max(moving.size))
    aligned = transform.warp(shown)
    lies = transform.warp(valid.view(np.uint8), interpolation="nearest") > 0
    aligned = np.asarray(cv2.resize(aligned, (width, height), interpolation=cv2.INTER_AREA))
    lies = cv2.resize(lies.view(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0
    picture = overlay(below, aligned, lies)
    enlargement = max(1, 480 // width)
    picture = np.repeat(np.repeat(picture, enlargement, 0), enlargement, 1)
    bar = np.full((_BAR, picture.shape[1], 3), _PAPER, np.uint8)
    for line, text in enumerate((words[0], "   ".join(words[1:]))):
        where = (8, 18 + 20 * line)
        cv2.putText(bar, text, where, cv2.FONT_HERSHEY_SIMPLEX, 0.45, _INK, 1, cv2.LINE_AA)
    return np.vstack([bar, picture])


def _in_words(evidence: "Evidence", matches: int | None) -> list[str]:
    words = [f"residual {evidence.residual:.3g}"]
    if evidence.predicted_error is not None:
        words.append(f"predicted error {evidence.predicted_error:.1f} px")
    if evidence.agreement is not None:
        words.append(f"agreement {evidence.agreement:.2f}")
    if evidence.agreeing is not None:
        words.append(f"{evidence.agreeing} of {matches} matches")
    return words
