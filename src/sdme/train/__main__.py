"""Command line of the training loop; see :mod:`sdme.train.loop`."""

import argparse
import sys
import tomllib
from pathlib import Path
from typing import Any

from sdme.config import TrainSettings
from sdme.errors import InputError, SdmeError
from sdme.model.weights import usable_device
from sdme.train.loop import RunOptions, train


def read_settings(path: Path, changes: list[str]) -> TrainSettings:
    """Settings from a TOML file; ``changes`` such as ``losses.agents=0`` go over what it says."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        for change in changes:
            content = _merged(content, tomllib.loads(change))
        return TrainSettings.model_validate(content)
    except (OSError, ValueError) as error:  # not there, no text, no TOML, or no such setting
        line = str(error).replace("\n", "; ")
        raise InputError(f"cannot use settings {path}: {line}") from None


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


def main() -> int:
    """Train or resume; exit code 2 with one line on bad input."""
    parser = argparse.ArgumentParser(prog="python -m sdme.train", description=__doc__)
    parser.add_argument("settings", type=Path, help="TOML file, see src/sdme/train/settings")
    parser.add_argument("--packs", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="pause after so long")
    parser.add_argument("--limit", type=int, help="only the first items of each pack")
    parser.add_argument(
        "--set", action="append", default=[], help="change one setting, as losses.agents=0"
    )
    args = parser.parse_args()
    try:
        settings = read_settings(args.settings, args.set)
        device = usable_device(args.device)
        train(settings, RunOptions(args.packs, args.out, device, args.seconds, args.limit))
    except SdmeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
