"""Packs: plain tar files of aligned pairs (``ID.a.EXT``, ``ID.b.EXT``) or photos (``ID.EXT``)."""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from sdme.errors import InputError


@dataclass(frozen=True)
class PackItem:
    """One member of a pack.

    ``first`` and ``second`` are RGB ``(h, w, 3)`` uint8 pictures of one scene on one pixel grid in
    two modalities; for a photo they are the same array.
    """

    id: str
    first: np.ndarray
    second: np.ndarray


def list_packs(folder: str | Path) -> list[Path]:
    """The packs of a folder in the order of their names.

    Raises:
        InputError: the folder does not exist or holds no pack.
    """
    packs = sorted(Path(folder).glob("*.tar"))
    if not packs:
        raise InputError(f"{folder} holds no packs; give a folder with .tar files of image pairs")
    return packs


def read_pack(path: str | Path) -> Iterator[PackItem]:
    """Decode a pack member by member, in the order of their names.

    Raises:
        InputError: the file is no tar, a member is no image, or a pair is incomplete or of two
            sizes.
    """
    try:
        with tarfile.open(path) as archive:
            members = {m.name: m for m in archive.getmembers() if m.isfile()}
            for name in sorted(members):
                stem, _, side = name.rpartition(".")[0].rpartition(".")
                if side == "b" and stem:
                    continue
                first = second = _decode(archive, members[name])
                identity = name.rpartition(".")[0]
                if side == "a" and stem:
                    identity, other = stem, name.replace(".a.", ".b.")
                    if other not in members:
                        raise InputError(f"{path}: {name} has no partner {other}")
                    second = _decode(archive, members[other])
                if first.shape != second.shape:
                    raise InputError(f"{path}: the pair {identity} has images of two sizes")
                yield PackItem(identity, first, second)
    except (tarfile.TarError, OSError) as error:
        raise InputError(f"cannot read pack {path}: {error}") from None


def _decode(archive: tarfile.TarFile, member: tarfile.TarInfo) -> np.ndarray:
    stream = archive.extractfile(member)
    data = np.frombuffer(stream.read() if stream else b"", np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    if image is None:
        raise InputError(f"{archive.name}: member {member.name} is no image")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
