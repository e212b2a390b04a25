"""What a check of training pairs found: a listing, a record, and whether training can begin."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sdme.data.misalignment import Misalignment
from sdme.data.pairs import ImagePair, Problem
from sdme.errors import InputError

_FEWEST_SHIFTS = 5
_SHARED_BY = 0.6
_SMALLEST_COMMON_SHIFT = 1.5
_COMMON_WITHIN = 1.0
_CANNOT_TELL = 0.2


@dataclass(frozen=True)
class PairOffset:
    """The misalignment of a pair, and from how many px on it is told of."""

    pair: ImagePair
    misalignment: Misalignment
    tolerance: float

    @property
    def is_off(self) -> bool:
        """Whether the pair certainly is off by more than the tolerance."""
        return self.misalignment.certain and self.misalignment.pixels > self.tolerance


@dataclass(frozen=True)
class CommonShift:
    """The median shift in px, and how many of the pairs that could be judged are within 1 px."""

    dx: float
    dy: float
    pairs: int
    judged: int

    def __str__(self) -> str:
        return (
            f"{self.pairs} of the {self.judged} pairs that can be judged are shifted alike, by "
            f"about ({self.dx:.1f}, {self.dy:.1f}) px: a half-done registration or crop? "
            "Shift the moving images back once for all"
        )


@dataclass(frozen=True)
class PairReport:
    """Pairs that can be used, in their order, and all that is to be said of the others.

    ``problems`` are those of the reader and those of the decoded images. ``offsets`` are the
    estimates of misalignment: of all usable pairs but photos, or of a part of them. ``contents``
    has digests of the pixels of both images, for all pairs that can be decoded, repeated ones too.
    """

    usable: Sequence[ImagePair]
    problems: Sequence[Problem]
    offsets: Sequence[PairOffset]
    fewest: int
    contents: Mapping[ImagePair, frozenset[bytes]] = field(default_factory=dict)

    @property
    def given(self) -> int:
        """Number of usable pairs and problems."""
        return len(self.usable) + len(self.problems)

    @property
    def warnings(self) -> list[PairOffset]:
        """Pairs that certainly are off, the worst first; they are among the usable ones."""
        off = [offset for offset in self.offsets if offset.is_off]
        return sorted(off, key=lambda offset: -offset.misalignment.pixels)

    @property
    def judged(self) -> int:
        """For how many pairs the misalignment could be told."""
        return sum(offset.misalignment.certain for offset in self.offsets)

    @property
    def common_shift(self) -> CommonShift | None:
        """One shift of at least 1.5 px that most of the judged pairs share, if there is one."""
        found = [offset.misalignment for offset in self.offsets if offset.misalignment.certain]
        if len(found) < _FEWEST_SHIFTS:
            return None
        shifts = np.array([(one.dx, one.dy) for one in found])
        dx, dy = (float(value) for value in np.median(shifts, axis=0))
        near = int((np.hypot(*(shifts - (dx, dy)).T) <= _COMMON_WITHIN).sum())
        if math.hypot(dx, dy) < _SMALLEST_COMMON_SHIFT or near < _SHARED_BY * len(found):
            return None
        return CommonShift(dx, dy, near, len(found))

    def raise_if_unusable(self, listing: str | Path | None = None) -> None:
        """Refuse to train on too few pairs; ``listing`` names the file with all problems.

        Raises:
            InputError: fewer pairs than ``fewest`` can be used.
        """
        if len(self.usable) >= self.fewest:
            return
        text = f"{len(self.usable)} of {self.given} pairs can be used, {self.fewest} are needed"
        if self.problems:
            first = self.problems[0]
            text += f"; the first problem of {len(self.problems)}: {first.where}: {first.why}"
        if self.problems and listing is not None:
            text += f"; all are listed in {listing}"
        raise InputError(f"{text}; {'mend or ' if self.problems else ''}add pairs")

    def to_lines(self) -> list[str]:
        """A listing for people, the most important first."""
        return list(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"{len(self.usable)} of {self.given} pairs can be used"
        if len(self.usable) < self.fewest:
            yield f"that is too few: {self.fewest} are needed"
        for problem in self.problems:
            yield f"cannot be used: {problem.where}: {problem.why}"
        if self.offsets:
            yield (
                f"alignment was looked at in {len(self.offsets)} pairs and can be judged in "
                f"{self.judged}; {len(self.warnings)} are off"
            )
        yield from self.general_findings()
        for offset in self.warnings:
            yield f"seems misaligned: {pair_name(offset.pair)}: {offset.misalignment}"

    def general_findings(self) -> Iterator[str]:
        """What seems wrong with the data as a whole; nothing as a rule."""
        if self.judged < _CANNOT_TELL * len(self.offsets):
            yield (
                "most pairs cannot be judged: their images have too little in common to tell (do "
                "they show one scene?), or they are off by more than a tenth of their size; look "
                "at some of them"
            )
        if self.common_shift is not None:
            yield str(self.common_shift)

    def to_data(self) -> dict[str, Any]:
        """The same for machines, as JSON can hold it."""
        shift = self.common_shift
        return {
            "usable": len(self.usable),
            "given": self.given,
            "fewest": self.fewest,
            "problems": [{"where": one.where, "why": one.why} for one in self.problems],
            "looked_at": len(self.offsets),
            "judged": self.judged,
            "common_shift": None if shift is None else {"dx": shift.dx, "dy": shift.dy,
                                                        "pairs": shift.pairs},
            "misaligned": [_record(offset) for offset in self.warnings],
        }  # fmt: skip


def pair_name(pair: ImagePair) -> str:
    """How a pair is called in listings."""
    return f"pair {pair.dataset}/{pair.id}"


def _record(offset: PairOffset) -> dict[str, Any]:
    found = offset.misalignment
    return {
        "dataset": offset.pair.dataset,
        "id": offset.pair.id,
        "pixels": found.pixels,
        "dx": found.dx,
        "dy": found.dy,
        "angle": found.angle,
        "scale": found.scale,
        "confidence": found.confidence,
        "tolerance": offset.tolerance,
    }
