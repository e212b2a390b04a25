"""How far images may be turned and scaled against each other, with and without search.

::

    python benchmarks/rotation.py --log rotation.jsonl --figure docs/images/search.svg
    python benchmarks/rotation.py --packs PACKS/pairs/val PACKS/photos/val --log rotation.jsonl

Every pair is drawn at each angle, resolution and share of the scene on its own: the fixed image is
a slightly tilted view of one image of the pair, the moving image the whole other one. An answer is
right when its corner error is below 5 px of a fixed image of 128 px a side (where the moving image
shows a part of the scene alone, of the moving one, at its corners); no answer is wrong. The samples
are laid on one grid by their own truth first. A log that exists is gone on with.
"""

import argparse
import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from torch import nn

import sdme
from sdme.data.sources import read_all
from sdme.evaluate.drawing import resample
from sdme.evaluate.protocol import PaperProtocol, case_keys
from sdme.geometry.homography import corners, from_four_points
from sdme.geometry.mapping import mean_corner_error
from sdme.io.image import to_picture
from sdme.model.weights import DEFAULT_MODEL

RIGHT_BELOW, SIDE, TILT = 5.0, 128, 0.02
AXES = {
    "angle": (0, 30, 60, 90, 135, 180),
    "resolution": (0.25, 0.5, 1, 2, 4),
    "scene": (0.25, 0.5, 2, 4),
}
TITLES = {
    "angle": "turned by, degrees",
    "resolution": "moving px a fixed px, same scene",
    "scene": "times as long the scene that the moving image shows",
}
MODES = ("off", "auto")


@dataclass(frozen=True)
class Trial:
    """One registration; ``error`` in px of 128, infinite for no answer."""

    axis: str
    value: float
    pair: str
    mode: str
    status: str
    error: float
    seconds: float
    hypotheses: int
    ratio: float

    @property
    def is_right(self) -> bool:
        """Whether it is near enough to the truth to be of use."""
        return self.error < RIGHT_BELOW


@dataclass(frozen=True)
class Images:
    """Two pictures on one grid."""

    name: str
    fixed: np.ndarray
    moving: np.ndarray


@dataclass(frozen=True)
class Drawn:
    """Two pictures and the truth between them."""

    fixed: np.ndarray
    moving: np.ndarray
    truth: np.ndarray

    @property
    def swapped(self) -> "Drawn":
        """The whole image as the fixed one, the view as the moving one."""
        return Drawn(self.moving, self.fixed, np.linalg.inv(self.truth))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packs", type=Path, nargs="+", help="instead of the samples")
    parser.add_argument("--pairs", type=int, default=1, help="a pack")
    parser.add_argument("--axes", nargs="+", choices=AXES, default=list(AXES))
    parser.add_argument("--modes", nargs="+", choices=("off", "auto", "on"), default=list(MODES))
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--log", type=Path, help="JSON lines of all trials")
    parser.add_argument("--figure", type=Path, help="an SVG of the curves")
    parser.add_argument("--only-report", action="store_true", help="of the log, without trials")
    args = parser.parse_args()
    done = _known(args.log)
    if not args.only_report:
        network = sdme.load_network(args.model)
        pairs = list(from_packs(args.packs, args.pairs) if args.packs else from_samples())
        for trial in trials(pairs, args.axes, args.modes, network, done):
            done.append(trial)
            if args.log:
                with args.log.open("a", encoding="utf-8") as log:
                    log.write(json.dumps(asdict(trial)) + "\n")
    print(table(done))
    if args.figure:
        args.figure.write_text(figure(done), encoding="utf-8")


def from_packs(packs: list[Path], count: int) -> Iterator[Images]:
    """The first pairs of every pack in the order of the evaluation; photos stand for both sides."""
    for key in case_keys(read_all(packs).pairs, PaperProtocol(), count):
        fixed = key.pair.fixed.read()
        moving = fixed if key.pair.is_photo else key.pair.moving.read()
        yield Images(key.name, *((fixed, moving) if key.fixed_side == "a" else (moving, fixed)))


def from_samples() -> Iterator[Images]:
    """The repository's own pairs, the fixed image laid on the moving one's grid."""
    for folder in sorted(path.parent for path in Path("samples").glob("*/truth.json")):
        fixed, moving = (
            to_picture(sdme.read_image(next(folder.glob(f"{name}.*"))))
            for name in ("fixed", "moving")
        )
        truth = sdme.Transform.load(folder / "truth.json")
        size = moving.shape[1], moving.shape[0]
        inverse = torch.from_numpy(truth.inverse.matrix)
        laid = resample(fixed, inverse, size)
        cut = slice(size[1] // 8, -(size[1] // 8)), slice(size[0] // 8, -(size[0] // 8))
        yield Images(folder.name, laid[cut], np.ascontiguousarray(moving[cut]))


def drawn(pair: Images, axis: str, value: float) -> Drawn:
    """The pair at one value of one axis; the rest follows from its name."""
    rng = np.random.default_rng([ord(letter) for letter in f"{pair.name} {axis} {value}"])
    if axis == "angle":
        angle = float(value) * rng.choice([-1, 1])
        return view(pair, rng, angle, 1.0, 0.6)
    if axis == "resolution":
        return view(pair, rng, 0.0, float(value), 0.8)
    share = view(pair, rng, 0.0, 1.0, min(value, 1 / value))
    return share if value > 1 else share.swapped


def view(
    pair: Images, rng: np.random.Generator, angle: float, scale: float, coverage: float
) -> Drawn:
    """A view whose sides are ``coverage`` of the moving image's, or what of it fits inside."""
    size = np.array(pair.moving.shape[1::-1])
    half = (size - 1) / 2
    quad = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) + rng.uniform(-2 * TILT, 2 * TILT, (4, 2))
    radians = math.radians(angle)
    turn = np.array(
        [[math.cos(radians), -math.sin(radians)], [math.sin(radians), math.cos(radians)]]
    )
    quad = (quad * half) @ turn.T
    share = min(coverage, float((2 * half / np.ptp(quad, axis=0)).min()))
    quad *= share
    low, high = -quad.min(0), 2 * half - quad.max(0)
    quad += low + rng.uniform(0, 1, 2) * (high - low)
    sides = np.maximum(np.round(2 * half * share / scale) + 1, 32).astype(int)
    square = corners(int(sides[0]), int(sides[1]), like=torch.zeros((), dtype=torch.float64))
    truth = from_four_points(square, torch.from_numpy(quad))
    fixed = resample(pair.fixed, truth, (int(sides[0]), int(sides[1])))
    return Drawn(fixed, pair.moving, truth.numpy())


def trials(
    pairs: list[Images], axes: list[str], modes: list[str], network: nn.Module, done: list[Trial]
) -> Iterator[Trial]:
    """What is not done yet."""
    known = {(t.axis, t.value, t.pair, t.mode) for t in done}
    for pair in pairs:
        for axis in axes:
            for value in AXES[axis]:
                missing = [m for m in modes if (axis, value, pair.name, m) not in known]
                case = drawn(pair, axis, value) if missing else None
                for mode in missing:
                    assert case is not None
                    yield trial(case, axis, value, pair.name, mode, network)


def trial(case: Drawn, axis: str, value: float, name: str, mode: str, network: nn.Module) -> Trial:
    settings = sdme.RegisterSettings.model_validate({"search": mode})
    began = time.perf_counter()
    found = sdme.register(case.fixed, case.moving, model=network, settings=settings)
    seconds = time.perf_counter() - began
    error = math.inf
    if found.transform is not None:
        matrix, truth, size = found.transform.matrix, case.truth, found.fixed_size
        if math.prod(found.moving_size) < math.prod(size) and axis == "scene":
            matrix, truth, size = np.linalg.inv(matrix), np.linalg.inv(truth), found.moving_size
        scale = math.sqrt(abs(np.linalg.det(truth[:2, :2])))
        error = mean_corner_error(matrix, truth, size) / (math.sqrt(math.prod(size)) / SIDE * scale)
    cost = (found.search.hypotheses, found.search.ratio) if found.search else (0, 0.0)
    return Trial(axis, value, name, mode, found.status.value, error, seconds, *cost)


def table(done: list[Trial]) -> str:
    """Markdown."""
    rows = [
        "| axis | value | search | pairs | right | aligned | wrong, yet aligned | s, median |",
        "|" + " --- |" * 8,
    ]
    for key, group in groupby(sorted(done, key=_order), key=_order):
        some = list(group)
        aligned = [t for t in some if t.status == "aligned"]
        wrong = sum(not t.is_right for t in aligned)
        share = np.mean([t.is_right for t in some])
        seconds = np.median([t.seconds for t in some])
        rows.append(
            f"| {key[0]} | {key[1]:g} | {key[2]} | {len(some)} | {share:.2f} "
            f"| {len(aligned) / len(some):.2f} | {wrong} | {seconds:.1f} |"
        )
    return "\n".join(rows)


def figure(done: list[Trial]) -> str:
    """Share of right answers over each axis as SVG."""
    import io

    import matplotlib as mpl
    from matplotlib.figure import Figure

    axes = [axis for axis in AXES if any(t.axis == axis for t in done)]
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "search", "font.size": 10}):
        drawing = Figure(figsize=(4 * len(axes), 3.2), layout="constrained")
        for place, axis in zip(drawing.subplots(1, len(axes), squeeze=False)[0], axes, strict=True):
            for mode, style in zip(MODES, ("--", "-"), strict=True):
                some = [t for t in done if (t.axis, t.mode) == (axis, mode)]
                values = sorted({t.value for t in some})
                right = [np.mean([t.is_right for t in some if t.value == v]) for v in values]
                place.plot(values, right, style, marker="o", label=f"search {mode}")
            if axis != "angle":
                place.set_xscale("log", base=2)
            place.set(xlabel=TITLES[axis], ylim=(0, 1.02))
            place.grid(alpha=0.3)
        drawing.axes[0].set_ylabel("share of pairs that are right")
        drawing.axes[0].legend(frameon=False, loc="lower left")
        stream = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        drawing.savefig(stream, format="svg", metadata=nothing, facecolor="white")
    return stream.getvalue()


def _order(trial: Trial) -> tuple[str, float, str]:
    return trial.axis, trial.value, trial.mode


def _known(log: Path | None) -> list[Trial]:
    if log is None or not log.exists():
        return []
    return [Trial(**json.loads(line)) for line in log.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    main()
