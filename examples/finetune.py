"""Adapt a model to 20 pairs of one's own: the example of docs/training.md.

    python examples/finetune.py PAIRS RUN

The pairs are made here, from photos of scikit-image as a camera and a "sensor" would see them; put
a folder of your own in their place.
"""

import sys
from pathlib import Path

import cv2
import numpy as np
import skimage.data

from sdme.train.finetune import finetune

PHOTOS = (
    "astronaut", "camera", "chelsea", "coffee", "coins",
    "hubble_deep_field", "immunohistochemistry", "retina", "rocket", "stereo_motorcycle",
)  # fmt: skip


def sensor(photo: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What a sensor that sees something else might show: brightness swings with the photo's."""
    grey = cv2.GaussianBlur(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY), (0, 0), 1.0) / 255
    image = 127 + 115 * np.cos(2.5 * np.pi * grey) + rng.normal(0, 4, grey.shape)
    return image.clip(0, 255).astype(np.uint8)


def make_pairs(folder: Path) -> None:
    """Two squares of 256 px from either end of each photo, beside what the sensor shows."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for name in PHOTOS:
        photo = getattr(skimage.data, name)()
        photo = photo[0] if isinstance(photo, tuple) else photo
        photo = np.dstack([photo] * 3) if photo.ndim == 2 else photo
        photo = photo if photo.shape[1] >= photo.shape[0] else photo.transpose(1, 0, 2)
        scale = max(256 / photo.shape[0], 512 / photo.shape[1])
        size = [round(side * scale) for side in photo.shape[1::-1]]
        photo = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
        top = (len(photo) - 256) // 2
        for number, left in enumerate((0, photo.shape[1] - 256)):
            square = photo[top : top + 256, left : left + 256]
            path = folder / f"{name}_{number}"
            cv2.imwrite(f"{path}.a.png", cv2.cvtColor(square, cv2.COLOR_RGB2BGR))
            cv2.imwrite(f"{path}.b.png", sensor(square, rng))


if __name__ == "__main__":  # the evaluation's processes read this file again
    pairs, run = map(Path, sys.argv[1:])
    make_pairs(pairs)
    found = finetune("photo", [pairs], run)
    gain = found.record.improvement
    print(gain.sentence if gain else f"paused at step {found.step}")
