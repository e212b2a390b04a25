"""Which pairs of a set are held out of training, so that it can be judged on them.

Names tell neighbours: ``frame_0001`` and ``frame_0002`` show nearly the same. A random choice
would hold out pairs whose neighbours are trained on, and the figures would flatter the model. So
whole blocks of the sorted order are held out, and only the pairs at their ends have neighbours in
training.
"""

import hashlib
import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
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


def split_pairs(pairs: Sequence[ImagePair], share: float = SHARE, seed: int = 0) -> Split:
    """Hold out a share of the pairs, at least ``LEAST_HELD_OUT``, in blocks of the sorted order.

    Pairs are sorted by dataset and id, numbers in ids by their value, and the order is cut into
    equal stretches: one for every ``LEAST_HELD_OUT`` pairs to hold out, up to five. In each
    stretch one block is held out; where it lies follows from the seed and the names of the pairs
    alone.

    Raises:
        InputError: so few pairs are given that nothing is left to train on.
    """
    ordered = sorted(pairs, key=_place)
    count = max(LEAST_HELD_OUT, round(share * len(ordered)))
    if len(ordered) - count < LEAST_TRAINING:
        raise InputError(
            f"{len(ordered)} usable pair(s) are too few: {count} are held out to judge the result, "
            f"and at least {LEAST_TRAINING} are needed to train on; give more pairs, 20 or more "
            "if you can"
        )
    names = "\n".join(f"{pair.dataset}/{pair.id}" for pair in ordered)
    digest = hashlib.sha256(f"{seed}\n{names}".encode(errors="surrogateescape")).digest()
    draw = random.Random(digest)
    blocks = min(_MOST_BLOCKS, count // LEAST_HELD_OUT)
    held_out: set[int] = set()
    for block in range(blocks):
        first, last = (len(ordered) * edge // blocks for edge in (block, block + 1))
        length = count * (block + 1) // blocks - count * block // blocks
        start = draw.randint(first, last - length)
        held_out.update(range(start, start + length))
    return Split(
        tuple(pair for place, pair in enumerate(ordered) if place not in held_out),
        tuple(pair for place, pair in enumerate(ordered) if place in held_out),
    )


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
