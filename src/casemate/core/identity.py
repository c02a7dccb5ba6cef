"""Content hashes: what a value is, without pickling it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from .evidence import plain
from .target import to_numpy


def hash_of(*values: Any) -> str:
    """One hash of JSON-like values."""
    return hashlib.sha256(json.dumps([plain(v) for v in values], sort_keys=True).encode()).hexdigest()


def hash_data(x: Any) -> str:
    """The hash of an array, tensor, frame, or sequence of strings or bytes, by content."""
    digest = hashlib.sha256()
    if hasattr(x, "iloc"):
        digest.update(repr([(c, str(t)) for c, t in x.dtypes.items()]).encode())
        digest.update(x.to_csv(index=False).encode())
    elif isinstance(x, list | tuple):
        for item in x:
            data = item if isinstance(item, bytes) else str(item).encode()
            digest.update(len(data).to_bytes(8, "big") + data)
    else:
        array = np.ascontiguousarray(to_numpy(x))
        body = array.astype(str).tobytes() if array.dtype.hasobject else array.tobytes()
        digest.update(f"{array.dtype}{array.shape}".encode() + body)
    return digest.hexdigest()


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def hash_code(folder: Path) -> str:
    """The user's own code beside a description: every Python file in the folder, by name and content."""
    return hash_of([(p.name, hash_file(p)) for p in sorted(folder.glob("*.py"))])
