from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from sdme.geometry.sampling import resize_matrix

SAMPLES = Path(__file__).parents[3] / "samples"


@dataclass(frozen=True)
class KnownPair:
    """Two views of one picture; ``H_true`` maps fixed to moving pixels."""

    fixed: np.ndarray
    moving: np.ndarray
    H_true: np.ndarray

    def corner_error(self, H: np.ndarray | None) -> float:
        assert H is not None
        height, width = self.fixed.shape[:2]
        corners = np.array([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]])
        ends = [cv2.perspectiveTransform(corners[None].astype(float), M) for M in (H, self.H_true)]
        return float(np.linalg.norm(ends[0] - ends[1], axis=-1).mean())


@pytest.fixture(scope="session")
def known_pair() -> KnownPair:
    """Of two scales: points half a pixel off in both images would cancel between equal ones."""
    picture = cv2.imread(str(SAMPLES / "moon_colour_elevation/fixed.jpg"))[40:424, 100:484, ::-1]
    small = np.ascontiguousarray(cv2.resize(picture, (192, 192), interpolation=cv2.INTER_AREA))
    half = resize_matrix(0.5, 0.5).numpy()
    turn = np.deg2rad(4)
    H_true = np.array(
        [
            [0.75 * np.cos(turn), -0.75 * np.sin(turn), 16.0],
            [0.75 * np.sin(turn), 0.75 * np.cos(turn), 20.0],
            [1e-4, -5e-5, 1.0],
        ]
    )
    moving = cv2.warpPerspective(
        cv2.GaussianBlur(picture, (0, 0), 1.0),
        np.linalg.inv(half) @ np.linalg.inv(H_true),
        (176, 176),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT,
    )
    return KnownPair(small, moving, H_true)


@pytest.fixture
def blank_pair() -> tuple[np.ndarray, np.ndarray]:
    return np.full((128, 128, 3), 90, np.uint8), np.full((192, 192, 3), 20, np.uint8)
