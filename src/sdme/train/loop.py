"""The training loop, top to bottom.

::

    python -m sdme.train SETTINGS.toml --packs DIR --out RUN        one CPU or one GPU
    python -m sdme.train SETTINGS.toml --packs DIR --out RUN        the same again: resumes

``DIR`` has ``pairs/train``, ``photos/train`` and ``pairs/val`` with packs. ``RUN`` receives
``checkpoint.pt``, ``log.jsonl`` and, at the end and at every checkpoint, ``weights.safetensors``.
"""

import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from sdme.config import TrainSettings
from sdme.data.batches import Batch, ImageStore, load_store, make_batch
from sdme.data.packs import list_packs
from sdme.model.network import SdmeNetwork
from sdme.model.weights import save_weights
from sdme.train.checkpoint import TrainState, load_checkpoint, save_checkpoint
from sdme.train.step import NAMES, compute_gradients, matching_parameters
from sdme.train.validate import validate


@dataclass(frozen=True)
class RunOptions:
    """What does not change the result of a run: places, device, and when to pause."""

    packs: Path
    out: Path
    device: torch.device
    seconds: float = math.inf
    limit: int | None = None


def train(settings: TrainSettings, options: RunOptions) -> TrainState:
    """Run or resume a training until its last step, the time limit or Ctrl-C; then save.

    Raises:
        InputError: packs or checkpoint cannot be used.
    """
    begin = time.monotonic()
    options.out.mkdir(parents=True, exist_ok=True)
    checkpoint, console = options.out / "checkpoint.pt", Console(stderr=True)
    torch.manual_seed(settings.seed)
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
    network = SdmeNetwork(settings.network).to(options.device, memory_format=torch.channels_last)
    state = TrainState(network, _optimizer(network, settings), settings)
    if checkpoint.exists():
        load_checkpoint(checkpoint, state, options.device)
        console.print(f"resumed at step {state.step}")
    training, validation = _load_stores(settings, options)
    network.train()
    if settings.compile and options.device.type == "cuda":
        network.compile_parts()
    log = _Log(options.out / "log.jsonl", console, options.device)
    try:
        while state.step < settings.steps and time.monotonic() - begin < options.seconds:
            _one_step(state, training, log)
            if state.step % settings.log_every == 0:
                state.skipped += log.write(state)
            if state.step % settings.validate_every == 0:
                figures = validate(network, validation, settings.data, settings.validation_pairs)
                log.write_validation(state, asdict(figures))
            if state.step % settings.checkpoint_every == 0:
                _save(state, options.out)
    except KeyboardInterrupt:
        console.print(f"stopped at step {state.step}; the same command goes on from there")
    _save(state, options.out)
    return state


def _one_step(state: TrainState, store: ImageStore, log: "_Log") -> None:
    """One batch, one update; nothing waits for the device."""
    settings, network = state.settings, state.network
    assert isinstance(network, SdmeNetwork)
    if state.step >= settings.frozen_from * settings.steps:
        network.freeze_statistics()
    for group in state.optimizer.param_groups:
        group["lr"].fill_(learning_rate(settings, state.step))
    batch = _channels_last(make_batch(store, settings.batch, settings.data))
    state.optimizer.zero_grad(set_to_none=True)
    report = compute_gradients(
        network, batch, settings.losses, bfloat16=settings.precision == "bfloat16"
    )
    groups = [network.encoder, network.alignment, None]
    norm = torch.stack([_clip(network, part, settings.gradient_clip) for part in groups]).sum()
    skip = (~norm.isfinite()).float()
    state.optimizer.found_inf = skip  # type: ignore[attr-defined]  # the fused step looks at it
    state.optimizer.step()
    state.step += 1
    log.add(torch.cat([report.losses, torch.stack([report.share, norm, skip])]))


def learning_rate(settings: TrainSettings, step: int) -> float:
    """Linear warm-up, then a cosine down to zero at the last step."""
    warm = min(1.0, (step + 1) / max(settings.warmup, 1))
    return settings.learning_rate * warm * (1 + math.cos(math.pi * step / settings.steps)) / 2


def _clip(network: SdmeNetwork, part: torch.nn.Module | None, largest: float) -> Tensor:
    """Clip the gradient of one part by its own norm (``None``: what only matching uses)."""
    parameters = matching_parameters(network) if part is None else part.parameters()
    return torch.nn.utils.clip_grad_norm_([p for p in parameters if p.grad is not None], largest)


def _optimizer(network: SdmeNetwork, settings: TrainSettings) -> torch.optim.Optimizer:
    device = next(network.parameters()).device
    return torch.optim.AdamW(
        network.parameters(),
        lr=torch.tensor(settings.learning_rate, device=device),
        weight_decay=settings.weight_decay,
        eps=1e-12,  # the balance makes a task's gradients tiny; its own steps should not be
        fused=True,
    )


def _load_stores(settings: TrainSettings, options: RunOptions) -> tuple[ImageStore, ImageStore]:
    where, device, limit = options.packs, options.device, options.limit
    pairs, photos = list_packs(where / "pairs/train"), list_packs(where / "photos/train")
    training = load_store(pairs, photos, settings.data, device, limit)
    return training, load_store(list_packs(where / "pairs/val"), [], settings.data, device, limit)


def _channels_last(batch: Batch) -> Batch:
    form = torch.channels_last
    return Batch(
        batch.fixed.contiguous(memory_format=form), batch.moving.contiguous(memory_format=form),
        batch.H,
    )  # fmt: skip


def _save(state: TrainState, folder: Path) -> None:
    save_checkpoint(folder / "checkpoint.pt", state)
    assert isinstance(state.network, SdmeNetwork)
    save_weights(folder / "weights.safetensors", state.network)


class _Log:
    """Means over the steps since the last line, kept on the device until a line is due."""

    def __init__(self, path: Path, console: Console, device: torch.device) -> None:
        self.path, self.console = path, console
        self.names = [*NAMES, "matching_share", "gradient_norm", "skipped"]
        self.sum = torch.zeros(len(self.names), device=device)
        self.count, self.since = 0, time.monotonic()

    def add(self, values: Tensor) -> None:
        """Add one step's numbers; those of a skipped step do not count."""
        kept = torch.where(values[-1] > 0, torch.zeros_like(values), values)
        kept[-1] = values[-1]
        self.sum += kept.detach()
        self.count += 1

    def write(self, state: TrainState) -> int:
        """Write one line and start anew; returns the number of skipped steps it covers."""
        values = self.sum.tolist()
        skipped = round(values[-1])
        seconds = time.monotonic() - self.since
        row = {n: v / max(self.count - skipped, 1) for n, v in zip(self.names, values, strict=True)}
        row |= {"skipped": skipped, "learning_rate": learning_rate(state.settings, state.step)}
        row["pairs_per_second"] = self.count * state.settings.batch / seconds
        self._append(state.step, row)
        self.sum.zero_()
        self.count, self.since = 0, time.monotonic()
        return skipped

    def write_validation(self, state: TrainState, values: dict[str, float]) -> None:
        """Write a line of validation figures."""
        self._append(state.step, {f"val_{name}": value for name, value in values.items()})
        self.since = time.monotonic()

    def _append(self, step: int, row: dict[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **row}) + "\n")
        numbers = "  ".join(f"{name} {value:.4g}" for name, value in row.items())
        self.console.print(f"step {step}  {numbers}", soft_wrap=True, highlight=False)
