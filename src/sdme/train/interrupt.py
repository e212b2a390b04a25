"""Ctrl-C and SIGTERM, which ask a run to stop where it can be gone on with."""

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Self

from sdme import parallel

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
