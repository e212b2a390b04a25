"""The training loop, top to bottom.

::

    sdme train general DATA/pairs/train DATA/photos/train --val DATA/pairs/val -o RUN
    torchrun --nproc-per-node 4 -m sdme train general ...               on four GPUs
    the same again                                                      resumes

``RUN`` receives ``log.jsonl``, ``examples.png``, the folder ``tensorboard`` and, at the end and
on the way, ``checkpoint.pt`` and ``weights.safetensors``.
"""

import hashlib
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor, nn

from sdme import parallel
from sdme.config import TrainSettings
from sdme.data.batches import Batch, make_batch, rendered_view, seed_generators
from sdme.data.pairs import ImagePair
from sdme.data.store import (
    DeviceStore,
    ImageStore,
    draw_part,
    load_store,
    picture_capacity,
    shared_pictures,
)
from sdme.data.synthesis import checked_shares
from sdme.errors import InputError
from sdme.files import WEIGHTS_FILE
from sdme.model.weights import build_network, load_network, save_weights
from sdme.train.checkpoint import CHECKPOINT, TrainState, load_checkpoint, save_checkpoint
from sdme.train.interrupt import Interrupt
from sdme.train.log import TrainLog
from sdme.train.recipe import Recipe
from sdme.train.recipes import make_recipe
from sdme.train.schedule import Clock, learning_rate
from sdme.train.statistics import freeze_statistics, joined, put_back, running_statistics
from sdme.train.validate import as_they_are


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
    there are no figures on the way. The first Ctrl-C or SIGTERM stops after the next few steps and
    saves; a second one, a ``KeyboardInterrupt``, loses the steps since the last checkpoint.

    Under ``torchrun`` each process takes its part of every batch, with the result of one process
    that has as many ``streams``. All of them read the data and ``options.out``; the first writes.

    Raises:
        InputError: settings, pictures, starting weights or checkpoint cannot be used, or the batch
            cannot be dealt out to the processes.
    """
    if settings.steps is None and math.isinf(options.seconds):
        raise InputError("neither steps nor a time limit is given; set steps or give --seconds")
    if settings.data.renderings:
        checked_shares(settings.data.renderings)
    deadline = time.monotonic() + options.seconds
    with parallel.processes(options.device) as device:
        options = replace(options, device=device)
        return _train(_with_streams(settings), training, validation, options, deadline)


def _train(
    settings: TrainSettings,
    training: Sequence[ImagePair],
    validation: Sequence[ImagePair],
    options: RunOptions,
    deadline: float,
) -> TrainState:
    torch.backends.cudnn.benchmark = True
    state, device = _new_state(settings, training, options.device), options.device
    console = Console(stderr=True, quiet=options.quiet or not parallel.is_first())
    _resume(state, options.out / CHECKPOINT, device, console)
    network = state.network
    store, held_out = _stores(settings, training, validation, device, console)
    _make_folder(options.out)
    network.train()
    recipe, view = make_recipe(network, settings, device), rendered_view
    if settings.compile and device.type == "cuda":
        view = torch.compile(rendered_view, dynamic=False)
    clock = Clock(device)
    log = TrainLog(options.out, state.step, logged_names(recipe), console, device)
    if state.step == 0:
        _show(log, state, recipe, store, held_out)
    elif _is_validated(state) and not log.is_validated:
        _validate(log, state, recipe, store, held_out)  # killed between the checkpoint and this
    try:
        with Interrupt(console.print) as interrupt:
            while _is_unfinished(state) and _goes_on(state, clock, deadline, interrupt):
                for batch in _batches(store, state, recipe, view):
                    if _is_unfinished(state):
                        take_step(state, batch, recipe, log)
                is_saved = _is_due(state, settings.checkpoint_every) or not _is_unfinished(state)
                if is_saved or _is_due(state, settings.log_every):
                    _write(log, state)
                if is_saved:
                    _save(state, options.out)
                if _is_validated(state):
                    _validate(log, state, recipe, store, held_out)
    except KeyboardInterrupt:
        console.print(f"interrupted at step {state.step}; go on from the last checkpoint")
        raise
    _write(log, state)
    _save(state, options.out)
    if interrupt.is_asked and not _is_unfinished(state):
        raise KeyboardInterrupt(
            f"all {state.step} steps are done and saved in {options.out}; the same command goes on "
            "from there"
        )
    return state


def _with_streams(settings: TrainSettings) -> TrainSettings:
    """Settings that say how many random streams there are, where there are several processes."""
    count = parallel.count()
    streams = settings.streams or count
    if streams % count:
        raise InputError(
            f"{streams} streams cannot be dealt out to {count} processes; set streams to a "
            f"multiple of {count}"
        )
    if settings.batch % streams:
        raise InputError(
            f"a batch of {settings.batch} pairs cannot be made of {streams} streams; set batch to "
            f"a multiple of {streams}"
        )
    return settings if count == 1 else settings.model_copy(update={"streams": streams})


def _new_state(
    settings: TrainSettings, training: Sequence[ImagePair], device: torch.device
) -> TrainState:
    torch.manual_seed(settings.seed)
    if settings.start is None:
        network = build_network(settings.network)
    else:
        network = load_network(settings.start)
        if network.settings != settings.network:
            raise InputError(
                f"{settings.start} has other network settings than the run; give [network] as in "
                "its model card, or train from scratch"
            )
    network = network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    names = "\n".join(sorted(f"{pair.dataset}/{pair.id}" for pair in training))
    digest = hashlib.sha256(names.encode(errors="surrogateescape")).hexdigest()
    optimizer = make_optimizer(network, settings)
    return TrainState(network, optimizer, settings, total=settings.steps, data=digest)


def _resume(state: TrainState, path: Path, device: torch.device, console: Console) -> None:
    if path.exists():
        load_checkpoint(path, state, device)
        console.print(f"resumed at step {state.step}")
    least, most = parallel.largest([-state.step, state.step])
    if -least != most:
        raise InputError(
            f"not all processes find {path}; give a folder on a file system that they share"
        )


def _stores(
    settings: TrainSettings,
    training: Sequence[ImagePair],
    validation: Sequence[ImagePair],
    device: torch.device,
    console: Console,
) -> tuple[DeviceStore, ImageStore | None]:
    """What is trained on, and what is held out, if anything; both on the device."""
    pictures, held_out = load_store(training, settings.data), _held_out(settings, validation)
    if held_out is not None:
        if shared := shared_pictures(pictures, held_out):
            console.print(
                f"warning: {shared} of the pictures held out are trained on as well; take them out "
                "of either, or the figures flatter"
            )
        held_out = held_out.to(device)
    return DeviceStore(pictures, settings.data, device, settings.seed), held_out


def _held_out(settings: TrainSettings, validation: Sequence[ImagePair]) -> ImageStore | None:
    known = [v for v in validation if v.dataset in (settings.data.datasets or (v.dataset,))]
    if not known or not parallel.is_first():
        return None
    every = settings.data.model_copy(update={"datasets": (), "pair_fraction": 1.0})
    store = load_store(known, every)
    capacity = picture_capacity(store, every)
    if len(store.pictures) > capacity:  # its crops are few; a part of it, always the same, will do
        store = draw_part(store, capacity, [settings.seed])
    return store


def _make_folder(folder: Path) -> None:
    """Make the folder, without what a killed run left half-written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot use folder {folder}: {error.strerror}") from None
    if parallel.is_first():
        for partial in folder.glob(".partial-*"):
            partial.unlink(missing_ok=True)


def _batches(
    store: DeviceStore, state: TrainState, recipe: Recipe, view: Callable[..., Tensor]
) -> list[Batch]:
    """Own pairs of the next few steps, made together: fewer, larger launches.

    They come from seed, step and stream alone, so that a resumed run sees what an uninterrupted
    one sees, on however many processes. The streams go to the processes in order.
    """
    settings, pictures = state.settings, store.at(state.step)
    difficulty = min(1.0, state.step / settings.easy_steps) if settings.easy_steps else 1.0
    streams = settings.streams or 1
    size, own = settings.batch // streams, streams // parallel.count()
    parts = []
    for stream in range(parallel.rank() * own, (parallel.rank() + 1) * own):
        seed_generators(settings.seed, state.step, stream)
        count = size * settings.chunk
        made = make_batch(pictures, count, settings.data, difficulty, view, recipe.draw)
        parts.append(made.split(size))
    return [Batch.joined(list(step)) for step in zip(*parts, strict=True)]


def _goes_on(state: TrainState, clock: Clock, deadline: float, interrupt: Interrupt) -> bool:
    """Whether there are further steps before a pause, all processes alike; finds the total."""
    is_over = interrupt.is_asked or time.monotonic() >= deadline
    total = 0
    if state.total is None and not is_over:
        total = clock.total_steps(state.step, deadline) or 0
    is_over, total = parallel.largest([is_over, total])
    state.total = state.total or total or None
    return not is_over


def _is_due(state: TrainState, every: int) -> bool:
    """Whether a multiple of ``every`` was passed by the last chunk of steps."""
    return state.step // every > (state.step - state.settings.chunk) // every


def _is_validated(state: TrainState) -> bool:
    """Whether figures of held-out pairs belong here: every so many steps, and at the end."""
    return _is_due(state, state.settings.validate_every) or not _is_unfinished(state)


def _is_unfinished(state: TrainState) -> bool:
    return state.total is None or state.step < state.total


def logged_names(recipe: Recipe) -> list[str]:
    """Names of what a step logs: the recipe's numbers and the norm of each part's gradient."""
    return [*recipe.names, *(f"norm_{part}" for part in recipe.parts())]


def take_step(state: TrainState, batch: Batch, recipe: Recipe, log: TrainLog) -> None:
    """One update; nothing waits for the device."""
    settings, network = state.settings, state.network
    if not settings.frozen_from or (
        state.total and state.step >= settings.frozen_from * state.total
    ):
        freeze_statistics(network)
    for group in state.optimizer.param_groups:
        group["lr"].fill_(learning_rate(settings, state.step, state.total))
    statistics = running_statistics(network)
    before = joined(statistics)
    numbers = recipe.compute_gradients(batch)
    norms = torch.stack([_clip(part, settings.gradient_clip) for part in recipe.parts().values()])
    skipped = (~norms.sum().isfinite()).float()
    state.optimizer.found_inf = skipped  # type: ignore[attr-defined]  # the fused step looks at it
    state.optimizer.step()
    put_back(statistics, before, skipped)
    state.step += 1
    log.add(torch.cat([numbers, norms]), skipped)


def _clip(parameters: Iterable[torch.nn.Parameter], largest: float) -> Tensor:
    """Clip the gradient of one part by its own norm, which is returned."""
    return torch.nn.utils.clip_grad_norm_([p for p in parameters if p.grad is not None], largest)


def make_optimizer(network: nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    """AdamW in one launch, which leaves out a step whose ``found_inf`` is not 0."""
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


def _validate(
    log: TrainLog,
    state: TrainState,
    recipe: Recipe,
    store: DeviceStore,
    held_out: ImageStore | None,
) -> None:
    """Write figures of held-out pairs, if there are any, and example pictures."""
    if held_out is not None:
        settings = state.settings
        figures = recipe.validate(held_out, settings.data, settings.validation_pairs)
        log.write_validation(state.step, figures)
    _show(log, state, recipe, store, held_out)


def _show(
    log: TrainLog,
    state: TrainState,
    recipe: Recipe,
    store: DeviceStore,
    held_out: ImageStore | None,
) -> None:
    """Write example pictures of held-out pairs, else of what is trained on."""
    if parallel.is_first():
        settings = state.settings.data
        shown = (store.at(state.step), settings)
        if held_out is not None:
            shown = (held_out, as_they_are(settings))
        log.write_examples(state.step, recipe.examples(*shown))


def _save(state: TrainState, folder: Path) -> None:
    if parallel.is_first():
        save_checkpoint(folder / CHECKPOINT, state)
        save_weights(folder / WEIGHTS_FILE, state.network)
