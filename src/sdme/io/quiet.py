"""Keeping the decoders' own chatter off the terminal."""

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

_stderr_lock = threading.Lock()


@contextlib.contextmanager
def silent_logger(name: str) -> Iterator[None]:
    """Nothing is logged under ``name`` inside."""
    logger = logging.getLogger(name)
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


@contextlib.contextmanager
def silent_stderr() -> Iterator[None]:
    """Close the C libraries' way to stderr, which no Python setting reaches."""
    with _stderr_lock, Path(os.devnull).open("w") as nothing:
        if sys.stderr is not None:
            sys.stderr.flush()
        try:
            keep = os.dup(2)
        except OSError:  # there is no stderr
            yield
            return
        os.dup2(nothing.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(keep, 2)
            os.close(keep)
