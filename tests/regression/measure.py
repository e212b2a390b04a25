"""Measure shipped models on the samples and store the numbers beside this file.

::

    python tests/regression/measure.py            show them
    python tests/regression/measure.py --store    and write stored.json

Store new numbers only together with the change that explains them.
"""

import argparse
import json
from pathlib import Path

import sdme
from sdme.config import PAPER_SIDE, FastRegisterSettings
from sdme.model.weights import DEFAULT_MODEL

ROOT = Path(__file__).parent.parent.parent
STORED = Path(__file__).parent / "stored.json"
SIDES = {DEFAULT_MODEL: FastRegisterSettings().max_side, "general": PAPER_SIDE}
QUICK = ("coast_rgb_nir", "farmland_blue_swir")
QUICK_SIDE = 192
Case = tuple[str, str, int]


def cases() -> list[Case]:
    """Models, names of samples, and the longer side, px, at which the network sees them."""
    names = sorted(path.parent.name for path in (ROOT / "samples").glob("*/truth.json"))
    quick = [(model, name, QUICK_SIDE) for model in SIDES for name in QUICK]
    return quick + [(model, name, side) for model, side in SIDES.items() for name in names]


def key_of(model: str, sample: str, max_side: int) -> str:
    """What a case is called where it is stored."""
    return f"{model}: {sample} at {max_side}"


def measure(model: str, sample: str, max_side: int) -> dict[str, str | float | None]:
    """Status, reason and corner error (px in the moving image; none without a transform)."""
    folder = ROOT / "samples" / sample
    fixed, moving = (next(folder.glob(f"{name}.*")) for name in ("fixed", "moving"))
    settings = sdme.RegisterSettings(max_side=max_side)
    result = sdme.register(fixed, moving, model=model, settings=settings)
    truth = sdme.Transform.load(folder / "truth.json")
    error = None if result.transform is None else round(result.transform.corner_error(truth), 3)
    return {"status": result.status.value, "reason": result.reason.value, "corner_error": error}


def main() -> None:
    """Print every case as it is measured; store them all if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", action="store_true", help="write stored.json")
    parser.add_argument("--model", help="this one alone; the others keep what is stored")
    args = parser.parse_args()
    stored = json.loads(STORED.read_text(encoding="utf-8"))
    numbers = {}
    for case in cases():
        key = key_of(*case)
        kept = args.model not in (None, case[0])
        numbers[key] = stored[key] if kept else measure(*case)
        print(f"{key:40s}", *numbers[key].values(), "(stored)" if kept else "", flush=True)
    if args.store:
        STORED.write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
