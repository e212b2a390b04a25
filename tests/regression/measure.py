"""Measure the shipped model on the samples and store the numbers beside this file.

::

    python tests/regression/measure.py            show them
    python tests/regression/measure.py --store    and write stored.json

Store new numbers only together with the change that explains them.
"""

import argparse
import json
from pathlib import Path

import sdme
from sdme.config import PAPER_SIDE

ROOT = Path(__file__).parent.parent.parent
STORED = Path(__file__).parent / "stored.json"
QUICK = ("coast_rgb_nir", "farmland_blue_swir")
QUICK_SIDE = 192


def cases() -> list[tuple[str, int]]:
    """Names of samples with the longer side, px, at which the network sees them."""
    full = PAPER_SIDE
    names = sorted(path.parent.name for path in (ROOT / "samples").glob("*/truth.json"))
    return [(name, QUICK_SIDE) for name in QUICK] + [(name, full) for name in names]


def measure(sample: str, max_side: int) -> dict[str, str | float | None]:
    """Status, reason and corner error (px in the moving image; none without a transform)."""
    folder = ROOT / "samples" / sample
    fixed, moving = (next(folder.glob(f"{name}.*")) for name in ("fixed", "moving"))
    result = sdme.register(fixed, moving, settings=sdme.RegisterSettings(max_side=max_side))
    truth = sdme.Transform.load(folder / "truth.json")
    error = None if result.transform is None else round(result.transform.corner_error(truth), 3)
    return {"status": result.status.value, "reason": result.reason.value, "corner_error": error}


def main() -> None:
    """Print every case as it is measured; store them all if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", action="store_true", help="write stored.json")
    args = parser.parse_args()
    numbers = {}
    for sample, max_side in cases():
        key = f"{sample} at {max_side}"
        numbers[key] = measure(sample, max_side)
        print(f"{key:32s}", *numbers[key].values(), flush=True)
    if args.store:
        STORED.write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
