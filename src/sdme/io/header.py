"""What an image file declares about itself, read before anything is decoded."""

import gzip
import zlib
from typing import IO, Literal, NamedTuple

Format = Literal["png", "jpeg", "webp", "bmp", "tiff", "nifti", "nrrd", "dicom"]
MEDICAL = ("nifti", "nrrd", "dicom")

_JPEG_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}
_JPEG_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


class Size(NamedTuple):
    """Width and height in pixels."""

    width: int
    height: int


def file_format(file: IO[bytes]) -> Format | None:
    """Format by the first bytes of a file, whatever its name; ``None`` for all others."""
    file.seek(0)
    head = file.read(12)
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head[:4] == b"RIFF" and head[8:] == b"WEBP":
        return "webp"
    if head.startswith(b"BM"):
        return "bmp"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "tiff"
    return _medical_format(file, head)


def is_palette_png(file: IO[bytes]) -> bool:
    """Whether the pixels of a PNG file are places in a table of colours."""
    file.seek(0)
    return file.read(26)[12:].startswith(b"IHDR") and _byte_at(file, 25) == 3


def png_bytes(file: IO[bytes]) -> int:
    """Size of the pixels that a PNG file declares, before they are packed."""
    file.seek(16)
    head = file.read(10)
    width, height = int.from_bytes(head[:4], "big"), int.from_bytes(head[4:8], "big")
    channels = {2: 3, 4: 2, 6: 4}.get(head[9], 1) if len(head) == 10 else 1
    return width * height * channels * head[8] // 8 if len(head) == 10 else 0


def png_is_whole(file: IO[bytes]) -> bool:
    """Whether a PNG file is as long as its chunks say, up to the last one (PNG, section 5.3)."""
    end, place = file.seek(0, 2), 8
    while place + 12 <= end:
        file.seek(place)
        head = file.read(8)
        place += 12 + int.from_bytes(head[:4], "big")
        if head[4:] == b"IEND":
            return place <= end
    return False


def _byte_at(file: IO[bytes], place: int) -> int:
    file.seek(place)
    return int.from_bytes(file.read(1), "big")


def _medical_format(file: IO[bytes], head: bytes) -> Format | None:
    if head.startswith(b"NRRD000"):
        return "nrrd"
    file.seek(0)
    start = file.read(1024)
    if start[128:132] == b"DICM":
        return "dicom"
    if start.startswith(b"\x1f\x8b"):
        file.seek(0)
        try:
            with gzip.GzipFile(fileobj=file) as unpacked:
                start = unpacked.read(1024)
        except (OSError, EOFError, zlib.error):
            return None
    return "nifti" if start[344:347] == b"n+1" or start[4:7] == b"n+2" else None


def declared_size(file: IO[bytes], kind: Format) -> Size | None:
    """Size that a PNG, JPEG, WebP or BMP file declares; ``None`` when its header is broken."""
    file.seek(0)
    if kind == "jpeg":
        return _jpeg_size(file)
    head = file.read(32)
    if kind == "webp":
        return _webp_size(head)
    if kind == "png" and len(head) >= 24 and head[12:16] == b"IHDR":
        return Size(int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big"))
    if kind == "bmp" and len(head) >= 26:
        if head[14:18] == b"\x0c\0\0\0":  # the oldest header, with 16-bit sides
            return Size(
                int.from_bytes(head[18:20], "little"), int.from_bytes(head[20:22], "little")
            )
        width = int.from_bytes(head[18:22], "little", signed=True)
        height = int.from_bytes(head[22:26], "little", signed=True)
        return Size(width, abs(height))  # a negative height means that rows run downwards
    return None


def _jpeg_size(file: IO[bytes]) -> Size | None:
    """Walk the segments up to the frame header (ITU-T T.81, B.2.2)."""
    file.seek(2)
    while byte := file.read(1):
        if byte != b"\xff":
            return None
        while byte == b"\xff":
            byte = file.read(1)
        if not byte:
            return None
        marker = byte[0]
        if marker in _JPEG_WITHOUT_LENGTH:
            continue
        length = int.from_bytes(file.read(2), "big")
        if marker in _JPEG_FRAMES:
            frame = file.read(5)
            if len(frame) < 5:
                return None
            return Size(int.from_bytes(frame[3:5], "big"), int.from_bytes(frame[1:3], "big"))
        if length < 2 or marker in (0xD9, 0xDA):
            return None
        file.seek(length - 2, 1)
    return None


def _webp_size(head: bytes) -> Size | None:
    """Size from the first chunk (RFC 9649, section 2)."""
    chunk = head[12:16]
    if len(head) < 30:
        return None
    if chunk == b"VP8X":
        return Size(
            1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
        )
    if chunk == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return Size(1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
    if chunk == b"VP8 ":
        width, height = head[26:28], head[28:30]
        return Size(
            int.from_bytes(width, "little") & 0x3FFF, int.from_bytes(height, "little") & 0x3FFF
        )
    return None
