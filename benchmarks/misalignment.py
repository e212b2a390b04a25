"""How well the misalignment of a pair can be told from its images alone.

::

    python benchmarks/misalignment.py --packs PACKS/pairs/train --pairs 40

Known displacements are added to pairs of each pack by warping the moving image; "wrong" is against
them alone, so that a pack that is off itself is wrong by as much. Unrelated images come from two
pairs of one pack. One Markdown table.
"""

import argparse
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np

from sdme.data.known_packs import pack_info
from sdme.data.misalignment import Misalignment, estimate_misalignment
from sdme.data.pairs import ImagePair
from sdme.data.sources import read_all

MARGIN = 10  # px cut off all round, where a warped image has invented pixels
SHIFTS = (0, 2, 4, 8)
TURNED = {"2 degrees": (2.0, 1.0), "3 % larger": (0.0, 1.03)}


@dataclass(frozen=True)
class Trial:
    """An estimate, and its root mean square error over the picture in px."""

    pack: str
    what: str
    found: Misalignment
    error: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packs", type=Path, nargs="+", required=True)
    parser.add_argument("--pairs", type=int, default=40, help="a pack, evenly chosen")
    parser.add_argument("--log", type=Path, help="JSON lines of all trials")
    args = parser.parse_args()
    trials: list[Trial] = []
    print(HEAD)
    for pack, members in groupby(read_all(args.packs).pairs, key=lambda pair: pair.dataset):
        pairs = list(members)
        chosen = np.linspace(0, len(pairs) - 1, min(args.pairs, len(pairs))).round().astype(int)
        with ThreadPoolExecutor(2) as pool:
            jobs = [(pairs[i], pairs[(i + len(pairs) // 2) % len(pairs)], i) for i in chosen]
            found = [
                t for some in pool.map(lambda job: list(pair_trials(*job)), jobs) for t in some
            ]
        print(row(pack, found), flush=True)
        trials += found
    print(row("all", trials))
    if args.log:
        args.log.write_text("".join(json.dumps(record(trial)) + "\n" for trial in trials))


def pair_trials(pair: ImagePair, other: ImagePair, seed: int) -> Iterator[Trial]:
    """All displacements of one pair, in a direction drawn from the seed."""
    fixed, moving = pair.fixed.read(), pair.moving.read()
    direction = np.random.default_rng(seed).uniform(0, 2 * np.pi)
    for length in SHIFTS:
        if length < min(fixed.shape[:2]) / 10 - MARGIN / 5:
            shift = length * np.cos(direction), length * np.sin(direction)
            yield trial(pair, f"{length} px", fixed, moving, displacement(fixed, shift))
    for what, (angle, scale) in TURNED.items():
        yield trial(pair, what, fixed, moving, displacement(fixed, (0, 0), angle, scale))
    strange = cv2.resize(other.moving.read(), fixed.shape[1::-1])
    yield trial(pair, "unrelated", fixed, strange, np.eye(3))


def displacement(
    image: np.ndarray, shift: tuple[float, float], angle: float = 0.0, scale: float = 1.0
) -> np.ndarray:
    height, width = image.shape[:2]
    matrix = np.eye(3)
    matrix[:2] = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, scale)
    matrix[:2, 2] += shift
    return matrix


def trial(
    pair: ImagePair, what: str, fixed: np.ndarray, moving: np.ndarray, truth: np.ndarray
) -> Trial:
    warped = cv2.warpAffine(
        moving, truth[:2], fixed.shape[1::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
    )
    inner = slice(MARGIN, -MARGIN)
    found = estimate_misalignment(fixed[inner, inner], warped[inner, inner])
    height, width = fixed[inner, inner].shape[:2]
    x, y = (axis.ravel() for axis in np.meshgrid(*(np.linspace(-0.5, 0.5, 9),) * 2))
    points = np.stack([x * (width - 1), y * (height - 1)])
    angle = np.radians(found.angle)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    told = found.scale * turn @ points + [[found.dx], [found.dy]]
    middle = (np.array(fixed.shape[1::-1]) - 1)[:, None] / 2
    true = truth[:2, :2] @ (points + middle) + truth[:2, 2:] - middle
    return Trial(pair.dataset, what, found, float(np.sqrt(((told - true) ** 2).sum(0).mean())))


HEAD = (
    "| pack | off, told | off, found | median error | certain | wrong > 1.5 px | flagged, 0 px "
    "| flagged, 8 px | 2 degrees: certain, error | 3 %: certain, error | unrelated: certain |\n"
    "|" + " --- |" * 11
)


def row(pack: str, trials: list[Trial]) -> str:
    shifted = [trial for trial in trials if trial.what.endswith("px")]
    certain = [trial for trial in shifted if trial.found.certain]
    still = [trial.found for trial in trials if trial.what == "0 px"]
    eight = [trial.found for trial in trials if trial.what == "8 px"]
    strange = [trial.found.certain for trial in trials if trial.what == "unrelated"]
    return " | ".join(
        [
            f"| {pack}",
            "" if pack == "all" else f"{pack_info(pack).misalignment:g}",
            median([found.pixels for found in still if found.certain]),
            median([trial.error for trial in certain]),
            share([trial.found.certain for trial in shifted]),
            share([trial.error > 1.5 for trial in certain]),
            share([found.certain and found.pixels > 3 for found in still]),
            share([found.certain and found.pixels > 3 for found in eight]),
            *(turned(trials, what) for what in TURNED),
            share(strange) + " |",
        ]
    )


def turned(trials: list[Trial], what: str) -> str:
    some = [trial for trial in trials if trial.what == what]
    errors = [trial.error for trial in some if trial.found.certain]
    return f"{share([trial.found.certain for trial in some])}, {median(errors)}"


def median(values: list[float]) -> str:
    return f"{np.median(values):.2f}" if values else "-"


def share(values: list[bool]) -> str:
    return f"{np.mean(values):.3f}".rstrip("0").rstrip(".") if values else "-"


def record(trial: Trial) -> dict[str, object]:
    found = trial.found
    return {
        "pack": trial.pack,
        "what": trial.what,
        "dx": round(found.dx, 2),
        "dy": round(found.dy, 2),
        "pixels": round(found.pixels, 2),
        "angle": round(found.angle, 2),
        "scale": round(found.scale, 4),
        "confidence": round(found.confidence, 3),
        "certain": found.certain,
        "error": round(trial.error, 2),
    }


if __name__ == "__main__":
    main()
