"""The folder of a run: what identifies it, and its scores, which grow case by case.

``run.json`` is a :class:`RunRecord`. ``scores.jsonl`` holds a line for each method and case; what
was written of it stays valid whatever happens to the process, so that a run can be resumed. Other
files in the folder are left alone.
"""

import contextlib
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, Self

from pydantic import ConfigDict, ValidationError

from sdme.config import Settings
from sdme.data.pairs import Problem
from sdme.errors import InputError
from sdme.evaluate.case import CaseKey
from sdme.evaluate.methods import method_label
from sdme.evaluate.record import RunRecord, digest_of_method, new_record
from sdme.evaluate.score import Score
from sdme.files import write_text

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # on Windows nothing keeps two runs out of one folder
    fcntl = None

RECORD_FILE, SCORES_FILE = "run.json", "scores.jsonl"
_SECONDS_BETWEEN_SYNCS = 1.0


class _Line(Settings):
    """A line of the file of scores: what one method's stages reached on one case.

    JSON has no infinities; they are the strings ``Infinity`` and ``NaN``.
    """

    model_config = ConfigDict(ser_json_inf_nan="strings")

    method: str
    case: str
    scores: tuple[Score, ...]


class RunFolder:
    """A run on disk. Made by :meth:`start`, to write, or by :meth:`read`."""

    def __init__(self, path: Path, record: RunRecord) -> None:
        self.path = path
        self.record = record
        self._scores: dict[tuple[str, str], Sequence[Score]] = {}
        self._file: int | None = None
        self._size = 0
        self._synced = 0.0

    @classmethod
    def start(
        cls,
        path: str | os.PathLike[str],
        protocol: Settings,
        keys: Sequence[CaseKey],
        *,
        problems: Iterable[Problem] = (),
        circumstances: dict[str, Any] | None = None,
    ) -> Self:
        """Begin a run in a folder, or go on with the one that is there.

        ``problems`` are what the reader of the data left out; ``circumstances`` is kept with the
        time of this start. Close the folder when done, or use it in a ``with`` block.

        Raises:
            InputError: the folder holds another run, is in use, damaged or cannot be written to.
        """
        path = Path(path)
        record = new_record(protocol, keys, problems, circumstances)
        try:
            path.mkdir(parents=True, exist_ok=True)
            file = os.open(path / SCORES_FILE, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as error:
            raise InputError(f"cannot use folder {path}: {error.strerror}; give another") from None
        folder = cls(path, record)
        folder._file = file
        try:
            folder._lock()
            if os.fstat(file).st_size and not (path / RECORD_FILE).exists():
                raise InputError(
                    f"{path} holds a file {SCORES_FILE} without its {RECORD_FILE}; give another "
                    "folder"
                )
            folder._size = folder._load()
            folder._take_over()
            os.ftruncate(file, folder._size)
            folder._write_record()
        except BaseException:
            folder.close()
            raise
        return folder

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self:
        """Open the folder of a run to read from it; it may still be running.

        Raises:
            InputError: the folder holds no run, or a damaged one.
        """
        path = Path(path)
        if not (path / RECORD_FILE).is_file():
            raise InputError(f"{path} holds no run ({RECORD_FILE}); give the folder of one")
        folder = cls(path, _read_record(path))
        folder._load()
        return folder

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Bring everything to the disk and let other runs use the folder."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.fsync(self._file)
            os.close(self._file)
            self._file = None

    def discard_if_empty(self) -> None:
        """Remove the files of a run without scores, and the folder if it holds nothing else."""
        if self._scores:
            return
        self.close()
        with contextlib.suppress(OSError):
            (self.path / RECORD_FILE).unlink()
            (self.path / SCORES_FILE).unlink()
            self.path.rmdir()

    @property
    def methods(self) -> list[str]:
        """The methods of the run, in the order in which they were first asked for."""
        return list(self.record.methods)

    @property
    def problems(self) -> list[Problem]:
        """All that was left out: by the reader of the data, and cases that cannot be drawn."""
        unreadable = self.record.unreadable.items()
        return [*self.record.problems, *(Problem(name, why) for name, why in unreadable)]

    def done(self, method: str) -> set[str]:
        """Names of the cases on which the method has been run."""
        return {case for name, case in self._scores if name == method}

    def scores(self, methods: Iterable[str] | None = None) -> list[Score]:
        """Scores by method, dataset and case, whatever the order in which they were computed.

        A case that could not be drawn for one of the methods counts for none of them. Methods go
        by the names that they have today, whatever they were called when the run was made.
        """
        chosen = self.methods if methods is None else list(methods)
        datasets = {dataset.name: place for place, dataset in enumerate(self.record.datasets)}
        lines = [
            ((chosen.index(method), datasets[scores[0].dataset], scores[0].index), scores)
            for (method, case), stored in self._scores.items()
            for scores in (_renamed(stored, method_label(method)),)
            if method in chosen and case not in self.record.unreadable
        ]
        return [
            score for *_, scores in sorted(lines, key=lambda line: line[:3]) for score in scores
        ]

    def add_methods(self, methods: Iterable[str]) -> None:
        """Note which methods are run.

        Raises:
            InputError: the file of a method has changed since it was run here.
        """
        digests = {method: digest_of_method(method) for method in methods}
        for method, digest in digests.items():
            if self.done(method) and self.record.methods.get(method) != digest:
                raise InputError(
                    f"{method} has changed since it was run in {self.path}; give another folder"
                )
        self._update(methods={**self.record.methods, **digests})

    def add(self, method: str, case: str, scores: Sequence[Score]) -> None:
        """Store what the stages of a method reached on a case.

        Raises:
            InputError: the disk is full; what was stored before stays.
        """
        line = _Line(method=method, case=case, scores=tuple(scores))
        self._write(line.model_dump_json().encode() + b"\n")
        self._scores[method, case] = line.scores
        if case in self.record.unreadable:
            left = {name: why for name, why in self.record.unreadable.items() if name != case}
            self._update(unreadable=left)

    def add_unreadable(self, case: str, why: str) -> None:
        """Note that a case cannot be drawn, and why."""
        if self.record.unreadable.get(case) != why:
            self._update(unreadable={**self.record.unreadable, case: why})

    def _lock(self) -> None:
        if fcntl is None or self._file is None:
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"another run is writing to {self.path}; wait for it or give another folder"
            ) from None
        except OSError:  # file systems without locks
            return

    def _load(self) -> int:
        """Read the scores; returns the number of bytes up to the end of the last whole line."""
        path = self.path / SCORES_FILE
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}") from None
        size = data.rfind(b"\n") + 1  # a process that was killed may have left half a line
        for number, text in enumerate(data[:size].splitlines(), 1):
            try:
                line = _Line.model_validate_json(text)
            except ValidationError:
                raise InputError(
                    f"line {number} of {path} is damaged; remove the line, which then is computed "
                    "again, or give another folder"
                ) from None
            self._scores[line.method, line.case] = line.scores
        return size

    def _take_over(self) -> None:
        """Check that a run that is here already is the same, and keep what it says."""
        if not (self.path / RECORD_FILE).exists():
            return
        old = _read_record(self.path)
        if differences := old.differences(self.record):
            raise InputError(
                f"{self.path} holds another run: {'; '.join(differences)}; give another folder, "
                "or the same settings to go on with it"
            )
        self.record = self.record.model_copy(
            update={
                "methods": old.methods,
                "unreadable": old.unreadable,
                "starts": (*old.starts, *self.record.starts),
            }
        )

    def _update(self, **changes: object) -> None:
        self.record = self.record.model_copy(update=changes)
        self._write_record()

    def _write_record(self) -> None:
        write_text(self.path / RECORD_FILE, self.record.model_dump_json(indent=1) + "\n")

    def _write(self, line: bytes) -> None:
        """Append a line wholly or not at all."""
        if self._file is None:
            raise ValueError("the folder was opened to be read, or is closed")
        try:
            written = 0
            while written < len(line):
                written += os.write(self._file, line[written:])
            if time.monotonic() - self._synced > _SECONDS_BETWEEN_SYNCS:
                os.fsync(self._file)
                self._synced = time.monotonic()
        except OSError as error:
            os.ftruncate(self._file, self._size)
            raise InputError(
                f"cannot write into {self.path}: {error.strerror}; make room and run the same "
                "command again, it goes on from here"
            ) from None
        except BaseException:  # an interruption between two parts of a line
            os.ftruncate(self._file, self._size)
            raise
        self._size += len(line)


def _renamed(scores: Sequence[Score], label: str) -> list[Score]:
    """Scores under the name of their method; a stage that was called as the method follows."""
    return [
        replace(s, method=label, stage=label if s.stage == s.method else s.stage) for s in scores
    ]


def _read_record(path: Path) -> RunRecord:
    try:
        return RunRecord.model_validate_json((path / RECORD_FILE).read_bytes())
    except (OSError, ValidationError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not the record of a run"
        raise InputError(f"cannot read {path / RECORD_FILE}: {why}; give another folder") from None
