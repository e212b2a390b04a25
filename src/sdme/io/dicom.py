"""The lengths that a DICOM file declares, looked at before a library believes them.

DICOM PS3.5, section 7: a tag, with explicit types two letters, and a length before every value.
"""

import os
from typing import IO

_LONG = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
_UNKNOWN = 0xFFFFFFFF
_ITEMS, _PIXELS = 0xFFFE, (0x7FE0, 0x0010)
_SYNTAX, _IMPLICIT, _BIG = (0x0002, 0x0010), b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.2"
_START = 132


def elements_fit(file: IO[bytes]) -> bool:
    """Whether no value is declared to be longer than the rest of the file.

    Sequences are entered; compressed pixels, where lengths follow other rules, end the walk.
    """
    end = file.seek(0, os.SEEK_END)
    place, implicit, big = _START, False, False
    syntax = b""
    while place + 8 <= end:
        file.seek(place)
        head = file.read(12)
        order = "big" if big and head[:2] != b"\2\0" else "little"
        group, element = int.from_bytes(head[:2], order), int.from_bytes(head[2:4], order)
        if place == _START and group != 2:  # the head that the format asks for is broken
            return False
        if group != 2 and syntax:
            implicit, big = syntax == _IMPLICIT, syntax == _BIG
            syntax = b""
            continue
        kind = head[4:6]
        has_kind = kind.isalpha() and kind.isupper()
        if group == _ITEMS or not has_kind or (implicit and group != 2):
            place, length = place + 8, int.from_bytes(head[4:8], order)
            is_sequence = group == _ITEMS or length == _UNKNOWN
        elif kind in _LONG:
            place, length = place + 12, int.from_bytes(head[8:12], order)
            is_sequence = kind == b"SQ"
        else:
            place, length = place + 8, int.from_bytes(head[6:8], order)
            is_sequence = False
        if length == _UNKNOWN:
            if (group, element) == _PIXELS:
                return True
            continue
        if length > end - place:
            return False
        if (group, element) == _SYNTAX:
            file.seek(place)
            syntax = file.read(length).strip(b"\0 ")
        if not is_sequence:
            place += length
    return True
