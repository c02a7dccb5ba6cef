"""PNG, GIF and JPEG: every block that a picture is made of stays; comments and what follows the end are free."""

from __future__ import annotations

import struct
import zlib
from typing import Any

from ._container import Container, Random, append, insert, pick

# ---- PNG ---------------------------------------------------------------------------------------------------------

_PNG = b"\x89PNG\r\n\x1a\n"
_TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"tIME")  # of no meaning for the picture


def png_chunks(data: bytes) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """All chunks up to IEND, each with its checksum verified, and what follows."""
    if not data.startswith(_PNG):
        raise ValueError("no PNG signature")
    chunks: list[tuple[bytes, bytes]] = []
    at = len(_PNG)
    while not chunks or chunks[-1][0] != b"IEND":
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        body, check = data[at + 8 : at + 8 + size], data[at + 8 + size : at + 12 + size]
        if struct.pack(">I", zlib.crc32(kind + body)) != check:
            raise ValueError(f"bad checksum in {kind!r}")
        chunks.append((kind, body))
        at += 12 + size
    return chunks, data[at:]


def _png_join(chunks: list[tuple[bytes, bytes]], rest: bytes) -> bytes:
    parts = [struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in chunks]
    return _PNG + b"".join(parts) + rest


def _png_meaning(data: bytes) -> Any:
    """All chunks but texts and private ones, the pixels inflated and as many as the header says."""
    chunks, _ = png_chunks(data)
    if chunks[0][0] != b"IHDR":
        raise ValueError("IHDR is not first")
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", chunks[0][1])
    pixels = zlib.decompress(b"".join(body for kind, body in chunks if kind == b"IDAT"))
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    if not interlaced and len(pixels) != height * (1 + (width * bits + 7) // 8):
        raise ValueError("not as many pixels as the header says")
    return [chunk for chunk in chunks if chunk[0] not in _TEXTS and not chunk[0][1:2].islower()], pixels


def _png_place(chunks: list[tuple[bytes, bytes]], rng: Random) -> int:
    """Right after the header, or at the end."""
    return pick(rng, [1, 1, len(chunks) - 1])


def _png_text(data: bytes, rng: Random, payload: bytes) -> bytes:
    """A text chunk."""
    chunks, rest = png_chunks(data)
    chunks.insert(_png_place(chunks, rng), (b"tEXt", b"Comment\x00" + payload.replace(b"\x00", b" ")))
    return _png_join(chunks, rest)


def _png_private(data: bytes, rng: Random, payload: bytes) -> bytes:
    """A private chunk, which every reader must skip."""
    chunks, rest = png_chunks(data)
    chunks.insert(_png_place(chunks, rng), (b"prTx", payload))
    return _png_join(chunks, rest)


# ---- GIF ---------------------------------------------------------------------------------------------------------


def gif_blocks(data: bytes) -> tuple[list[tuple[int, int]], int]:
    """Where every block begins and ends, and where the trailer stands. Raises where there is none."""
    if data[:6] not in (b"GIF87a", b"GIF89a"):
        raise ValueError("no GIF signature")
    at, blocks = 13 + (3 * 2 ** ((data[10] & 7) + 1) if data[10] & 128 else 0), []
    while data[at] != 0x3B:
        start = at
        if data[at] == 0x2C:
            packed = data[at + 9]
            at += 11 + (3 * 2 ** ((packed & 7) + 1) if packed & 128 else 0)
        elif data[at] == 0x21:
            at += 2
        else:
            raise ValueError(f"no block at {at}")
        while data[at]:
            at += data[at] + 1
        at += 1
        blocks.append((start, at))
    return blocks, at


def _gif_meaning(data: bytes) -> Any:
    blocks, _ = gif_blocks(data)
    if not any(data[start] == 0x2C for start, _ in blocks):
        raise ValueError("no picture in it")
    first = blocks[0][0]
    return data[:first], [data[a:b] for a, b in blocks if data[a : a + 2] != b"\x21\xfe"]


def _gif_comment(data: bytes, rng: Random, payload: bytes) -> bytes:
    """A comment block after the colour table or before the trailer; version 87a has none."""
    if not data.startswith(b"GIF89a"):
        return data
    blocks, end = gif_blocks(data)
    text = payload or b" "
    inner = b"".join(bytes([len(text[i : i + 255])]) + text[i : i + 255] for i in range(0, len(text), 255))
    return insert(data, pick(rng, [blocks[0][0] if blocks else end, end]), b"\x21\xfe" + inner + b"\x00")


# ---- JPEG --------------------------------------------------------------------------------------------------------

_COMMENT = 0xFE
_ALONE = (0x01, *range(0xD0, 0xD8))  # markers without a length


def jpeg_segments(data: bytes) -> tuple[list[tuple[int, int, int]], int]:
    """Every segment as (marker, begin, end), with what a scan codes as part of its own, and where the file ends."""
    if not data.startswith(b"\xff\xd8"):
        raise ValueError("no start of image")
    at, found = 2, list[tuple[int, int, int]]()
    while True:
        start = at
        if data[at] != 0xFF:
            raise ValueError(f"no marker at {at}")
        while data[at] == 0xFF:  # a marker may be preceded by any number of fill bytes
            at += 1
        marker = data[at]
        at += 1
        if marker == 0xD9:
            return found, at
        if marker in (0x00, *_ALONE):
            raise ValueError(f"marker {marker:#x} outside of a scan")
        size = struct.unpack(">H", data[at : at + 2])[0]
        if size < 2 or at + size > len(data):
            raise ValueError(f"a segment of {size} bytes at {start}")
        at += size
        while marker == 0xDA:  # coded pixels go on to the next marker that is neither stuffing nor a restart
            at = data.index(b"\xff", at)
            if data[at + 1] not in (0x00, *_ALONE):
                break
            at += 2
        found.append((marker, start, at))


def _jpeg_meaning(data: bytes) -> Any:
    """All segments but comments, fill bytes left out. A picture has a frame, a scan and tables."""
    segments, _ = jpeg_segments(data)
    markers = {marker for marker, _, _ in segments}
    if not {0xDA, 0xDB} <= markers or not markers & {0xC0, 0xC1, 0xC2}:
        raise ValueError("no frame, no scan or no table in it")
    return [(marker, data[a:b].lstrip(b"\xff")) for marker, a, b in segments if marker != _COMMENT]


def _jpeg_places(data: bytes) -> list[int]:
    """Before every segment but the first, which readers want to be the first."""
    return [start for _, start, _ in jpeg_segments(data)[0][1:]]


def _jpeg_comment(data: bytes, rng: Random, payload: bytes) -> bytes:
    text = payload[:65000]
    return insert(data, pick(rng, _jpeg_places(data)), b"\xff\xfe" + struct.pack(">H", len(text) + 2) + text)


def _jpeg_fill(data: bytes, rng: Random, payload: bytes) -> bytes:
    """Fill bytes before a marker, as the format allows any number of."""
    return insert(data, pick(rng, _jpeg_places(data)), b"\xff" * int(rng.integers(1, 1024)))


_IMAGES = (
    Container("png", _png_meaning, {"text_chunk": _png_text, "private_chunk": _png_private, "append": append}),
    Container("gif", _gif_meaning, {"comment_block": _gif_comment, "append": append}),
    Container("jpeg", _jpeg_meaning, {"comment_segment": _jpeg_comment, "fill_bytes": _jpeg_fill, "append": append}),
)
IMAGES = {each.name: each for each in _IMAGES}
