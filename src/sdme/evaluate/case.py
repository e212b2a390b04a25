"""One test of an evaluation: two pictures and what is known of the transform between them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, UInt8

from sdme.data.pairs import ImagePair, Landmarks

Matrix = Float64[np.ndarray, "3 3"]


@dataclass(frozen=True)
class CaseKey:
    """Which case to draw; small, and the same key draws the same case on every machine.

    ``index`` counts the cases of a dataset, and tells apart those drawn from one pair.
    ``fixed_side`` is the side of the pair that the fixed image comes from: ``a`` is ``pair.fixed``.
    """

    pair: ImagePair
    index: int
    fixed_side: str = "a"

    @property
    def name(self) -> str:
        """Unique within an evaluation."""
        return f"{self.pair.dataset}/{self.pair.id}#{self.index}"


@dataclass(frozen=True)
class Case:
    """A pair of 8-bit RGB pictures to register.

    ``H_true`` maps fixed to moving pixels; where it is ``None`` there are ``landmarks``.
    ``initial`` is where every method starts, and what no registration means. ``redraws`` counts
    draws that were replaced because a picture was blank.
    """

    key: CaseKey
    fixed: UInt8[np.ndarray, "h w 3"]
    moving: UInt8[np.ndarray, "h2 w2 3"]
    initial: Matrix
    H_true: Matrix | None
    landmarks: Landmarks | None = None
    redraws: int = 0

    @property
    def fixed_size(self) -> tuple[int, int]:
        """Width and height of the fixed picture."""
        return self.fixed.shape[1], self.fixed.shape[0]
