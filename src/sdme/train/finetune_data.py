"""The pairs of a fine-tuning: those to train on, those held out, and photos beside them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sdme.data.pairs import ImageFile, ImagePair, Problem
from sdme.data.sources import read_all
from sdme.errors import InputError
from sdme.train.holdout import LEAST_HELD_OUT, LEAST_TRAINING, Split, split_pairs

Inputs = Sequence[str | Path]


@dataclass(frozen=True)
class FinetuneData:
    """What the inputs hold, and what of them could not be used."""

    split: Split
    photos: tuple[ImagePair, ...]
    problems: tuple[Problem, ...]


def read_data(
    data: Inputs, validation: Inputs, photos: Inputs, *, share: float, seed: int
) -> FinetuneData:
    """List the inputs; see :class:`sdme.train.finetune.FinetuneOptions` for their meaning.

    Raises:
        InputError: an input cannot be read, holds pairs of the wrong kind or too few, or a held-out
            picture is trained on as well.
    """
    listed, held_out, single = (
        read_all(paths, "train") if paths else None for paths in (data, validation, photos)
    )
    if listed is None:
        raise InputError("no data was given; name a folder, pack or manifest of aligned pairs")
    problems = [p for found in (listed, held_out, single) if found for p in found.problems]
    pairs = _aligned(listed.pairs, "data")
    if held_out is None:
        split = split_pairs(pairs, share, seed)
    else:
        split = Split(pairs, _aligned(held_out.pairs, "held-out pairs"))
        _check_split(split)
    images = tuple(single.pairs) if single else ()
    if wrong := [pair for pair in images if not pair.is_photo]:
        raise InputError(
            f"{len(wrong)} of the photos are pairs, the first: {_name(wrong[0])}; give single "
            "images as photos, and pairs as data"
        )
    return FinetuneData(split, images, tuple(problems))


def _aligned(pairs: Sequence[ImagePair], what: str) -> tuple[ImagePair, ...]:
    """The pairs, if all of them are two images on one pixel grid."""
    for pair in pairs:
        if pair.is_photo:
            raise InputError(
                f"the {what} hold {_name(pair)}, which is a single image; give pairs, and single "
                "images as photos"
            )
        if pair.truth is not None:
            raise InputError(
                f"the {what} hold {_name(pair)}, which comes with a transform or landmarks; give "
                "pairs on one pixel grid (sdme apply brings an image onto another's grid)"
            )
    return tuple(pairs)


def _check_split(split: Split) -> None:
    """Check pairs that the user has split."""
    trained = {_place(image) for pair in split.training for image in (pair.fixed, pair.moving)}
    for pair in split.held_out:
        if {_place(pair.fixed), _place(pair.moving)} & trained:
            raise InputError(
                f"the held-out pair {_name(pair)} is trained on as well; take it out of the data"
            )
    if len(split.training) < LEAST_TRAINING or len(split.held_out) < LEAST_HELD_OUT:
        raise InputError(
            f"{len(split.training)} usable pair(s) to train on and {len(split.held_out)} to judge "
            f"the result are too few; give at least {LEAST_TRAINING} and {LEAST_HELD_OUT}, and 16 "
            "or more to train on if you can"
        )


def _name(pair: ImagePair) -> str:
    return f"{pair.dataset}/{pair.id}"


def _place(image: ImageFile) -> tuple[Path, str | None]:
    return image.path.resolve(), image.member
