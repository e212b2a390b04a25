"""Time of a registration beside that of other methods, all in one run.

::

    python benchmarks/speed.py general RUN/weights.safetensors --against sift xfeat --threads 2

A 128 px patch in one of 192 px, and two images of 640x480 px, cut from a sample. Methods take
turns, so that what else the machine does hits all alike; prints medians, their ratio to the first
method of ``--against``, and the stages of models. Methods of other packages need ``make compare``.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch

import sdme
from sdme.evaluate.methods import build_method, is_model

Timed = Callable[[np.ndarray, np.ndarray], dict[str, float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", help="names or weights files")
    parser.add_argument("--against", nargs="*", default=["sift"])
    parser.add_argument("--sample", type=Path, default=Path("samples/coast_rgb_nir"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=9)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    fixed, moving = (colours(next(args.sample.glob(f"{n}.*"))) for n in ("fixed", "moving"))
    methods = {name: timed_method(name, args.device) for name in (*args.against, *args.models)}
    for title, pair in (
        ("128 px in 192 px", (cut(fixed, 128, 128, 32), cut(moving, 192, 192, 0))),
        ("640x480", (cut(fixed, 640, 480, 0), cut(moving, 640, 480, 0))),
    ):
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in methods}
        for _ in range(args.repeats + 1):
            for name, run in methods.items():
                runs[name].append(run(*pair))
        print(f"{title}, {args.threads} threads, medians of {args.repeats}")
        medians = {name: median(found[1:]) for name, found in runs.items()}
        reference = next(iter(medians.values()))["total"]
        for name, stages in medians.items():
            parts = "  ".join(f"{k} {v * 1e3:.0f}" for k, v in stages.items() if k != "total")
            total = stages["total"]
            print(
                f"  {name:32s} {total * 1e3:8.1f} ms {total / reference:6.2f}  {parts}", flush=True
            )


def colours(path: Path) -> np.ndarray:
    """An 8-bit RGB image."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    assert image is not None, path
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def cut(image: np.ndarray, width: int, height: int, offset: int) -> np.ndarray:
    """A part of the image, which is enlarged where it is too small."""
    scale = max(1, (width + offset) / image.shape[1], (height + offset) / image.shape[0])
    image = cv2.resize(image, None, fx=scale + 1e-6, fy=scale + 1e-6)
    return np.ascontiguousarray(image[offset : offset + height, offset : offset + width])


def timed_method(name: str, device: str) -> Timed:
    """Seconds by stage, and in total, of the final answer."""
    if is_model(name):
        network = sdme.load_network(name, device)
        return lambda fixed, moving: sdme.register(fixed, moving, model=network).timings
    method = build_method(name, device)

    def run(fixed: np.ndarray, moving: np.ndarray) -> dict[str, float]:
        began = time.perf_counter()
        method(fixed, moving, np.eye(3))
        return {"total": time.perf_counter() - began}

    return run


def median(runs: list[dict[str, float]]) -> dict[str, float]:
    """Of every stage."""
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


if __name__ == "__main__":
    main()
