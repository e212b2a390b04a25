"""The training loop, top to bottom.

::

    sdme train general DATA/pairs/train DATA/photos/train --val DATA/pairs/val -o RUN
    the same again                                                      resumes

``RUN`` receives ``checkpoint.pt``, ``log.jsonl`` and, at the end and at every checkpoint,
``weights.safetensors``.
"""

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from sdme.config import TrainSettings
from sdme.data.batches import Batch, make_batch, seed_generators
from sdme.data.pairs import ImagePair
from sdme.data.store import DeviceStore, load_store
from sdme.errors import InputError
from sdme.model.network import SdmeNetwork
from sdme.model.weights import load_network, save_weights
from sdme.train.checkpoint import TrainState, load_checkpoint, save_checkpoint
from sdme.train.log import TrainLog
from sdme.train.step import (
    NAMES,
    LossFunction,
    Objective,
    branch_losses,
    compute_gradients,
    matching_parameters,
)
from sdme.train.validate import validate

LOGGED = [*NAMES, "matching_share", "norm_encoder", "norm_alignment", "norm_matching"]


@dataclass(frozen=True)
class RunOptions:
    """What does not change the result of a run: its folder, device, and when to pause."""

    out: Path
    device: torch.device
    seconds: float = math.inf
    quiet: bool = False


def train(
    settings: TrainSettings,
    training: Sequence[ImagePair],
    validation: Sequence[ImagePair],
    options: RunOptions,
) -> TrainState:
    """Run or resume a training until its last step or the time limit; then save.

    ``training`` and ``validation`` are pairs on one pixel grid, and photos; without ``validation``
    there are no figures on the way. Ctrl-C loses the steps since the last checkpoint, nothing else.

    Raises:
        InputError: pictures, starting weights or checkpoint cannot be used.
    """
    begin = time.monotonic()
    if settings.steps is None and math.isinf(options.seconds):
        raise InputError("neither steps nor a time limit is given; set steps or give --seconds")
    torch.backends.cudnn.benchmark = True
    state = _new_state(settings, options.device)
    network = state.network
    checkpoint, console = options.out / "checkpoint.pt", Console(stderr=True, quiet=options.quiet)
    if checkpoint.exists():
        load_checkpoint(checkpoint, state, options.device)
        console.print(f"resumed at step {state.step}")
    store = DeviceStore(
        load_store(training, settings.data), settings.data, options.device, settings.seed
    )
    held_out = None
    known = [v for v in validation if v.dataset in (settings.data.datasets or (v.dataset,))]
    if known:
        every = settings.data.model_copy(update={"datasets": (), "pair_fraction": 1.0})
        held_out = load_store(known, every).to(options.device)
    _make_folder(options.out)
    network.train()
    losses_of = branch_losses
    if settings.compile and options.device.type == "cuda":
        network.encoder.compile(dynamic=False)
        losses_of = torch.compile(branch_losses, dynamic=False)
    objective = Objective.of(settings.losses, options.device)
    clock = _Clock(options.device)
    log = TrainLog(options.out / "log.jsonl", console, LOGGED, options.device)
    try:
        while _is_unfinished(state) and time.monotonic() - begin < options.seconds:
            if state.total is None:
                state.total = clock.total_steps(state.step, begin + options.seconds)
            for batch in _batches(store, state):
                if _is_unfinished(state):
                    _one_step(state, batch, objective, log, losses_of)
            if _is_due(state, settings.log_every):
                _write(log, state)
            if held_out and _is_due(state, settings.validate_every):
                figures = validate(network, held_out, settings.data, settings.validation_pairs)
                log.write_validation(state.step, asdict(figures))
            if _is_due(state, settings.checkpoint_every):
                _save(state, options.out)
    except KeyboardInterrupt:
        console.print(f"interrupted at step {state.step}; go on from the last checkpoint")
        return state
    _write(log, state)
    _save(state, options.out)
    return state


def _new_state(settings: TrainSettings, device: torch.device) -> TrainState:
    torch.manual_seed(settings.seed)
    if settings.start is None:
        network = SdmeNetwork(settings.network)
    else:
        network = load_network(settings.start)
        if network.settings != settings.network:
            raise InputError(
                f"{settings.start} has other network settings than the run; give [network] as in "
                "its model card, or train from scratch"
            )
    network = network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return TrainState(network, make_optimizer(network, settings), settings, total=settings.steps)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot use folder {folder}: {error.strerror}") from None


def _batches(store: DeviceStore, state: TrainState) -> list[Batch]:
    """The batches of the next few steps, made together: fewer, larger launches.

    They depend on seed and step alone, so that a resumed run sees what an uninterrupted one sees.
    """
    settings = state.settings
    difficulty = min(1.0, state.step / settings.easy_steps) if settings.easy_steps else 1.0
    seed_generators(settings.seed, state.step)
    count = settings.batch * settings.chunk
    return make_batch(store.at(state.step), count, settings.data, difficulty).split(settings.batch)


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


def _one_step(
    state: TrainState, batch: Batch, objective: Objective, log: TrainLog, losses_of: LossFunction
) -> None:
    """One update; nothing waits for the device."""
    settings, network = state.settings, state.network
    if not settings.frozen_from or (
        state.total and state.step >= settings.frozen_from * state.total
    ):
        network.freeze_statistics()
    for group in state.optimizer.param_groups:
        group["lr"].fill_(learning_rate(settings, state.step, state.total))
    state.optimizer.zero_grad(set_to_none=True)
    report = compute_gradients(
        network,
        batch,
        objective,
        bfloat16=settings.precision == "bfloat16" and batch.H.is_cuda,
        losses_of=losses_of,
    )
    groups = [network.encoder.parameters(), network.alignment.parameters()]
    norms = torch.stack(
        [_clip(group, settings.gradient_clip) for group in (*groups, matching_parameters(network))]
    )
    skipped = (~norms.sum().isfinite()).float()
    state.optimizer.found_inf = skipped  # type: ignore[attr-defined]  # the fused step looks at it
    state.optimizer.step()
    state.step += 1
    log.add(torch.cat([report.losses, report.share[None], norms]), skipped)


def learning_rate(settings: TrainSettings, step: int, total: int | None) -> float:
    """Linear warm-up, then a cosine down to zero at the last step, once that is known."""
    warm = min(1.0, (step + 1) / max(settings.warmup, 1))
    share = step / total if total else 0.0
    return settings.learning_rate * warm * (1 + math.cos(math.pi * share)) / 2


def _clip(parameters: Iterable[torch.nn.Parameter], largest: float) -> Tensor:
    """Clip the gradient of one part by its own norm, which is returned."""
    return torch.nn.utils.clip_grad_norm_([p for p in parameters if p.grad is not None], largest)


def make_optimizer(network: SdmeNetwork, settings: TrainSettings) -> torch.optim.Optimizer:
    device = next(network.parameters()).device
    return torch.optim.AdamW(
        network.parameters(),
        lr=torch.tensor(settings.learning_rate, device=device),
        weight_decay=settings.weight_decay,
        eps=1e-12,  # the balance makes a task's gradients tiny; its own steps should not be
        fused=True,
    )


def _write(log: TrainLog, state: TrainState) -> None:
    rate = learning_rate(state.settings, state.step, state.total)
    state.skipped += log.write(state.step, state.settings.batch, learning_rate=rate)


def _save(state: TrainState, folder: Path) -> None:
    save_checkpoint(folder / "checkpoint.pt", state)
    save_weights(folder / "weights.safetensors", state.network)
