"""Time a registration and its stages.

::

    python benchmarks/register.py samples/farmland_blue_swir --device cpu

Prints a line a size (``max_side``, pixels): seconds of each stage, medians over repeated runs after
a first one that does not count.
"""

import argparse
import statistics
from pathlib import Path

import sdme
from sdme.model.weights import DEFAULT_MODEL


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sample", type=Path, nargs="?", default=Path("samples/farmland_blue_swir"))
    parser.add_argument("--sides", type=int, nargs="+", default=[128, 192, 256])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    fixed, moving = (sdme.read_image(next(args.sample.glob(f"{n}.*"))) for n in ("fixed", "moving"))
    for side in args.sides:
        settings = sdme.RegisterSettings(max_side=side)
        runs = [
            sdme.register(fixed, moving, model=args.model, settings=settings, device=args.device)
            for _ in range(args.repeats + 1)
        ]
        stages = {
            name: statistics.median(run.timings[name] for run in runs[1:])
            for name in runs[0].timings
        }
        print(f"{side:5d} px  ", "  ".join(f"{n} {s:.3f} s" for n, s in stages.items()), flush=True)


if __name__ == "__main__":
    main()
