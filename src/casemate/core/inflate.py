"""How much a file unpacks to: gzip, zlib, bzip2, xz, ZIP, and these inside each other.

It is counted without being kept, and never past a cap, so that a bomb does no harm here.

    from casemate.core.inflate import unpacked
    work = [unpacked(data, cap=1 << 28) for data in inputs]     # of a system that unpacks all of it
"""

from __future__ import annotations

import bz2
import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

PART = 1 << 16  # bytes unpacked at a time
KEPT = 1 << 20  # bytes of a member kept to look inside it
DEEPEST = 8  # containers within each other that are followed


class Room:
    """What may still be unpacked."""

    def __init__(self, cap: int) -> None:
        self.left = cap

    def take(self, size: int) -> int:
        """So much of `size` as there is room for."""
        taken = min(size, self.left)
        self.left -= taken
        return taken


def unpacked(data: bytes, cap: int) -> int:
    """Bytes that unpacking a file makes, all layers together, counted up to `cap`. 0 for a file that is no container.

    A stream is unpacked in parts that are dropped at once; of a member that may be a container itself, the first megabyte is
    kept. What is broken counts as far as it goes: a reader has done that much work when it finds out.
    """
    room = Room(cap)
    _open(data, room, 0)
    return cap - room.left


def _open(data: bytes, room: Room, depth: int) -> None:
    if depth >= DEEPEST or room.left <= 0:
        return
    for parts in _members(data):
        kept = bytearray()
        try:
            for part in parts:
                taken = room.take(len(part))
                if len(kept) < KEPT:
                    kept += part[:taken]
                if room.left <= 0:
                    return
        except (ValueError, EOFError, OSError, RuntimeError, NotImplementedError, zlib.error, lzma.LZMAError, zipfile.BadZipFile):
            pass
        _open(bytes(kept), room, depth + 1)


def _members(data: bytes) -> Iterator[Iterator[bytes]]:
    """The contents of a container, each in parts; nothing of what is none."""
    if data[:4] in (b"PK\x03\x04", b"PK\x05\x06") or (data.rfind(b"PK\x05\x06") >= 0 and data.find(b"PK\x01\x02") >= 0):
        yield from _zip(data)
    elif data[:2] == b"\x1f\x8b":
        yield _streams(data, lambda: zlib.decompressobj(31))
    elif data[:3] == b"BZh":
        yield _streams(data, bz2.BZ2Decompressor)
    elif data[:6] == b"\xfd7zXZ\x00":
        yield _streams(data, lzma.LZMADecompressor)
    elif data[:1] == b"\x78" and len(data) > 2 and struct.unpack(">H", data[:2])[0] % 31 == 0:
        yield _streams(data, zlib.decompressobj)


def _zip(data: bytes) -> Iterator[Iterator[bytes]]:
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        infos = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, struct.error):
        return
    for info in infos:
        yield _member(data, info)


def _member(data: bytes, info: zipfile.ZipInfo) -> Iterator[bytes]:
    """One member as a lax reader reads it: from where the directory points, whatever else lies there."""
    at = info.header_offset
    if data[at : at + 4] != b"PK\x03\x04" or at + 30 > len(data):
        raise ValueError("no local header")
    name, extra = struct.unpack_from("<HH", data, at + 26)
    body = data[at + 30 + name + extra :][: info.compress_size]
    if info.compress_type == zipfile.ZIP_DEFLATED:
        yield from _streams(body, lambda: zlib.decompressobj(-15))
    elif info.compress_type == zipfile.ZIP_BZIP2:
        yield from _streams(body, bz2.BZ2Decompressor)
    elif info.compress_type == zipfile.ZIP_STORED:
        yield body
    else:
        raise ValueError(f"no reader for method {info.compress_type}")


def _streams(data: bytes, fresh: Any) -> Iterator[bytes]:
    """What comes out of one stream after the other, in parts."""
    while data:
        engine = fresh()
        if hasattr(engine, "unconsumed_tail"):
            while data and not engine.eof:
                yield engine.decompress(data, PART)
                data = engine.unconsumed_tail
                if not data and not engine.eof:
                    yield from _rest(engine)
        else:
            yield engine.decompress(data, PART)
            while not engine.eof and not engine.needs_input:
                yield engine.decompress(b"", PART)
        if not engine.eof:
            return
        data = engine.unused_data


def _rest(engine: Any) -> Iterator[bytes]:
    """What a deflate engine still holds when its input is used up."""
    while not engine.eof:
        part = engine.decompress(b"", PART)
        if not part:
            return
        yield part
