"""Checkpoints that survive a kill at any moment and continue a run exactly."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sdme.config import TrainSettings
from sdme.errors import InputError
from sdme.files import replacing
from sdme.model.weights import Network

CHECKPOINT = "checkpoint.pt"


@dataclass
class TrainState:
    """Everything that changes while training.

    ``total`` is the number of steps of the whole run, ``None`` while it is being found from the
    time limit; ``skipped`` counts steps whose gradient was not finite. ``data`` is a digest of what
    is trained on.
    """

    network: Network
    optimizer: torch.optim.Optimizer
    settings: TrainSettings
    step: int = 0
    skipped: int = 0
    total: int | None = None
    data: str = ""


def save_checkpoint(path: Path, state: TrainState) -> None:
    """Write a checkpoint; the file appears whole or not at all.

    Raises:
        InputError: it cannot be written.
    """
    content: dict[str, Any] = {
        "network": state.network.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "settings": state.settings.model_dump_json(),
        "step": state.step,
        "skipped": state.skipped,
        "total": state.total,
        "data": state.data,
    }
    with replacing(path) as temporary:
        try:
            torch.save(content, temporary)
        except RuntimeError as error:  # how PyTorch speaks of a full disk
            reason = " ".join(str(error).split())[:80]
            raise InputError(f"cannot write {path} ({reason}); is the disk full?") from None


def load_checkpoint(path: Path, state: TrainState, device: torch.device) -> None:
    """Continue from a checkpoint: ``state`` becomes what was saved.

    There is no random state to restore: what a step draws depends on seed and step alone.

    Raises:
        InputError: the file cannot be read or was written with other settings or on other data.
    """
    try:
        content = torch.load(path, map_location=device, weights_only=True)
        was = json.loads(content["settings"])
    except Exception as error:  # what a damaged file raises is not documented
        kind = type(error).__name__
        raise InputError(f"cannot read checkpoint {path} ({kind}); give another folder") from None
    # where the starting weights lay does not matter any more
    now = json.loads(state.settings.model_dump_json())
    names = [name for name in _differences(was, now) if name != "start"]
    if names:
        raise InputError(
            f"{path} was written with other settings ({', '.join(names)}); give those or another "
            "folder"
        )
    if content.get("data", "") != state.data:
        raise InputError(
            f"{path} was written on other data; give the same pairs and photos or another folder"
        )
    state.network.load_state_dict(content["network"])
    state.optimizer.load_state_dict(content["optimizer"])
    state.step, state.skipped = content["step"], content["skipped"]
    state.total = content["total"]


def _differences(one: dict[str, Any], two: dict[str, Any]) -> list[str]:
    """Names of the settings that differ, those of a table with its name."""
    names = []
    for name in dict.fromkeys([*one, *two]):
        first, second = one.get(name), two.get(name)
        if isinstance(first, dict) and isinstance(second, dict):
            names += [f"{name}.{inner}" for inner in _differences(first, second)]
        elif first != second:
            names.append(name)
    return names
