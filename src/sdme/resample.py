"""Frames that are turned, scaled or cut out of an image: what a network sees through a similarity.

A frame's ``scale`` maps pixels of the whole image to its own, so whatever is found on such a frame
comes back in pixels of the image as from any other.
"""

import math
from dataclasses import replace

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sdme.frames import Frame, Matrix, apart_from_empty
from sdme.geometry.homography import apply_homography
from sdme.geometry.mapping import frame_corners
from sdme.geometry.sampling import pixel_grid, resize_image, resize_matrix, sample
from sdme.io.raster import Raster
from sdme.io.read import MIN_SIDE
from sdme.io.view import see

Size = tuple[int, int]
_SHRINK_BELOW = 0.8  # pixels a pixel; from there on bilinear sampling alone would alias
_MARGIN = 8  # px around what is cut out


def similarity(angle: float, scale: float, about: Float[np.ndarray, "2"]) -> Matrix:
    """Turn by ``angle`` (radians, from x to y) and enlarge; ``about`` goes to the origin."""
    turn = scale * np.array(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    )
    matrix = np.eye(3)
    matrix[:2, :2] = turn
    matrix[:2, 2] = -turn @ about
    return matrix


def seen_through(frame: Frame, view_from_frame: Matrix, size: Size) -> Frame:
    """The frame's own pixels resampled; ``size`` is (width, height) of the view.

    Beyond the frame its pixels are mirrored, and there is no data.
    """
    return _resampled(frame, frame.pixels, frame.valid, frame.scale, view_from_frame, size)


def cut_out(frame: Frame, view_from_image: Matrix, size: Size) -> Frame:
    """A view of the image itself, of which only the part that is seen is touched."""
    low, high = seen_part(frame.image_size, view_from_image, size)
    raster, part = frame.raster, np.s_[low[1] : high[1], low[0] : high[0]]
    cut = replace(
        raster,
        pixels=raster.pixels[part],
        mask=None if raster.mask is None else raster.mask[part],
        use=None if raster.use is None else raster.use[part],
    )
    if not cut.valid.any():  # nothing by which it could be stretched
        return seen_through(frame, view_from_image @ np.linalg.inv(frame.scale), size)
    part_from_image = np.eye(3)
    part_from_image[:2, 2] = -low
    return laid_out(frame, cut, part_from_image, view_from_image, size)


def laid_out(
    frame: Frame, part: Raster, part_from_image: Matrix, view_from_image: Matrix, size: Size
) -> Frame:
    """A view of a ``part`` of the image that is known to hold data."""
    seen = see(part)
    pixels = torch.from_numpy(seen.values).permute(2, 0, 1)[None]
    valid = torch.from_numpy(np.ascontiguousarray(seen.used))[None, None]
    view_from_part = view_from_image @ np.linalg.inv(part_from_image)
    return _resampled(frame, pixels, valid, part_from_image, view_from_part, size)


def fitted(turned: Matrix, size: Size) -> tuple[Matrix, Size]:
    """The same followed by the shift that brings all of an image of ``size`` into view."""
    box = cv2.perspectiveTransform(frame_corners(size)[None], turned)[0]
    low, high = box.min(0), box.max(0)
    shifted = np.eye(3)
    sides = np.maximum(np.ceil(high - low + 1 - 1e-6).astype(int), MIN_SIDE)
    shifted[:2, 2] = (sides - 1) / 2 - (low + high) / 2
    return shifted @ turned, (int(sides[0]), int(sides[1]))


def _resampled(
    frame: Frame,
    pixels: Float[Tensor, "1 3 h w"],
    valid: Bool[Tensor, "1 1 h w"],
    pixels_from_image: Matrix,
    view_from_pixels: Matrix,
    size: Size,
) -> Frame:
    scale = view_from_pixels @ pixels_from_image
    mask = valid.float()
    factor = math.sqrt(abs(np.linalg.det(view_from_pixels[:2, :2])))
    if factor < _SHRINK_BELOW:
        height, width = pixels.shape[-2:]
        small = max(1, round(width * factor)), max(1, round(height * factor))
        pixels, mask = resize_image(pixels, *small), resize_image(mask, *small)
        resized = resize_matrix(small[0] / width, small[1] / height).numpy()
        view_from_pixels = view_from_pixels @ np.linalg.inv(resized)
    back = torch.from_numpy(np.linalg.inv(view_from_pixels)).to(pixels)
    points = apply_homography(back[None], pixel_grid(*size, like=pixels)[None])
    shape = size[1], size[0]
    seen = sample(pixels, points, "reflection").unflatten(2, shape)
    there = sample(mask, points, "border").unflatten(2, shape) > 0.999
    there &= _covers(points, pixels.shape[-1], pixels.shape[-2]).view(1, 1, *shape)
    return replace(
        frame, pixels=seen, valid=there if there.all() else apart_from_empty(there), scale=scale
    )


def _covers(points: Float[Tensor, "1 n 2"], width: int, height: int) -> Bool[Tensor, "1 n"]:
    x, y = points.unbind(-1)
    return (x > -0.75) & (y > -0.75) & (x < width - 0.25) & (y < height - 0.25)


def seen_part(
    image_size: Size, view_from_image: Matrix, size: Size
) -> tuple[np.ndarray, np.ndarray]:
    """First and last but one pixel (x, y) of the image's part that a view shows."""
    box = cv2.perspectiveTransform(frame_corners(size)[None], np.linalg.inv(view_from_image))[0]
    low = np.clip(np.floor(box.min(0)).astype(int) - _MARGIN, 0, np.array(image_size) - 1)
    high = np.clip(np.ceil(box.max(0)).astype(int) + _MARGIN + 1, low + 1, image_size)
    return low, high
