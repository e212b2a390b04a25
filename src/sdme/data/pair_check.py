r"""What is wrong with pairs that are meant for training, before the first step.

::

    report = check_pairs(read_all(["my_pairs"]), fewest=8)
    print("\n".join(report.to_lines()))
    report.raise_if_unusable()

The readers of pairs have looked at the headers; here every image is decoded.
"""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from sdme.config import DataSettings
from sdme.data.image_files import check_one_grid
from sdme.data.misalignment import Misalignment, estimate_misalignment
from sdme.data.pair_report import PairOffset, PairReport, pair_name
from sdme.data.pairs import ImageFile, ImagePair, PairList, Problem
from sdme.errors import InputError
from sdme.io.header import Size
from sdme.io.read import MIN_SIDE

SMALLEST_SIDE = 64
MOST_ESTIMATES = 200
_BLANK_RANGE = 2  # grey levels
_TRUTHS = {"transform": "a transform of its own", "landmarks": "landmarks"}
_Picture = UInt8[np.ndarray, "h w 3"]


@dataclass(frozen=True)
class _Finding:
    """What was seen of one pair; ``enlargement`` is that over the size that training stores."""

    problem: Problem | None = None
    content: frozenset[bytes] = frozenset()
    misalignment: Misalignment | None = None
    enlargement: float = 1.0


def check_pairs(
    found: PairList,
    *,
    fewest: int = 1,
    worst_misalignment: float = 3.0,
    smallest_side: int = SMALLEST_SIDE,
    most_estimates: int = MOST_ESTIMATES,
    progress: Callable[[int, int], object] | None = None,
) -> PairReport:
    """Decode every pair and say which can be used for training, and which seem misaligned.

    Args:
        found: what :func:`sdme.data.sources.read_all` gives; its problems are passed on.
        fewest: pairs that a training needs.
        worst_misalignment: pairs that are off by more px are told of. In images whose shorter side
            is above the 320 px at which training stores them, these are px of that size.
        smallest_side: px; images with a shorter side are refused, as are those below 32 px.
        most_estimates: so many pairs, evenly chosen, have their misalignment estimated.
        progress: called with the number of pairs done and of all.
    """
    pairs = found.pairs
    real = [i for i, pair in enumerate(pairs) if not pair.is_photo and pair.truth is None]
    chosen = _evenly(real, most_estimates)
    smallest_side = max(smallest_side, MIN_SIDE)

    def look(index: int) -> _Finding:
        return _look(pairs[index], smallest_side, index in chosen)

    usable: list[ImagePair] = []
    problems, offsets = list(found.problems), []
    first_with: dict[frozenset[bytes], ImagePair] = {}
    contents: dict[ImagePair, frozenset[bytes]] = {}
    with ThreadPoolExecutor() as pool:
        for pair, finding in zip(pairs, pool.map(look, range(len(pairs))), strict=True):
            if finding.content:
                contents[pair] = finding.content
            problem = finding.problem or _repetition(pair, first_with.get(finding.content))
            if problem is not None:
                problems.append(problem)
            else:
                first_with[finding.content] = pair
                usable.append(pair)
                if finding.misalignment is not None:
                    tolerance = worst_misalignment * finding.enlargement
                    offsets.append(PairOffset(pair, finding.misalignment, tolerance))
            if progress is not None:
                progress(len(usable) + len(problems) - len(found.problems), len(pairs))
    return PairReport(usable, problems, offsets, fewest, contents)


def _evenly(items: Sequence[int], count: int) -> frozenset[int]:
    if len(items) <= count:
        return frozenset(items)
    return frozenset(items[i] for i in np.linspace(0, len(items) - 1, count).round().astype(int))


def _repetition(pair: ImagePair, earlier: ImagePair | None) -> Problem | None:
    if earlier is None:
        return None
    return Problem(pair_name(pair), f"it repeats {pair_name(earlier)}; keep one of them")


def _look(pair: ImagePair, smallest_side: int, estimates: bool) -> _Finding:
    """Everything that can be said of a pair without knowing the others."""
    try:
        if pair.truth is not None:
            raise InputError(
                f"it comes with {_TRUTHS[pair.truth_kind]}, but training needs images on one pixel "
                "grid; warp the moving image onto the fixed one first (sdme apply does)"
            )
        fixed = _picture(pair.fixed, smallest_side)
        moving = fixed if pair.is_photo else _picture(pair.moving, smallest_side)
        size = _size(fixed)
        check_one_grid(size, _size(moving))
        content = frozenset(_digest(image) for image in (fixed, moving))
        if len(content) == 1 and not pair.is_photo:
            raise InputError(
                "its two images have the same content; give the other sensor's image, or the "
                "picture alone as a photo"
            )
        misalignment = estimate_misalignment(fixed, moving) if estimates else None
    except InputError as error:
        return _Finding(Problem(pair_name(pair), str(error)))
    except MemoryError:
        return _Finding(Problem(pair_name(pair), "its images do not fit into memory; shrink them"))
    enlargement = max(1.0, min(size) / DataSettings().stored_side)
    return _Finding(None, content, misalignment, enlargement)


def _picture(file: ImageFile, smallest_side: int) -> _Picture:
    """The decoded image.

    Raises:
        InputError: it cannot be read, is too small, or shows nothing.
    """
    image = file.read()
    size = _size(image)
    if min(size) < smallest_side:
        crop = DataSettings().fixed_side
        raise InputError(
            f"image {file} is {size.width}x{size.height} px; crops of {crop} px for training need "
            f"at least {smallest_side}x{smallest_side} px"
        )
    if np.ptp(image, axis=(0, 1)).max() <= _BLANK_RANGE:
        raise InputError(f"image {file} has the same value everywhere; leave the pair out")
    return image


def _size(image: _Picture) -> Size:
    return Size(image.shape[1], image.shape[0])


def _digest(image: _Picture) -> bytes:
    """Of the pixels, not the file: one picture may be stored in two formats."""
    return hashlib.blake2b(repr(image.shape).encode() + image.tobytes(), digest_size=16).digest()
