"""The log of a run for TensorBoard, where that is installed (the extra ``train``)."""

from importlib.util import find_spec
from pathlib import Path

from sdme.report.overlay import Picture
from sdme.train.step import NAMES

FOLDER = "tensorboard"


class Board:
    """Writes scalars by group and the example pictures; without TensorBoard, nothing.

    What an interrupted run wrote after ``step``, the one it goes on from, is not shown.
    """

    def __init__(self, run: Path, step: int) -> None:
        self.writer = None
        if find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(str(run / FOLDER), purge_step=step + 1)

    def add_scalars(self, step: int, row: dict[str, float]) -> None:
        """Add the numbers of a line of the log."""
        if self.writer is not None:
            for name, value in row.items():
                self.writer.add_scalar(tag_of(name), value, step)
            self.writer.flush()

    def add_picture(self, step: int, picture: Picture) -> None:
        """Add the sheet of examples."""
        if self.writer is not None:
            self.writer.add_image("examples", picture, step, dataformats="HWC")
            self.writer.flush()


def tag_of(name: str) -> str:
    """Group and name of a number of the log."""
    if name in NAMES:
        return f"loss/{name}"
    if name.endswith("_share"):
        return f"balance/{name}"
    group, _, rest = name.partition("_")
    return f"{group}/{rest}" if group in ("norm", "val") else f"run/{name}"
