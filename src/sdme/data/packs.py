"""Packs: plain tar files of aligned pairs (``ID.a.EXT``, ``ID.b.EXT``) or photos (``ID.EXT``)."""

import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
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
    """Decode a pack, its members in the order of their names; all cores decode.

    Raises:
        InputError: the file is no tar or an empty one, a member is no image, or a pair is
            incomplete or of two sizes.
    """
    with ThreadPoolExecutor() as pool:
        yield from pool.map(lambda entry: _decode_item(path, *entry), _entries(path))


def _entries(path: str | Path) -> list[tuple[str, bytes, bytes | None]]:
    """Identity and encoded images of each item; a photo has no second image."""
    try:
        with tarfile.open(path, "r:") as archive:
            members = (m for m in archive.getmembers() if m.isfile())
            content = {m.name: _bytes(archive, m) for m in members}
    except (tarfile.TarError, OSError) as error:
        raise InputError(f"cannot read pack {path}: {error}; give a plain tar file") from None
    if not content:
        raise InputError(f"{path} is empty; give a tar file of images")
    entries = []
    for name in sorted(content):
        identity, _, suffix = name.rpartition(".")
        stem, _, side = identity.rpartition(".")
        if not stem or side not in ("a", "b"):
            entries.append((identity or name, content[name], None))
            continue
        partner = f"{stem}.{'b' if side == 'a' else 'a'}.{suffix}"
        if partner not in content:
            raise InputError(f"{path}: {name} has no partner {partner}")
        if side == "a":
            entries.append((stem, content[name], content[partner]))
    return entries


def _bytes(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = archive.extractfile(member)
    return stream.read() if stream else b""


def _decode_item(path: str | Path, identity: str, first: bytes, second: bytes | None) -> PackItem:
    image = other = _decode(path, identity, first)
    if second is not None:
        other = _decode(path, identity, second)
    if image.shape != other.shape:
        raise InputError(f"{path}: the pair {identity} has images of two sizes")
    return PackItem(identity, image, other)


def _decode(path: str | Path, identity: str, data: bytes) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if image is None:
        raise InputError(f"{path}: an image of {identity} cannot be decoded")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
