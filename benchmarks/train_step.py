"""Time a training step and its parts on random pictures, in the sizes of the paper's protocol.

::

    python benchmarks/train_step.py --batch 16 --device cuda

Prints a line a part: milliseconds (medians over repeated runs, after warm-up) and pairs a second.
A loss is timed forward and backward on feature maps that are there; on CUDA all is compiled, unless
``--eager`` is given. ``--what step`` leaves the parts out, which take minutes to compile.
"""

import argparse
import contextlib
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from sdme.config import DataSettings, LossSettings, TrainSettings
from sdme.data.batches import Batch, make_batch, rendered_view
from sdme.data.store import ImageStore
from sdme.losses.agents import agent_diversity_loss
from sdme.losses.average_precision import average_precision_loss
from sdme.losses.convergence import alignment_losses
from sdme.losses.guidance import dense_guidance_loss
from sdme.losses.repeatability import cosine_repeatability_loss, peakiness_loss
from sdme.model.network import SdmeNetwork
from sdme.model.structure import structure_map
from sdme.train.loop import make_optimizer
from sdme.train.step import Objective, Parts, branch_losses, compute_gradients

CHUNK = 8
P, R = ParamSpec("P"), TypeVar("R")


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

    def compile(self, function: Callable[P, R]) -> Callable[P, R]:
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
    parser.add_argument("--lock", type=Path, help="file that two such processes lock to time alone")
    args = parser.parse_args()
    device = torch.device(args.device)
    torch.backends.cudnn.benchmark = True
    compiled = device.type == "cuda" and not args.eager
    bench = Bench(device, args.batch, args.repeats, compiled, args.lock)
    data = DataSettings(fixed_side=args.side, moving_side=args.side * 3 // 2)
    store = random_store(data, device)
    if args.what != "step":
        time_parts(bench, make_batch(store, args.batch, data))
    if args.what != "parts":
        time_step(bench, store, data)
    if device.type == "cuda":
        print(f"memory {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")


def random_store(data: DataSettings, device: torch.device) -> ImageStore:
    """Sixty-four pictures: forty pairs that share them, and photos."""
    side = data.stored_side
    pictures = torch.randint(0, 255, (64, side, side, 3), dtype=torch.uint8, device=device)
    index = torch.arange(64, device=device)
    second = torch.where(index < 40, index.flip(0), index)
    return ImageStore(pictures, index, second, 40, torch.linspace(0, 1, 41, device=device)[1:])


def time_step(bench: Bench, store: ImageStore, data: DataSettings) -> None:
    """Batch creation, the whole step, and both together as in the loop."""
    settings = TrainSettings(batch=bench.batch, chunk=CHUNK)
    network = SdmeNetwork().to(bench.device).train()
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = make_optimizer(network, settings)
    objective = Objective.of(settings.losses, bench.device)
    losses_of = branch_losses
    if bench.compiled:
        network.encoder.compile(dynamic=False)
        losses_of = partial(branch_losses, compiled=Parts.compiled(network))
    count, view = bench.batch * CHUNK, bench.compile(rendered_view)

    def make() -> list[Batch]:
        return make_batch(store, count, data, view=view).split(bench.batch)

    batches = make()

    def step(batch: Batch) -> None:
        optimizer.zero_grad(set_to_none=True)
        bfloat16 = bench.device.type == "cuda"
        compute_gradients(network, batch, objective, bfloat16=bfloat16, losses_of=losses_of)
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()

    def chunk() -> None:
        for batch in make():
            step(batch)

    bench.report("batch creation", make, count)
    bench.report("step, all losses and update", lambda: step(batches[0]))
    bench.report("batch creation and steps, as the loop", chunk, count)


def time_parts(bench: Bench, batch: Batch) -> None:
    """The network alone, and each loss forward and backward."""
    network = SdmeNetwork().to(bench.device).train()
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    bfloat16 = bench.device.type == "cuda"
    images = [batch.fixed, batch.moving]

    def features(image: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(bench.device.type, torch.bfloat16, enabled=bfloat16):
            shared = network.encode(image)
            return network.matching(shared), network.alignment(shared)

    def shape_of_each(function: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
        return bench.compile(lambda *maps: sum((function(m) for m in maps), batch.H.new_zeros(())))

    bare = bench.compile(features)
    with torch.no_grad():
        bench.report("network, forward", lambda: [bare(image) for image in images])
    bench.report(
        "network, forward and backward",
        lambda: sum(f.float().mean() for image in images for f in bare(image)).backward(),  # type: ignore[union-attr]
    )
    maps = [m.detach().requires_grad_() for image in images for m in features(image)][::2]

    def agents(rows: Tensor) -> Tensor:
        assert network.agent_block is not None
        with torch.autocast(bench.device.type, torch.bfloat16, enabled=bfloat16):
            return network.agent_block(rows)[0].float().square().mean()

    def structure(rows: Tensor) -> Tensor:
        return structure_map(F.normalize(rows.float(), dim=1)).square().mean()

    def unit(rows: Tensor) -> Tensor:
        return F.normalize(rows.float(), dim=1)

    run = shape_of_each(agents)
    bench.report("agents, forward and backward", lambda: run(*maps).backward())
    other = shape_of_each(structure)
    bench.report("structure maps, forward and backward", lambda: other(*maps).backward())
    descriptors = [unit(m).to(m.dtype).detach().requires_grad_() for m in maps]
    scalar = [m[:, :1].float().sigmoid().detach().requires_grad_() for m in maps]
    updated = torch.randn(2, bench.batch, 32, 128, device=bench.device).requires_grad_()
    draws = batch.H, batch.queries, batch.distractors
    losses: dict[str, Callable[[], Tensor]] = {
        "average precision": lambda: average_precision_loss(*descriptors, *draws),  # type: ignore[misc]
        "repeatability": lambda: cosine_repeatability_loss(*scalar, batch.H),  # type: ignore[misc]
        "peakiness": lambda: peakiness_loss(scalar[0]) + peakiness_loss(scalar[1]),
        "guidance": lambda: sum(
            (dense_guidance_loss(s, s, network.guidance_gain) for s in scalar),
            batch.H.new_zeros(()),
        ),
        "agent diversity": lambda: agent_diversity_loss(updated.flatten(0, 1)),
        "brightness and convexity": lambda: torch.stack(
            alignment_losses(
                *scalar,  # type: ignore[misc]
                *scalar,
                batch.H,
                batch.perturbations,
                unit_weights=LossSettings().unit_weights,
            )
        ).sum(),
    }
    for name, loss in losses.items():
        compiled = bench.compile(loss)
        bench.report(f"{name}, forward and backward", lambda run=compiled: run().backward())


if __name__ == "__main__":
    main()
