"""How the preset ``paper`` is trained: two tasks on one encoder, their gradients balanced."""

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sdme.config import DataSettings, TrainSettings
from sdme.data.batches import Batch
from sdme.data.store import ImageStore
from sdme.model.network import SdmeNetwork
from sdme.report.overlay import Picture
from sdme.train import step
from sdme.train.pictures import example_sheet
from sdme.train.recipe import Recipe
from sdme.train.step import (
    LossFunction,
    Objective,
    Parts,
    branch_losses,
    compute_gradients,
    matching_parameters,
)
from sdme.train.validate import validate


class PaperRecipe(Recipe):
    """Losses of section 3, balanced by MGDA-UB or a fixed share."""

    names = (*step.NAMES, "matching_share")

    def __init__(self, network: SdmeNetwork, settings: TrainSettings, device: torch.device) -> None:
        self.network = network
        self._objective = Objective.of(settings.losses, device)
        self._bfloat16 = settings.precision == "bfloat16" and device.type == "cuda"
        self._losses_of: LossFunction = branch_losses
        if settings.compile and device.type == "cuda":
            network.encoder.compile(dynamic=False)
            self._losses_of = partial(branch_losses, compiled=Parts.compiled(network))

    def draw(self, H: Float[Tensor, "b 3 3"], settings: DataSettings) -> Mapping[str, Tensor]:
        """See :func:`sdme.train.step.draw`."""
        return step.draw(H, settings)

    def compute_gradients(self, batch: Batch) -> Float[Tensor, " names"]:
        """One forward and one backward pass; see :func:`sdme.train.step.compute_gradients`."""
        self.network.zero_grad(set_to_none=True)
        report = compute_gradients(
            self.network,
            batch,
            self._objective,
            bfloat16=self._bfloat16,
            losses_of=self._losses_of,
        )
        return torch.cat([report.losses, report.share[None]])

    def parts(self) -> Mapping[str, list[nn.Parameter]]:
        """The shared encoder and both tasks' own parameters."""
        return {
            "encoder": list(self.network.encoder.parameters()),
            "alignment": list(self.network.alignment.parameters()),
            "matching": matching_parameters(self.network),
        }

    def validate(self, store: ImageStore, settings: DataSettings, pairs: int) -> dict[str, float]:
        """See :class:`sdme.train.validate.Validation`."""
        return asdict(validate(self.network, store, settings, pairs))

    def examples(self, store: ImageStore, settings: DataSettings) -> Picture:
        """See :func:`sdme.train.pictures.example_sheet`."""
        return example_sheet(self.network, store, settings)
