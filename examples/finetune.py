"""Adapt a model to 20 pairs of one's own: the example of docs/training.md.

    python examples/finetune.py PAIRS RUN

The pairs are made here, from photos of scikit-image as a camera and a "sensor" would see them; put
a folder of your own in their place. The result is judged by this project's samples, seen likewise.
"""

import sys
from pathlib import Path

import cv2
import numpy as np
import skimage.data
import skimage.io

from sdme.train.finetune import FinetuneOptions, finetune

PHOTOS = (
    "astronaut", "camera", "chelsea", "coffee", "coins",
    "hubble_deep_field", "immunohistochemistry", "retina", "rocket", "stereo_motorcycle",
)  # fmt: skip

SAMPLES = Path(__file__).parents[1] / "samples"
SCENES = (  # one more is there, of a photo above
    "brain_t1_grey_matter", "city_green_nir", "coast_rgb_nir", "earth_marble_relief",
    "earth_night_elevation", "farmland_blue_swir", "moon_colour_elevation",
)  # fmt: skip


def sensor(photo: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What a sensor that sees something else might show: brightness swings with the photo's."""
    grey = cv2.GaussianBlur(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY), (0, 0), 1.0) / 255
    image = 127 + 115 * np.cos(2.5 * np.pi * grey) + rng.normal(0, 4, grey.shape)
    return image.clip(0, 255).astype(np.uint8)


def write_pair(path: Path, photo: np.ndarray, rng: np.random.Generator) -> None:
    """What the camera and the sensor see of one scene, on one pixel grid."""
    cv2.imwrite(f"{path}.a.png", cv2.cvtColor(photo, cv2.COLOR_RGB2BGR))
    cv2.imwrite(f"{path}.b.png", sensor(photo, rng))


def scaled(photo: np.ndarray, height: int, width: int) -> np.ndarray:
    """The photo in colour and upright or lying, at the smallest scale that covers the size."""
    photo = np.dstack([photo] * 3) if photo.ndim == 2 else photo
    photo = photo if photo.shape[1] >= photo.shape[0] else photo.transpose(1, 0, 2)
    scale = max(height / photo.shape[0], width / photo.shape[1])
    size = [round(side * scale) for side in photo.shape[1::-1]]
    return cv2.resize(photo, size, interpolation=cv2.INTER_AREA)


def make_pairs(folder: Path) -> tuple[Path, Path]:
    """Twenty pairs of 256 px to train on, two of each photo, and seven of other scenes."""
    train, val = folder / "train", folder / "val"
    rng = np.random.default_rng(0)
    for place in (train, val):
        place.mkdir(parents=True, exist_ok=True)
    for name in PHOTOS:
        photo = getattr(skimage.data, name)()
        photo = scaled(photo[0] if isinstance(photo, tuple) else photo, 256, 512)
        top = (len(photo) - 256) // 2
        for number, left in enumerate((0, photo.shape[1] - 256)):
            write_pair(train / f"{name}_{number}", photo[top : top + 256, left : left + 256], rng)
    for name in SCENES:
        (file,) = (SAMPLES / name).glob("fixed.*")
        photo = scaled(skimage.io.imread(file), 256, 256)
        top, left = ((side - 256) // 2 for side in photo.shape[:2])
        write_pair(val / name, photo[top : top + 256, left : left + 256], rng)
    return train, val


if __name__ == "__main__":  # the evaluation's processes read this file again
    if len(sys.argv) != 3:
        sys.exit("usage: python examples/finetune.py PAIRS RUN")
    folder, run = map(Path, sys.argv[1:])
    train, val = make_pairs(folder)
    found = finetune("photo", [train], run, FinetuneOptions(validation=(val,)))
    gain = found.record.improvement
    print(gain.sentence if gain else f"paused at step {found.step}")
