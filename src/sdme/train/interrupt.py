"""Ctrl-C and SIGTERM, which ask a run to stop where it can be gone on with; what is saved then."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Self

from sdme import parallel
from sdme.train.checkpoint import CHECKPOINT, TrainState

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupt:
    """While it is entered, a signal only sets ``is_asked``; a second one does what it always did.

    Under ``torchrun`` a second one does nothing: Ctrl-C arrives twice there, from the terminal and
    from ``torchrun``, which ends by force what does not stop. Outside of the main thread, which
    alone receives signals, nothing changes.
    """

    def __init__(self, tell: Callable[[str], object]) -> None:
        self.tell, self.is_asked = tell, False
        self.before: dict[int, object] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self.before = {number: signal.signal(number, self._ask) for number in SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        self._restore()

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.is_asked = True
        if parallel.count() > 1:
            self.tell("stopping after these steps")
            return
        self._restore()
        self.tell("stopping after these steps; a second interrupt stops at once")

    def _restore(self) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self.before = {}


@contextmanager
def telling_what_is_saved(folder: Path) -> Iterator[None]:
    """Let a ``KeyboardInterrupt`` that says nothing say what the folder of the run holds."""
    try:
        yield
    except KeyboardInterrupt as error:
        if error.args:
            raise
        raise KeyboardInterrupt(
            f"the last checkpoint in {folder} is kept; the same command goes on from it"
            if (folder / CHECKPOINT).exists()
            else "nothing was saved yet; the same command begins anew"
        ) from None


def saved_at(state: TrainState, folder: Path) -> str:
    """What is saved of a run that ended before its last step."""
    aim = "" if state.total is None else f" of {state.total}"
    return f"step {state.step}{aim} is saved in {folder}; the same command goes on from there"
