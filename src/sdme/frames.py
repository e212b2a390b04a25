"""Two images as they were given and as the network sees them, and the way between the two."""

from dataclasses import dataclass, replace

import cv2
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
from sdme.geometry.mapping import mean_corner_error
from sdme.geometry.sampling import resize_image, resize_matrix
from sdme.io.placement import place
from sdme.io.raster import ImageSource, Raster
from sdme.io.read import MIN_SIDE, check_content, read_raster
from sdme.io.view import see
from sdme.placed_frames import Patch, patches
from sdme.transform import Transform

Matrix = Float[np.ndarray, "3 3"]
_BLANK_DEVIATION = 1 / 255
_EDGE = 4


@dataclass(frozen=True)
class Frame:
    """One image: ``pixels`` are what the network is given, shrunk where the image is large.

    ``scale`` maps pixels of the image to pixels of the frame, which may also be turned or a part of
    the image alone. ``valid`` is False where the image holds no data or its mask does not allow to
    look, and up to 4 px around. Sizes are ``(width, height)``.
    """

    name: str
    raster: Raster
    pixels: Float[Tensor, "1 3 h w"]
    valid: Bool[Tensor, "1 1 h w"]
    scale: Matrix

    @property
    def image(self) -> np.ndarray:
        """The pixels as they were given."""
        return self.raster.pixels

    @property
    def image_size(self) -> tuple[int, int]:
        """Size of the image as it was given."""
        return self.raster.size

    @property
    def size(self) -> tuple[int, int]:
        """Size of what the network sees."""
        return self.pixels.shape[-1], self.pixels.shape[-2]

    @property
    def pixel(self) -> float:
        """How many pixels of the image one of the frame is long, at its middle."""
        back = np.linalg.inv(self.scale)
        depth = back[2] @ [(self.size[0] - 1) / 2, (self.size[1] - 1) / 2, 1]
        return float(np.sqrt(abs(np.linalg.det(back) / depth**3)))

    @property
    def is_blank(self) -> bool:
        """Whether all pixels are the same within about one grey level of 8 bits."""
        return bool(self.pixels.std(dim=(-2, -1)).max() < _BLANK_DEVIATION)

    def in_image(self, points: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
        """Pixels of the image for pixels of the frame."""
        back = np.linalg.inv(self.scale)
        depth = points @ back[2, :2] + back[2, 2]
        return (points @ back[:2, :2].T + back[:2, 2]) / depth[:, None]


@dataclass(frozen=True)
class Pair:
    """The fixed and the moving frame. Matrices map fixed to moving pixels.

    ``placement`` is what the files themselves say of how the images lie, by their georeferences or
    by the size of their pixels. ``notes`` are what they say that could not be used.
    """

    fixed: Frame
    moving: Frame
    placement: Matrix | None = None
    notes: tuple[str, ...] = ()

    @property
    def is_placed(self) -> bool:
        """Whether the files say which way is up, and not only how large things are."""
        return self.placement is not None and self.fixed.raster.georeference is not None

    def in_frames(self, matrix: Matrix) -> Matrix:
        """Matrix between the frames for one between the images."""
        return _normalised(self.moving.scale @ matrix @ np.linalg.inv(self.fixed.scale))

    def in_images(self, matrix: Matrix) -> Matrix:
        """Matrix between the images for one between the frames."""
        return _normalised(np.linalg.inv(self.moving.scale) @ matrix @ self.fixed.scale)

    def transform(self, matrix: Matrix | None, kind: Kind = "homography") -> Transform | None:
        """The transform between the images for a matrix between the frames.

        One of a smaller ``kind`` is exactly of it: what rounding between the frames left over, in
        the tests less than 2e-3 px at the corners, is taken out.
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

        The given transform; without one the placement; without that the fixed image on the middle
        of the moving one, and if their sizes differ also stretched over it. In place of each the
        nearest one of the kind.

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
        if self.placement is not None:
            return [self.within(self.in_frames(self.placement), kind)]
        centred = centred_placement(*sizes).double().numpy()
        if sizes[0] == sizes[1]:
            return [self.in_frames(centred)]
        stretched = resize_matrix(*(m / f for f, m in zip(*sizes, strict=True))).numpy()
        if kind in ("translation", "euclidean"):
            return [self.in_frames(centred)]
        return [self.within(self.in_frames(guess), kind) for guess in (centred, stretched)]


def make_pair(
    fixed: ImageSource,
    moving: ImageSource,
    max_side: int,
    use_places: bool = True,
    kind: Kind = "homography",
) -> Pair:
    """Read two images and make frames of them whose longer side is at most ``max_side``.

    Where both are georeferenced and ``use_places``, the frames show their common part as the
    georeferences lay it on the fixed grid, so that the network has only to correct them, unless
    they are no transform of the ``kind``. Of medical images with known sizes of pixels the frames
    have one scale.

    Raises:
        InputError: see :func:`sdme.io.read.read_raster`.
    """
    rasters = _readable(fixed, "fixed image"), _readable(moving, "moving image")
    notes = tuple(note for raster in rasters for note in raster.notes)
    names = "fixed image", "moving image"
    use_places = use_places and all(raster.view.place for raster in rasters)
    if use_places:
        placement, more = place(*rasters)
        if placement and not _is_of(placement.matrix, kind, rasters[0].size):
            placement, more = None, (f"the georeferences are not used: they are no {kind}",)
        notes += more
        found = placement and patches(placement.matrix, rasters[0].size, rasters[1].size, max_side)
        if placement and found:
            frames = (_patched(*each) for each in zip(names, rasters, found, strict=True))
            return Pair(*frames, placement=placement.matrix, notes=notes)
        if placement:
            notes += ("the georeferences are not used: by them the images share too few pixels",)
    unit = common_unit(rasters[0], rasters[1])
    frames = (
        _framed(raster, name, frame_size(raster, max_side, unit))
        for raster, name in zip(rasters, names, strict=True)
    )
    return Pair(*frames, placement=_by_spacing(*rasters) if use_places else None, notes=notes)


def make_frame(source: ImageSource, name: str, max_side: int) -> Frame:
    """Read an image and shrink it so that its longer side is at most ``max_side``.

    The shorter side is not shrunk below 32 px. Pixels that are not square are made so.

    Raises:
        InputError: see :func:`sdme.io.read.read_raster`.
    """
    raster = _readable(source, name)
    return _framed(raster, name, frame_size(raster, max_side))


def shrunk(size: tuple[float, float], max_side: int) -> tuple[int, int]:
    """Size of the frame of an image: its longer side at most ``max_side``, no side below 32 px."""
    scale = min(1.0, max(max_side / max(size), MIN_SIDE / min(size)))
    return round(size[0] * scale), round(size[1] * scale)


def frame_size(raster: Raster, max_side: int, unit: float | None = None) -> tuple[int, int]:
    """Size of the frame of a raster: square pixels, of ``unit`` mm or more where that is given."""
    if raster.spacing is None:
        return shrunk(raster.size, max_side)
    unit = unit or min(raster.spacing)
    sides = [count * step / unit for count, step in zip(raster.size, raster.spacing, strict=True)]
    width, height = shrunk((sides[0], sides[1]), max_side)
    return max(width, MIN_SIDE), max(height, MIN_SIDE)


def common_unit(fixed: Raster, moving: Raster) -> float | None:
    """Millimetres a pixel of both frames; the coarser image is enlarged twice at most."""
    if fixed.spacing is None or moving.spacing is None:
        return None
    units = min(fixed.spacing), min(moving.spacing)
    return max(min(units), max(units) / 2)


def _is_of(matrix: Matrix, kind: Kind, size: tuple[int, int]) -> bool:
    """Whether a transform of a kind says the same within half a pixel."""
    if kind == "homography":
        return True
    return mean_corner_error(nearest_of_kind(matrix, kind, size), matrix, size) < 0.5


def _by_spacing(fixed: Raster, moving: Raster) -> Matrix | None:
    """The middle of the one on that of the other, in true size."""
    if fixed.spacing is None or moving.spacing is None:
        return None
    scale = np.array(fixed.spacing) / np.array(moving.spacing)
    middles = [(np.array(raster.size) - 1) / 2 for raster in (fixed, moving)]
    matrix = np.diag([*scale, 1.0])
    matrix[:2, 2] = middles[1] - scale * middles[0]
    return matrix


def _readable(source: ImageSource, name: str) -> Raster:
    raster = read_raster(source, name)
    check_content(raster, name)
    return raster


def _framed(raster: Raster, name: str, size: tuple[int, int]) -> Frame:
    seen = see(raster)
    pixels = torch.from_numpy(seen.values).permute(2, 0, 1)[None]
    matrix = resize_matrix(size[0] / raster.size[0], size[1] / raster.size[1]).numpy()
    return Frame(name, raster, resize_image(pixels, *size), _inner(seen.used, size), matrix)


def _patched(name: str, raster: Raster, patch: Patch) -> Frame:
    """The frame of a part of the image; only that part is looked at."""
    x, y, width, height = patch.box
    part = np.s_[y : y + height, x : x + width]
    cut = replace(
        raster,
        pixels=raster.pixels[part],
        mask=None if raster.mask is None else raster.mask[part],
        use=None if raster.use is None else raster.use[part],
    )
    if not cut.valid.any():
        raise InputError(f"{name} {raster.name} holds no data where the other image lies")
    seen = see(cut)
    small = max(1, round(width * patch.shrink)), max(1, round(height * patch.shrink))
    pixels = torch.from_numpy(seen.values).permute(2, 0, 1)[None]
    values = resize_image(pixels, *small)[0].permute(1, 2, 0).numpy()
    used = resize_image(torch.from_numpy(seen.used)[None, None].float(), *small)[0, 0].numpy()
    shift = np.array([[1, 0, -x], [0, 1, -y], [0, 0, 1]], np.float64)
    resized = resize_matrix(small[0] / width, small[1] / height).numpy() @ shift
    matrix = patch.frame_from_image @ np.linalg.inv(resized)
    middle = tuple(float(v) for v in np.median(values[used > 0.5], axis=0)) if used.any() else 0.5
    shown = cv2.warpPerspective(values, matrix, patch.size, borderValue=middle)
    lies = cv2.warpPerspective(used, matrix, patch.size, borderValue=0) > 0.999
    valid = apart_from_empty(torch.from_numpy(lies)[None, None])
    tensor = torch.from_numpy(shown).permute(2, 0, 1)[None].contiguous()
    return Frame(name, raster, tensor, valid, patch.frame_from_image)


def _inner(mask: Bool[np.ndarray, "h w"], size: tuple[int, int]) -> Bool[Tensor, "1 1 h2 w2"]:
    """Pixels of the frame with nothing but valid ones within the window around them."""
    if mask.all():  # most images: what follows would take longer than reading them
        return torch.ones(1, 1, size[1], size[0], dtype=torch.bool)
    valid = resize_image(torch.from_numpy(mask)[None, None].float(), *size)
    return apart_from_empty(valid >= 0.999)


def apart_from_empty(valid: Bool[Tensor, "1 1 h w"]) -> Bool[Tensor, "1 1 h w"]:
    """Pixels with nothing but valid ones within the window around them."""
    empty = (~valid).float()
    return F.max_pool2d(empty, 2 * _EDGE + 1, stride=1, padding=_EDGE) == 0


def _normalised(matrix: Matrix) -> Matrix:
    return matrix / matrix[2, 2]


def _text(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
