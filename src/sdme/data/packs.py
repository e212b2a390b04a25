"""Packs: plain tar files of aligned pairs (``ID.a.EXT``, ``ID.b.EXT``) or photos (``ID.EXT``)."""

import tarfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from sdme.data.image_files import check_one_grid, has_image_suffix
from sdme.data.known_packs import PHOTO, pack_info
from sdme.data.pairs import ImageFile, ImagePair, PairList, Problem
from sdme.errors import InputError
from sdme.io.decode import stream_size
from sdme.io.header import Size


@dataclass(frozen=True)
class PackItem:
    """One member of a pack.

    ``first`` and ``second`` are RGB ``(h, w, 3)`` uint8 pictures of one scene on one pixel grid in
    two modalities; for a photo they are the same array.
    """

    id: str
    first: np.ndarray
    second: np.ndarray


@dataclass(frozen=True)
class _Entry:
    """Names of an item's members; one name twice for a photo. ``missing`` has to be there too."""

    id: str
    first: str
    second: str
    missing: str = ""


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
    content = _content(path)
    entries = _entries(content)
    for entry in entries:
        if entry.missing:
            raise InputError(f"{path}: {entry.first} has no partner {entry.missing}")
    with ThreadPoolExecutor() as pool:
        yield from pool.map(lambda entry: _decode_item(path, entry, content), entries)


def pack_pairs(path: str | Path) -> PairList:
    """List a pack without decoding it; its name is that of the set, and tells the group.

    Pairs come in the order of their ids; a photo's two sides are one file. A member that lacks its
    partner or is no image, and a pair of two sizes, are problems. Members whose names are not
    those of images (a licence, a table) are left aside.

    Raises:
        InputError: the file is no tar or an empty one.
    """
    path = Path(path)
    pairs: dict[str, ImagePair] = {}
    problems = []
    sizes = _sizes(path)
    for entry in _entries(sizes):
        try:
            if entry.id in pairs:
                raise InputError(f"there are two items {entry.id}; rename one of them")
            pairs[entry.id] = _pair(path, entry, sizes)
        except InputError as error:
            problems.append(Problem(f"{path}:{entry.first}", str(error)))
    return PairList([pairs[identity] for identity in sorted(pairs)], problems)


def _pair(path: Path, entry: _Entry, sizes: dict[str, Size | InputError]) -> ImagePair:
    if entry.missing:
        raise InputError(f"it has no partner {entry.missing}")
    first, second = sizes[entry.first], sizes[entry.second]
    if isinstance(first, InputError):
        raise first
    if isinstance(second, InputError):
        raise second
    check_one_grid(first, second)
    group = PHOTO if entry.first == entry.second else pack_info(path.stem).group
    files = ImageFile(path, entry.first), ImageFile(path, entry.second)
    return ImagePair(path.stem, entry.id, *files, group=group)


def _sizes(path: Path) -> dict[str, Size | InputError]:
    """Declared size of every member that is meant as an image, or what is wrong with it."""
    sizes: dict[str, Size | InputError] = {}
    try:
        with tarfile.open(path, "r:") as archive:
            files = _files(archive)
            for member in files:
                name = PurePosixPath(member.name).name
                if name.startswith(".") or not has_image_suffix(name):
                    continue
                try:
                    stream = archive.extractfile(member)
                    assert stream is not None  # as it is a regular file
                    sizes[member.name] = stream_size(stream, f"image {path}:{member.name}")
                except InputError as error:
                    sizes[member.name] = error
    except (tarfile.TarError, OSError) as error:
        raise InputError(f"cannot read pack {path}: {error}; give a plain tar file") from None
    if not files:
        raise InputError(f"{path} is empty; give a tar file of images")
    return sizes


def _files(archive: tarfile.TarFile) -> list[tarfile.TarInfo]:
    """The files of an archive that ends as it should: ``tarfile`` stops at damage without a word.

    Raises:
        tarfile.ReadError: what follows the last readable member is no end of an archive.
    """
    members = archive.getmembers()
    stream = archive.fileobj
    assert stream is not None  # it was opened from a path
    stream.seek(members[-1].offset_data + _padded(members[-1].size) if members else 0)
    rest = stream.read(tarfile.BLOCKSIZE)
    if members and rest.count(0) != tarfile.BLOCKSIZE:
        raise tarfile.ReadError(f"it is damaged or cut short after member {members[-1].name}")
    return [member for member in members if member.isfile() or member.islnk()]


def _padded(size: int) -> int:
    return -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


def _content(path: str | Path) -> dict[str, bytes]:
    """The files of a pack by their names."""
    try:
        with tarfile.open(path, "r:") as archive:
            content = {m.name: _bytes(archive, m) for m in _files(archive)}
    except (tarfile.TarError, OSError) as error:
        raise InputError(f"cannot read pack {path}: {error}; give a plain tar file") from None
    if not content:
        raise InputError(f"{path} is empty; give a tar file of images")
    return content


def _entries(names: Iterable[str]) -> list[_Entry]:
    """The items that members of these names make up, in the order of the names."""
    known = set(names)
    entries = []
    for name in sorted(known):
        identity, _, suffix = name.rpartition(".")
        stem, _, side = identity.rpartition(".")
        if not stem or side not in ("a", "b"):
            entries.append(_Entry(identity or name, name, name))
            continue
        partner = f"{stem}.{'b' if side == 'a' else 'a'}.{suffix}"
        if partner not in known:
            entries.append(_Entry(stem, name, name, missing=partner))
        elif side == "a":
            entries.append(_Entry(stem, name, partner))
    return entries


def _bytes(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = archive.extractfile(member)
    return stream.read() if stream else b""


def _decode_item(path: str | Path, entry: _Entry, content: dict[str, bytes]) -> PackItem:
    image = other = _decode(path, entry.id, content[entry.first])
    if entry.second != entry.first:
        other = _decode(path, entry.id, content[entry.second])
    if image.shape != other.shape:
        raise InputError(f"{path}: the pair {entry.id} has images of two sizes")
    return PackItem(entry.id, image, other)


def _decode(path: str | Path, identity: str, data: bytes) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if image is None:
        raise InputError(f"{path}: an image of {identity} cannot be decoded")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
