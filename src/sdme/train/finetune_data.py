"""The pairs of a fine-tuning: those to train on, those held out, and photos beside them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sdme.data.pair_check import check_pairs
from sdme.data.pair_report import PairReport, pair_name
from sdme.data.pairs import ImageFile, ImagePair, PairList, Problem
from sdme.data.sources import read_all
from sdme.errors import InputError
from sdme.train.holdout import LEAST_HELD_OUT, LEAST_TRAINING, Split, split_pairs

Inputs = Sequence[str | Path]
_MOST_TOLD = 20  # lines about data that are refused


@dataclass(frozen=True)
class FinetuneData:
    """What the inputs hold that can be used, and what the check of all pairs found."""

    split: Split
    photos: tuple[ImagePair, ...]
    report: PairReport


def read_data(
    data: Inputs,
    validation: Inputs,
    photos: Inputs,
    *,
    share: float,
    seed: int,
    tell: Callable[[str], object],
) -> FinetuneData:
    """Read and check the inputs; :class:`sdme.train.finetune.FinetuneOptions` says what they are.

    ``tell`` is called with what is wrong with the pairs, line by line, before they are refused.

    Raises:
        InputError: an input cannot be read or is of the wrong kind, too few pairs can be used, or
            a held-out picture is trained on as well.
    """
    if not data:
        raise InputError("no data was given; name a folder, pack or manifest of aligned pairs")
    listed, problems = _pairs(data)
    held_out, more = _pairs(validation) if validation else ([], [])
    _check_apart(listed, held_out)
    report = check_pairs(
        PairList([*listed, *held_out], [*problems, *more]), fewest=LEAST_TRAINING + LEAST_HELD_OUT
    )
    if len(report.usable) < report.fewest:
        for line in report.to_lines()[:_MOST_TOLD]:
            tell(line)
    report.raise_if_unusable()
    if validation:
        given = {id(pair) for pair in held_out}
        split = Split(
            tuple(pair for pair in report.usable if id(pair) not in given),
            tuple(pair for pair in report.usable if id(pair) in given),
        )
        _check_size(split)
    else:
        split = split_pairs(report.usable, share, seed)
    return FinetuneData(split, _photos(photos) if photos else (), report)


def _pairs(paths: Inputs) -> tuple[Sequence[ImagePair], Sequence[Problem]]:
    found = read_all(paths, "train")
    if single := [pair for pair in found.pairs if pair.is_photo]:
        raise InputError(
            f"{pair_name(single[0])} is a single image; give pairs, and single images as photos"
        )
    return found.pairs, found.problems


def _photos(paths: Inputs) -> tuple[ImagePair, ...]:
    found = read_all(paths, "train")
    if wrong := [pair for pair in found.pairs if not pair.is_photo]:
        raise InputError(
            f"{len(wrong)} of the photos are pairs, the first: {pair_name(wrong[0])}; give packs "
            "of single images as photos, and pairs as data"
        )
    return tuple(found.pairs)


def _check_apart(training: Sequence[ImagePair], held_out: Sequence[ImagePair]) -> None:
    files = {_place(image) for pair in training for image in (pair.fixed, pair.moving)}
    for pair in held_out:
        if {_place(pair.fixed), _place(pair.moving)} & files:
            raise InputError(
                f"the held-out {pair_name(pair)} is trained on as well; take it out of the data"
            )


def _check_size(split: Split) -> None:
    """Check that a split by the user has enough pairs on each side."""
    if len(split.training) < LEAST_TRAINING or len(split.held_out) < LEAST_HELD_OUT:
        raise InputError(
            f"{len(split.training)} usable pair(s) to train on and {len(split.held_out)} to judge "
            f"the result by are too few; give at least {LEAST_TRAINING} and {LEAST_HELD_OUT}"
        )


def _place(image: ImageFile) -> tuple[Path, str | None]:
    return image.path.resolve(), image.member
