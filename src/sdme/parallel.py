"""One computation on several processes under ``torchrun``, each with its own part of a batch.

Everything here is the identity in a single process. All functions but :func:`rank`,
:func:`count` and :func:`is_first` must be called by all processes alike, in the same order.

Convention of gradients: each process differentiates its own loss, and what is wanted is the
gradient of the mean of these losses. So a value that all of them use (:func:`total`) receives the
sum of their gradients, and those of the parameters are averaged at the end (:func:`average_`).
"""

import contextlib
import os
from collections.abc import Iterator, Sequence

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor

from sdme.errors import InputError


@contextlib.contextmanager
def processes(device: torch.device) -> Iterator[torch.device]:
    """Join the processes that ``torchrun`` started; yields this process's own device.

    CUDA devices talk through NCCL. Tensors on the CPU go through gloo, beside NCCL too: what the
    processes agree on (:func:`largest`) does not wait for a device.

    When the block fails the group is left as it is: others may be waiting in it, and it is for
    ``torchrun`` to end them.

    Raises:
        InputError: a numbered device, or more processes than devices.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or count() > 1:
        if device.type == "cuda" and device.index is not None:
            torch.cuda.set_device(device)  # streams and graphs are made on the current one
        yield device
        return
    if device.type == "cuda":
        device = _own_device(device)
        torch.cuda.set_device(device)
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    yield device
    largest([0])  # nobody leaves before the first process has written everything
    dist.destroy_process_group()


def _own_device(device: torch.device) -> torch.device:
    local, there = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if device.index not in (None, 0):  # "auto" and "cuda" are the current device, which is 0
        raise InputError(
            f"device {device} is one for all processes; give cuda, and each takes its own"
        )
    if local >= there:
        raise InputError(
            f"there are more processes than CUDA devices ({there}); give torchrun "
            f"--nproc-per-node {there}"
        )
    return torch.device("cuda", local)


def count() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def is_first() -> bool:
    """Whether this process is the one that speaks and writes; also outside of the group."""
    return os.environ.get("WORLD_SIZE", "1") == "1" or os.environ.get("RANK", "0") == "0"


def largest(values: Sequence[int]) -> list[int]:
    """The largest of all processes' values, place by place."""
    if count() == 1:
        return list(values)
    shared = torch.tensor(values)
    dist.all_reduce(shared, dist.ReduceOp.MAX)
    return shared.tolist()


def total(values: Tensor) -> Tensor:
    """Sum over the processes, differentiable; also within compiled functions."""
    return _Total.apply(values) if count() > 1 else values


def gathered(rows: Float[Tensor, "n ..."]) -> Float[Tensor, "m ..."]:
    """All processes' rows in the order of the processes, as many of each; differentiable."""
    if count() == 1:
        return rows
    places = rows.new_zeros(count(), *rows.shape)
    places[rank()] = rows
    return total(places).flatten(0, 1)


def average_(tensors: Sequence[Tensor]) -> None:
    """Replace tensors of one type by their means over the processes, all at once."""
    if count() == 1 or not tensors:
        return
    flat = torch.cat([t.flatten() for t in tensors])
    dist.all_reduce(flat)
    flat /= count()
    parts = flat.split([t.numel() for t in tensors])
    means = [part.view_as(t) for part, t in zip(parts, tensors, strict=True)]
    torch._foreach_copy_(list(tensors), means)  # pyright: ignore[reportPrivateImportUsage]


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, values: Tensor) -> Tensor:  # pyright: ignore
        return _sum(values)

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:  # pyright: ignore
        return _sum(gradient)


def _sum(values: Tensor) -> Tensor:
    values = values.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(values)
    return values
