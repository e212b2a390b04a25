"""Two images as they were given and as the network sees them, and the way between the two."""

import os
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from sdme.config import Kind
from sdme.errors import InputError
from sdme.geometry.family import Family
from sdme.geometry.fit import nearest_of_kind
from sdme.geometry.homography import centred_placement
from sdme.geometry.sampling import resize_image, resize_matrix
from sdme.io.image import MIN_SIDE, read_image, to_network_input, valid_mask
from sdme.transform import Transform

ImageSource = str | os.PathLike[str] | np.ndarray
Matrix = Float[np.ndarray, "3 3"]
_BLANK_DEVIATION = 1 / 255
_EDGE = 4


@dataclass(frozen=True)
class Frame:
    """One image: ``pixels`` are what the network is given, shrunk where the image is large.

    ``scale`` maps pixels of the image to pixels of the frame. ``valid`` is False where the image
    holds no data, and up to 4 px around. Sizes are ``(width, height)``.
    """

    name: str
    image: np.ndarray
    pixels: Float[Tensor, "1 3 h w"]
    valid: Bool[Tensor, "1 1 h w"]
    scale: Matrix

    @property
    def image_size(self) -> tuple[int, int]:
        """Size of the image as it was given."""
        return self.image.shape[1], self.image.shape[0]

    @property
    def size(self) -> tuple[int, int]:
        """Size of what the network sees."""
        return self.pixels.shape[-1], self.pixels.shape[-2]

    @property
    def is_blank(self) -> bool:
        """Whether all pixels are the same within about one grey level of 8 bits."""
        return bool(self.pixels.std(dim=(-2, -1)).max() < _BLANK_DEVIATION)

    def in_image(self, points: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
        """Pixels of the image for pixels of the frame."""
        back = np.linalg.inv(self.scale)
        return points * np.diag(back)[:2] + back[:2, 2]


@dataclass(frozen=True)
class Pair:
    """The fixed and the moving frame. Matrices map fixed to moving pixels."""

    fixed: Frame
    moving: Frame

    def in_frames(self, matrix: Matrix) -> Matrix:
        """Matrix between the frames for one between the images."""
        return _normalised(self.moving.scale @ matrix @ np.linalg.inv(self.fixed.scale))

    def in_images(self, matrix: Matrix) -> Matrix:
        """Matrix between the images for one between the frames."""
        return _normalised(np.linalg.inv(self.moving.scale) @ matrix @ self.fixed.scale)

    def transform(self, matrix: Matrix | None, kind: Kind = "homography") -> Transform | None:
        """The transform between the images for a matrix between the frames.

        One of a smaller ``kind`` is exactly of it: what rounding between the frames left over is
        taken out.
        """
        if matrix is None:
            return None
        sizes = self.fixed.image_size, self.moving.image_size
        found = nearest_of_kind(self.in_images(matrix), kind, sizes[0])
        return Transform(found, *sizes, kind)

    def family(self, kind: Kind) -> Family:
        """The transforms of a kind between the images, as they are between the frames."""
        xx, xy, yx, yy = self.fixed.scale[:2, :2].ravel().tolist()
        return Family(kind, (xx, xy, yx, yy))

    def within(self, matrix: Matrix, kind: Kind) -> Matrix:
        """The matrix between the frames of the nearest transform of a kind between the images."""
        if kind == "homography":
            return matrix
        nearest = nearest_of_kind(self.in_images(matrix), kind, self.fixed.image_size)
        return self.in_frames(nearest)

    def guesses(self, initial: Transform | None, kind: Kind = "homography") -> list[Matrix]:
        """Where refinement may start without matches, as matrices between the frames.

        The given transform; without one the fixed image on the middle of the moving one, and if
        their sizes differ also stretched over it. In place of each the nearest one of the kind.

        Raises:
            InputError: ``initial`` was made for images of other sizes.
        """
        sizes = self.fixed.image_size, self.moving.image_size
        if initial is not None:
            if (initial.fixed_size, initial.moving_size) != sizes:
                raise InputError(
                    f"the initial transform is for a fixed image of {_text(initial.fixed_size)} "
                    f"and a moving one of {_text(initial.moving_size)} px, but these are "
                    f"{_text(sizes[0])} and {_text(sizes[1])} px; give the images it was made for"
                )
            return [self.within(self.in_frames(initial.matrix), kind)]
        centred = centred_placement(*sizes).double().numpy()
        if sizes[0] == sizes[1]:
            return [self.in_frames(centred)]
        stretched = resize_matrix(*(m / f for f, m in zip(*sizes, strict=True))).numpy()
        if kind in ("translation", "euclidean"):
            return [self.in_frames(centred)]
        return [self.within(self.in_frames(guess), kind) for guess in (centred, stretched)]


def make_frame(source: ImageSource, name: str, max_side: int) -> Frame:
    """Read an image and shrink it so that its longer side is at most ``max_side``.

    The shorter side is not shrunk below 32 px.

    Raises:
        InputError: see :func:`sdme.io.image.read_image`.
    """
    image = read_image(source, name)
    height, width = image.shape[:2]
    size = shrunk((width, height), max_side)
    mask = valid_mask(image)
    pixels = torch.from_numpy(to_network_input(image, mask)).permute(2, 0, 1)[None]
    matrix = resize_matrix(size[0] / width, size[1] / height).numpy()
    return Frame(name, image, resize_image(pixels, *size), _inner(mask, size), matrix)


def shrunk(size: tuple[int, int], max_side: int) -> tuple[int, int]:
    """Size of the frame of an image: its longer side at most ``max_side``, no side below 32 px."""
    scale = min(1.0, max(max_side / max(size), MIN_SIDE / min(size)))
    return round(size[0] * scale), round(size[1] * scale)


def _inner(mask: Bool[np.ndarray, "h w"], size: tuple[int, int]) -> Bool[Tensor, "1 1 h2 w2"]:
    """Pixels of the frame with nothing but valid ones within the window around them."""
    if mask.all():  # most images: what follows would take longer than reading them
        return torch.ones(1, 1, size[1], size[0], dtype=torch.bool)
    valid = resize_image(torch.from_numpy(mask)[None, None].float(), *size)
    empty = (valid < 0.999).float()
    return F.max_pool2d(empty, 2 * _EDGE + 1, stride=1, padding=_EDGE) == 0


def _normalised(matrix: Matrix) -> Matrix:
    return matrix / matrix[2, 2]


def _text(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
