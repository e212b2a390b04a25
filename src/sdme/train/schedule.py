"""The course of a run: how many steps fit into its time, and the learning rate of each."""

import math
import time

import torch

from sdme.config import TrainSettings


def learning_rate(settings: TrainSettings, step: int, total: int | None) -> float:
    """Linear warm-up, then a cosine down to zero at the last step, once that is known."""
    warm = min(1.0, (step + 1) / max(settings.warmup, 1))
    share = step / total if total else 0.0
    return settings.learning_rate * warm * (1 + math.cos(math.pi * share)) / 2


class Clock:
    """Finds how many steps fit into a time limit, from the speed of the first ones.

    The first steps of a process, which compile, are not timed. The next are, for 200 steps or a
    tenth of the time that is left, whichever is less.
    """

    untimed, enough, share, reserve = 8, 200, 0.1, 0.97

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.first: int | None = None
        self.began: tuple[int, float] | None = None

    def total_steps(self, step: int, deadline: float) -> int | None:
        """All steps of the run, once enough were timed; to be asked before each few steps."""
        if math.isinf(deadline):
            return None
        self.first = step if self.first is None else self.first
        if self.began is None:
            if step - self.first >= self.untimed:
                self.began = (step, self._now())
            return None
        steps, began = step - self.began[0], self.began[1]
        if not steps or (
            steps < self.enough and time.monotonic() - began < self.share * (deadline - began)
        ):
            return None
        now = self._now()
        left = (deadline - now) * steps / max(now - began, 1e-6)
        return step + max(1, int(left * self.reserve))

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.monotonic()
