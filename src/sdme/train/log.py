"""The log of a run: means over steps, kept on the device until a line is due."""

import json
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor


class TrainLog:
    """Writes ``log.jsonl`` and the same for a person to read."""

    def __init__(self, path: Path, console: Console, names: list[str], device: torch.device):
        self.path, self.console, self.names = path, console, names
        self.sum = torch.zeros(len(names) + 1, device=device)
        self.steps, self.since = 0, time.monotonic()

    def add(self, values: Tensor, skipped: Tensor) -> None:
        """Add one step's numbers, by the names; those of a skipped step do not count."""
        kept = torch.where(skipped > 0, torch.zeros_like(values), values)
        self.sum += torch.cat([kept.detach(), skipped[None]])
        self.steps += 1

    def write(self, step: int, batch: int, **more: float) -> int:
        """Write one line and start anew; returns the number of skipped steps that it covers."""
        if not self.steps:
            return 0
        *sums, skipped = self.sum.tolist()
        seconds = time.monotonic() - self.since
        counted = max(self.steps - round(skipped), 1)
        row = {name: value / counted for name, value in zip(self.names, sums, strict=True)}
        row |= {"skipped": round(skipped), **more}
        self._append(step, {**row, "pairs_per_second": self.steps * batch / seconds})
        self.sum.zero_()
        self.steps, self.since = 0, time.monotonic()
        return round(skipped)

    def write_validation(self, step: int, values: dict[str, float]) -> None:
        """Write a line of validation figures."""
        self._append(step, {f"val_{name}": value for name, value in values.items()})
        self.since = time.monotonic()

    def _append(self, step: int, row: dict[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **row}) + "\n")
        numbers = "  ".join(f"{name} {value:.4g}" for name, value in row.items())
        self.console.print(f"step {step}  {numbers}", soft_wrap=True, highlight=False)
