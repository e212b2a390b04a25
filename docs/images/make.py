"""Draw the README's picture: fixed image, moving image, and a checkerboard of both, aligned.

::

    python docs/images/make.py farmland_blue_swir
"""

import sys
from pathlib import Path

import numpy as np

import sdme
from sdme.report.overlay import Picture, checkerboard, to_picture

HERE = Path(__file__).parent
HEIGHT, GAP = 360, 12


def panel(picture: Picture) -> Picture:
    """The picture on white, exactly ``HEIGHT`` rows high, with a gap on its right."""
    framed = np.full((HEIGHT, picture.shape[1] + GAP, 3), 255, np.uint8)
    top = (HEIGHT - picture.shape[0]) // 2
    framed[top : top + picture.shape[0], : picture.shape[1]] = picture
    return framed


def main(sample: str) -> None:
    """Register the sample and write ``registration.jpg`` beside this file."""
    folder = HERE.parent.parent / "samples" / sample
    fixed, moving = (next(folder.glob(f"{name}.*")) for name in ("fixed", "moving"))
    below, above = sdme.read_image(fixed), sdme.read_image(moving)
    result = sdme.register(below, above)
    transform = result.transform
    if transform is None or result.status != "aligned":
        sys.exit(f"{sample} is {result.status}: {result.message}")
    lies = transform.warp(np.ones(above.shape[:2], np.uint8), interpolation="nearest") > 0
    scale = HEIGHT / max(below.shape[0], above.shape[0])
    first, second, aligned = (
        to_picture(image, round(max(image.shape[:2]) * scale), valid)
        for image, valid in ((below, None), (above, None), (transform.warp(above), lies))
    )
    third = checkerboard(first[0], *aligned)
    row = np.hstack([panel(p) for p in (first[0], second[0], third)])[:, :-GAP]
    sdme.write_image(HERE / "registration.jpg", row)
    print(f"{sample}: {result.message}")


if __name__ == "__main__":
    main(sys.argv[1])
