"""A folder of pairs in one of the layouts that people use, with the truth of each pair if known.

- Marked files: ``ID.a.png`` and ``ID.b.png``; ``fixed`` and ``moving`` may stand for ``a`` and
  ``b``, and ``_`` or ``-`` for the dot. The truth is ``ID.json``, ``.txt``, ``.csv`` or ``.mat``.
- Two folders: ``visible/ID.png`` and ``thermal/ID.png``. The first by the alphabet holds the fixed
  images, unless they are called ``fixed`` and ``moving``. The truth lies in either, or above.
- A folder a pair: ``ID/fixed.png``, ``ID/moving.png`` and for the truth ``ID/truth.json`` (...).

:func:`sdme.data.truth.read_truth` says what a truth may be; pairs without one lie on one pixel
grid. The suffixes of two images may differ. Files that are no images are left aside.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from sdme.data.image_files import file_pair, image_stem, list_images, set_name, visible
from sdme.data.known_packs import pack_info
from sdme.data.pairs import ImagePair, PairList, Problem
from sdme.data.truth import SUFFIXES, is_truth
from sdme.errors import InputError

LAYOUTS = "ID.a.EXT and ID.b.EXT, two folders with equal names, ID/fixed.EXT and ID/moving.EXT"
_MARKED = re.compile(r"(?P<id>.+)[._-](?P<side>a|b|fixed|moving)", re.IGNORECASE)
_SIDES = {"a": "fixed", "b": "moving", "fixed": "fixed", "moving": "moving"}


class LayoutError(InputError):
    """A folder has none of the layouts."""


@dataclass
class _Files:
    """All files that claim to belong to one pair."""

    fixed: list[Path] = field(default_factory=list)
    moving: list[Path] = field(default_factory=list)
    truth: list[Path] = field(default_factory=list)

    def add(self, side: str, path: Path) -> None:
        (self.fixed if side == "fixed" else self.moving).append(path)

    def pair(self, dataset: str, identity: str) -> ImagePair:
        for name, files in (("fixed", self.fixed), ("moving", self.moving)):
            if not files:
                raise InputError(f"it has no {name} image")
        for files in (self.fixed, self.moving, self.truth):
            if len(files) > 1:
                names = " and ".join(str(path) for path in files)
                raise InputError(f"{names} stand for the same; keep one of them")
        truth = self.truth[0] if self.truth else None
        group = pack_info(dataset).group
        return file_pair(dataset, identity, self.fixed[0], self.moving[0], truth, group)


@dataclass
class _Found:
    """Files by the pair's id, and those that should have belonged to a pair."""

    files: dict[str, _Files] = field(default_factory=lambda: defaultdict(_Files))
    stray: list[Path] = field(default_factory=list)

    def add_truths(self, folder: Path) -> None:
        """Give each pair the truth of its name; one without images is a stray."""
        for path in visible(folder):
            if path.suffix.lower() in SUFFIXES and path.is_file():
                if path.stem in self.files:
                    self.files[path.stem].truth.append(path)
                elif is_truth(path):
                    self.stray.append(path)


def read_folder(folder: str | Path) -> PairList:
    """List a folder of pairs, without decoding, in the order of their ids; its name is the set's.

    An image without a partner, a truth without images, whatever stands for a pair twice, and what
    :func:`sdme.data.image_files.file_pair` refuses are problems.

    Raises:
        LayoutError: the folder has none of the layouts.
        InputError: it cannot be listed.
    """
    folder = Path(folder)
    found = _marked_files(folder) or _folder_a_pair(folder) or _two_folders(folder)
    if found is None:
        raise LayoutError(f"{folder} holds no pairs of images; accepted are {LAYOUTS}")
    pairs = []
    problems = [Problem(str(path), "it belongs to no pair; rename or remove it")
                for path in sorted(found.stray)]  # fmt: skip
    for identity, files in sorted(found.files.items()):
        try:
            pairs.append(files.pair(set_name(folder), identity))
        except InputError as error:
            problems.append(Problem(f"pair {folder / identity}", str(error)))
    return PairList(pairs, problems)


def _marked_files(folder: Path) -> _Found | None:
    images = list_images(folder)
    marks = {path: _MARKED.fullmatch(image_stem(path.name)) for path in images}
    if not any(marks.values()):
        return None
    found = _Found()
    for path, mark in marks.items():
        if mark is None:
            found.stray.append(path)
        else:
            found.files[mark["id"]].add(_SIDES[mark["side"].lower()], path)
    found.stray += _images_of(_folders(folder))
    found.add_truths(folder)
    return found


def _folder_a_pair(folder: Path) -> _Found | None:
    folders = _folders(folder)
    if not any(image_stem(path.name).lower() in _SIDES for path in _images_of(folders)):
        return None
    found = _Found(stray=list_images(folder))
    for sub in folders:
        for path in list_images(sub):
            side = _SIDES.get(image_stem(path.name).lower())
            if side is None:
                found.stray.append(path)
            else:
                found.files[sub.name].add(side, path)
        for suffix in SUFFIXES:
            if (truth := sub / f"truth{suffix}").is_file():
                found.files[sub.name].truth.append(truth)
    return found


def _two_folders(folder: Path) -> _Found | None:
    by_folder = {sub: images for sub in _folders(folder) if (images := list_images(sub))}
    if len(by_folder) != 2:
        return None
    # "fixed" comes before "moving" in the alphabet
    first, second = sorted(by_folder, key=lambda sub: sub.name.lower())
    found = _Found(stray=list_images(folder))
    for side, sub in (("fixed", first), ("moving", second)):
        for path in by_folder[sub]:
            found.files[image_stem(path.name)].add(side, path)
    if not any(files.fixed and files.moving for files in found.files.values()):
        return None
    for place in (folder, first, second):
        found.add_truths(place)
    return found


def _folders(folder: Path) -> list[Path]:
    return [path for path in visible(folder) if path.is_dir()]


def _images_of(folders: Iterable[Path]) -> list[Path]:
    return [path for folder in folders for path in list_images(folder)]
