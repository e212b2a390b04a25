"""Settings of training runs: the shipped ones by their names, or any TOML file."""

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sdme.config import TrainSettings
from sdme.errors import InputError

_DATA_SUFFIXES = (".tar", ".csv", ".jsonl")
FOLDER = Path(__file__).parent / "settings"


def shipped_settings() -> dict[str, Path]:
    """The files that come with the package, by their names."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.toml"))}


def summary_of(path: Path) -> str:
    """What a settings file says of itself: its first paragraph of comments, on one line."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not (line.startswith("#") and line.strip("# ")):
            break
        lines.append(line.strip("# "))
    return " ".join(lines)


def sets_of(path: Path) -> tuple[str, ...]:
    """Names of the sets that a settings file trains on, without any other; none: whatever comes."""
    return read_settings(path).data.datasets


def read_settings(name_or_path: str | Path, changes: Sequence[str] = ()) -> TrainSettings:
    """Settings by a shipped name or from a TOML file; ``changes`` go over what it says.

    A change is ``NAME=VALUE`` with a value as in TOML, such as ``losses.agents=0``; text needs no
    quotes. The later of two changes of one name counts.

    Raises:
        InputError: there is no such file, it is no TOML, or a setting in it or among the changes
            is unknown or has a value that is not accepted.
    """
    shipped = shipped_settings()
    path = shipped.get(str(name_or_path), Path(name_or_path))
    if path.is_dir() or path.suffix.lower() in _DATA_SUFFIXES:
        raise InputError(
            f"{name_or_path} seems to be data; give the settings first (one of "
            f"{', '.join(shipped)}, or a TOML file), then the data"
        )
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"cannot read settings {name_or_path}: {error.strerror}; "
            f"use one of {', '.join(shipped)} or a TOML file"
        ) from None
    except ValueError as error:  # no text, or no TOML
        line = " ".join(str(error).splitlines())
        raise InputError(f"settings {path} are no TOML: {line}; correct the file") from None
    for change in changes:
        content = _merged(content, _parsed(change))
    try:
        return TrainSettings.model_validate(content)
    except ValidationError as error:
        raise InputError(f"cannot use settings {name_or_path}: {_in_words(error)}") from None


def _parsed(change: str) -> dict[str, Any]:
    """One change as nested tables."""
    name, sign, value = (part.strip() for part in change.partition("="))
    if not sign or not re.fullmatch(r"\w+(\.\w+)*", name):
        raise InputError(f"cannot use the change {change!r}; give NAME=VALUE, as losses.agents=0")
    try:
        content: Any = tomllib.loads(f"value = {value}")["value"]
    except ValueError:
        content = value
    for key in reversed(name.split(".")):
        content = {key: content}
    return content


def _merged(content: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """Tables of both, entry by entry; elsewhere the change counts."""
    merged = dict(content)
    for key, value in change.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            merged[key] = _merged(old, value)
        else:
            merged[key] = value
    return merged


def _in_words(error: ValidationError) -> str:
    """What is wrong with each setting."""
    faults = []
    for fault in error.errors(include_url=False):
        # a network's settings are found under the name of its preset, which nobody wrote
        place = [str(part) for part in fault["loc"]]
        name = ".".join(place[:1] + place[2:] if place[:1] == ["network"] else place)
        unknown = fault["type"] == "extra_forbidden"
        faults.append(f"there is no setting {name}" if unknown else f"{name}: {fault['msg']}")
    return "; ".join(faults)
