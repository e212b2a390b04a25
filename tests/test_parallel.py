"""Sums over processes: nothing in one; in two, values and gradients as derived by hand.

Run as a script, this file is one of the two.
"""

import os
import sys
from pathlib import Path

import pytest
import torch

from sdme import parallel
from sdme.errors import InputError

CPU = torch.device("cpu")


def losses(values, remembered):
    """Each process's own loss: its number from 1 times (square of the sum), and the rows of all."""
    whole = parallel.total(values.square().sum())
    rows = parallel.gathered(values)
    remembered.copy_(rows.detach().mean(0))
    weights = torch.arange(1.0, rows.numel() + 1).view_as(rows)
    return (parallel.rank() + 1) * whole.square() + (weights * rows).sum()


def own_values():
    return torch.arange(6.0).view(3, 2) / 6 + parallel.rank()


def main(out):
    with parallel.processes(CPU):
        found = {"place": (parallel.rank(), parallel.count(), parallel.is_first())}
        compiled = torch.compile(losses, backend="aot_eager", dynamic=False, fullgraph=True)
        for name, function in (("plain", losses), ("compiled", compiled)):
            values, remembered = own_values().requires_grad_(), torch.zeros(2)
            loss = function(values, remembered)
            loss.backward()
            found[name] = (loss.detach(), values.grad, remembered)
        tensors = [torch.full((2, 3), float(parallel.rank())), torch.ones(4) * parallel.rank()]
        parallel.average_(tensors)
        found["means"] = tensors
        found["largest"] = parallel.largest([parallel.rank(), -parallel.rank(), 7])
        torch.save(found, out / f"{parallel.rank()}.pt")


@pytest.mark.slow  # by default a training by two processes stands for it
def test_two_processes(tmp_path, launched):
    launched(__file__, tmp_path)
    parts = [torch.arange(6.0).view(3, 2) / 6 + rank for rank in range(2)]
    everything = torch.cat(parts).requires_grad_()
    whole = everything.square().sum()
    weights = torch.arange(1.0, 13).view(6, 2)
    true = [(rank + 1) * whole.square() + (weights * everything).sum() for rank in range(2)]
    (gradient,) = torch.autograd.grad(true[0] + true[1], everything)
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert found["place"] == (rank, 2, rank == 0)
        for name in ("plain", "compiled"):
            loss, own_gradient, remembered = found[name]
            torch.testing.assert_close(loss, true[rank].detach())
            torch.testing.assert_close(own_gradient, gradient[3 * rank : 3 * rank + 3])
            torch.testing.assert_close(remembered, everything.detach().mean(0))
        assert all(torch.equal(t, torch.full_like(t, 0.5)) for t in found["means"])
        assert [t.shape for t in found["means"]] == [(2, 3), (4,)]
        assert found["largest"] == [1, 0, 7]


def test_one_process_does_nothing():
    values = torch.rand(3, 2)
    assert parallel.total(values) is values and parallel.gathered(values) is values
    parallel.average_([values])
    assert (parallel.count(), parallel.rank(), parallel.is_first()) == (1, 0, True)
    assert parallel.largest([3, -1]) == [3, -1]
    with parallel.processes(CPU) as device:
        assert device == CPU and not torch.distributed.is_initialized()


@pytest.mark.parametrize(
    "device, local, message",
    [("cuda:1", 0, "cuda:1 is one for all"), ("cuda:0", 2, r"more processes than CUDA devices")],
)
def test_devices_that_cannot_be_dealt_out(monkeypatch, device, local, message):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setitem(os.environ, "WORLD_SIZE", "4")
    monkeypatch.setitem(os.environ, "LOCAL_RANK", str(local))
    with (
        pytest.raises(InputError, match=message) as error,
        parallel.processes(torch.device(device)),
    ):
        pass
    assert "\n" not in str(error.value)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
