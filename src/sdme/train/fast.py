"""How the preset ``fast`` is trained: one weighted sum of losses, captured as one CUDA graph."""

import gc
from collections.abc import Callable, Mapping
from dataclasses import asdict

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sdme import parallel
from sdme.config import DataSettings, TrainSettings
from sdme.data.batches import Batch
from sdme.data.store import ImageStore
from sdme.geometry.increments import increment_grid
from sdme.model.aggregator import Aggregator
from sdme.model.fast import LEVELS, FastNetwork, padded_side
from sdme.report.overlay import Picture
from sdme.train.fast_step import FAST_NAMES, MEASURED, Draws, draw, fast_losses, with_strangers
from sdme.train.fast_validate import fast_example_sheet, fast_validate
from sdme.train.recipe import Recipe

_WARM_UP = 3  # passes before a graph is captured: compilers and libraries choose their kernels


class FastRecipe(Recipe):
    """A step is thousands of small operations: on CUDA they are launched as one graph."""

    names = (*FAST_NAMES, *MEASURED)

    def __init__(self, network: FastNetwork, settings: TrainSettings, device: torch.device) -> None:
        self.network, self._losses = network, settings.fast
        self._weights = torch.tensor(
            [getattr(settings.fast, name) for name in FAST_NAMES], device=device
        )
        self._bfloat16 = settings.precision == "bfloat16" and device.type == "cuda"
        self._features: Callable[..., tuple] = network
        self._is_captured = settings.compile and device.type == "cuda"
        self._graph: _Graph | None = None
        # a graph reads them wherever they were made: they must not be forgotten
        side = padded_side(settings.data.fixed_side)
        self._grids = [increment_grid(side // c, side // c, c, device) for c in LEVELS]
        if self._is_captured:
            self._features = torch.compile(network, dynamic=False)
            for votes in network.votes:
                votes.read.compile(dynamic=False)

    def draw(self, H: Float[Tensor, "b 3 3"], settings: DataSettings) -> Mapping[str, Tensor]:
        """See :class:`sdme.train.fast_step.Draws`."""
        return vars(draw(len(H), settings.fixed_side, H.device))

    def compute_gradients(self, batch: Batch) -> Float[Tensor, " names"]:
        """Gradients of the weighted sum of the losses."""
        if not self._is_captured:
            numbers = self._pass(batch)
        else:
            if self._graph is None:
                self._graph = _Graph(self._pass, batch)
            numbers = self._graph.replay(batch)
        parallel.average_([p.grad for p in self.network.parameters() if p.grad is not None])
        return numbers

    def _pass(self, batch: Batch) -> Float[Tensor, " names"]:
        self.network.zero_grad(set_to_none=True)
        draws = Draws(**batch.draws)
        moving, related = with_strangers(batch.moving, draws, self._losses)
        # a graph must not find yesterday's copies of the weights in autocast's cache
        with torch.autocast(
            batch.H.device.type,
            torch.bfloat16,
            enabled=self._bfloat16,
            cache_enabled=not self._is_captured,
        ):
            pair = self._features(batch.fixed, moving)
        terms, measured = fast_losses(self.network, pair, batch.H, draws, self._losses, related)
        (self._weights * terms).sum().backward()
        return torch.cat([terms.detach(), measured])

    def parts(self) -> Mapping[str, list[nn.Parameter]]:
        """The aggregators, whose gradients are of other sizes, and the rest."""
        parts = self.network.named_children()
        votes = {name: [*part.parameters()] for name, part in parts if isinstance(part, Aggregator)}
        known = {id(p) for parameters in votes.values() for p in parameters}
        rest = [p for p in self.network.parameters() if id(p) not in known]
        return {"network": rest, **votes}

    def validate(self, store: ImageStore, settings: DataSettings, pairs: int) -> dict[str, float]:
        """See :class:`sdme.train.fast_validate.FastValidation`."""
        return asdict(fast_validate(self.network, store, settings, pairs))

    def examples(self, store: ImageStore, settings: DataSettings) -> Picture:
        """See :func:`sdme.train.fast_validate.fast_example_sheet`."""
        return fast_example_sheet(self.network, store, settings)


class _Graph:
    """A pass over a batch as one CUDA graph, which writes the gradients to the same place."""

    def __init__(self, action: Callable[[Batch], Tensor], batch: Batch) -> None:
        self._batch = batch.like_this([t.clone() for t in batch.tensors])
        with torch.cuda.device(batch.H.device):
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(_WARM_UP):
                    action(self._batch)
            torch.cuda.current_stream().wait_stream(side)
            gc.collect()  # what still holds on to a pass of the warm-up would spoil the capture
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph, stream=side):
                self._numbers = action(self._batch)

    def replay(self, batch: Batch) -> Tensor:
        """The same on another batch of the same shapes."""
        for old, new in zip(self._batch.tensors, batch.tensors, strict=True):
            old.copy_(new)
        self._graph.replay()
        return self._numbers.clone()
