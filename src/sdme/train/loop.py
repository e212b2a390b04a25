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
from sdme.errors import InputError
from sdme.model.network import SdmeNetwork
from sdme.model.weights import save_weights
from sdme.train.checkpoint import TrainState, load_checkpoint, save_checkpoint
from sdme.train.step import (
    NAMES,
    LossFunction,
    branch_losses,
    compute_gradients,
    matching_parameters,
)
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
    """Run or resume a training until its last step or the time limit; then save.

    Ctrl-C loses the steps since the last checkpoint, nothing else.

    Raises:
        InputError: packs or checkpoint cannot be used.
    """
    begin = time.monotonic()
    if settings.steps is None and math.isinf(options.seconds):
        raise InputError("neither steps nor a time limit is given; set steps or give --seconds")
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot use folder {options.out}: {error.strerror}") from None
    checkpoint, console = options.out / "checkpoint.pt", Console(stderr=True)
    torch.manual_seed(settings.seed)
    torch.backends.cudnn.benchmark = True
    network = SdmeNetwork(settings.network).to(options.device)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    state = TrainState(network, _optimizer(network, settings), settings, total=settings.steps)
    if checkpoint.exists():
        load_checkpoint(checkpoint, state, options.device)
        console.print(f"resumed at step {state.step}")
    training, validation = _load_stores(settings, options)
    network.train()
    losses_of = branch_losses
    if settings.compile and options.device.type == "cuda":
        network.encoder.compile(dynamic=False)
        losses_of = torch.compile(branch_losses, dynamic=False)
    clock = _Clock(options.device)
    log = _Log(options.out / "log.jsonl", console, options.device)
    try:
        while _is_unfinished(state) and time.monotonic() - begin < options.seconds:
            if state.total is None:
                state.total = clock.total_steps(state.step, begin + options.seconds)
            for batch in _batches(training, state):
                if _is_unfinished(state):
                    _one_step(state, batch, log, losses_of)
            if _is_due(state, settings.log_every):
                state.skipped += log.write(state)
            if _is_due(state, settings.validate_every):
                figures = validate(network, validation, settings.data, settings.validation_pairs)
                log.write_validation(state, asdict(figures))
            if _is_due(state, settings.checkpoint_every):
                _save(state, options.out)
    except KeyboardInterrupt:
        console.print(f"interrupted at step {state.step}; go on from the last checkpoint")
        return state
    state.skipped += log.write(state)
    _save(state, options.out)
    return state


def _batches(store: ImageStore, state: TrainState) -> list[Batch]:
    """The batches of the next few steps, made together: fewer, larger launches."""
    settings, form = state.settings, torch.channels_last
    difficulty = min(1.0, state.step / settings.easy_steps) if settings.easy_steps else 1.0
    made = make_batch(store, settings.batch * settings.chunk, settings.data, difficulty)
    fixed, moving = (i.contiguous(memory_format=form) for i in (made.fixed, made.moving))
    parts = zip(*(t.split(settings.batch) for t in (fixed, moving, made.H)), strict=True)
    return [Batch(*part) for part in parts]


def _is_due(state: TrainState, every: int) -> bool:
    """Whether a multiple of ``every`` was passed by the last chunk of steps."""
    return state.step // every > (state.step - state.settings.chunk) // every


def _is_unfinished(state: TrainState) -> bool:
    return state.total is None or state.step < state.total


class _Clock:
    """Finds how many steps fit into a time limit, from the speed of the first ones."""

    first, last, reserve = 100, 300, 0.97

    def __init__(self, device: torch.device) -> None:
        self.device, self.began = device, (0, 0.0)

    def total_steps(self, step: int, deadline: float) -> int | None:
        """All steps of the run, once enough were timed; none of the first are (compilation)."""
        if step < self.first or math.isinf(deadline):
            return None
        if self.device.type == "cuda" and (not self.began[0] or step >= self.last):
            torch.cuda.synchronize()
        now = time.monotonic()
        if not self.began[0]:
            self.began = (step, now)
        if step < self.last:
            return None
        speed = (step - self.began[0]) / (now - self.began[1])
        return step + max(1, int((deadline - now) * speed * self.reserve))


def _one_step(state: TrainState, batch: Batch, log: "_Log", losses_of: LossFunction) -> None:
    """One update; nothing waits for the device."""
    settings, network = state.settings, state.network
    assert isinstance(network, SdmeNetwork)
    if state.total and state.step >= settings.frozen_from * state.total:
        network.freeze_statistics()
    for group in state.optimizer.param_groups:
        group["lr"].fill_(learning_rate(settings, state.step, state.total))
    state.optimizer.zero_grad(set_to_none=True)
    report = compute_gradients(
        network,
        batch,
        settings.losses,
        bfloat16=settings.precision == "bfloat16" and batch.H.is_cuda,
        losses_of=losses_of,
    )
    groups = [network.encoder, network.alignment, None]
    norm = torch.stack([_clip(network, part, settings.gradient_clip) for part in groups]).sum()
    skip = (~norm.isfinite()).float()
    state.optimizer.found_inf = skip  # type: ignore[attr-defined]  # the fused step looks at it
    state.optimizer.step()
    state.step += 1
    log.add(torch.cat([report.losses, torch.stack([report.share, norm, skip])]))


def learning_rate(settings: TrainSettings, step: int, total: int | None) -> float:
    """Linear warm-up, then a cosine down to zero at the last step, once that is known."""
    warm = min(1.0, (step + 1) / max(settings.warmup, 1))
    share = step / total if total else 0.0
    return settings.learning_rate * warm * (1 + math.cos(math.pi * share)) / 2


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
        if not self.count:
            return 0
        values = self.sum.tolist()
        skipped = round(values[-1])
        seconds = time.monotonic() - self.since
        row = {n: v / max(self.count - skipped, 1) for n, v in zip(self.names, values, strict=True)}
        row |= {
            "skipped": skipped,
            "learning_rate": learning_rate(state.settings, state.step, state.total),
        }
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
