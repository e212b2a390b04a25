"""The folder of files that a registration leaves behind."""

import json
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from sdme.config import Interpolation
from sdme.errors import InputError
from sdme.io.folder import filling
from sdme.io.image import encode_image
from sdme.io.places import Places
from sdme.io.raster import Raster
from sdme.io.write import raster_suffix, store_raster
from sdme.report.overlay import Mask, Picture, checkerboard, match_picture, overlay, to_picture
from sdme.report.page import Embedded, View, embed, render_page, shrunk
from sdme.transform import Transform

if TYPE_CHECKING:
    from sdme.result import Registration

TRANSFORM, REPORT, RESULT = "transform.json", "report.html", "result.json"
CHECKERBOARD, OVERLAY, MATCHES = "checkerboard.png", "overlay.png", "matches.png"
_SUFFIXES = (".png", ".tif", ".tiff", ".nii", ".nii.gz", ".nrrd")
ALIGNED = tuple(f"aligned{suffix}" for suffix in _SUFFIXES)
OWNED = (TRANSFORM, *ALIGNED, CHECKERBOARD, OVERLAY, MATCHES, REPORT, RESULT)
_PICTURE_SIDE, _PAGE_SIDE = 4096, 1600


@dataclass(frozen=True)
class SavedFiles:
    """Where :meth:`Registration.save` put things; ``None`` is what a failed one does not have."""

    folder: Path
    report: Path
    matches: Path
    result: Path
    transform: Path | None = None
    aligned: Path | None = None
    checkerboard: Path | None = None
    overlay: Path | None = None


def save_registration(
    result: "Registration", folder: Path, interpolation: Interpolation | None = None
) -> SavedFiles:
    """Fill the folder; see :meth:`sdme.Registration.save`."""
    fixed, moving = result.fixed_raster, result.moving_raster
    if fixed is None or moving is None:
        raise InputError("this registration does not hold its images; register them again to save")
    with filling(folder, OWNED) as place:
        points = result.matches
        matches = match_picture(fixed, moving, points.fixed, points.moving, points.inlier)
        if result.transform is None:
            names: dict[str, str] = {}
            views = [_pair_view(fixed, moving)]
        else:
            aligned = result.align_raster(interpolation)
            names = _write_alignment(place, result.transform, aligned, result)
            views = _alignment_views(place, fixed, moving, aligned, result.transform)
        views.append(_matches_view(matches))
        _write_picture(place / MATCHES, matches)
        page = render_page(result, views, version("sdme"))
        (place / REPORT).write_text(page, encoding="utf-8")
        text = json.dumps(result.to_dict(), indent=2, allow_nan=False)
        (place / RESULT).write_text(text + "\n", encoding="utf-8")
    return SavedFiles(
        folder=folder,
        report=folder / REPORT,
        matches=folder / MATCHES,
        result=folder / RESULT,
        **{key: folder / name for key, name in names.items()},
    )


def _write_alignment(
    place: Path, transform: Transform, aligned: Raster, result: "Registration"
) -> dict[str, str]:
    """Write the transform and the full-size image; returns all names of a success by field."""
    assert result.fixed_raster is not None and result.moving_raster is not None
    name = "aligned" + raster_suffix(aligned, result.moving_name)
    places = Places.of(result.fixed_raster, result.moving_raster)
    content = transform.to_dict() | places.to_dict()
    (place / TRANSFORM).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    store_raster(place / name, aligned)
    return {
        "transform": TRANSFORM,
        "aligned": name,
        "checkerboard": CHECKERBOARD,
        "overlay": OVERLAY,
    }


def _alignment_views(
    place: Path, fixed: Raster, moving: Raster, aligned: Raster, transform: Transform
) -> list[View]:
    """Draw checkerboard and overlay into ``place`` and show them, and what was there before."""
    below, _ = to_picture(fixed, _PICTURE_SIDE)
    above, lies = to_picture(aligned, _PICTURE_SIDE, _footprint(moving, transform))
    board, mixed = checkerboard(below, above, lies), overlay(below, above, lies)
    _write_picture(place / CHECKERBOARD, board)
    _write_picture(place / OVERLAY, mixed)
    small = shrunk(below, _PAGE_SIDE)
    before = overlay(small, *_laid_unmoved(moving, small))
    return [
        View(
            "slider",
            "Slider",
            "Drag the handle: everything on the left is the fixed image, on the right the aligned "
            "one. Edges should run on across the line.",
            [_embedded(below, "fixed"), _embedded(_on_black(above, lies), "aligned")],
        ),
        View(
            "single",
            "Overlay",
            "Fixed image in green, aligned image in magenta, brightness evened out locally. "
            "Double, coloured edges are a misfit; patches of plain colour are only places that "
            "the two sensors see differently.",
            [_embedded(mixed, "overlay")],
        ),
        View(
            "single",
            "Checkerboard",
            "Tiles of the fixed and the aligned image in turn. Lines should cross from tile to "
            "tile without a step.",
            [_embedded(board, "checkerboard")],
        ),
        View(
            "pair",
            "Before and after",
            "The overlay with the moving image as it came, and with it aligned.",
            [_embedded(before, "before"), _embedded(mixed, "after")],
        ),
    ]


def _pair_view(fixed: Raster, moving: Raster) -> View:
    pictures = [
        _embedded(to_picture(image, _PAGE_SIDE)[0], title)
        for image, title in ((fixed, "fixed"), (moving, "moving"))
    ]
    return View("pair", "Images", "The two images as they were given.", pictures)


def _matches_view(matches: Picture) -> View:
    return View(
        "single",
        "Matches",
        "Left the fixed, right the moving image. Coloured lines are matches that the transform "
        "explains, faint white ones those that it does not; at most 200 are drawn.",
        [_embedded(matches, "matches")],
    )


def _footprint(moving: Raster, transform: Transform) -> Mask:
    """Fixed pixels on which a moving pixel with data lies."""
    return transform.warp(moving.valid.view(np.uint8), interpolation="nearest") > 0


def _laid_unmoved(moving: Raster, fixed: Picture) -> tuple[Picture, Mask]:
    """The moving image stretched over the fixed one, as if nothing had been aligned."""
    picture, valid = to_picture(moving, max(fixed.shape[:2]))
    size = fixed.shape[1::-1]
    stretched = cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR)
    mask = cv2.resize(valid.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    return np.asarray(stretched), mask > 0


def _on_black(picture: Picture, valid: Mask) -> Picture:
    return np.where(valid[..., None], picture, np.uint8(0))


def _embedded(picture: Picture, title: str) -> Embedded:
    return embed(shrunk(picture, _PAGE_SIDE), title)


def _write_picture(path: Path, picture: Picture) -> None:
    path.write_bytes(encode_image(".png", picture))
