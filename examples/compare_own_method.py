"""A method of one's own beside others: sdme compare PAIRS --methods sift,THIS_FILE -o run."""

import cv2
import numpy as np


def register(fixed: np.ndarray, moving: np.ndarray, initial: np.ndarray) -> np.ndarray | None:
    """Shift between two 8-bit RGB images by phase correlation, as a 3x3 fixed-to-moving matrix.

    `initial` is where to start; leave it out of the arguments if the method needs no start.
    """
    height, width = fixed.shape[:2]
    placed = cv2.warpPerspective(
        moving, initial, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    )
    grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float64) for image in (fixed, placed)]
    window = cv2.createHanningWindow((width, height), cv2.CV_64F)
    (x, y), response = cv2.phaseCorrelate(grey[0], grey[1], window)
    if response < 0.05:
        return None
    shift = np.array([[1, 0, x], [0, 1, y], [0, 0, 1]])
    return initial @ shift
