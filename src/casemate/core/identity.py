"""Content hashes: what a value is, without pickling it."""

from __future__ import annotations

import hashlib
import json
import re
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
    if hasattr(x, "iloc") and hasattr(x, "to_frame"):  # a column
        x = x.to_frame()
    if hasattr(x, "iloc"):
        digest.update(repr([(c, str(t)) for c, t in x.dtypes.items()]).encode())
        digest.update(x.to_csv(index=False).encode())
    elif isinstance(x, list | tuple):
        for item in x:
            data = item if isinstance(item, bytes) else str(item).encode()
            digest.update(type(item).__name__.encode() + len(data).to_bytes(8, "big") + data)
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


DATA = (".json", ".yaml", ".yml", ".toml", ".txt", ".csv")
SMALL = 1 << 20  # bytes; a larger file is data that a function hands over, and is hashed there
REPORT = "report.html"  # a folder below that holds a report is all casemate's own
WRITTEN = ("report.json", "rows.csv", "threats.csv", "atlas-layer.json", "threats.cdx.json")


def hash_code(folder: Path) -> str:
    """The user's own code beside a description, and the small data files it may read, by name and content.

    In and below the folder; no descriptions, which say what a cell depends on by themselves, and no reports.
    """
    kept = [p for p in files_below(folder) if p.suffix == ".py" or _is_data(p, folder)]
    return hash_of([(str(p.relative_to(folder)), hash_file(p)) for p in kept])


def _is_data(path: Path, folder: Path) -> bool:
    if path.suffix.lower() not in DATA or path.stat().st_size > SMALL:
        return False
    inside = path.relative_to(folder)
    if "assessment" in inside.parts or inside.name in WRITTEN:
        return False
    if any((folder / above / REPORT).is_file() for above in inside.parents[:-1]):
        return False
    # Overlays need not name the version of the language, but what they extend.
    yaml = path.suffix.lower() in (".yaml", ".yml")
    return not (yaml and re.search(rb"^(casemate|extends|includes|gate):", path.read_bytes()[:4096], re.MULTILINE))


def files_below(folder: Path, ending: str = "") -> list[Path]:
    """The files in and below a folder in one order, leaving out what is hidden, installed or a cache."""
    found: list[Path] = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.name.startswith(".") or path.name in ("__pycache__", "node_modules", "site-packages"):
            continue
        if path.is_dir() and not path.is_symlink() and not (path / "pyvenv.cfg").exists():
            found += files_below(path, ending)
        elif path.is_file() and path.name.endswith(ending):
            found.append(path)
    return found


def hash_artifact(path: Path) -> str:
    """A model file, or every file of a model folder by name."""
    if path.is_dir():
        return hash_of([(str(p.relative_to(path)), hash_file(p)) for p in sorted(path.rglob("*")) if p.is_file()])
    return hash_file(path)
