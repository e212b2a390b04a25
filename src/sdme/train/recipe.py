"""What the training loop leaves to a preset: its network, its losses, its figures."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor, nn

from sdme.config import DataSettings
from sdme.data.batches import Batch
from sdme.data.store import ImageStore
from sdme.report.overlay import Picture


class Recipe(ABC):
    """How one network learns. ``names`` are those of the numbers that a step yields."""

    names: tuple[str, ...]

    @abstractmethod
    def draw(self, H: Float[Tensor, "b 3 3"], settings: DataSettings) -> Mapping[str, Tensor]:
        """Everything random that the losses use; see :data:`sdme.data.batches.Draw`."""

    @abstractmethod
    def compute_gradients(self, batch: Batch) -> Float[Tensor, " names"]:
        """Set the gradients of all parameters, those of all processes' pairs together.

        What was there before is replaced. Nothing waits for the device.
        """

    @abstractmethod
    def parts(self) -> Mapping[str, list[nn.Parameter]]:
        """Parameters by part; each part's gradient is clipped by its own norm."""

    @abstractmethod
    def validate(self, store: ImageStore, settings: DataSettings, pairs: int) -> dict[str, float]:
        """Figures on the same ``pairs`` random crops at every call."""

    @abstractmethod
    def examples(self, store: ImageStore, settings: DataSettings) -> Picture:
        """A sheet of pictures of what the network sees."""
