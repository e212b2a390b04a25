"""The published sets of the paper's benchmark, as they lie on disk (METHOD section 4).

One folder holds one set, named after it:

- MSCOCO, GoogleEarth: ``{train,val}2014_input/NAME`` (moving, 192 px),
  ``{train,val}2014_template/NAME`` (fixed, 128 px), ``{train,val}2014_label/STEM_label.txt``;
- VIS_NIR, VIS_IR_drone: ``{train,test}_small_size/VIS/NAME`` (moving), ``.../NIR/NAME`` or
  ``.../IR/NAME`` (fixed), ``.../label/``, where the label is ``STEM_label.txt`` as above, or
  ``STEM.txt``, ``STEM.json`` or ``NAME.json``.

A label is JSON and says where the template's corners lie in the input image, u = x, v = y::

    {"location": [{"top_left_u": 20, "top_left_v": 31}, {"top_right_u": ...}, ...]}
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sdme.data.image_files import file_pair, image_stem, list_images, set_name, visible
from sdme.data.known_packs import PHOTO, pack_info
from sdme.data.pairs import ImagePair, Matrix, PairList, Problem
from sdme.data.truth import checked_matrix
from sdme.errors import InputError
from sdme.geometry.homography import corners, from_four_points
from sdme.io.decode import file_size

_CLOCKWISE = ("top_left", "top_right", "bottom_right", "bottom_left")
_PARTS = {"train": ("train",), "val": ("val", "test"), "test": ("val", "test")}
_PART_FOLDER = re.compile(r"(train|val|test)(2014_(input|template|label)|_small_size)")
_GROUPS_BY_NAME = {"coco": PHOTO, "map": "map", "google": "season"}


@dataclass(frozen=True)
class _Folders:
    """Where one part of a set lies, and the group that the layout tells."""

    moving: Path
    fixed: Path
    label: Path
    group: str | None


def holds_paper_set(folder: str | Path) -> bool:
    """Whether a folder is laid out as a published set, or is one of the folders of a part."""
    folder, _ = _set_and_part(Path(folder), "val")
    return any(_folders(folder, part) is not None for part in _PARTS)


def read_paper_set(folder: str | Path, part: str = "val") -> PairList:
    """List one part of a published set, without decoding images, in the order of ids.

    ``part`` is ``val`` (or ``test``, which is the same) or ``train``; where ``folder`` is that of a
    part (``.../test_small_size``, ``.../val2014_input``), its name counts. An id is the image's
    name without the suffix. Every stem in one of the folders is a pair; one that lacks a partner or
    a label, and whatever is corrupt, is a problem.

    Raises:
        InputError: the part is unknown or not there, or one of its folders is missing.
    """
    folder, part = _set_and_part(Path(folder), part)
    if part not in _PARTS:
        raise InputError(f"part {part!r} is unknown; give val or train")
    place = _folders(folder, part)
    if place is None:
        others = [name for name in ("val", "train") if _folders(folder, name)]
        found = f"found: {' and '.join(others)}" if others else "no part was found"
        raise InputError(f"{folder} has no part {part} of a published set; {found}")
    for path in (place.fixed, place.label):
        if not path.is_dir():
            raise InputError(f"{folder} lacks the folder {path.relative_to(folder)}; complete it")
    dataset = set_name(folder)
    group = place.group or _group_by_name(dataset)
    moving, fixed = _by_stem(place.moving), _by_stem(place.fixed)
    labels = {path.name: path for path in visible(place.label) if path.is_file()}
    pairs, problems = [], []
    for stem in sorted({*moving, *fixed}):
        sides = fixed.get(stem, []), moving.get(stem, [])
        label = _take_label(labels, stem, [path.name for files in sides for path in files])
        try:
            pairs.append(_pair(dataset, stem, *sides, label, group))
        except InputError as error:
            problems.append(Problem(f"{dataset}/{stem} in {place.moving.parent}", str(error)))
    problems += [Problem(str(path), "it is a label without images; remove it or add them")
                 for name, path in sorted(labels.items()) if _is_label(name, path)]  # fmt: skip
    return PairList(pairs, problems)


def read_label(path: str | Path, width: int, height: int) -> Matrix:
    """The matrix from template (fixed) to input (moving) pixels that a label stands for.

    Convention: the label's points are where the centres of the template's corner pixels lie, that
    is of (0, 0), (W-1, 0), (0, H-1) and (W-1, H-1), the corners that ACE is measured at; not the
    outer edges at W and H. The four points determine the matrix exactly.

    Raises:
        InputError: the label cannot be read, lacks a coordinate, or its points determine no
            invertible matrix.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"cannot read label {path}: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise InputError(f"label {path} is not JSON; give an undamaged file") from None
    places = _places(data, f"label {path}")
    quad = torch.tensor(places, dtype=torch.float64)
    matrix = from_four_points(corners(width, height, like=quad), quad)
    return checked_matrix(matrix.numpy(), f"label {path}")


def _places(data: Any, name: str) -> list[list[float]]:
    """The four points, clockwise from the top left, whatever their order in the file."""
    entries = data.get("location") if isinstance(data, Mapping) else None
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        raise InputError(f'{name} lacks "location", a list of four corners')
    merged = {key: value for entry in entries for key, value in entry.items()}
    wanted = [[f"{corner}_{axis}" for axis in "uv"] for corner in _CLOCKWISE]
    for key in (key for keys in wanted for key in keys):
        if type(merged.get(key)) not in (int, float):
            raise InputError(f"{name} lacks the number {key}")
    try:
        return [[float(merged[key]) for key in keys] for keys in wanted]
    except OverflowError:
        raise InputError(f"{name} has a number that is too large") from None


def _pair(
    dataset: str, stem: str, fixed: list[Path], moving: list[Path], label: Path | None, group: str
) -> ImagePair:
    for name, files in (("template", fixed), ("input", moving)):
        if not files:
            raise InputError(f"it has no {name} image")
        if len(files) > 1:
            raise InputError(f"it has {len(files)} {name} images; keep one of them")
    if label is None:
        raise InputError(f"it has no label; {stem}_label.txt is missing")
    truth = read_label(label, *file_size(fixed[0], f"image {fixed[0]}"))
    return file_pair(dataset, stem, fixed[0], moving[0], truth, group)


def _set_and_part(folder: Path, part: str) -> tuple[Path, str]:
    match = _PART_FOLDER.fullmatch(folder.name)
    return (folder, part) if match is None else (folder.parent, match[1])


def _folders(folder: Path, part: str) -> _Folders | None:
    for name in _PARTS[part]:
        first = [folder / f"{name}2014_{kind}" for kind in ("input", "template", "label")]
        if first[0].is_dir():
            return _Folders(*first, group=None)
        small = folder / f"{name}_small_size"
        for other, group in (("NIR", "nir"), ("IR", "thermal")):
            if (small / "VIS").is_dir() and (small / other).is_dir():
                return _Folders(small / "VIS", small / other, small / "label", group)
    return None


def _group_by_name(dataset: str) -> str:
    named = (group for word, group in _GROUPS_BY_NAME.items() if word in dataset.lower())
    return next(named, pack_info(dataset).group)


def _by_stem(folder: Path) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in list_images(folder):
        found.setdefault(image_stem(path.name), []).append(path)
    return found


def _take_label(labels: dict[str, Path], stem: str, names: list[str]) -> Path | None:
    """The label of a stem, taken out of ``labels``."""
    for name in (f"{stem}_label.txt", f"{stem}.txt", f"{stem}.json", *(f"{n}.json" for n in names)):
        if name in labels:
            return labels.pop(name)
    return None


def _is_label(name: str, path: Path) -> bool:
    """Whether a file among the labels is one, and no remark."""
    if name.endswith("_label.txt"):
        return True
    try:
        read_label(path, 2, 2)
    except InputError:
        return False
    return True
