"""How often the verdict is right, as users get it: by status, on related and on unrelated pairs.

::

    python benchmarks/verdict.py PACKS/pairs/val PACKS/photos/val --cases 10 -o trials.jsonl

Right is an answer whose corners are less than 5 px off, of an image of 640 px. Unrelated to a fixed
image is the moving image of another picture of its pack, and of the pack before. A model's
confidence is fitted and cross-validated by ``sdme calibrate``.
"""

import argparse
from collections import Counter
from pathlib import Path

import sdme
from sdme.data.sources import read_all
from sdme.evaluate.trials import Trial, run_trials, save_trials
from sdme.model.weights import DEFAULT_MODEL

STATUSES = ("aligned", "uncertain", "failed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("packs", type=Path, nargs="+")
    parser.add_argument("--cases", type=int, default=10, help="a pack")
    parser.add_argument("--protocols", nargs="+", default=["paper", "native"])
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--search", choices=("off", "auto", "on"), default="auto")
    parser.add_argument("-o", "--output", type=Path, help="file for the trials")
    args = parser.parse_args()
    found = list(
        run_trials(
            read_all(args.packs).pairs,
            sdme.load_network(args.model),
            protocols=args.protocols,
            cases=args.cases,
            stages=("sparse-to-dense",),
            settings=sdme.RegisterSettings(search=args.search),
        )
    )
    if args.output is not None:
        save_trials(args.output, found)
    for protocol in args.protocols:
        print_table(protocol, [trial for trial in found if trial.protocol == protocol])


def print_table(protocol: str, trials: list[Trial]) -> None:
    """Statuses by what is known of the pairs, and which sets were called aligned wrongly."""
    counts = Counter((topic_of(trial), trial.status) for trial in trials)
    print(f"| {protocol} | {' | '.join(STATUSES)} |\n| --- | --- | --- | --- |")
    for topic in sorted({topic for topic, _ in counts}):
        print(f"| {topic} | {' | '.join(str(counts[topic, status]) for status in STATUSES)} |")
    wrong = Counter(
        f"{trial.dataset}, {topic_of(trial)}"
        for trial in trials
        if trial.status == "aligned" and not trial.is_right
    )
    print("called aligned but not right:", dict(wrong) or "none", "\n")


def topic_of(trial: Trial) -> str:
    """What is counted together."""
    if not trial.is_related:
        return f"unrelated, {trial.kind}"
    if trial.is_right:
        return "right"
    return "off by 1 to 3 times the limit" if trial.error < 3 else "further off, or no answer"


if __name__ == "__main__":
    main()
