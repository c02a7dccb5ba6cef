"""Small files that unpack to much: streams, archives whose members share one body, archives within archives."""

from __future__ import annotations

import bz2
import functools
import gzip
import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator

CHUNK = 1 << 20  # zeros pressed at a time


@functools.lru_cache(maxsize=4)
def bombs(room: int, cap: int) -> tuple[tuple[str, bytes], ...]:
    """Files of at most `room` bytes, by name; none is made of more than about `cap` bytes of content."""
    return (*_pressed(room, cap), *_archives(room, cap))


def _pressed(room: int, cap: int) -> Iterator[tuple[str, bytes]]:
    """One stream of each kind, of as many zeros as there is room for."""
    for name, make in (("gzip", _gzip), ("zlib", _zlib), ("bzip2", _bzip2), ("xz", _xz)):
        for size in _sizes(cap):
            data = make(size)
            if len(data) <= room:
                yield name, data
                break


def _sizes(cap: int) -> Iterator[int]:
    size = cap
    while size >= 1 << 10:
        yield size
        size //= 4


def _zeros(size: int) -> Iterator[bytes]:
    block = bytes(CHUNK)
    for start in range(0, size, CHUNK):
        yield block[: min(CHUNK, size - start)]


def _gzip(size: int) -> bytes:
    press = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join([*(press.compress(part) for part in _zeros(size)), press.flush()])


def _zlib(size: int) -> bytes:
    press = zlib.compressobj(9)
    return b"".join([*(press.compress(part) for part in _zeros(size)), press.flush()])


def _bzip2(size: int) -> bytes:
    press = bz2.BZ2Compressor(9)
    return b"".join([*(press.compress(part) for part in _zeros(size)), press.flush()])


def _xz(size: int) -> bytes:
    press = lzma.LZMACompressor(preset=1)
    return b"".join([*(press.compress(part) for part in _zeros(size)), press.flush()])


def _archives(room: int, cap: int) -> Iterator[tuple[str, bytes]]:
    """ZIP: one member; the same body under many names; archives in an archive; the same again pressed with gzip."""
    for size in _sizes(cap):
        plain = _zip(size)
        if len(plain) <= room:
            yield "zip", plain
            break
    shared = max((_shared(size, room) for size in _sizes(cap)), key=lambda made: made[0])
    if shared[0]:
        yield "zip, one body under many names", shared[1]
    inner = _zip(min(cap, CHUNK))
    for copies in (256, 64, 16, 4):
        outer = io.BytesIO()
        with zipfile.ZipFile(outer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for i in range(copies):
                archive.writestr(zipfile.ZipInfo(f"{i}.zip"), inner, compress_type=zipfile.ZIP_DEFLATED)
        if outer.tell() <= room:
            yield "zip in zip", outer.getvalue()
            pressed = gzip.compress(outer.getvalue(), 9, mtime=0)
            if len(pressed) <= room:
                yield "zip in zip in gzip", pressed
            return


def _zip(size: int) -> bytes:
    body, crc = _deflated(size)
    return _joined(body, crc, size, 1)


def _deflated(size: int) -> tuple[bytes, int]:
    press, crc, parts = zlib.compressobj(9, zlib.DEFLATED, -15), 0, []
    for part in _zeros(size):
        crc = zlib.crc32(part, crc)
        parts.append(press.compress(part))
    return b"".join([*parts, press.flush()]), crc


def _shared(size: int, room: int) -> tuple[int, bytes]:
    """As many directory entries as there is room for, all of one member, and what they unpack to; 0 where not two fit."""
    body, crc = _deflated(size)
    copies = min((room - len(body) - 31 - 22) // 47, 65_535)
    return (size * copies, _joined(body, crc, size, copies)) if copies >= 2 else (0, b"")


def _joined(body: bytes, crc: int, size: int, copies: int) -> bytes:
    """An archive whose entries all point at one local header, and all bear its name, as strict readers want."""
    fixed = struct.pack("<HHHHHIIIHH", 20, 0, 8, 0, 33, crc, len(body), size, 1, 0)
    local = b"PK\x03\x04" + fixed + b"a" + body
    entry = b"PK\x01\x02" + struct.pack("<H", 20) + fixed + struct.pack("<HHHII", 0, 0, 0, 0, 0) + b"a"
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, copies, copies, copies * len(entry), len(local), 0)
    return local + copies * entry + end
