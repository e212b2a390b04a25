"""Train and evaluate the models behind docs/reproduction.md.

::

    python benchmarks/reproduction_runs.py DATA RUNS --devices cuda:0,cuda:1 --lanes 3
    python benchmarks/reproduction.py RUNS                     # the tables

``DATA`` holds ``pairs/train``, ``pairs/val``, ``photos/train`` and ``photos/val``. Each run gets a
folder ``RUNS/NAME`` as ``sdme train`` leaves it, and in it ``pairs``, ``photos`` and
``plain-inference``, folders of ``sdme evaluate``. Several runs share a device (``--lanes``): while
one compiles, another trains. Evaluations wait until no training is left to begin, as trainings
beside them more than double their time. Interrupted or out of ``--seconds``, the same command goes
on with what is missing, on another machine too if ``RUNS`` has the same path there: evaluations
know their models by it.
"""

import argparse
import contextlib
import json
import os
import queue
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sdme.files import WEIGHTS_FILE
from sdme.train.settings_files import read_settings

SETS = {
    "nir": ("epfl_rgbnir", "aerial_nir", "srif_nir", "cwfid"),
    "thermal": ("roadscene", "llvip", "srif_night", "tno"),
    "season": ("srif_temporal",),
}
ABLATIONS = {
    "base": (),
    "fixed50": ("losses.matching_share=0.5",),
    "fixed10": ("losses.matching_share=0.1",),
    "fixed90": ("losses.matching_share=0.9",),
    "noagents": ("network.use_agents=false", "losses.agents=0"),
    "noguidance": ("losses.guidance=0",),
    "unweighted": ("losses.weighted_alignment=false",),
}
SEEDS = (0, 1)
PLAIN = Path(__file__).parent / "methods/unweighted.py"
LEAST_SECONDS = 30  # a run is not begun in less
SAVING_SECONDS = 15  # a run pauses so long before the end


@dataclass(frozen=True)
class Run:
    """A model to be trained, or one that is shipped and only evaluated (no ``settings``)."""

    name: str
    settings: str | None
    changes: tuple[str, ...] = ()
    sets: tuple[str, ...] = tuple(SETS)
    plain: bool = False


def all_runs() -> Iterator[Run]:
    """Shipped models, fine-tunings, ablations; the most wanted first."""
    yield Run("general", None)
    yield Run("photo", None)
    for name in SETS:
        yield Run(name, name, sets=(name,))
    for name in SETS:
        tenth = ("start=photo", "data.pair_fraction=0.1", "steps=1000")
        yield Run(f"{name}-tenth", name, tenth, (name,))
    for seed in SEEDS:
        for name, changes in ABLATIONS.items():
            changed = (*changes, f"seed={seed}")
            yield Run(f"{name}-s{seed}", "ablation", changed, plain=name == "base")


@dataclass(frozen=True)
class Place:
    """Where everything lies, how long there is, and what is changed in all runs."""

    data: Path
    runs: Path
    end: float
    cases: tuple[int, int]
    changes: tuple[str, ...]

    @property
    def left(self) -> float:
        """Seconds."""
        return self.end - time.monotonic()

    def training(self, run: Run, device: str) -> list[str]:
        """The command that trains."""
        words = ["train", str(run.settings), self.data / "pairs/train", self.data / "photos/train"]
        words += ["--val", self.data / "pairs/val", "-o", self.runs / run.name, "--json"]
        words += ["--device", device]
        if self.left < 1e6:
            words += ["--seconds", f"{self.left - SAVING_SECONDS:.0f}"]
        if changes := (*run.changes, *self.changes):
            words += ["--set", *changes]
        return [sys.executable, "-m", "sdme", *map(str, words)]

    def is_trained(self, run: Run) -> bool:
        """Whether there is nothing to train: weights of the last step, figures of it in the log."""
        if run.settings is None:
            return True
        log, weights = (self.runs / run.name / name for name in ("log.jsonl", WEIGHTS_FILE))
        if not (log.is_file() and weights.is_file()):
            return False
        last = json.loads((log.read_text(encoding="utf-8").splitlines() or ["{}"])[-1])
        steps = read_settings(run.settings, (*run.changes, *self.changes)).steps
        return last.get("step") == steps and any(name.startswith("val_") for name in last)

    def evaluations(self, run: Run, device: str) -> Iterator[tuple[dict[str, str], list[str]]]:
        """The commands that evaluate, and what they find in the environment."""
        folder = self.runs / run.name
        model = str(folder / WEIGHTS_FILE) if run.settings else run.name
        packs = [self.data / f"pairs/val/{pack}.tar" for name in run.sets for pack in SETS[name]]
        inputs = [
            ("pairs", packs, self.cases[0]),
            ("photos", [self.data / "photos/val"], self.cases[1]),
        ]
        for part, found, cases in inputs:
            if not (folder / part / "table.md").exists():
                words = [
                    "evaluate",
                    *found,
                    "--model",
                    model,
                    "--cases",
                    cases,
                    "-o",
                    folder / part,
                ]
                yield {}, self._evaluation(words, device)
        if run.plain and not (folder / "plain-inference/table.md").exists():
            words = ["compare", *packs, "--methods", PLAIN, "--cases", self.cases[0]]
            words += ["-o", folder / "plain-inference"]
            yield {"MODEL": model}, self._evaluation(words, device)

    def _evaluation(self, words: Sequence[object], device: str) -> list[str]:
        tail = ["--protocol", "paper", "--device", device, "--workers", "2", "--quiet"]
        return [sys.executable, "-m", "sdme", *map(str, words), *tail]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--devices", default="cuda:0", help="comma-separated")
    parser.add_argument("--lanes", type=int, default=2, help="runs at a time on each device")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="pause after so long")
    parser.add_argument("--only", nargs="*", default=(), help="names of runs, in this order")
    parser.add_argument(
        "--cases", type=int, nargs=2, default=(40, 20), help="a pack of pairs, of photos"
    )
    parser.add_argument("--set", nargs="*", default=(), help="changes of the settings of all runs")
    args = parser.parse_args()
    known = {run.name: run for run in all_runs()}
    if unknown := set(args.only) - known.keys():
        parser.error(f"no runs {sorted(unknown)}; there are {', '.join(known)}")
    args.runs.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + args.seconds
    place = Place(args.data, args.runs, end, tuple(args.cases), tuple(args.set))
    untrained: queue.SimpleQueue[Run] = queue.SimpleQueue()
    trained: queue.SimpleQueue[Run] = queue.SimpleQueue()
    for run in (known[name] for name in args.only or known):
        (trained if place.is_trained(run) else untrained).put(run)
    lanes = [
        threading.Thread(target=work, args=(place, untrained, trained, device))
        for _ in range(args.lanes)
        for device in args.devices.split(",")
    ]
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()


def work(
    place: Place, untrained: queue.SimpleQueue[Run], trained: queue.SimpleQueue[Run], device: str
) -> None:
    """One lane: trains while there is something to be trained, then evaluates."""
    for run in taken(place, untrained):
        said = call(place, run.name, {}, place.training(run, device))
        if said is not None and json.loads(said)["finished"]:
            trained.put(run)
    for run in taken(place, trained):
        for environment, command in place.evaluations(run, device):
            call(place, run.name, environment, command)


def taken(place: Place, runs: queue.SimpleQueue[Run]) -> Iterator[Run]:
    """Runs that are waiting, one after the other, as long as there is time to begin one."""
    with contextlib.suppress(queue.Empty):
        while True:
            run = runs.get_nowait()
            if place.left < LEAST_SECONDS:
                say(place, run.name, "not begun")
            else:
                yield run


def call(
    place: Place, name: str, environment: dict[str, str], command: Sequence[str]
) -> str | None:
    """What a command prints, unless it fails or time is out; ``RUNS/NAME.txt`` has all else."""
    began, limit = time.monotonic(), None if place.left > 1e6 else max(place.left, 1)
    with (place.runs / f"{name}.txt").open("a", encoding="utf-8") as file:
        file.write(shlex.join([*(f"{k}={v}" for k, v in environment.items()), *command]) + "\n")
        file.flush()
        try:
            done = subprocess.run(
                command,
                env={**os.environ, **environment},
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                timeout=limit,
                check=False,
            )
        except subprocess.TimeoutExpired:
            say(place, name, f"{command[3]}: out of time")
            return None
    say(place, name, f"{command[3]}: exit {done.returncode} after {time.monotonic() - began:.0f} s")
    return None if done.returncode else done.stdout


def say(place: Place, name: str, text: str) -> None:
    """One line on the console."""
    left = "" if place.left > 1e6 else f" [{place.left:.0f} s left]"
    print(f"{name}: {text}{left}", flush=True)


if __name__ == "__main__":
    main()
