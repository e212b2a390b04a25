"""Checkpoints that survive a kill at any moment and continue a run exactly."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sdme.config import TrainSettings
from sdme.errors import InputError
from sdme.files import replacing


@dataclass
class TrainState:
    """Everything that changes while training.

    ``total`` is the number of steps of the whole run, ``None`` while it is being found from the
    time limit; ``skipped`` counts steps whose gradient was not finite.
    """

    network: nn.Module
    optimizer: torch.optim.Optimizer
    settings: TrainSettings
    step: int = 0
    skipped: int = 0
    total: int | None = None


def save_checkpoint(path: Path, state: TrainState) -> None:
    """Write a checkpoint; the file appears whole or not at all."""
    content: dict[str, Any] = {
        "network": state.network.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "settings": state.settings.model_dump_json(),
        "step": state.step,
        "skipped": state.skipped,
        "total": state.total,
        "random_cpu": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        content["random_cuda"] = torch.cuda.get_rng_state()
    with replacing(path) as temporary:
        torch.save(content, temporary)


def load_checkpoint(path: Path, state: TrainState, device: torch.device) -> None:
    """Continue from a checkpoint: ``state`` and the random generators become what was saved.

    Raises:
        InputError: the file cannot be read or was written with other settings.
    """
    try:
        content = torch.load(path, map_location=device, weights_only=True)
        settings = content["settings"]
    except Exception as error:  # what a damaged file raises is not documented
        kind = type(error).__name__
        raise InputError(f"cannot read checkpoint {path} ({kind}); give another folder") from None
    if settings != state.settings.model_dump_json():
        raise InputError(f"{path} was written with other settings; give those or another folder")
    state.network.load_state_dict(content["network"])
    state.optimizer.load_state_dict(content["optimizer"])
    state.step, state.skipped = content["step"], content["skipped"]
    state.total = content["total"]
    torch.set_rng_state(content["random_cpu"].cpu())
    if "random_cuda" in content and device.type == "cuda":
        torch.cuda.set_rng_state(content["random_cuda"].cpu())
