"""The pairs of a fine-tuning: those to train on, those held out, and photos beside them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sdme.data.manifest import SUFFIXES
from sdme.data.pair_check import check_pairs
from sdme.data.pair_report import PairReport, pair_name
from sdme.data.pairs import ImagePair, PairList, Problem
from sdme.data.sources import read_all
from sdme.errors import InputError
from sdme.model.weights import records, weights_beside, weights_path
from sdme.train.holdout import LEAST_HELD_OUT, LEAST_TRAINING, Split, split_pairs

Inputs = Sequence[str | Path]
_MOST_TOLD = 20  # lines about data that are refused


@dataclass(frozen=True)
class FinetuneData:
    """What the inputs hold that can be used, and what the check of all pairs and photos found."""

    split: Split
    photos: tuple[ImagePair, ...]
    report: PairReport
    photo_problems: tuple[Problem, ...] = ()


def check_order(model: str, data: Inputs) -> None:
    """Check that the model is none of the data, nor one of the data a model.

    Raises:
        InputError: they are swapped, the folder of a run stands for the weights in it, or there is
            no such model.
    """
    names = [record.name for record in records()]
    path = Path(model)
    models = [one for one in map(str, data) if one in names and not Path(one).exists()]
    models += [one for one in map(str, data) if Path(one).suffix == ".safetensors"]
    is_data = model not in names and (path.is_dir() or path.suffix.lower() in (".tar", *SUFFIXES))
    if models and is_data:
        raise InputError(
            f"{model} and {models[0]} seem swapped; give the model first ({models[0]}), then the "
            "data"
        )
    if models:
        raise InputError(f"{models[0]} is a model, not data; give one model, and then the data")
    if is_data:
        hint = weights_beside(path, ", or ")
        raise InputError(
            f"{model} is no model; give first what to start from (one of {', '.join(names)}, or a "
            f".safetensors file{hint}), then the data"
        )
    weights_path(model)  # before the data are looked at, which takes long


def read_data(
    data: Inputs,
    validation: Inputs,
    photos: Inputs,
    *,
    share: float,
    seed: int,
    tell: Callable[[str], object],
    progress: Callable[[int, int], object] | None = None,
) -> FinetuneData:
    """Read and check the inputs; :class:`sdme.train.finetune.FinetuneOptions` says what they are.

    ``tell`` is called with what is wrong with the pairs, line by line, before they are refused;
    ``progress`` with the number of pairs and photos that were looked at, and of all.

    Raises:
        InputError: an input cannot be read or is of the wrong kind, too few pairs can be used, or
            a held-out picture is trained on as well, be it in another file.
    """
    if not data:
        raise InputError("no data was given; name a folder, pack or manifest of aligned pairs")
    listed, problems = _pairs(data)
    held_out, more = _pairs(validation) if validation else ([], [])
    single = _photos(photos) if photos else PairList([])
    count, total = len(listed) + len(held_out), len(listed) + len(held_out) + len(single.pairs)
    show = progress or (lambda done, total: None)
    report = check_pairs(
        PairList([*listed, *held_out], [*problems, *more]),
        fewest=LEAST_TRAINING + LEAST_HELD_OUT,
        progress=lambda done, _: show(done, total),
    )
    _check_apart(held_out, listed, report.contents)
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
        split = split_pairs(report.usable, share, seed, report.contents)
    checked = check_pairs(single, progress=lambda done, _: show(count + done, total))
    if photos and not checked.usable:
        first = checked.problems[0]
        raise InputError(f"no photo can be used; the first problem: {first.where}: {first.why}")
    _check_apart(split.held_out, checked.usable, {**report.contents, **checked.contents})
    return FinetuneData(split, tuple(checked.usable), report, tuple(checked.problems))


def _pairs(paths: Inputs) -> tuple[Sequence[ImagePair], Sequence[Problem]]:
    found = read_all(paths, "train")
    if single := [pair for pair in found.pairs if pair.is_photo]:
        raise InputError(
            f"{pair_name(single[0])} is a single image; give pairs, and single images as photos"
        )
    return found.pairs, found.problems


def _photos(paths: Inputs) -> PairList:
    found = read_all(paths, "train")
    if wrong := [pair for pair in found.pairs if not pair.is_photo]:
        raise InputError(
            f"{len(wrong)} of the photos are pairs, the first: {pair_name(wrong[0])}; give packs "
            "of single images as photos, and pairs as data"
        )
    return found


def _check_apart(
    held_out: Sequence[ImagePair],
    training: Sequence[ImagePair],
    contents: Mapping[ImagePair, frozenset[bytes]],
) -> None:
    """Check that no picture is on both sides, by the digests of what can be decoded."""

    def digests(pair: ImagePair) -> frozenset[bytes]:
        return frozenset() if pair.truth is not None else contents.get(pair, frozenset())

    first_with: dict[bytes, ImagePair] = {}
    for pair in training:
        for digest in digests(pair):
            first_with.setdefault(digest, pair)
    both = [
        (pair, first_with[digest])
        for pair in held_out
        for digest in digests(pair)
        if digest in first_with
    ]
    if both:
        pair, other = both[0]
        raise InputError(
            f"{len(both)} held-out picture(s) are trained on as well, the first: one of "
            f"{pair_name(pair)} is in {pair_name(other)}; take them out of the data or the photos"
        )


def _check_size(split: Split) -> None:
    """Check that a split by the user has enough pairs on each side."""
    if len(split.training) < LEAST_TRAINING or len(split.held_out) < LEAST_HELD_OUT:
        raise InputError(
            f"{len(split.training)} usable pair(s) to train on and {len(split.held_out)} to judge "
            f"the result by are too few; give at least {LEAST_TRAINING} and {LEAST_HELD_OUT}"
        )
