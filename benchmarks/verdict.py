"""How often the verdict is right: on pairs with a known transform, and on unrelated pairs.

::

    python benchmarks/verdict.py --packs PACKS/pairs/val PACKS/photos/val --cases 3

Draws cases in the paper's protocol; an unrelated pair takes the moving patch of another picture of
the same pack. A transform counts as right when its corner error is below 5 px.
"""

import argparse
from collections import Counter
from itertools import groupby
from pathlib import Path

import sdme
from sdme.data.sources import read_all
from sdme.evaluate.case import Case
from sdme.evaluate.metrics import case_error
from sdme.evaluate.protocol import PROTOCOLS, case_keys, draw_case

RIGHT_BELOW = 5.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packs", type=Path, nargs="+", required=True)
    parser.add_argument("--cases", type=int, default=3, help="a pack")
    parser.add_argument("--model", default="general")
    args = parser.parse_args()
    network = sdme.load_network(args.model)
    counts: Counter[tuple[str, str]] = Counter()
    keys = case_keys(read_all(args.packs).pairs, PROTOCOLS["paper"], args.cases)
    for _, group in groupby(keys, key=lambda key: key.pair.dataset):
        members = [draw_case(key, PROTOCOLS["paper"]) for key in group]
        for case in members:
            result = sdme.register(case.fixed, case.moving, model=network)
            counts["one scene, " + _outcome(case, result), result.status.value] += 1
            other = next((c for c in members if c.key.pair.id != case.key.pair.id), None)
            if other is not None:
                result = sdme.register(case.fixed, other.moving, model=network)
                counts["unrelated", result.status.value] += 1
    for (what, status), count in sorted(counts.items()):
        print(f"{what:24s} {status:10s} {count:5d}")


def _outcome(case: Case, result: sdme.Registration) -> str:
    if result.transform is None:
        return "no answer"
    return "right" if case_error(case, result.transform.matrix) < RIGHT_BELOW else "wrong"


if __name__ == "__main__":
    main()
