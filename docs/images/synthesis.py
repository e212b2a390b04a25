"""Draw the contact sheet of the renderings: photos as rows, renderings by name as columns.

::

    python docs/images/synthesis.py

The photos are those that scikit-image ships (astronaut: NASA, public domain; coffee, chelsea and
rocket: CC0) and two of this project's samples.
"""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import skimage.data
import torch
from matplotlib.figure import Figure
from torch import Tensor

import sdme
from sdme.data import synthesis

HERE = Path(__file__).parent
SAMPLES = HERE.parent.parent / "samples"
SIDE, INCH, DRAWS, PAIRS = 112, 0.9, 60, 3

Column = Callable[[Tensor], Tensor]


def square(image: np.ndarray, centre: float = 0.5) -> Tensor:
    """The largest square of an RGB picture, at a place along its longer side, ``SIDE`` wide."""
    side = min(image.shape[:2])
    top, left = (round((n - side) * centre) for n in image.shape[:2])
    crop = np.ascontiguousarray(image[top : top + side, left : left + side, :3])
    crop = cv2.resize(crop, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return torch.from_numpy(crop).permute(2, 0, 1).float() / 255


def photos() -> Tensor:
    """The rows of the sheet; the palette of each is lent by the one above."""
    names = ["astronaut", "coffee", "chelsea", "rocket"]
    rows = [square(getattr(skimage.data, name)()) for name in names]
    for sample, centre in (("coast_rgb_nir", 0.5), ("moon_colour_elevation", 0.0)):
        rows.append(square(sdme.read_image(SAMPLES / sample / "fixed.jpg"), centre))
    return torch.stack(rows)


def rendering(name: str) -> Column:
    """One rendering alone, as ``pseudo_modality`` draws it."""
    return lambda image: synthesis.pseudo_modality(image, {name: 1.0})


def plain(stage: Column) -> Column:
    """A degradation plainer than in 95 % of its draws, since it leaves most samples alone."""

    def column(image: Tensor) -> Tensor:
        drawn = torch.stack([stage(image).clamp(0, 1) for _ in range(DRAWS)])
        order = (drawn - image).abs().mean((2, 3, 4)).argsort(0)
        return drawn[order[DRAWS * 19 // 20], torch.arange(len(image))]

    return column


def sensor(image: Tensor) -> Tensor:
    """Everything together, as in training."""
    return synthesis.degrade(synthesis.pseudo_modality(image).expand_as(image))


def blocks() -> list[dict[str, Column]]:
    """Titles and makers of the columns: renderings above, the rest below."""
    stages = {name: plain(stage) for name, stage in synthesis.DEGRADATIONS.items()}
    pairs = {f"pair {n // 2 + 1}, sensor {n % 2 + 1}": sensor for n in range(2 * PAIRS)}
    renderings = {name.replace("_", " "): rendering(name) for name in synthesis.RENDERINGS}
    return [{"photo": lambda image: image, **renderings}, {**stages, **pairs}]


def main() -> None:
    """Write ``synthesis.jpg`` beside this file."""
    torch.manual_seed(4)
    image = photos()
    size = max(len(block) for block in blocks()) * INCH, 2 * (len(image) * INCH + 0.25)
    figure = Figure(size, dpi=100)
    grid = figure.add_gridspec(2, 1)
    for row, block in enumerate(blocks()):
        part = figure.add_subfigure(grid[row])
        axes = part.subplots(len(image), len(block))
        part.subplots_adjust(0.002, 0.004, 0.998, 0.955, 0.03, 0.03)
        for column, (title, maker) in zip(axes.T, block.items(), strict=True):
            column[0].set_title(title, fontsize=8, pad=3)
            for axis, picture in zip(column, maker(image).expand_as(image), strict=True):
                axis.imshow(picture.clamp(0, 1).permute(1, 2, 0).numpy())
                axis.set_axis_off()
    figure.savefig(HERE / "synthesis.jpg", pil_kwargs={"quality": 82})


if __name__ == "__main__":
    main()
