"""How far the two images of a pair that should lie on one pixel grid are off.

Both images become maps of edge orientation that do not care which side of an edge is brighter. The
fixed map is cut into tiles, and every tile is correlated with the moving map around its own place.
The highest place of the summed correlation is the shift; it is believed when random resamples of
the tiles name the same place. For images that are turned or scaled a similarity is fitted to the
tiles' own highest places. It is believed when half of the tiles agree, and preferred to a shift
that is believed when three quarters do.

The maps are the second and fourth harmonic of the gradient's angle, weighted by its strength and
levelled, which is what nine channels of oriented gradients (CFOG; Ye et al., "Fast and robust
matching for multimodal remote sensing image registration", IEEE TGRS 2019) hold up to a constant.
docs/lab/misalignment.md has the figures.
"""

import cmath
import math
from dataclasses import dataclass, replace
from itertools import pairwise

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from sdme.errors import InputError

_LONGEST_SIDE = 512
_SHORTEST_SIDE = 32
_LARGEST_SHIFT = 32
_SMALLEST_SHIFT = 4
_TILES = 4
_RESAMPLES = 200
_AGREEMENT = 2.0  # px
_CERTAIN_SHIFT = 0.95  # of the resamples
_CERTAIN_SIMILARITY, _SURE_SIMILARITY = 0.5, 0.75  # of the tiles
_SMALLEST_TURN = 1.5  # px, root mean square
_PICTURE_BLUR, _MAP_BLUR = 0.8, 1.0
_NOISE = 1.0  # grey levels


@dataclass(frozen=True)
class Misalignment:
    """What is in the middle of fixed, at ``(x, y)``, is at ``(x + dx, y + dy)`` in moving.

    All lengths are in pixels of the images. ``angle`` (degrees, clockwise as seen) and ``scale``
    say how moving is turned and enlarged around that; they are 0 and 1 where one shift explains
    the pair. ``pixels`` is the root mean square displacement over the image, ``confidence`` the
    share of resampled tiles that agree with the shift, or of tiles that agree with the similarity.
    ``certain`` says whether the images have enough in common to believe any of it.

    Out of reach are displacements of more than a tenth of the shorter side (32 px at 512 px, the
    size to which larger images are shrunk).
    """

    dx: float
    dy: float
    pixels: float
    confidence: float
    certain: bool
    angle: float = 0.0
    scale: float = 1.0

    def __str__(self) -> str:
        if not self.certain:
            return "too little in common to tell"
        text = f"off by about {self.pixels:.1f} px (dx {self.dx:+.1f}, dy {self.dy:+.1f}"
        if (self.angle, self.scale) != (0.0, 1.0):
            text += f", turned by {self.angle:+.1f} degrees, scaled by {self.scale:.3f}"
        return text + ")"


def estimate_misalignment(
    fixed: UInt8[np.ndarray, "h w 3"], moving: UInt8[np.ndarray, "h w 3"]
) -> Misalignment:
    """Estimate how two RGB images of one size are off, whatever their sensors.

    Raises:
        InputError: the sizes differ, or a side is below 32 px.
    """
    if fixed.shape != moving.shape or min(fixed.shape[:2]) < _SHORTEST_SIDE:
        sizes = " and ".join(f"{image.shape[1]}x{image.shape[0]}" for image in (fixed, moving))
        raise InputError(
            f"a misalignment cannot be estimated from images of {sizes} px; give two of one size, "
            f"at least {_SHORTEST_SIDE}x{_SHORTEST_SIDE} px"
        )
    height, width = _working_size(*fixed.shape[:2])
    reach = round(min(height, width) / 10)
    reach = max(_SMALLEST_SHIFT, min(_LARGEST_SHIFT, reach))
    maps = [_orientation_map(image, height, width) for image in (fixed, moving)]
    tiles = _tile_correlations(maps[0], maps[1], reach)
    found = _simplest(_common_shift(tiles), _common_similarity(tiles, height, width))
    scale = max(fixed.shape[:2]) / max(height, width)
    return replace(found, dx=found.dx * scale, dy=found.dy * scale, pixels=found.pixels * scale)


def _simplest(shift: Misalignment, similarity: Misalignment | None) -> Misalignment:
    """The shift, unless only the similarity can be believed or it tells what a shift cannot."""
    if similarity is None or not similarity.certain:
        return shift
    turn = math.sqrt(max(similarity.pixels**2 - similarity.dx**2 - similarity.dy**2, 0))
    is_sure = similarity.confidence >= _SURE_SIMILARITY and turn > _SMALLEST_TURN
    return similarity if is_sure or not shift.certain else shift


def _working_size(height: int, width: int) -> tuple[int, int]:
    """Size to which images are shrunk: large ones have shifts enough to see them there."""
    scale = max(_LONGEST_SIDE / max(height, width), _SHORTEST_SIDE / min(height, width))
    return (height, width) if scale >= 1 else (round(height * scale), round(width * scale))


def _orientation_map(
    image: UInt8[np.ndarray, "h w 3"], height: int, width: int
) -> Float32[np.ndarray, "h2 w2 4"]:
    """Harmonics of the edge orientation, levelled, with a mean of zero."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    grey = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
    grey = cv2.GaussianBlur(grey, (0, 0), _PICTURE_BLUR)
    x, y = (cv2.Scharr(grey, cv2.CV_32F, dx, dy) / 32 for dx, dy in ((1, 0), (0, 1)))
    strength = np.hypot(x, y)
    angle = np.arctan2(y, x)
    waves = [wave(n * angle) / (n / 2) ** 0.5 for n in (2, 4) for wave in (np.cos, np.sin)]
    harmonics = cv2.GaussianBlur(strength[..., None] * np.stack(waves, -1), (0, 0), _MAP_BLUR)
    level = cv2.GaussianBlur(strength, (0, 0), _MAP_BLUR)
    # edges count alike, and what is weaker than most and than the noise less
    harmonics /= (level + np.median(level) + _NOISE)[..., None]
    return harmonics - harmonics.mean(axis=(0, 1))


def _tile_edges(height: int, width: int, reach: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the tiles begin and end, in y and x.

    They leave a border as wide as the reach, so that every shift is judged by the same pixels:
    otherwise small shifts would have more of them.
    """
    rows, columns = (
        np.linspace(reach, side - reach, _TILES + 1).astype(int) for side in (height, width)
    )
    return rows, columns


def _tile_correlations(
    fixed: Float32[np.ndarray, "h w 4"], moving: Float32[np.ndarray, "h w 4"], reach: int
) -> Float32[np.ndarray, "tiles side side"]:
    """Correlation of each tile at every shift, up to ``reach`` px in x and y."""
    height, width = fixed.shape[:2]
    rows, columns = _tile_edges(height, width, reach)
    correlations = []
    for top, bottom in pairwise(rows):
        for left, right in pairwise(columns):
            tile = fixed[top:bottom, left:right]
            around = moving[top - reach : bottom + reach, left - reach : right + reach]
            correlations.append(cv2.matchTemplate(around, tile, cv2.TM_CCORR))
    return np.stack(correlations)


def _common_shift(correlations: Float32[np.ndarray, "tiles side side"]) -> Misalignment:
    """One shift for all tiles."""
    tiles, side = correlations.shape[:2]
    top = _highest_place(correlations.sum(axis=0))
    if top is None:
        return Misalignment(0.0, 0.0, 0.0, confidence=0.0, certain=False)
    # multinomial draws stand for drawing tiles with replacement; the seed makes answers repeatable
    draws = np.random.default_rng(0).multinomial(tiles, np.full(tiles, 1 / tiles), _RESAMPLES)
    peaks = (draws.astype(np.float32) @ correlations.reshape(tiles, -1)).argmax(axis=1)
    shifts = np.stack([peaks % side, peaks // side], axis=-1) - (side - 1) / 2
    apart = np.linalg.norm(shifts - top, axis=-1)
    share = float((apart <= _AGREEMENT).mean())
    return Misalignment(top[0], top[1], math.hypot(*top), share, certain=share >= _CERTAIN_SHIFT)


def _common_similarity(
    correlations: Float32[np.ndarray, "tiles side side"], height: int, width: int
) -> Misalignment | None:
    """A shift, rotation and scale for as many tiles as can be."""
    rows, columns = _tile_edges(height, width, correlations.shape[1] // 2)
    centres = [
        (sum(across) / 2 - 0.5, sum(down) / 2 - 0.5)
        for down in pairwise(rows)
        for across in pairwise(columns)
    ]
    tops = [_highest_place(correlation) for correlation in correlations]
    seen = [i for i, top in enumerate(tops) if top is not None]
    if len(seen) < _CERTAIN_SIMILARITY * len(tops):
        return None
    fixed = np.array([centres[i] for i in seen])
    moving = fixed + np.array([tops[i] for i in seen])
    matrix, agrees = cv2.estimateAffinePartial2D(
        fixed, moving, method=cv2.RANSAC, ransacReprojThreshold=_AGREEMENT
    )
    if matrix is None:
        return None
    middle = np.array([width - 1, height - 1]) / 2
    dx, dy = matrix @ (*middle, 1) - middle
    turn = complex(matrix[0, 0], matrix[1, 0])
    # the mean square distance from the middle of a rectangle is a twelfth of its diagonal's square
    pixels = math.sqrt(dx**2 + dy**2 + abs(turn - 1) ** 2 * (width**2 + height**2) / 12)
    share = float(agrees.sum() / len(tops))
    return Misalignment(
        float(dx),
        float(dy),
        pixels,
        share,
        certain=share >= _CERTAIN_SIMILARITY,
        angle=math.degrees(cmath.phase(turn)),
        scale=abs(turn),
    )


def _highest_place(correlation: Float32[np.ndarray, "side side"]) -> tuple[float, float] | None:
    """The shift of the highest correlation; none at the edge, where no top can be told."""
    side = len(correlation)
    row, column = divmod(int(correlation.argmax()), side)
    if not (0 < row < side - 1 and 0 < column < side - 1):
        return None
    dx = column + _parabola_top(*correlation[row, column - 1 : column + 2])
    dy = row + _parabola_top(*correlation[row - 1 : row + 2, column])
    return dx - (side - 1) / 2, dy - (side - 1) / 2


def _parabola_top(before: float, top: float, after: float) -> float:
    """Where the parabola through three values, the middle one largest, has its top."""
    bend = float(before) - 2 * float(top) + float(after)
    return (float(before) - float(after)) / (2 * bend) if bend < 0 else 0.0
