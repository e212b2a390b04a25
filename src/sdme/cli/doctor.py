"""``sdme doctor``: examine whether everything is there that the package needs."""

import os
import platform
import re
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from sdme.cli.output import JsonFlag, Output, QuietFlag


@dataclass(frozen=True)
class Finding:
    """One line of the examination; only a ``problem`` means that something must be done."""

    topic: str
    state: Literal["ok", "note", "problem"]
    text: str


def doctor(*, as_json: JsonFlag = False, quiet: QuietFlag = False) -> int:
    """Examine the installation: versions, devices, weights, optional parts, a place to write.

    Example: `sdme doctor`

    Exit code 0: all is well. 1: something is missing or broken.

    Parameters
    ----------
    as_json
        print one JSON object and nothing else
    quiet
        print nothing but errors
    """
    out = Output(as_json, quiet)
    findings = [*_versions(), *_devices(), *_weights(), *_extras(), *_places()]
    problems = [finding for finding in findings if finding.state == "problem"]
    out.result({"well": not problems, "findings": [asdict(finding) for finding in findings]})
    for finding in findings:
        mark = {"ok": "ok  ", "note": "note", "problem": "BAD "}[finding.state]
        out.line(f"{mark}  {finding.topic}: {finding.text}")
        if finding.state == "problem" and (quiet or as_json):
            out.error(f"{finding.topic}: {finding.text}")
    return 1 if problems else 0


def _versions() -> Iterator[Finding]:
    yield Finding("python", "ok", f"{platform.python_version()} on {platform.platform()}")
    yield Finding("sdme", "ok", f"{metadata.version('sdme')} in {Path(__file__).parent.parent}")
    for name in _requirements(extra=None):
        try:
            yield Finding(name, "ok", metadata.version(name))
        except metadata.PackageNotFoundError:
            yield Finding(name, "problem", f"not installed; run pip install {name}")


def _devices() -> Iterator[Finding]:
    try:
        import torch
    except (ImportError, OSError) as error:
        yield Finding("torch", "problem", f"cannot be loaded: {error}")
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Finding("device cpu", "ok", f"{torch.get_num_threads()} threads on {cores} cores")
    names = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    if not names:
        yield Finding("accelerator", "note", "none found; everything runs on the processor")
    for name in names:
        title = torch.cuda.get_device_name(name)
        try:
            total = float(torch.ones(8, device=name).sum())
        except RuntimeError as error:
            yield Finding(f"device {name}", "problem", f"{title}: {str(error).splitlines()[0]}")
            continue
        state = "ok" if total == 8 else "problem"
        yield Finding(f"device {name}", state, title if total == 8 else f"{title} miscalculates")


def _weights() -> Iterator[Finding]:
    try:
        from sdme.model.weights import DEFAULT_MODEL, records

        known = records()
    except (ImportError, OSError, ValueError) as error:
        yield Finding("weights", "problem", f"no list of models ({error}); install sdme again")
        return
    for record in known:
        intact = record.is_intact()
        text = f"{record.path}" if intact else f"{record.path} is missing or damaged"
        yield Finding(f"weights {record.name}", "ok" if intact else "problem", text)
    if DEFAULT_MODEL not in {record.name for record in known}:
        yield Finding("weights", "problem", f"the default model {DEFAULT_MODEL!r} is not there")


def _extras() -> Iterator[Finding]:
    for extra in metadata.metadata("sdme").get_all("Provides-Extra") or []:
        if extra == "dev":
            continue
        missing = [name for name in _requirements(extra) if not _is_installed(name)]
        if missing:
            text = f"{', '.join(missing)} not installed; pip install 'sdme[{extra}]' adds them"
            yield Finding(f"extra {extra}", "note", text)
        else:
            yield Finding(f"extra {extra}", "ok", "installed")


def _places() -> Iterator[Finding]:
    for topic, folder in (("current folder", Path.cwd()), ("temporary files", None)):
        try:
            with tempfile.TemporaryDirectory(dir=folder) as name:
                (Path(name) / "test").write_bytes(bytes(4096))
                place = Path(name).parent
            yield Finding(topic, "ok", f"{place} can be written to")
        except OSError as error:
            # Results can go elsewhere, temporary files cannot.
            state = "note" if folder else "problem"
            yield Finding(topic, state, f"{folder or 'the system'}: {error.strerror}")


def _requirements(extra: str | None) -> list[str]:
    """Names of the packages that this one, or one of its extras, asks for."""
    names = []
    for line in metadata.requires("sdme") or []:
        marker = re.search(r"extra\s*==\s*['\"]([^'\"]+)", line)
        if (marker.group(1) if marker else None) == extra:
            names.append(re.split(r"[\s<>=!~;\[(]", line, maxsplit=1)[0])
    return names


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True
