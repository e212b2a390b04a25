"""Which files of a folder are images, and what their headers say of a pair of them."""

from pathlib import Path, PurePath

import numpy as np

from sdme.data.pairs import ImageFile, ImagePair, Landmarks, Matrix
from sdme.data.truth import check_corners, read_truth
from sdme.errors import InputError
from sdme.io.decode import file_size
from sdme.io.header import Size, file_format
from sdme.io.read import MIN_SIDE

_READABLE = {".png", ".tif", ".tiff", ".jpg", ".jpeg", ".webp", ".bmp"}
# images that cannot be read have to be told of, not to be passed over as other files are
_FOREIGN = {
    *(".gif", ".jp2", ".heic", ".heif", ".avif", ".exr", ".hdr", ".pgm", ".ppm", ".pnm", ".npy"),
    *(".npz", ".dcm", ".nii", ".nrrd", ".mha", ".fits", ".raw", ".dng"),
}


def has_image_suffix(name: str) -> bool:
    """Whether a file of this name is meant as an image, readable or not."""
    return PurePath(name).suffix.lower() in _READABLE | _FOREIGN


def image_stem(name: str) -> str:
    """The name without the suffix of an image; other dots belong to the name."""
    return name[: -len(PurePath(name).suffix)] if has_image_suffix(name) else name


def set_name(folder: Path) -> str:
    """The name of the set that a folder holds: its own."""
    return folder.name if folder.name not in ("", "..") else folder.resolve().name


def list_images(folder: Path) -> list[Path]:
    """The images right in a folder, by suffix or else by their first bytes, in order of names."""
    return sorted(path for path in visible(folder) if path.is_file() and _is_image(path))


def visible(folder: Path) -> list[Path]:
    """What lies right in a folder, hidden entries apart, in the order of names.

    Raises:
        InputError: the folder cannot be listed.
    """
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise InputError(f"cannot list {folder}: {error.strerror}") from None


def file_pair(
    dataset: str,
    identity: str,
    fixed: Path,
    moving: Path,
    truth: Path | Matrix | Landmarks | None,
    group: str,
) -> ImagePair:
    """A pair of image files; ``truth`` may be in a file beside them.

    Raises:
        InputError: a header cannot be read, an image is too small, the truth cannot be read, is
            one for other sizes or sends a corner of the fixed image beyond the horizon, or there is
            none and the images differ in size.
    """
    sizes = _usable_size(fixed), _usable_size(moving)
    if truth is None:
        check_one_grid(*sizes)
    known = read_truth(truth, *sizes) if isinstance(truth, Path) else truth
    if isinstance(known, np.ndarray):
        check_corners(known, sizes[0])
    return ImagePair(dataset, identity, ImageFile(fixed), ImageFile(moving), known, group)


def check_one_grid(fixed: Size, moving: Size) -> None:
    """Images without a truth of their own must have one size, or they are not aligned."""
    if fixed != moving:
        raise InputError(
            f"the images have two sizes, {fixed.width}x{fixed.height} and "
            f"{moving.width}x{moving.height} px; give aligned images, or the transform"
        )


def _usable_size(path: Path) -> Size:
    size = file_size(path, f"image {path}")
    if min(size) < MIN_SIDE:
        raise InputError(
            f"image {path} is {size.width}x{size.height} px; give at least {MIN_SIDE}x{MIN_SIDE} px"
        )
    return size


def _is_image(path: Path) -> bool:
    if has_image_suffix(path.name):
        return True
    try:
        with path.open("rb") as file:
            return file_format(file) is not None
    except OSError:
        return False
