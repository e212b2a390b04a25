"""Register two generated GeoTIFFs that are larger than memory should hold; time, memory, error.

::

    python benchmarks/large.py --folder /tmp/large --side 20000
    python benchmarks/large.py --folder /tmp/large --side 20000 --moving-side 15000 --angle 100

The scene is noise of all sizes from a pixel to the whole image, seen by two sensors: the moving one
has other contrasts, its own noise, and lies elsewhere by a homography. Files that are there are
used again, and an interrupted run goes on. Errors are in moving pixels.
"""

import argparse
import math
import resource
import time
from pathlib import Path

import cv2
import numpy as np

import sdme
from sdme.io.geo import Window, writing_windows
from sdme.large import register_large

BLOCK, PERIOD, OCTAVES = 1024, 1024, 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--side", type=int, default=20_000)
    parser.add_argument("--moving-side", type=int)
    parser.add_argument("--angle", type=float, default=4.0, help="degrees")
    parser.add_argument("--only-files", action="store_true", help="do not register them")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    side, other = args.side, args.moving_side or args.side
    truth = placement(side, other, args.angle)
    paths = args.folder / "fixed.tif", args.folder / "moving.tif"
    if not paths[0].exists():
        write(paths[0], side, np.eye(3), side, is_moving=False)
    if not paths[1].exists():
        write(paths[1], other, np.linalg.inv(truth), side, is_moving=True)
    if args.only_files:
        return
    began = time.perf_counter()
    found = register_large(*paths, args.folder / "out")
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    true = sdme.Transform(truth, (side, side), (other, other))
    print(f"{found.status.value}: {found.message}")
    for name, one in (("coarse", found.coarse), ("tiles", found.transform)):
        if one is not None:
            print(f"{name:6s} corner error {one.corner_error(true):.2f} px")
    resumed = f", {found.resumed} lines of an earlier run" if found.resumed else ""
    print(f"{seconds:.0f} s, peak memory {peak:.2f} GiB{resumed}")


def placement(side: int, other: int, angle: float) -> np.ndarray:
    """Fixed to moving pixels: turned about the middle, scaled to the other size, tilted."""
    radians, scale = math.radians(angle), other / side
    turn = scale * np.array(
        [[math.cos(radians), -math.sin(radians)], [math.sin(radians), math.cos(radians)]]
    )
    matrix = np.eye(3)
    matrix[:2, :2] = turn
    middle = (np.array([side, side]) - 1) / 2
    matrix[:2, 2] = (np.array([other, other]) - 1) / 2 - turn @ middle + 0.03 * other
    matrix[2, :2] = 0.04 / side, -0.02 / side
    return matrix / matrix[2, 2]


def write(path: Path, side: int, fixed_from_image: np.ndarray, full: int, is_moving: bool) -> None:
    """Render the scene as one of the sensors sees it, block by block."""
    rng = np.random.default_rng(0)
    noise = [rng.uniform(-1, 1, (PERIOD, PERIOD)).astype(np.float32) for _ in range(OCTAVES)]
    own = np.random.default_rng(1 + is_moving)
    with writing_windows(path, size=(side, side), bands=1, dtype=np.uint8) as writer:
        for y in range(0, side, BLOCK):
            for x in range(0, side, BLOCK):
                box = Window(x, y, min(BLOCK, side - x), min(BLOCK, side - y))
                scene = looked_at(box, fixed_from_image, noise, full)
                if is_moving:
                    scene = np.tanh(1.5 * scene * np.sign(0.6 - scene))
                scene = scene + own.normal(0, 0.05, scene.shape)
                writer.write(box, (127 + 90 * scene).clip(1, 255).astype(np.uint8))


def looked_at(
    box: Window, fixed_from_image: np.ndarray, noise: list[np.ndarray], full: int
) -> np.ndarray:
    """The scene at the pixels of a block; noise of the largest grain is given once a period."""
    x, y = np.meshgrid(np.arange(box.width) + box.x, np.arange(box.height) + box.y)
    there = np.stack([x, y, np.ones_like(x)], axis=-1) @ fixed_from_image.T
    u, v = (there[..., i] / there[..., 2] for i in (0, 1))
    out = np.zeros(x.shape, np.float32)
    for octave, table in enumerate(noise):
        grain = 2.0 * (full / 8 / 2) ** (octave / (OCTAVES - 1))
        # cubic between grains, so that there is something between the pixels to be found
        places = ((a / grain) % PERIOD for a in (u, v))
        px, py = (place.astype(np.float32) for place in places)
        out += 0.35 * cv2.remap(table, px, py, cv2.INTER_CUBIC, borderMode=cv2.BORDER_WRAP)
    return out


if __name__ == "__main__":
    main()
