"""Pictures that show how well two images lie on each other.

All pictures are 8-bit RGB arrays ``(h, w, 3)``, stretched to the full range of brightness for the
eye. Pixels without data show the fixed image, dimmed.
"""

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from sdme.io.image import stretched
from sdme.io.raster import Raster
from sdme.io.read import as_raster
from sdme.io.view import Looker

Picture = UInt8[np.ndarray, "h w 3"]
Mask = Bool[np.ndarray, "h w"]

_TILES = 10
_DIM = 0.4
_PANEL, _GAP = 780, 24
_MAX_KEPT_LINES, _MAX_OTHER_LINES = 130, 70
_MAX_ENLARGEMENT = 4
_PAPER, _FAINT = (28, 28, 32), (255, 255, 255)
_LOCAL_CONTRAST, _BLUR_SIDE = 0.7, 256
_DARK, _STRONGEST_LIFT, _MAX_SAMPLE = 0.3, 0.5, 500_000
_SUBPIXEL_BITS = 4


def to_picture(
    image: np.ndarray | Raster, max_side: int, valid: Mask | None = None
) -> tuple[Picture, Mask]:
    """Picture of an image of any dtype, shrunk to ``max_side``, and where it carries data.

    A raster is shown in the bands and the way that the network sees it, with its contrast where its
    mask allows to look. ``valid`` limits the pixels
    that carry data, for instance to where a warped image lies.
    """
    looker = Looker(image if isinstance(image, Raster) else as_raster(image))
    lies = looker.raster.valid
    valid = lies if valid is None else valid & lies
    bands = looker.shown(valid)
    use = looker.raster.use
    seen = valid if use is None or not (valid & use).any() else valid & use
    height, width = bands.shape[:2]
    scale = max_side / max(height, width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        seen = cv2.resize(seen.view(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
        bands, valid = _shrunk(bands, valid, size)
        seen = seen & valid if (seen & valid).any() else valid
    if not valid.any():
        return np.zeros((*bands.shape[:2], 3), np.uint8), valid
    values = stretched(bands, valid, seen)
    picture = np.rint(values * 255, out=values).astype(np.uint8)
    step = max(1, round(valid.size / _MAX_SAMPLE))
    sample = picture[seen][::step]
    return np.asarray(cv2.LUT(picture, _brightness_curve(sample))), valid


def _shrunk(bands: np.ndarray, valid: Mask, size: tuple[int, int]) -> tuple[np.ndarray, Mask]:
    """Averages of pixels; those with values of missing data among them do not count."""
    if bands.dtype not in (np.uint8, np.uint16, np.float32):
        bands = bands.astype(np.float32)
    if not valid.all() and bands.dtype != np.uint8:
        bands = np.where(valid[..., None], bands.astype(np.float32), np.float32(np.nan))
    bands = np.asarray(cv2.resize(bands, size, interpolation=cv2.INTER_AREA))
    bands = bands[..., None] if bands.ndim == 2 else bands
    valid = cv2.resize(valid.view(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    if bands.dtype.kind == "f":
        valid &= np.isfinite(bands).all(axis=-1)
    return bands, valid


def _brightness_curve(sample: UInt8[np.ndarray, "n bands"]) -> UInt8[np.ndarray, " 256"]:
    """Stretch to the full range; in a dark picture the shadows are lifted, so that they show."""
    low, median, high = (v / 255 for v in np.percentile(sample, (0.5, 50, 99.5)))
    span = max(high - low, 1 / 255)
    curve = np.clip((np.arange(256) / 255 - low) / span, 0, 1)
    median = min(max((median - low) / span, 0), 1)
    if 0 < median < _DARK:
        curve **= max(np.log(_DARK) / np.log(median), _STRONGEST_LIFT)
    return np.rint(curve * 255).astype(np.uint8)


def checkerboard(fixed: Picture, aligned: Picture, valid: Mask) -> Picture:
    """Tiles of both images in turn: edges run on across tiles where the images fit."""
    height, width = fixed.shape[:2]
    tile = max(4, round(min(height, width) / _TILES))
    y, x = np.ogrid[:height, :width]
    is_fixed = (x // tile + y // tile) % 2 == 0
    board = np.where(is_fixed[..., None], fixed, aligned)
    return np.where(valid[..., None], board, _dimmed(fixed))


def overlay(fixed: Picture, aligned: Picture, valid: Mask) -> Picture:
    """Fixed image in green, aligned image in magenta: equal structure is grey.

    Brightness is evened out locally, as different sensors rarely agree on it; a coloured double
    edge is a misfit. Green and magenta can be told apart with all common kinds of colour
    blindness.
    """
    green = _evened_grey(fixed, np.ones_like(valid))
    magenta = _evened_grey(aligned, valid)
    mixed = np.stack([magenta, green, magenta], axis=-1)
    dimmed = np.repeat(_dimmed(green)[..., None], 3, axis=-1)
    return np.where(valid[..., None], mixed, dimmed)


def match_picture(
    fixed: np.ndarray | Raster,
    moving: np.ndarray | Raster,
    fixed_points: Float[np.ndarray, "n 2"],
    moving_points: Float[np.ndarray, "n 2"],
    inlier: Bool[np.ndarray, " n"],
) -> Picture:
    """Both images side by side with lines between matches, at most 200 of them.

    Images may be of any dtype; points are in their pixels. Kept matches are drawn in colour, the
    others faintly below them.
    """
    (left, left_scale), (right, right_scale) = _panel(fixed), _panel(moving)
    height = max(left.shape[0], right.shape[0])
    offset = left.shape[1] + _GAP
    canvas = np.full((height, offset + right.shape[1], 3), _PAPER, np.uint8)
    canvas[: left.shape[0], : left.shape[1]] = left
    canvas[: right.shape[0], offset:] = right
    starts = (fixed_points + 0.5) * left_scale - 0.5
    ends = (moving_points + 0.5) * right_scale - 0.5 + [offset, 0]
    order = np.random.default_rng(0).permutation(len(starts))
    kept = order[inlier[order]][:_MAX_KEPT_LINES]
    others = order[~inlier[order]][:_MAX_OTHER_LINES]
    faint = canvas.copy()
    for i in others:
        _line(faint, starts[i], ends[i], _FAINT)
    canvas = cv2.addWeighted(canvas, 0.72, faint, 0.28, 0)
    for i in kept:
        _line(canvas, starts[i], ends[i], _colour(starts[i], left.shape))
    return canvas


def _panel(image: np.ndarray | Raster) -> tuple[Picture, Float[np.ndarray, "2"]]:
    """Picture of an image that fits a panel, and the scale of x and y."""
    picture, _ = to_picture(image, _PANEL)
    height, width = picture.shape[:2]
    enlargement = min(_PANEL / max(height, width), _MAX_ENLARGEMENT)
    if enlargement > 1:
        size = (round(width * enlargement), round(height * enlargement))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC)
    size = image.size if isinstance(image, Raster) else image.shape[1::-1]
    scale = np.array(picture.shape[1::-1]) / np.array(size)
    return picture, scale


def _line(canvas: Picture, start: np.ndarray, end: np.ndarray, colour: tuple[int, ...]) -> None:
    a, b = (tuple(int(v) for v in np.rint(p * 2**_SUBPIXEL_BITS)) for p in (start, end))
    cv2.line(canvas, a, b, colour, 1, cv2.LINE_AA, _SUBPIXEL_BITS)
    for place in (a, b):
        cv2.circle(canvas, place, 2 << _SUBPIXEL_BITS, colour, 1, cv2.LINE_AA, _SUBPIXEL_BITS)


def _colour(point: np.ndarray, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Hue by the place in the fixed image, so that crossing lines stand out."""
    share = point[0] / shape[1] + point[1] / shape[0]
    hue = np.array([[[int(share * 90) % 180, 200, 255]]], np.uint8)
    return tuple(int(v) for v in cv2.cvtColor(hue, cv2.COLOR_HSV2RGB)[0, 0])


def _evened_grey(picture: Picture, valid: Mask) -> UInt8[np.ndarray, "h w"]:
    """Grey picture with local mean and contrast made mostly equal over the valid pixels."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    share = valid.astype(np.float32)
    weight = np.maximum(_blurred(share), 1e-3)
    deviation = grey - _blurred(grey * share) / weight
    contrast = np.sqrt(_blurred(deviation**2 * share) / weight) + 0.02
    local = 0.5 + deviation / (4 * contrast)
    mixed = _LOCAL_CONTRAST * local + (1 - _LOCAL_CONTRAST) * grey
    return np.clip(mixed * 255, 0, 255).astype(np.uint8)


def _blurred(values: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """Means over about a thirtieth of the picture, made on a small copy of it."""
    height, width = values.shape
    scale = min(1.0, _BLUR_SIDE / min(height, width))
    small_size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(values, small_size, interpolation=cv2.INTER_AREA)
    sigma = max(2.0, min(small_size) / 30)
    small = cv2.GaussianBlur(small, (0, 0), sigma)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR))


def _dimmed(values: np.ndarray) -> np.ndarray:
    return (values * _DIM).astype(np.uint8)
