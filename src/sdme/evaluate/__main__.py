"""Command line of the evaluation: ``python -m sdme.evaluate --help``."""

import argparse
import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from sdme.errors import InputError, SdmeError
from sdme.evaluate.answers import OUR_STAGES, Answer, to_csv
from sdme.evaluate.baselines import BASELINES
from sdme.evaluate.protocol import Case, PaperProtocol
from sdme.evaluate.runner import OURS, load_cases, run_baseline, run_network
from sdme.evaluate.table import to_data, to_markdown
from sdme.files import write_text

_CONSOLE = Console(stderr=True)
_EXAMPLE = "python -m sdme.evaluate --packs data/pairs/val data/photos/val --out results"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the evaluation; returns the exit code."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    options = _parser().parse_args(arguments)
    options.command = shlex.join(["python", "-m", "sdme.evaluate", *arguments])
    try:
        evaluate(options)
    except SdmeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def evaluate(options: argparse.Namespace) -> None:
    """Draw the cases, run every method, print the tables and write them to ``options.out``."""
    methods = _checked_methods(options.methods)
    protocol = PaperProtocol(seed=options.seed)
    began = time.time()
    cases = load_cases(options.packs, options.cases, protocol)
    runs = {method: _run(method, cases, protocol, options) for method in methods}
    out = Path(options.out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot use folder {out}: {error.strerror}") from None
    answers: list[Answer] = []
    for method, run in runs.items():
        total = len(cases) * (len(OUR_STAGES) if method == OURS else 1)
        hidden = not _CONSOLE.is_terminal
        answers += track(run, method, total, console=_CONSOLE, disable=hidden)
    facts = _facts(options, protocol, cases, time.time() - began)
    report = f"# Evaluation\n\n{_sentence(facts)}\n\n{to_markdown(answers)}"
    write_text(out / "table.md", report)
    write_text(out / "cases.csv", to_csv(answers))
    write_text(out / "summary.json", json.dumps({**facts, "sets": to_data(answers)}, indent=1))
    print(report)


def _run(
    method: str, cases: list[Case], protocol: PaperProtocol, options: argparse.Namespace
) -> Iterator[Answer]:
    """Answers of a method, computed as they are asked for; what can be wrong is found at once."""
    if method == OURS:
        return run_network(options.weights, cases, protocol, options.device, options.batch)
    return run_baseline(method, cases, protocol, options.workers)


def _checked_methods(text: str) -> list[str]:
    known = [*BASELINES, OURS]
    methods = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := [name for name in methods if name not in known]:
        raise InputError(f"unknown method {', '.join(unknown)}; choose from {', '.join(known)}")
    if not methods:
        raise InputError(f"no method was named; choose from {', '.join(known)}")
    return list(dict.fromkeys(methods))


def _facts(
    options: argparse.Namespace, protocol: PaperProtocol, cases: list[Case], seconds: float
) -> dict[str, Any]:
    """What is needed to run the same evaluation again, and what happened to the draws."""
    return {
        "command": options.command,
        "weights": options.weights,
        "protocol": protocol.model_dump(),
        "cases": len(cases),
        "packs": len({case.pack for case in cases}),
        "redraws": sum(case.redraws for case in cases),
        "kept_blank": sum(case.redraws == protocol.max_redraws for case in cases),
        "seconds": round(seconds, 1),
        "machine": platform.machine(),
        "versions": {"python": platform.python_version(), **_versions()},
    }


def _versions() -> dict[str, str]:
    import cv2

    found = {name: version(name) for name in ("numpy", "torch")}
    return {**found, "opencv": cv2.__version__}


def _sentence(facts: dict[str, Any]) -> str:
    return (
        f"{facts['cases']} pairs from {facts['packs']} packs, seed {facts['protocol']['seed']}; "
        f"{facts['redraws']} blank draws were replaced, {facts['kept_blank']} kept. "
        "Corner errors (ACE) in px of the 192 px moving patch."
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m sdme.evaluate",
        description="Compare registration methods on packs, in the paper's protocol.",
        epilog=f"example: {_EXAMPLE}",
    )
    add = parser.add_argument
    add("--packs", nargs="+", required=True, metavar="DIR", help="folders of .tar packs")
    add("--cases", type=_count, default=40, help="cases a pack (default 40)")
    add("--methods", default="identity,sift,sift512,ecc,ours", help="names, by commas")
    add("--weights", help="name of shipped weights or a .safetensors file (default: shipped)")
    add("--out", required=True, metavar="DIR", help="folder for table.md, cases.csv, summary.json")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N (default auto)")
    add("--batch", type=_count, default=32, help="pairs a network batch (default 32)")
    add("--workers", type=_count, default=os.cpu_count() or 1, help="processes of the baselines")
    add("--seed", type=int, default=0, help="other cases; published tables use 0")
    return parser


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


if __name__ == "__main__":
    sys.exit(main())
