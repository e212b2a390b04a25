"""Cases drawn by one method's processes, kept on disk for those of the next methods."""

import contextlib
import hashlib
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sdme.data.pairs import Landmarks
from sdme.evaluate.case import Case, CaseKey
from sdme.evaluate.protocol import Protocol, draw_case

_FOLDER = ".cases"
_LEFT_FREE = 4 * 2**30  # bytes


@contextlib.contextmanager
def case_store(folder: Path) -> Iterator[Path | None]:
    """A folder for drawn cases within that of a run, gone afterwards; ``None`` if there is none.

    Nothing is put there where less than 4 GiB of the disk are free.

    What a killed run left behind is removed.
    """
    place = folder / _FOLDER
    shutil.rmtree(place, ignore_errors=True)
    try:
        place.mkdir()
    except OSError:
        yield None
        return
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def stored_case(key: CaseKey, protocol: Protocol, store: Path | None) -> Case:
    """A case from the store, or drawn and put there; one that cannot be stored is only drawn.

    Raises:
        InputError: see :func:`sdme.evaluate.protocol.draw_case`.
    """
    if store is None:
        return draw_case(key, protocol)
    path = store / f"{hashlib.sha256(key.name.encode()).hexdigest()[:32]}.npz"
    with contextlib.suppress(OSError, ValueError, KeyError, zipfile.BadZipFile):
        return _loaded(path, key)
    case = draw_case(key, protocol)
    with contextlib.suppress(OSError):
        if shutil.disk_usage(store).free > _LEFT_FREE:
            _save(path, case)
    return case


def _loaded(path: Path, key: CaseKey) -> Case:
    with np.load(path, allow_pickle=False) as parts:
        truth = key.pair.truth
        return Case(
            key,
            parts["fixed"],
            parts["moving"],
            parts["initial"],
            parts.get("H_true"),
            truth if isinstance(truth, Landmarks) else None,
            int(parts["redraws"]),
        )


def _save(path: Path, case: Case) -> None:
    parts: dict[str, Any] = {"fixed": case.fixed, "moving": case.moving, "initial": case.initial}
    if case.H_true is not None:
        parts["H_true"] = case.H_true
    handle, name = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            np.savez(stream, redraws=np.array(case.redraws), **parts)
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
