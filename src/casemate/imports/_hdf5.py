"""HDF5, as little as it takes to read a text attribute: no library, no groups, no data sets.

Keras keeps the configuration of a model in an attribute of the root group. An attribute message is its name, its type, its
shape, and then either the text itself or, for text of any length, where in a global heap the text lies. So the name is
looked for, and what follows it is read as one of the two. Attributes in dense storage (more than eight on one object, or
a file written with `libver="latest"`) are found as well, because their messages have the same form; compressed ones are not.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from casemate.attacks.supply._finding import Data

SIGNATURE = b"\x89HDF\r\n\x1a\n"
_HEAP = b"GCOL"
_NEAR = 96  # bytes behind the name: type, shape and reference of an attribute
_LOOKED_AT = 64  # places where a name may stand before giving up
_MOST_TEXT = 16 << 20
_MOST_OBJECTS = 100_000
_LAST_START = 1 << 20


def start_of(data: Data) -> int | None:
    """Where the superblock lies: at 0, or behind a block of the user's at 512, 1024, 2048, ..."""
    at = 0
    while at <= min(_LAST_START, len(data) - len(SIGNATURE)):
        if data[at : at + len(SIGNATURE)] == SIGNATURE:
            return at
        at = max(512, at * 2)
    return None


class Hdf5:
    """One file. `base` is where its superblock lies; addresses count from there."""

    def __init__(self, data: Data, base: int) -> None:
        self._data, self._base = data, base

    def text(self, attribute: str) -> bytes | None:
        """The text of an attribute that holds JSON, or None where it cannot be found."""
        name, at = attribute.encode() + b"\x00", self._base
        for _ in range(_LOOKED_AT):
            at = self._data.find(name, at)
            if at < 0:
                return None
            at += len(name)
            found = self._referred(at) or self._inline(at)
            if found is not None:
                return found
        return None

    def names(self, all_of: Iterable[str]) -> bool:
        """Whether each of these stands in the file as a name, ended by a zero byte."""
        return all(self._data.find(name.encode() + b"\x00", self._base) >= 0 for name in all_of)

    def _referred(self, at: int) -> bytes | None:
        """Text in a global heap: somewhere behind the name stand its length, the address of the heap, and its number."""
        for place in range(at, min(at + _NEAR, len(self._data) - 16)):
            length, address, number = struct.unpack_from("<IQI", self._data, place)
            heap = self._base + address
            if 2 <= length <= _MOST_TEXT and heap + 16 < len(self._data) and self._data[heap : heap + 4] == _HEAP:
                found = self._object(heap, number)
                if found is not None and len(found) >= length:
                    return found[:length].rstrip(b"\x00")
        return None

    def _object(self, heap: int, number: int) -> bytes | None:
        """One object of a global heap collection."""
        (size,) = struct.unpack_from("<Q", self._data, heap + 8)
        at, end = heap + 16, min(heap + size, len(self._data))
        for _ in range(_MOST_OBJECTS):
            if at + 16 > end:
                return None
            index, _, _, length = struct.unpack_from("<HHIQ", self._data, at)
            if index == 0 or at + 16 + length > end:
                return None
            if index == number:
                return bytes(self._data[at + 16 : at + 16 + length])
            at += 16 + (length + 7) // 8 * 8
        return None

    def _inline(self, at: int) -> bytes | None:
        """Text of a fixed length behind the name."""
        start = self._data.find(b'{"', at, at + _NEAR)
        if start < 0:
            return None
        end = self._data.find(b"\x00", start, start + _MOST_TEXT)
        text = bytes(self._data[start : end if end >= 0 else start + (64 << 10)])
        return text[: text.rfind(b"}") + 1] or None
