"""What identifies a run, and under which circumstances it was made: the content of ``run.json``."""

import hashlib
import os
import platform
import re
import shlex
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from sdme import __version__
from sdme.config import Settings
from sdme.data.pairs import Landmarks, Problem
from sdme.errors import InputError
from sdme.evaluate.case import CaseKey
from sdme.model.weights import records


class DatasetRecord(Settings):
    """A dataset of a run: how many pairs it gave, and how many cases were drawn from them."""

    name: str
    pairs: int
    cases: int


class RunRecord(Settings):
    """A run. ``sdme``, ``protocol``, ``datasets`` and ``digest`` identify it.

    ``digest`` is of the names and truths of all cases; the pictures are not looked into.
    ``methods`` maps each method to the digest of its file, empty for a method of the package.
    ``problems`` are what the reader of the data had to leave out, ``unreadable`` the cases that
    could not be drawn, by their name. ``starts`` holds the circumstances of each start.
    """

    sdme: str
    protocol: dict[str, Any]
    datasets: tuple[DatasetRecord, ...]
    digest: str
    methods: dict[str, str] = Field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    unreadable: dict[str, str] = Field(default_factory=dict)
    starts: tuple[dict[str, Any], ...] = ()

    def differences(self, other: "RunRecord") -> list[str]:
        """What keeps the results of the other record from standing beside these, in words."""
        mine, others = self._identity(), other._identity()
        return [
            f"{name} is {mine.get(name, 'not set')} there, {others.get(name, 'not set')} here"
            for name in dict.fromkeys([*mine, *others])
            if mine.get(name) != others.get(name)
        ]

    def _identity(self) -> dict[str, object]:
        """Name and value of whatever has to agree, the most telling first."""
        return {
            **{f"protocol {name}": value for name, value in self.protocol.items()},
            "datasets": ", ".join(f"{d.name} ({d.cases} cases)" for d in self.datasets),
            "digest of the cases": self.digest[:12],
            "version of sdme": self.sdme,
        }


def new_record(
    protocol: Settings,
    keys: Sequence[CaseKey],
    problems: Iterable[Problem] = (),
    circumstances: Mapping[str, Any] | None = None,
) -> RunRecord:
    """The record of a run of these cases that begins now."""
    cases = Counter(key.pair.dataset for key in keys)
    pairs = Counter(dataset for dataset, _ in {(key.pair.dataset, key.pair.id) for key in keys})
    return RunRecord(
        sdme=__version__,
        protocol=protocol.model_dump(mode="json"),
        datasets=tuple(
            DatasetRecord(name=name, pairs=pairs[name], cases=count)
            for name, count in cases.items()
        ),
        digest=_digest_of_cases(keys),
        problems=tuple(problems),
        starts=(dict(circumstances or {}),),
    )


def current_circumstances(
    device: str = "cpu", command: Sequence[str] = sys.argv, **more: object
) -> dict[str, Any]:
    """Time, command line, machine and versions; ``more`` is added as it is.

    ``device`` is a device of PyTorch; its name is looked up, which loads PyTorch, unless it is the
    processor.
    """
    names = {"device": device}
    if device != "cpu":
        import torch

        if torch.device(device).type == "cuda":
            names["device_name"] = torch.cuda.get_device_name(device)
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join([_program(Path(command[0])), *command[1:]]),
        "system": platform.platform(),
        "processor": _processor(),
        "cores": usable_cores(),
        **names,
        "versions": {"python": platform.python_version(), **_versions()},
        **more,
    }


def usable_cores() -> int:
    """How many cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def digest_of_method(method: str) -> str:
    """SHA-256 of the method's file, or of a shipped model's weights; empty for other methods.

    Raises:
        InputError: the file cannot be read.
    """
    path = Path(method)
    if not path.is_file():
        return next((record.sha256 for record in records() if record.name == method), "")
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; give a readable file") from None


def _digest_of_cases(keys: Iterable[CaseKey]) -> str:
    digest = hashlib.sha256()
    for key in keys:
        truth = key.pair.truth
        arrays = (truth.fixed, truth.moving) if isinstance(truth, Landmarks) else (truth,)
        digest.update(f"{key.name}\n{key.fixed_side}\n{key.pair.group}\n".encode())
        for array in arrays:
            digest.update(b"" if array is None else np.asarray(array, np.float64).tobytes())
    return digest.hexdigest()


def _program(path: Path) -> str:
    """What to type for a program; ``python -m sdme`` is the command ``sdme``."""
    return "sdme" if path.parts[-2:] == ("sdme", "__main__.py") else path.name


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found.group(1) if found else platform.processor() or platform.machine()


def _versions() -> dict[str, str]:
    """Versions of all that the package can make use of, as far as it is installed."""
    versions = {"sdme": __version__}
    for line in metadata.requires("sdme") or ():
        name = re.split(r"[^\w.-]", line, maxsplit=1)[0]
        if re.search(r"extra\s*==\s*['\"]dev['\"]", line):
            continue
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions
