"""Pairs from whatever a path names: the one door to all readers."""

from collections.abc import Iterable
from pathlib import Path

from sdme.data.folder_pairs import LAYOUTS, LayoutError, read_folder
from sdme.data.manifest import SUFFIXES, read_manifest
from sdme.data.packs import list_packs, pack_pairs
from sdme.data.pairs import ImagePair, PairList, Problem
from sdme.data.paper_sets import holds_paper_set, read_paper_set
from sdme.errors import InputError

_ACCEPTED = (
    "a .tar pack (of pairs, or of photos) or a folder of packs, a published set (val2014_input, "
    "test_small_size, ...), a "
    f"manifest ({', '.join(SUFFIXES)}), or a folder of pairs ({LAYOUTS})"
)


def read_pairs(path: str | Path, part: str = "val") -> PairList:
    """List the pairs that a path names, without decoding images.

    Accepted are a pack or a folder of packs (:mod:`~sdme.data.packs`), a published set
    (:mod:`~sdme.data.paper_sets`; ``part``, ``val`` or ``train``, matters to it alone), a manifest
    (:mod:`~sdme.data.manifest`) and a folder of pairs (:mod:`~sdme.data.folder_pairs`).

    Raises:
        InputError: nothing of this kind is there, it cannot be read, or no pair of it can be used.
    """
    path = Path(path)
    found = _read(path, part)
    if not found.pairs:
        first = f", the first: {found.problems[0].where}: {found.problems[0].why}"
        raise InputError(
            f"{path} holds no pair that can be used; "
            f"{len(found.problems)} problem(s){first if found.problems else ''}"
        )
    return found


def read_all(paths: Iterable[str | Path], part: str = "val") -> PairList:
    """List the pairs of several inputs, in their order; see :func:`read_pairs`.

    Every set comes from one input, so that no table mixes two sets of one name.

    Raises:
        InputError: as :func:`read_pairs`; two inputs have a set of the same name; there is no path.
    """
    pairs: list[ImagePair] = []
    problems: list[Problem] = []
    origin: dict[str, str | Path] = {}
    for path in paths:
        found = read_pairs(path, part)
        for dataset in {pair.dataset for pair in found.pairs}:
            if dataset in origin:
                raise InputError(
                    f"{origin[dataset]} and {path} both have a set named {dataset}; rename one "
                    "(sets are named after their file or folder)"
                )
            origin[dataset] = path
        pairs += found.pairs
        problems += found.problems
    if not pairs:
        raise InputError(f"no input was given; give {_ACCEPTED}")
    return PairList(pairs, problems)


def _read(path: Path, part: str) -> PairList:
    suffix = path.suffix.lower()
    if not path.exists():
        raise InputError(f"{path} does not exist; give {_ACCEPTED}")
    if path.is_file() and suffix == ".tar":
        return pack_pairs(path)
    if path.is_file() and suffix in SUFFIXES:
        return read_manifest(path)
    if not path.is_dir():
        raise InputError(f"{path} is no list of pairs; give {_ACCEPTED}")
    if holds_paper_set(path):
        return read_paper_set(path, part)
    if any(path.glob("*.tar")):
        packs = [pack_pairs(pack) for pack in list_packs(path)]
        return PairList(
            [pair for pack in packs for pair in pack.pairs],
            [problem for pack in packs for problem in pack.problems],
        )
    try:
        return read_folder(path)
    except LayoutError:
        raise InputError(f"{path} holds no pairs; give {_ACCEPTED}") from None
