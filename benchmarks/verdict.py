"""How often the verdict is right: on pairs with a known transform, and on unrelated pairs.

::

    python benchmarks/verdict.py --packs PACKS/pairs/val PACKS/photos/val --cases 3
    python benchmarks/verdict.py --packs PACKS/pairs/train --cases 16 --limits

Draws cases in one of the protocols. Unrelated to a fixed image is the moving image of another
picture: of the same pack (in some packs it shows the same place, or the same camera's view), and of
the pack before. A transform counts as right when its corner error is below 5 px of a fixed image of
128 px a side. ``--limits`` shows what a model of the preset ``fast`` would call aligned with other
limits of its predicted error; that is for choosing one, on pairs that nothing is reported of.
"""

import argparse
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from torch import nn

import sdme
from sdme.config import FastRegisterSettings
from sdme.data.sources import read_all
from sdme.evaluate.case import Case
from sdme.evaluate.metrics import case_error
from sdme.evaluate.protocol import PROTOCOLS, case_keys, draw_case
from sdme.model.fast import FastNetwork
from sdme.model.weights import DEFAULT_MODEL

RIGHT_BELOW, SIDE = 5.0, 128
LIMITS = (0.5, 0.75, 1, 1.25, 1.5, 1.75, 2, 2.25, 2.5, 3, 4, 5, 6, 8, 10)
ANYTHING = FastRegisterSettings(aligned_below=math.inf, uncertain_below=math.inf)


@dataclass(frozen=True)
class Outcome:
    """Of one pair; errors in px of a fixed image of 128 px a side, infinite where there is none."""

    kind: str  # "one scene", "same pack", "other pack"
    pack: str
    status: str
    error: float
    predicted: float

    @property
    def topic(self) -> str:
        """What is counted together."""
        if self.kind != "one scene":
            return f"unrelated, {self.kind}"
        if math.isinf(self.error):
            return "one scene, no answer"
        return "one scene, right" if self.error < RIGHT_BELOW else "one scene, wrong"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packs", type=Path, nargs="+", required=True)
    parser.add_argument("--cases", type=int, default=3, help="a pack")
    parser.add_argument(
        "--protocol", choices=[name for name in PROTOCOLS if name != "real"], default="paper"
    )
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--limits", action="store_true", help="compare limits")
    parser.add_argument("--search", choices=("off", "auto", "on"), default="auto")
    args = parser.parse_args()
    network = sdme.load_network(args.model)
    if args.limits and not isinstance(network, FastNetwork):
        parser.error(f"--limits needs a model of the preset fast; {args.model} predicts no error")
    fast = ANYTHING if args.limits else FastRegisterSettings()
    settings = sdme.RegisterSettings(fast=fast, search=args.search)
    found = list(outcomes(args.packs, args.protocol, args.cases, network, settings))
    if args.limits:
        print_limits(found)
        return
    for (topic, status), count in sorted(Counter((o.topic, o.status) for o in found).items()):
        print(f"{topic:24s} {status:10s} {count:5d}")
    aligned = Counter(
        f"{o.pack} ({o.kind})" for o in found if o.kind != "one scene" and o.status == "aligned"
    )
    named = ", ".join(f"{pack}: {count}" for pack, count in aligned.items())
    print(f"unrelated pairs called aligned: {named or 'none'}")


def outcomes(
    packs: list[Path], name: str, cases: int, network: nn.Module, settings: sdme.RegisterSettings
) -> Iterator[Outcome]:
    """Every case, and its fixed image with moving images of other pictures."""
    protocol = PROTOCOLS[name]
    keys = case_keys(read_all(packs).pairs, protocol, cases)
    before: list[Case] = []
    for pack, group in groupby(keys, key=lambda key: key.pair.dataset):
        members = [draw_case(key, protocol) for key in group]
        for index, case in enumerate(members):
            others = [c for c in members if c.key.pair.id != case.key.pair.id]
            pairs = [("one scene", case)]
            for kind, strangers in (("same pack", others), ("other pack", before)):
                pairs += [(kind, strangers[index % len(strangers)])] if strangers else []
            for kind, moving in pairs:
                result = sdme.register(case.fixed, moving.moving, model=network, settings=settings)
                yield _outcome(kind, pack, case, result)
        before = members


def print_limits(found: list[Outcome]) -> None:
    """What each limit would let pass."""
    print("limit  aligned  3 px off  5 px off  10 px off  unrelated aligned: same pack, other pack")
    for limit in LIMITS:
        passed = [o for o in found if o.status == "aligned" and o.predicted < limit]
        errors = np.array([o.error for o in passed if o.kind == "one scene"])
        off = "".join(f"{(errors >= pixels).sum():10d}" for pixels in (3, 5, 10))
        kinds = Counter(o.kind for o in passed)
        print(f"{limit:5g}{len(errors):9d}{off}  {kinds['same pack']:10d}{kinds['other pack']:6d}")
    drawn = Counter(o.kind for o in found)
    print(
        f"of {drawn['one scene']} pairs of one scene, {drawn['same pack']} unrelated of one pack "
        f"and {drawn['other pack']} of two packs"
    )


def _outcome(kind: str, pack: str, case: Case, result: sdme.Registration) -> Outcome:
    unit = math.sqrt(math.prod(case.fixed_size)) / SIDE
    error = math.inf
    if result.transform is not None and kind == "one scene":
        error = case_error(case, result.transform.matrix) / unit
    predicted = math.nan if result.predicted_error is None else result.predicted_error / unit
    return Outcome(kind, pack, result.status.value, error, predicted)


if __name__ == "__main__":
    main()
