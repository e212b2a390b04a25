"""Time the parts of a training step on random pictures.

::

    python benchmarks/train_step.py --batch 16 --device cuda

Prints a line a part: batch creation, and the whole step eager and compiled, in milliseconds and
pairs a second (medians over repeated runs, after warm-up).
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from sdme.config import DataSettings, TrainSettings
from sdme.data.batches import ImageStore, make_batch
from sdme.model.network import SdmeNetwork
from sdme.train.step import LossFunction, branch_losses, compute_gradients


def median_seconds(action: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Median time of an action, the device idle before and after it."""

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    for _ in range(3):
        action()
    times = []
    for _ in range(repeats):
        wait()
        begin = time.perf_counter()
        action()
        wait()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--side", type=int, default=128)
    args = parser.parse_args()
    device = torch.device(args.device)
    torch.backends.cudnn.benchmark = True
    data = DataSettings(fixed_side=args.side, moving_side=args.side * 3 // 2)
    pictures = torch.randint(0, 255, (64, 3, 320, 320), dtype=torch.uint8, device=device)
    store = ImageStore(pictures, pictures.flip(0), 40, torch.linspace(0, 1, 40, device=device))
    settings = TrainSettings()
    batch = make_batch(store, args.batch, data)
    network = SdmeNetwork().to(device)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def step(losses_of: LossFunction) -> None:
        network.zero_grad(set_to_none=True)
        bfloat16 = device.type == "cuda"
        compute_gradients(network, batch, settings.losses, bfloat16=bfloat16, losses_of=losses_of)

    def report(name: str, action: Callable[[], object]) -> None:
        seconds = median_seconds(action, device, args.repeats)
        print(f"{name:16s} {seconds * 1e3:9.1f} ms {args.batch / seconds:9.0f} pairs/s", flush=True)

    report("batch creation", lambda: make_batch(store, args.batch, data))
    report("step, eager", lambda: step(branch_losses))
    if device.type == "cuda":
        network.encoder.compile(dynamic=False)
        compiled = torch.compile(branch_losses, dynamic=False)
        report("step, compiled", lambda: step(compiled))
        print(f"memory {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")


if __name__ == "__main__":
    main()
