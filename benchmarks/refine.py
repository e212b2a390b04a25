"""How far off a start may be for ``sdme refine``, on the samples, whose truth is known.

::

    python benchmarks/refine.py

Every corner of the fixed image is moved by so many pixels from where the truth sends it, in
directions drawn with a fixed seed. Prints the outcome and the corner error of the answer, px.
"""

import argparse
import math
from pathlib import Path

import cv2
import numpy as np
import torch

import sdme
from sdme.geometry.mapping import frame_corners
from sdme.model.weights import DEFAULT_MODEL

SAMPLES = Path(__file__).parents[1] / "samples"


def start_off(truth: sdme.Transform, error: float, rng: np.random.Generator) -> sdme.Transform:
    """A start whose corners are off by ``error`` px each."""
    corners = frame_corners(truth.fixed_size)
    angle = rng.uniform(0, 2 * math.pi, 4)
    moved = truth.apply(corners) + error * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    matrix = cv2.getPerspectiveTransform(corners.astype(np.float32), moved.astype(np.float32))
    return sdme.Transform(matrix, truth.fixed_size, truth.moving_size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--errors", type=float, nargs="+", default=[0.7, 2, 6, 20, 50, 120])
    parser.add_argument("--model", default=DEFAULT_MODEL)
    args = parser.parse_args()
    torch.set_num_threads(1)
    network = sdme.load_network(args.model)
    for folder in sorted(path for path in SAMPLES.iterdir() if path.is_dir()):
        images = [str(next(folder.glob(f"{name}.*"))) for name in ("fixed", "moving")]
        truth = sdme.Transform.load(folder / "truth.json")
        rng = np.random.default_rng(0)
        words = []
        for error in args.errors:
            start = start_off(truth, error, rng)
            found = sdme.refine_transform(images[0], images[1], start, model=network)
            reached = found.transform
            gap = "" if reached is None else f" {reached.corner_error(truth):.2f}"
            words.append(f"{error:g}: {found.outcome.value}{gap}")
        print(folder.name, "  ".join(words), sep="  ", flush=True)


if __name__ == "__main__":
    main()
