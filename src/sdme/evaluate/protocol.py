"""The paper's protocol: small fixed and moving patches under a random homography, from packs.

A case is cut from one aligned pair (METHOD section 4): a 192 px moving patch of one image, and a
128 px fixed patch of the other one, whose corners, placed centrally in the moving patch, are moved
by up to 32 px in x and y. Which cases are drawn follows from the settings, the pack's name and the
pair's name alone, so every machine and every method sees the same ones, and a smaller number of
cases is the beginning of a larger one.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float64, UInt8
from pydantic import Field

from sdme.config import Settings
from sdme.data.packs import PackItem, read_pack
from sdme.errors import InputError
from sdme.geometry.homography import apply_homography, centred_placement
from sdme.geometry.random_warp import homography_from_shifts
from sdme.geometry.sampling import pixel_grid, resize_matrix

_SHRINK_BEYOND = 1.25
_MIN_CORNER_SINE = 0.05


class PaperProtocol(Settings):
    """Settings of the protocol; the defaults are the paper's, and the published tables use them."""

    seed: int = 0
    fixed_size: int = Field(default=128, ge=16)
    moving_size: int = Field(default=192, ge=16)
    max_shift: float = Field(default=32, ge=0, description="most a corner moves in x and in y, px")
    max_short_side: int = Field(
        default=256, description="larger images are shrunk to this short side before cropping"
    )
    min_contrast: float = Field(
        default=2.0, description="a patch of a smaller grey standard deviation is drawn again"
    )
    max_redraws: int = Field(default=20, ge=0)

    @property
    def sizes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Width and height of the fixed and of the moving patch."""
        return (self.fixed_size, self.fixed_size), (self.moving_size, self.moving_size)

    @property
    def initial(self) -> Float64[np.ndarray, "3 3"]:
        """The centred placement: where every method starts, and what no registration means."""
        return centred_placement(*self.sizes).double().numpy()


@dataclass(frozen=True)
class Case:
    """One test: find ``H_true`` from the two patches.

    ``H_true`` maps fixed pixels to moving pixels. ``fixed_modality`` is ``a`` or ``b``, the side of
    the pair that the fixed patch is cut from. ``redraws`` counts draws that were replaced because a
    patch was blank; at the protocol's limit the last one is kept, blank or not.
    """

    pack: str
    pair: str
    index: int
    fixed: UInt8[np.ndarray, "h w 3"]
    moving: UInt8[np.ndarray, "h2 w2 3"]
    H_true: Float64[np.ndarray, "3 3"]
    fixed_modality: str
    redraws: int

    @property
    def name(self) -> str:
        """Unique name: pack, pair, and the index that tells apart the cases of one pair."""
        return f"{self.pack}/{self.pair}#{self.index}"


def cases_from_pack(path: str | Path, count: int, protocol: PaperProtocol) -> list[Case]:
    """The first ``count`` cases of a pack; pairs are cycled when there are fewer of them.

    Photos (one image an item) give single-modal cases: both patches come from the same image.

    Raises:
        InputError: the pack cannot be read or is empty.
    """
    pack = Path(path).stem
    items = sorted(read_pack(path), key=lambda item: _digest(protocol.seed, pack, item.id))
    if not items:
        raise InputError(
            f"pack {path} holds no images; give one with ID.a.EXT and ID.b.EXT members"
        )
    return [draw_case(items, pack, index, protocol) for index in range(count)]


def draw_case(items: Sequence[PackItem], pack: str, index: int, protocol: PaperProtocol) -> Case:
    """Case number ``index`` of a pack; the fixed side alternates over pairs and over rounds."""
    lap, place = divmod(index, len(items))
    item = items[place]
    modality = "ab"[(lap + place) % 2]
    sides = (item.first, item.second) if modality == "a" else (item.second, item.first)
    redraws = 0
    while True:
        seed = _digest(protocol.seed, pack, item.id, index, redraws)
        rng = np.random.Generator(np.random.PCG64(seed))
        fixed, moving, H_true = cut_patches(*sides, rng, protocol)
        usable = _is_convex(H_true, protocol.fixed_size)
        usable &= min(_contrast(fixed), _contrast(moving)) >= protocol.min_contrast
        if usable or redraws == protocol.max_redraws:
            return Case(pack, item.id, index, fixed, moving, H_true, modality, redraws)
        redraws += 1


def cut_patches(
    fixed_image: UInt8[np.ndarray, "h w 3"],
    moving_image: UInt8[np.ndarray, "h w 3"],
    rng: np.random.Generator,
    protocol: PaperProtocol,
) -> tuple[np.ndarray, np.ndarray, Float64[np.ndarray, "3 3"]]:
    """Fixed patch, moving patch and ``H_true`` of one draw from two images on one grid.

    The working scale keeps the short side between the moving patch's and ``max_short_side``. Each
    patch is resampled once from the original image, through the product of all its maps.
    """
    height, width = moving_image.shape[:2]
    short = min(height, width)
    scale = max(min(short, protocol.max_short_side), protocol.moving_size) / short
    work_width, work_height = round(width * scale), round(height * scale)
    left = rng.integers(0, work_width - protocol.moving_size, endpoint=True)
    top = rng.integers(0, work_height - protocol.moving_size, endpoint=True)
    shifts = torch.from_numpy(rng.uniform(-protocol.max_shift, protocol.max_shift, (1, 4, 2)))

    H_true = homography_from_shifts(shifts, *protocol.sizes)[0]
    work_from_moving = torch.eye(3, dtype=torch.float64)
    work_from_moving[0, 2], work_from_moving[1, 2] = int(left), int(top)
    work_from_original = resize_matrix(work_width / width, work_height / height)
    original_from_moving = torch.linalg.inv(work_from_original) @ work_from_moving
    moving = _resample(moving_image, original_from_moving, protocol.moving_size)
    fixed = _resample(fixed_image, original_from_moving @ H_true, protocol.fixed_size)
    return fixed, moving, H_true.numpy()


def _resample(image: np.ndarray, image_from_patch: torch.Tensor, size: int) -> np.ndarray:
    """Cubic inverse look-up of a square patch; the image is shrunk first where it would alias."""
    height, width = image.shape[:2]
    pixels = image.astype(np.float32)
    step = _pixels_a_step(image_from_patch, size)
    if step > _SHRINK_BEYOND:
        small = round(width / step), round(height / step)
        pixels = cv2.resize(pixels, small, interpolation=cv2.INTER_AREA)
        image_from_patch = resize_matrix(small[0] / width, small[1] / height) @ image_from_patch
    points = apply_homography(image_from_patch, pixel_grid(size, size, like=image_from_patch))
    extent = torch.tensor(pixels.shape[1::-1], dtype=points.dtype)
    grid = ((points + 0.5) * (2 / extent) - 1).view(1, size, size, 2)
    source = torch.from_numpy(pixels).double().permute(2, 0, 1)[None]
    values = F.grid_sample(source, grid, mode="bicubic", padding_mode="border", align_corners=False)
    return values[0].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8).numpy()


def _pixels_a_step(image_from_patch: torch.Tensor, size: int) -> float:
    """Image pixels that one patch pixel advances, on average over the patch."""
    x, y = _quad(image_from_patch, size).unbind(-1)
    area = (x * y.roll(-1) - y * x.roll(-1)).sum().abs() / 2
    return float(area.sqrt()) / (size - 1)


def _quad(H: torch.Tensor, size: int) -> torch.Tensor:
    end = size - 1
    square = torch.tensor([[0, 0], [end, 0], [end, end], [0, end]], dtype=H.dtype)
    return apply_homography(H, square)


def _is_convex(H: np.ndarray, size: int) -> bool:
    """Whether the mapped square keeps its sense of rotation at every corner, by a margin."""
    quad = _quad(torch.from_numpy(H), size)
    along = F.normalize(quad.roll(-1, 0) - quad, dim=-1)
    turn = along.roll(1, 0)[:, 0] * along[:, 1] - along.roll(1, 0)[:, 1] * along[:, 0]
    return bool((turn > _MIN_CORNER_SINE).all())


def _contrast(patch: np.ndarray) -> float:
    return float(cv2.cvtColor(patch, cv2.COLOR_RGB2GRAY).std())


def _digest(*parts: object) -> int:
    """A 128-bit number from the parts, the same on every machine."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")
