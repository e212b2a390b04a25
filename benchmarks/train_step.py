"""Time a training step and its parts on random pictures, in the sizes of the paper's protocol.

::

    python benchmarks/train_step.py --batch 16 --device cuda

Prints a line a part: milliseconds (medians over repeated runs, after warm-up) and pairs a second.
A loss is timed forward and backward on feature maps that are there; on CUDA all is compiled, unless
``--eager`` is given. ``--what step`` leaves the parts out, which take minutes to compile. With
``--preset fast`` the parts are the network and the losses, eager, and the step is one CUDA graph.
"""

import argparse
import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from rich.console import Console
from torch import Tensor

from sdme.config import (
    AnyNetworkSettings,
    DataSettings,
    FastSettings,
    NetworkSettings,
    TrainSettings,
)
from sdme.data.batches import Batch, make_batch, rendered_view
from sdme.data.store import ImageStore
from sdme.losses.agents import agent_diversity_loss
from sdme.losses.average_precision import average_precision_loss
from sdme.losses.convergence import alignment_losses
from sdme.losses.guidance import dense_guidance_loss
from sdme.losses.repeatability import cosine_repeatability_loss, peakiness_loss
from sdme.model.fast import FastFeatures, FastNetwork
from sdme.model.network import SdmeNetwork
from sdme.model.structure import structure_map
from sdme.model.weights import Network, build_network
from sdme.train.checkpoint import TrainState
from sdme.train.fast import FastRecipe
from sdme.train.fast_step import Draws, fast_losses
from sdme.train.log import TrainLog
from sdme.train.loop import logged_names, make_optimizer, take_step
from sdme.train.recipes import make_recipe
from sdme.train.step import draw

CHUNK = 8


@dataclass(frozen=True)
class Bench:
    """What all timings share. ``lock`` lets two processes compile at once and time in turn."""

    device: torch.device
    batch: int
    repeats: int
    compiled: bool
    lock: Path | None

    def report(self, name: str, action: Callable[[], object], pairs: int | None = None) -> None:
        """Print the median time of an action, the device idle before and after it."""
        for _ in range(3):
            action()
        times = []
        with self._alone():
            for _ in range(self.repeats):
                self._wait()
                begin = time.perf_counter()
                action()
                self._wait()
                times.append(time.perf_counter() - begin)
        seconds = statistics.median(times)
        rate = (pairs or self.batch) / seconds
        print(f"{name:44s} {seconds * 1e3:9.2f} ms {rate:9.0f} pairs/s", flush=True)

    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, compiled where that is wanted."""
        return torch.compile(function, dynamic=False) if self.compiled else function

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        if self.lock is None:
            yield
            return
        import fcntl

        with self.lock.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--what", choices=["all", "step", "parts"], default="all")
    parser.add_argument("--eager", action="store_true")
    parser.add_argument("--preset", choices=["paper", "fast"], default="paper")
    parser.add_argument("--lock", type=Path, help="file that two such processes lock to time alone")
    args = parser.parse_args()
    device = torch.device(args.device)
    torch.backends.cudnn.benchmark = True
    compiled = device.type == "cuda" and not args.eager
    bench = Bench(device, args.batch, args.repeats, compiled, args.lock)
    data = DataSettings(fixed_side=args.side, moving_side=args.side * 3 // 2)
    store = random_store(data, device)
    is_fast = args.preset == "fast"
    if args.what != "step":
        if is_fast:
            time_fast_parts(bench, store, data)
        else:
            time_parts(bench, make_batch(store, args.batch, data, draw=draw))
    if args.what != "parts":
        network = FastSettings() if is_fast else NetworkSettings()
        time_step(bench, store, data, network)
    if device.type == "cuda":
        print(f"memory {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")


def random_store(data: DataSettings, device: torch.device) -> ImageStore:
    """Sixty-four pictures: forty pairs that share them, and photos."""
    side = data.stored_side
    pictures = torch.randint(0, 256, (64, side, side, 3), dtype=torch.uint8, device=device)
    index = torch.arange(64, device=device)
    second = torch.where(index < 40, index.flip(0), index)
    cumulative = torch.linspace(0, 1, 41, device=device)[1:]
    return ImageStore(pictures, index, second, 40, cumulative, index[:40])


def time_step(
    bench: Bench, store: ImageStore, data: DataSettings, preset: AnyNetworkSettings
) -> None:
    """Batch creation, the loop's own step, and both together."""
    settings = TrainSettings(network=preset, batch=bench.batch, chunk=CHUNK, compile=bench.compiled)
    network = new_network(preset, bench.device)
    state = TrainState(network, make_optimizer(network, settings), settings)
    recipe = make_recipe(network, settings, bench.device)
    view: Callable[..., Tensor] = rendered_view
    if bench.compiled:
        view = torch.compile(rendered_view, dynamic=False)
    count = bench.batch * CHUNK

    def make() -> list[Batch]:
        return make_batch(store, count, data, view=view, draw=recipe.draw).split(bench.batch)

    batches = make()
    with tempfile.TemporaryDirectory() as folder:
        names = logged_names(recipe)
        log = TrainLog(Path(folder), 0, names, Console(quiet=True), bench.device)

        def chunk() -> None:
            for batch in make():
                take_step(state, batch, recipe, log)

        bench.report("batch creation", make, count)
        bench.report(
            "step, all losses and update",
            lambda: take_step(state, batches[0], recipe, log),
        )
        bench.report("batch creation and steps, as the loop", chunk, count)


def new_network(settings: AnyNetworkSettings, device: torch.device) -> Network:
    """A network in training mode."""
    network = build_network(settings).to(device).train()
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def time_fast_parts(bench: Bench, store: ImageStore, data: DataSettings) -> None:
    """Network and losses of the preset fast, operation by operation."""
    network = new_network(FastSettings(), bench.device)
    assert isinstance(network, FastNetwork)
    settings = TrainSettings(network=network.settings, compile=False)
    recipe = FastRecipe(network, settings, bench.device)
    batch = make_batch(store, bench.batch, data, draw=recipe.draw)
    bfloat16 = bench.device.type == "cuda"

    def features() -> tuple[FastFeatures, FastFeatures]:
        with torch.autocast(bench.device.type, torch.bfloat16, enabled=bfloat16):
            return network(batch.fixed, batch.moving)

    def there_and_back() -> None:
        total([f.context.mean() + f.levels[0].values.mean() for f in features()]).backward()

    with torch.no_grad():
        bench.report("network, forward", features)
        pair = features()
        losses = network, pair, batch.H, Draws(**batch.draws), settings.fast
        bench.report("losses, forward", lambda: fast_losses(*losses))
    bench.report("network, forward and backward", there_and_back)
    bench.report("all, forward and backward", lambda: recipe.compute_gradients(batch))


def time_parts(bench: Bench, batch: Batch) -> None:
    """The network alone, and each loss forward and backward."""
    network = new_network(NetworkSettings(), bench.device)
    assert isinstance(network, SdmeNetwork)
    bfloat16 = bench.device.type == "cuda"
    images = [batch.fixed, batch.moving]

    def features(image: Tensor) -> list[Tensor]:
        with torch.autocast(bench.device.type, torch.bfloat16, enabled=bfloat16):
            shared = network.encode(image)
            return [network.matching(shared), network.alignment(shared)]

    bare = bench.compile(features)

    def there_and_back() -> None:
        total([f.float().mean() for image in images for f in bare(image)]).backward()

    with torch.no_grad():
        bench.report("network, forward", lambda: [bare(image) for image in images])
    bench.report("network, forward and backward", there_and_back)
    maps = [features(image)[0].detach().requires_grad_() for image in images]

    def agents(rows: Tensor) -> Tensor:
        assert network.agent_block is not None
        with torch.autocast(bench.device.type, torch.bfloat16, enabled=bfloat16):
            return network.agent_block(rows)[0].float().square().mean()

    def structure(rows: Tensor) -> Tensor:
        return structure_map(F.normalize(rows.float(), dim=1)).square().mean()

    def unit(rows: Tensor) -> Tensor:
        return F.normalize(rows.float(), dim=1)

    for name, function in (("agents", agents), ("structure maps", structure)):
        each = bench.compile(lambda f=function: total([f(m) for m in maps]))
        bench.report(f"{name}, forward and backward", lambda run=each: run().backward())
    first, second = (unit(m).to(m.dtype).detach().requires_grad_() for m in maps)
    scalar = [m[:, :1].float().sigmoid().detach().requires_grad_() for m in maps]
    one, two = scalar
    updated = torch.randn(2 * bench.batch, 32, 128, device=bench.device).requires_grad_()
    draws = batch.H, batch.draws["queries"], batch.draws["distractors"]
    moved = batch.H, batch.draws["perturbations"]
    losses: dict[str, Callable[[], Tensor]] = {
        "average precision": lambda: average_precision_loss(first, second, *draws),
        "repeatability": lambda: cosine_repeatability_loss(one, two, batch.H),
        "guidance": lambda: total(
            [dense_guidance_loss(s, s, network.guidance_gain) for s in scalar]
        ),
        "agent diversity": lambda: agent_diversity_loss(updated),
        "brightness and convexity": lambda: total(
            alignment_losses(one, two, one, two, *moved, unit_weights=True)
        ),
    }
    for name, loss in losses.items():
        compiled = bench.compile(loss)
        bench.report(f"{name}, forward and backward", lambda run=compiled: run().backward())
    bench.report(  # which the loop does not compile either
        "peakiness, forward and backward",
        lambda: total([peakiness_loss(s) for s in scalar]).backward(),
    )


def total(values: Sequence[Tensor]) -> Tensor:
    """Sum of scalars."""
    return torch.stack(list(values)).sum()


if __name__ == "__main__":
    main()
