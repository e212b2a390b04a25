"""Which pairs of a set are held out of training, so that it can be judged on them.

Names tell neighbours: ``frame_0001`` and ``frame_0002`` show nearly the same. A random choice
would hold out pairs whose neighbours are trained on, and the figures would flatter the model. So
whole blocks of the sorted order are held out, and only the pairs at their ends have neighbours in
training. Pairs that share a picture, as one photo with two other sensors, are on one side together.
"""

import hashlib
import json
import random
import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path, PurePath

from sdme.data.pairs import ImageFile, ImagePair
from sdme.errors import InputError
from sdme.files import replacing, write_text

SHARE = 0.2
LEAST_HELD_OUT = 4
LEAST_TRAINING = 4
_MOST_BLOCKS = 5


@dataclass(frozen=True)
class Split:
    """Pairs to train on, and pairs that training never sees, each in their sorted order."""

    training: tuple[ImagePair, ...]
    held_out: tuple[ImagePair, ...]


def split_pairs(
    pairs: Sequence[ImagePair],
    share: float = SHARE,
    seed: int = 0,
    contents: Mapping[ImagePair, frozenset[bytes]] | None = None,
) -> Split:
    """Hold out a share of the pairs, at least ``LEAST_HELD_OUT``, in blocks of the sorted order.

    Pairs are sorted by dataset and id, numbers in ids by their value. Pairs that share a picture,
    by its file or by the digests in ``contents``, stay together at the place of the first. The
    order is cut into equal stretches: one for every ``LEAST_HELD_OUT`` pairs to hold out, up to
    five. In each stretch one block is held out; where it lies follows from the seed and the ids
    of the pairs alone, not from what their folder is called. A block is longer than asked for only
    where shared pictures make it so.

    Raises:
        InputError: so few pairs are given, or so many share a picture, that not enough are left to
            train on or to hold out.
    """
    ordered = sorted(pairs, key=_place)
    count = max(LEAST_HELD_OUT, round(share * len(ordered)))
    if len(ordered) - count < LEAST_TRAINING:
        raise InputError(
            f"{len(ordered)} usable pair(s) are too few: {count} are held out to judge the result, "
            f"and at least {LEAST_TRAINING} are needed to train on; give more pairs, 20 or more "
            "if you can"
        )
    names = "\n".join(pair.id for pair in ordered)
    digest = hashlib.sha256(f"{seed}\n{names}".encode(errors="surrogateescape")).digest()
    draw = random.Random(digest)
    held_out = _blocks(_units(ordered, contents or {}), len(ordered), count, draw)
    split = Split(
        tuple(pair for pair in ordered if pair not in held_out),
        tuple(pair for pair in ordered if pair in held_out),
    )
    if len(split.training) < LEAST_TRAINING or len(split.held_out) < LEAST_HELD_OUT:
        raise InputError(
            f"too many of the {len(ordered)} usable pairs share a picture: no part can be held out "
            "whose pictures are not trained on; give pairs of other pictures to judge by (--val)"
        )
    return split


def _units(
    ordered: Sequence[ImagePair], contents: Mapping[ImagePair, frozenset[bytes]]
) -> list[list[ImagePair]]:
    """Pairs that share a picture, directly or through other pairs, in the order of their first."""
    parent = list(range(len(ordered)))

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = number = parent[parent[number]]
        return number

    first_with: dict[ImageFile | bytes, int] = {}
    for number, pair in enumerate(ordered):
        for picture in (pair.fixed, pair.moving, *contents.get(pair, ())):
            other = root(first_with.setdefault(picture, number))
            first, second = sorted((other, root(number)))
            parent[second] = first
    units: dict[int, list[ImagePair]] = {}
    for number, pair in enumerate(ordered):
        units.setdefault(root(number), []).append(pair)
    return list(units.values())


def _blocks(
    units: Sequence[Sequence[ImagePair]], total: int, count: int, draw: random.Random
) -> set[ImagePair]:
    """A block of units from each stretch, together about ``count`` of the ``total`` pairs."""
    edges = list(accumulate((len(unit) for unit in units), initial=0))
    number = min(_MOST_BLOCKS, count // LEAST_HELD_OUT)
    held_out: set[ImagePair] = set()
    for block in range(number):
        first, last = (bisect_left(edges, total * edge // number) for edge in (block, block + 1))
        length = count * (block + 1) // number - count * block // number
        runs = [
            (edges[end] - edges[start], start, end)
            for start in range(first, last)
            if (end := bisect_left(edges, edges[start] + length)) <= last
        ]
        if runs:
            shortest = min(runs)[0]
            _, start, end = draw.choice([run for run in runs if run[0] == shortest])
            held_out.update(pair for unit in units[start:end] for pair in unit)
    return held_out


def write_manifest(pairs: Sequence[ImagePair], path: Path) -> None:
    """Name pairs on one grid in JSON lines, so that they can be evaluated again.

    Files stay where they are; members of packs are unpacked into a folder beside the manifest that
    is named after it.

    Raises:
        InputError: a member cannot be read, or nothing can be written there.
    """
    rows = []
    for number, pair in enumerate(pairs):
        row = {"dataset": pair.dataset, "id": pair.id, "group": pair.group}
        for side, image in (("fixed", pair.fixed), ("moving", pair.moving)):
            row[side] = str(_file_of(image, path, f"{number:05d}_{side}"))
        rows.append(json.dumps(row) + "\n")
    write_text(path, "".join(rows))


def _file_of(image: ImageFile, manifest: Path, name: str) -> Path:
    """The image's own file, or a copy of the member, as the manifest names it."""
    if image.member is None:
        return image.path.resolve()
    folder = manifest.with_suffix("")
    folder.mkdir(exist_ok=True)
    file = folder / f"{name}{PurePath(image.member).suffix}"
    with replacing(file) as temporary:
        temporary.write_bytes(image.content())
    return file.relative_to(manifest.parent)


def _place(pair: ImagePair) -> tuple[str, list[tuple[int, str]], str]:
    """Sorts by dataset and id, so that frame_9 comes before frame_10."""
    parts = re.findall(r"\d+|\D+", pair.id)
    natural = [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
    return pair.dataset, natural, pair.id
