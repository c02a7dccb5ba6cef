"""What a file is, from its bytes. The extension is the sender's claim and is never asked; nothing is loaded."""

from __future__ import annotations

import bz2
import json
import lzma
import mmap
import pickletools
import re
import zipfile
import zlib
from enum import StrEnum
from pathlib import Path

from casemate.attacks.supply._finding import Data, Limits, opened
from casemate.attacks.supply._onnx import looks_like_onnx
from casemate.attacks.supply._values import no_module, stops_everyone
from casemate.attacks.supply.walk import walk


class Format(StrEnum):
    """The formats that are told apart. ``unknown`` is an answer, and never a safe one."""

    PICKLE = "pickle"
    JOBLIB = "joblib"
    COMPRESSED = "compressed"
    TORCH_ZIP = "torch zip"
    TORCH_LEGACY = "torch legacy"
    TORCHSCRIPT = "torchscript"
    NPY = "npy"
    NPZ = "npz"
    SAFETENSORS = "safetensors"
    ONNX = "onnx"
    KERAS = "keras v3"
    HDF5 = "hdf5"
    TFLITE = "tflite"
    GGUF = "gguf"
    SKOPS = "skops"
    ZIP = "zip"
    SEVEN_ZIP = "7z"
    TAR = "tar"
    JSON = "json"
    TEXT = "text"
    EMPTY = "empty"
    DIRECTORY = "directory"
    UNKNOWN = "unknown"


_MAGIC = (
    (b"\x93NUMPY", Format.NPY),
    (b"\x89HDF\r\n\x1a\n", Format.HDF5),
    (b"7z\xbc\xaf\x27\x1c", Format.SEVEN_ZIP),
    (b"GGUF", Format.GGUF),
    (b"PK\x03\x04", Format.ZIP),
    (b"PK\x05\x06", Format.ZIP),
)
_TORCH_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # LONG1 0x1950a86a20f9469cfc6c, STOP
_HEAD = 1 << 16
_TEXT = 8 << 20
_STEPS = 10_000  # opcodes: no text that is none gets that far
_UNREADABLE = re.compile(r"[\x00-\x08\x0b\x0e-\x1f]")


def sniff(path: str | Path) -> Format:
    """The format of a file or directory."""
    path = Path(path)
    if path.is_dir():
        return Format.DIRECTORY
    if path.stat().st_size == 0:
        return Format.EMPTY
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return sniff_bytes(data)


def sniff_bytes(data: Data) -> Format:
    """The format of bytes at hand. Magic numbers first, then structure, text last."""
    if not len(data):
        return Format.EMPTY
    for magic, found in _MAGIC:
        if data[: len(magic)] == magic:
            return _sniff_zip(data) if found is Format.ZIP else found
    if data[4:8] == b"TFL3":
        return Format.TFLITE
    if data[257:262] == b"ustar":
        return Format.TAR
    if compression(data):
        return _sniff_compressed(data)
    if _is_safetensors(data):
        return Format.SAFETENSORS
    if is_pickle(data) and not is_inert(data):
        return _sniff_pickle(data)
    if looks_like_onnx(data):
        return Format.ONNX
    return _sniff_text(data)


def compression(data: Data) -> str:
    """The name of the stream compression, or an empty string."""
    head = data[:8]
    if head[:2] == b"\x1f\x8b":
        return "gzip"
    if head[:3] == b"BZh":
        return "bz2"
    if head[:6] == b"\xfd7zXZ\x00":
        return "xz"
    if head[:4] == b"\x5d\x00\x00\x00" or head[:3] == b"\x5d\x00\x00":
        return "lzma"
    if head[:4] == b"\x04\x22\x4d\x18":
        return "lz4"
    if head[:1] == b"\x78" and len(head) > 1 and (head[0] * 256 + head[1]) % 31 == 0:
        return "zlib"
    return ""


def decompress(data: Data, most: int) -> tuple[bytes, bool, int]:
    """At most ``most`` bytes of the content, whether that is all of it, and how many bytes follow the stream."""
    name = compression(data)
    body = bytes(data)
    if name in ("gzip", "zlib"):
        inflate = zlib.decompressobj(31 if name == "gzip" else 15)
        out = inflate.decompress(body, most)
        return out, inflate.eof, len(inflate.unused_data)
    if name == "lz4" or not name:
        raise ValueError(f"no reader for {name or 'this'} compression")
    other: bz2.BZ2Decompressor | lzma.LZMADecompressor
    other = bz2.BZ2Decompressor() if name == "bz2" else lzma.LZMADecompressor(memlimit=1 << 28)
    out = other.decompress(body, max_length=most)
    return out, other.eof, len(other.unused_data)


def _sniff_compressed(data: Data) -> Format:
    try:
        head, _, _ = decompress(data[:_HEAD], _HEAD)
    except (ValueError, EOFError, OSError, zlib.error, lzma.LZMAError):
        return Format.COMPRESSED
    return Format.JOBLIB if is_pickle(head) else Format.COMPRESSED


def _sniff_zip(data: Data) -> Format:
    """Told by the members, because torch, Keras, numpy and skops all write plain zip files."""
    try:
        names = [info.filename for info in zipfile.ZipFile(opened(data)).infolist()]
    except Exception:  # noqa: BLE001  a zip that zipfile rejects is still a zip, and is read entry by entry later
        return Format.ZIP
    tails = {name.split("/", 1)[-1] for name in names}
    if "constants.pkl" in tails or any(tail.startswith("code/") for tail in tails):
        return Format.TORCHSCRIPT
    if "data.pkl" in tails:
        return Format.TORCH_ZIP
    if {"config.json", "metadata.json"} <= set(names):
        return Format.KERAS
    if "schema.json" in names:
        return Format.SKOPS
    if names and all(name.endswith(".npy") for name in names):
        return Format.NPZ
    return Format.ZIP


def is_pickle(data: Data) -> bool:
    """Whether an unpickler would get anywhere: it reaches STOP, or names or calls something, before it fails."""
    if data[:1] == b"\x80" and len(data) > 1 and data[1] <= 5:
        return True
    active = {"GLOBAL", "INST", "STACK_GLOBAL", "REDUCE", "OBJ", "BINPERSID", "EXT1", "EXT2", "EXT4"}
    steps, ahead = 0, 0
    source = opened(data)
    try:
        for steps, (op, _, _) in enumerate(pickletools.genops(source), 1):
            if op.name in active or (op.name == "STOP" and steps > 1) or steps > 1000:
                return True
            ahead = source.tell()
    except Exception:  # noqa: BLE001  genops raises many types on what is no pickle
        return not stops_everyone(data, ahead)
    return False


def is_inert(data: Data) -> bool:
    """Whether this is text on which every unpickler gives up before it has imported or called anything.

    Letters are opcodes: prose may begin with one that names a global, but no module is called ``asemate: 1``.
    """
    if _text(data) is None:
        return False
    seen = walk(data, limits=Limits(opcodes=_STEPS), most=1)
    named = {f"{module}.{name}" for module, name in seen.globals if no_module(module)}
    # A persistent id runs nothing but the loader's own lookup. Whatever else the walker objects to may have been executed.
    held = [finding for finding in seen.findings if finding.what != "persistent id"]
    only_named = len(named) == len(seen.globals) and len(held) <= len(named)
    return seen.broken is not None and seen.certain and not seen.streams and not seen.storages and only_named


def _sniff_pickle(data: Data) -> Format:
    if data[2 : 2 + len(_TORCH_MAGIC)] == _TORCH_MAGIC:
        return Format.TORCH_LEGACY
    # joblib writes its wrapper class into the stream by name; a false hit only means one more walk
    return Format.JOBLIB if data.find(b"joblib.numpy_pickle", 0) >= 0 else Format.PICKLE


def _is_safetensors(data: Data) -> bool:
    length = int.from_bytes(data[:8], "little")
    return len(data) > 9 and data[8:9] == b"{" and 2 <= length <= len(data) - 8


def _text(data: Data) -> str | None:
    """The content, where it is text a person could read."""
    if len(data) > _TEXT:
        return None
    try:
        text = data[:].decode("utf-8")
    except UnicodeDecodeError:
        return None
    return None if _UNREADABLE.search(text) else text


def _sniff_text(data: Data) -> Format:
    text = _text(data)
    if text is None:
        return Format.UNKNOWN
    if text.lstrip()[:1] in ("{", "["):
        try:
            json.loads(text)
        except (ValueError, RecursionError):
            return Format.TEXT
        return Format.JSON
    return Format.TEXT
