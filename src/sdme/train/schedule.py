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
    """Finds how many steps fit into a time limit, from the speed of the first ones."""

    first, last, reserve = 100, 300, 0.97

    def __init__(self, device: torch.device) -> None:
        self.device, self.began = device, (0, 0.0)

    def total_steps(self, step: int, deadline: float) -> int | None:
        """All steps of the run, once enough were timed; none of the first are (compilation)."""
        if step < self.first or math.isinf(deadline):
            return None
        if self.device.type == "cuda" and (not self.began[0] or step >= self.last):
            torch.cuda.synchronize()
        now = time.monotonic()
        if not self.began[0]:
            self.began = (step, now)
        if step < self.last:
            return None
        speed = (step - self.began[0]) / (now - self.began[1])
        return step + max(1, int((deadline - now) * speed * self.reserve))
