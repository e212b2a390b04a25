"""A 16-bit thermal image with a mask, and two medical volumes, for the commands of docs/formats.md.

    python examples/other_formats.py formats

writes into `formats`: `visible.png` and `thermal.tif` (hundredths of a kelvin, 16 bit; made of the
sample `farmland_blue_swir`, whose short-wave infrared plays the thermal image) with a caption burnt
in and `mask.png` that hides it; and `t1.nii.gz` and `grey.nrrd`, volumes of five slices around
those of the sample `brain_t1_grey_matter`, the second one with pixels of twice the height.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import SimpleITK as sitk  # noqa: N813 - its own name

import sdme

SAMPLES = Path(__file__).parent.parent / "samples"
MIDDLE, SLICES = 2, 5


def write_thermal(folder: Path) -> None:
    """Visible and thermal image, and the mask of the thermal one."""
    visible = sdme.read_image(SAMPLES / "farmland_blue_swir" / "fixed.png")
    warmth = sdme.read_image(SAMPLES / "farmland_blue_swir" / "moving.png").astype(np.float64)
    thermal = np.rint(28_500 + warmth * 8).astype(np.uint16)  # 285 to 305 K
    mask = np.full(thermal.shape, 255, np.uint8)
    caption = np.zeros(thermal.shape, np.uint8)
    cv2.putText(caption, "12.3 C", (20, 60), cv2.FONT_HERSHEY_SIMPLEX, 1.5, (255,), 4)
    thermal[caption > 0] = 65535
    mask[10:80, 10:210] = 0
    sdme.write_image(folder / "visible.png", visible)
    sdme.write_image(folder / "thermal.tif", thermal)
    sdme.write_image(folder / "mask.png", mask)


def write_volumes(folder: Path) -> None:
    """Two volumes; the second has 0.5 x 1 mm pixels."""
    fixed = sdme.read_image(SAMPLES / "brain_t1_grey_matter" / "fixed.png")
    moving = sdme.read_image(SAMPLES / "brain_t1_grey_matter" / "moving.png")
    flat = cv2.resize(moving, None, fx=1, fy=0.5, interpolation=cv2.INTER_AREA)
    _write_volume(folder / "t1.nii.gz", fixed.astype(np.int16) * 4, (0.5, 0.5, 2.0))
    _write_volume(folder / "grey.nrrd", flat.astype(np.float32) / 255, (0.5, 1.0, 2.0))


def _write_volume(path: Path, image: np.ndarray, spacing: tuple[float, float, float]) -> None:
    fading = [1 - 0.2 * abs(i - MIDDLE) for i in range(SLICES)]
    volume = np.stack([(image * share).astype(image.dtype) for share in fading])
    stored = sitk.GetImageFromArray(volume)
    stored.SetSpacing(spacing)
    stored.SetOrigin((-98.5, -116.5, 40.0))
    sitk.WriteImage(stored, str(path))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    target = parser.parse_args().folder
    target.mkdir(parents=True, exist_ok=True)
    write_thermal(target)
    write_volumes(target)
    print(*sorted(target.iterdir()), sep="\n")
