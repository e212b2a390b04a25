"""A similarity by phase correlation: the Fourier-Mellin method (Reddy and Chatterji 1996).

The magnitude of a spectrum does not see translations; in log-polar coordinates rotation and scale
are shifts, which phase correlation finds; a second one finds the translation. It works on gradient
magnitude, since grey values of two sensors differ.
"""

import math
import time
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float64

from sdme.evaluate.method import Image, Matrix, Method, MethodResult

Map = Float64[np.ndarray, "s s"]

_ANGLES = 180
_RADII = 128
_BAND = (0.03, 0.4)
_SCALES = (1 / 2.5, 2.5)
_PASSES = 3
_INVERSE = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP


@dataclass(frozen=True)
class _Canvas:
    """Both images on one square grid, the fixed one where it lies, the moving one as placed."""

    fixed: Map
    moving: Map
    canvas_from_fixed: Matrix
    moving_from_canvas: Matrix

    @property
    def centre(self) -> float:
        """Of the square, in x and in y."""
        return (len(self.fixed) - 1) / 2


def build_phase_correlation(device: str) -> Method:
    """Phase correlation of the fixed image and of what the initial placement puts onto it."""
    return _register


def _register(fixed: Image, moving: Image, initial: Matrix) -> MethodResult:
    started = time.perf_counter()
    canvas = _canvas(fixed, moving, initial)
    H = None
    if min(canvas.fixed.std(), canvas.moving.std()) > 1e-6:
        H = canvas.moving_from_canvas @ _similarity(canvas) @ canvas.canvas_from_fixed
    seconds = {"phase-correlation": time.perf_counter() - started}
    return MethodResult({"phase-correlation": H}, seconds=seconds)


def _canvas(fixed: Image, moving: Image, initial: Matrix) -> _Canvas:
    """Large enough for both; each is tapered to zero by a Hann window of its own size."""
    height, width = moving.shape[:2]
    corners = np.array([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]], float)
    placed = cv2.perspectiveTransform(corners[None], np.linalg.inv(initial))[0]
    ends = np.array([[0, 0], [fixed.shape[1] - 1, fixed.shape[0] - 1]])
    low, high = np.vstack([placed, ends]).min(0), np.vstack([placed, ends]).max(0)
    side = cv2.getOptimalDFTSize(math.ceil((high - low).max()) + 1)
    canvas_from_fixed = np.eye(3)
    canvas_from_fixed[:2, 2] = (side - 1) / 2 - (low + high) / 2
    moving_from_canvas = initial @ np.linalg.inv(canvas_from_fixed)
    on_canvas = [
        cv2.warpPerspective(_tapered_edges(image), matrix, (side, side))
        for image, matrix in (
            (fixed, canvas_from_fixed),
            (moving, np.linalg.inv(moving_from_canvas)),
        )
    ]
    return _Canvas(on_canvas[0], on_canvas[1], canvas_from_fixed, moving_from_canvas)


def _similarity(canvas: _Canvas) -> Matrix:
    """The turn and scale, of those that the spectra allow, at which the images agree best.

    Spectra repeat after half a turn, so there are two; the third is none at all.
    """
    turn, scale = _turn_and_scale(canvas)
    trials = [(turn, scale), (turn + math.pi, scale), (0.0, 1.0)]
    found = [_with_translation(canvas, *trial) for trial in trials]
    return max(found, key=lambda trial: trial[0])[1]


def _turn_and_scale(canvas: _Canvas) -> tuple[float, float]:
    """Angle and factor by which the fixed image has to be turned and stretched."""
    window = np.repeat(np.hanning(_RADII)[None], _ANGLES, axis=0)
    fixed, moving = _log_polar(canvas.fixed), _log_polar(canvas.moving)
    (columns, rows), _ = cv2.phaseCorrelate(fixed, moving, window)
    scale = (_BAND[1] / _BAND[0]) ** (-columns / _RADII)
    return rows * math.pi / _ANGLES, float(np.clip(scale, *_SCALES))


def _log_polar(image: Map) -> Float64[np.ndarray, "angles radii"]:
    """Logarithm of the magnitude spectrum: half a turn by rows, logarithm of the radius by columns.

    ``_BAND`` in cycles a pixel leaves out what the windows put at its centre, and its rim, where
    the pixel grid shows and pins the turn to zero.
    """
    spectrum = np.log1p(np.abs(np.fft.fftshift(np.fft.fft2(image))))
    angle = np.arange(_ANGLES)[:, None] * (math.pi / _ANGLES)
    radius = len(image) * _BAND[0] * (_BAND[1] / _BAND[0]) ** (np.arange(_RADII) / _RADII)
    x = (len(image) // 2 + radius * np.cos(angle)).astype(np.float32)
    y = (len(image) // 2 + radius * np.sin(angle)).astype(np.float32)
    polar = cv2.remap(spectrum, x, y, cv2.INTER_LINEAR)
    return polar - polar.mean(axis=0)


def _with_translation(canvas: _Canvas, turn: float, scale: float) -> tuple[float, Matrix]:
    """Response of the phase correlation and the similarity, once the translation is found."""
    a, b = scale * math.cos(turn), scale * math.sin(turn)
    c = canvas.centre
    H = np.array([[a, -b, c - a * c + b * c], [b, a, c - b * c - a * c], [0, 0, 1]])
    response, size = 0.0, canvas.fixed.shape[::-1]
    for _ in range(_PASSES):
        placed = cv2.warpPerspective(canvas.moving, H, size, flags=_INVERSE)
        (x, y), response = cv2.phaseCorrelate(canvas.fixed, placed)
        H = H @ np.array([[1, 0, x], [0, 1, y], [0, 0, 1]])
    return response, H


def _tapered_edges(image: Image) -> Float64[np.ndarray, "h w"]:
    """Gradient magnitude without its mean, under a Hann window."""
    grey = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float64), (0, 0), 1)
    gx, gy = cv2.Sobel(grey, cv2.CV_64F, 1, 0), cv2.Sobel(grey, cv2.CV_64F, 0, 1)
    edges = np.sqrt(gx**2 + gy**2)
    window = np.outer(np.hanning(image.shape[0] + 2)[1:-1], np.hanning(image.shape[1] + 2)[1:-1])
    return (edges - edges.mean()) * window
