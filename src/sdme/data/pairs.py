"""Pairs of images on disk: where they lie and what is known of how they belong together.

Readers of packs, folders, manifests and published sets give the same :class:`PairList`; nothing is
decoded before an image is asked for.
"""

import functools
import io
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float64, UInt8

from sdme.errors import InputError
from sdme.io.decode import decode_stream
from sdme.io.image import read_layer, to_picture

Matrix = Float64[np.ndarray, "3 3"]
TruthKind = Literal["aligned", "transform", "landmarks"]


@dataclass(frozen=True)
class ImageFile:
    """An image file, or a member of a plain tar file."""

    path: Path
    member: str | None = None

    def __str__(self) -> str:
        return str(self.path) if self.member is None else f"{self.path}:{self.member}"

    def read(self) -> UInt8[np.ndarray, "h w 3"]:
        """The picture as 8-bit RGB; deeper ones are stretched as for the network.

        Raises:
            InputError: the file is missing or cannot be decoded.
        """
        if self.member is None:
            image = read_layer(self.path, "image")
        else:
            image = read_layer(decode_stream(io.BytesIO(self.content()), f"image {self}"), "image")
        return to_picture(image)

    def content(self) -> bytes:
        """The bytes that are stored.

        Raises:
            InputError: the file is missing or cannot be read.
        """
        if self.member is not None:
            return _member(self.path, self.member)
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise InputError(f"cannot read image {self.path}: {error.strerror}") from None


def _member(path: Path, name: str) -> bytes:
    """The content of a member."""
    try:
        place, size = _places(path, path.stat().st_mtime_ns)[name]
        with path.open("rb") as stream:
            stream.seek(place)
            return stream.read(size)
    except (tarfile.TarError, OSError, KeyError) as error:
        raise InputError(f"cannot read {path}:{name}: {error}; give a plain tar file") from None


@functools.lru_cache(maxsize=256)
def _places(path: Path, _changed: int) -> dict[str, tuple[int, int]]:
    """Where the members of a tar file lie in it: finding one takes longer than decoding it."""
    with tarfile.open(path, "r:") as archive:
        places = {m.name: (m.offset_data, m.size) for m in archive if m.isfile()}
        return places | {m.name: places[m.linkname] for m in archive if m.islnk()}


@dataclass(frozen=True)
class Landmarks:
    """Corresponding points, fixed and moving, in pixels of the image files."""

    fixed: Float64[np.ndarray, "n 2"]
    moving: Float64[np.ndarray, "n 2"]


@dataclass(frozen=True)
class ImagePair:
    """Two images of one scene.

    ``truth`` is ``None`` for images on one pixel grid (of equal size, or one and the same file for
    a photo), a 3x3 matrix that maps fixed to moving pixels, or landmarks. ``group`` is the kind of
    modality pair, for averages.
    """

    dataset: str
    id: str
    fixed: ImageFile
    moving: ImageFile
    truth: Matrix | Landmarks | None = None
    group: str = "other"

    @property
    def is_photo(self) -> bool:
        """Whether both sides are one file."""
        return self.fixed == self.moving

    @property
    def truth_kind(self) -> TruthKind:
        """How the two images are known to belong together."""
        if self.truth is None:
            return "aligned"
        return "landmarks" if isinstance(self.truth, Landmarks) else "transform"


@dataclass(frozen=True)
class Problem:
    """A member that cannot be used, and why (one line)."""

    where: str
    why: str


@dataclass(frozen=True)
class PairList:
    """What a reader found: usable pairs in a fixed order, and what it had to leave out."""

    pairs: Sequence[ImagePair]
    problems: Sequence[Problem] = field(default=())

    @property
    def truth_kinds(self) -> frozenset[TruthKind]:
        """All that occur; ``{"aligned"}`` where every pair is on one pixel grid."""
        return frozenset(pair.truth_kind for pair in self.pairs)

    @property
    def has_truth(self) -> bool:
        """Whether every pair comes with a transform or landmarks of its own."""
        return bool(self.pairs) and "aligned" not in self.truth_kinds
