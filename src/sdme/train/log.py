"""The log of a run: means over steps, kept on the device until a line is due."""

import json
import math
import time
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from sdme import parallel
from sdme.errors import InputError
from sdme.files import write_text
from sdme.io.image import write_image
from sdme.report.overlay import Picture
from sdme.train.tensorboard import Board

LOG, EXAMPLES = "log.jsonl", "examples.png"
VALIDATION = "val_"  # how the names of validation figures begin


class TrainLog:
    """Writes ``log.jsonl``, the same for a person to read and for TensorBoard, and the examples.

    A run that goes on from ``step`` makes the later lines again, so these are cut away;
    ``is_validated`` tells whether the figures of that very step are there. The first of several
    processes writes, the means are over all of them.
    """

    def __init__(
        self, run: Path, step: int, names: list[str], console: Console, device: torch.device
    ) -> None:
        self.run, self.names, self.console, self.board = run, names, console, None
        self.sum = torch.zeros(len(names) + 1, device=device)
        self.steps, self.since = 0, time.monotonic()
        self.is_validated = False
        if parallel.is_first():
            kept = _cut_log(run / LOG, step)
            self.is_validated = any(_is_validation(line, step) for line in kept)
            self.board = Board(run, step)
            if self.board.writer is None:
                console.print("no log for TensorBoard: pip install 'sdme\\[train]' brings it")

    def add(self, values: Tensor, skipped: Tensor) -> None:
        """Add one step's numbers, by the names; those of a skipped step do not count."""
        kept = torch.where(skipped > 0, torch.zeros_like(values), values)
        self.sum += torch.cat([kept.detach(), skipped[None]])
        self.steps += 1

    def write(self, step: int, batch: int, **more: float) -> int:
        """Write one line and start anew; returns the number of skipped steps that it covers."""
        if not self.steps:
            return 0
        *sums, skipped = (parallel.total(self.sum) / parallel.count()).tolist()
        seconds = time.monotonic() - self.since
        counted = max(self.steps - round(skipped), 1)
        row = {name: value / counted for name, value in zip(self.names, sums, strict=True)}
        row |= {"skipped": round(skipped), **more}
        if round(skipped) == self.steps:
            self.console.print(
                f"warning: none of the last {self.steps} steps had a finite gradient"
            )
        self._append(step, {**row, "pairs_per_second": self.steps * batch / seconds})
        self.sum.zero_()
        self.steps, self.since = 0, time.monotonic()
        return round(skipped)

    def write_validation(self, step: int, values: dict[str, float]) -> None:
        """Write a line of validation figures."""
        self._append(step, {f"{VALIDATION}{name}": value for name, value in values.items()})
        self.since = time.monotonic()

    def write_examples(self, step: int, sheet: Picture) -> None:
        """Write the sheet of examples over the last one."""
        write_image(self.run / EXAMPLES, sheet)
        if self.board is not None:
            self.board.add_picture(step, sheet)
        self.since = time.monotonic()

    def _append(self, step: int, row: dict[str, float]) -> None:
        if self.board is None:
            return
        known = {n: v if math.isfinite(v) else None for n, v in row.items()}  # JSON has no NaN
        try:
            with (self.run / LOG).open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, **known}) + "\n")
        except OSError as error:
            raise InputError(
                f"cannot write {self.run / LOG}: {error.strerror}; make room or mend it, and the "
                "same command goes on from the last checkpoint"
            ) from None
        self.board.add_scalars(step, row)
        numbers = "  ".join(f"{name} {value:.4g}" for name, value in row.items())
        self.console.print(f"step {step}  {numbers}", soft_wrap=True, highlight=False)


def _cut_log(path: Path, step: int) -> list[str]:
    """Leave the lines up to a step, which are returned; a kill may have left half a line."""
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    kept = [line for line in text.splitlines() if _step_of(line) <= step]
    kept_text = "".join(f"{line}\n" for line in kept)
    if kept_text != text:
        write_text(path, kept_text)
    return kept


def _step_of(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return math.inf


def _is_validation(line: str, step: int) -> bool:
    row = json.loads(line)
    return row["step"] == step and any(name.startswith(VALIDATION) for name in row)
