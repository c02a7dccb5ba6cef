"""PNG files of small arrays, with zlib alone."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import BadInput


def encode(pixels: Any) -> bytes:
    """A PNG of ``(h, w)`` grey or ``(h, w, 3)`` colour pixels, uint8. The same pixels give the same bytes."""
    array = np.asarray(pixels)
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] != 3) or not array.size:
        raise BadInput(f"a picture is (h, w) or (h, w, 3) of uint8; got {array.shape} of {array.dtype}")
    height, width = array.shape[:2]
    lines = np.zeros((height, 1 + array[0].size), np.uint8)  # the leading byte of each line: no filter
    lines[:, 1:] = array.reshape(height, -1)
    head = struct.pack(">IIBBBBB", width, height, 8, 2 if array.ndim == 3 else 0, 0, 0, 0)
    body = zlib.compress(lines.tobytes(), 9)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def data_uri(pixels: Any) -> str:
    """The picture as the source of an image element."""
    return "data:image/png;base64," + base64.b64encode(encode(pixels)).decode()


def resize(pixels: NDArray[np.uint8], side: int = 112) -> NDArray[np.uint8]:
    """Nearest neighbour, by a whole factor where it grows; every k-th pixel where it shrinks."""
    longest = max(pixels.shape[:2])
    if longest > side:
        step = -(-longest // side)
        return np.ascontiguousarray(pixels[::step, ::step])
    factor = max(1, side // longest)
    return pixels.repeat(factor, 0).repeat(factor, 1)
