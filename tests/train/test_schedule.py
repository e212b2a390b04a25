"""How many steps a run has that was given a time."""

import math

import pytest
import torch

from sdme.train import schedule
from sdme.train.schedule import Clock


class Time:
    """A clock that the test moves."""

    def __init__(self, monkeypatch):
        self.now = 1000.0
        monkeypatch.setattr(schedule.time, "monotonic", lambda: self.now)


def found(monkeypatch, seconds, of_first, of_step, start=0, chunk=4):
    """Total, and the step and the time at which it was found."""
    time, clock, step = Time(monkeypatch), Clock(torch.device("cpu")), start
    deadline = time.now + seconds
    while time.now < deadline:
        total = clock.total_steps(step, deadline)
        if total is not None:
            return total, step, time.now - 1000
        time.now += chunk * of_step if step > start else of_first
        step += chunk
    return None


@pytest.mark.parametrize(
    "seconds, of_first, of_step", [(600, 100, 0.04), (300, 5, 2.0), (60, 1, 0.3), (3600, 10, 5.0)]
)
def test_the_run_ends_shortly_before_its_time(monkeypatch, seconds, of_first, of_step):
    total, step, at = found(monkeypatch, seconds, of_first, of_step)
    left = (total - step) * of_step
    assert 0.9 * (seconds - at) < left <= seconds - at
    assert at < of_first + 0.25 * seconds  # long before the end, so that the rate can fall


def test_a_resumed_run_is_timed_anew(monkeypatch):
    total, _, _ = found(monkeypatch, 100, 30, 0.1, start=300)
    assert total - 300 == pytest.approx((100 - 30) / 0.1, rel=0.05)


def test_chunks_longer_than_what_is_timed(monkeypatch):
    total, step, at = found(monkeypatch, 1000, 50, 0.1, chunk=400)
    assert total - step == pytest.approx((1000 - at) / 0.1, rel=0.05)


def test_no_limit_gives_no_total():
    clock = Clock(torch.device("cpu"))
    assert all(clock.total_steps(step, math.inf) is None for step in range(0, 1000, 4))
