"""Mail attachment screening: bytes in, a content type out of Magika, and a route to the scanner that knows it."""

from __future__ import annotations

import importlib.util
import os
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import formats
import magika
import numpy as np
from magika import Magika

# By Magika's group of the content type; a label listed in LABELS goes before its group.
GROUPS = {
    "document": "document scanner",
    "executable": "sandbox",
    "code": "sandbox",
    "image": "media scanner",
    "audio": "media scanner",
    "video": "media scanner",
    "font": "media scanner",
    "archive": "unpacker",
    "text": "deliver",
    "inode": "deliver",
    "application": "hold",
    "unknown": "hold",
}
# What Magika calls code but cannot run by being opened; and text that a renderer runs macros of.
LABELS = {
    "css": "deliver",
    "csv": "deliver",
    "json": "deliver",
    "jsonl": "deliver",
    "tsv": "deliver",
    "xml": "deliver",
    "yaml": "deliver",
    "latex": "document scanner",
    "rtf": "document scanner",
}
ELSE = "hold"  # a person looks

# The formats that are collected, by file name; npz files are zip archives.
SUFFIXES = {
    ".py": "python",
    ".json": "json",
    ".html": "html",
    ".xml": "xml",
    ".svg": "svg",
    ".css": "css",
    ".md": "markdown",
    ".csv": "csv",
    ".png": "png",
    ".gif": "gif",
    ".zip": "zip",
    ".npz": "zip",
    ".gz": "gzip",
    ".pdf": "pdf",
}
# Where each format belongs, whatever Magika says about a file of it.
RIGHT = {
    "python": "sandbox",
    "json": "deliver",
    "html": "sandbox",
    "xml": "deliver",
    "svg": "media scanner",
    "css": "deliver",
    "markdown": "deliver",
    "csv": "deliver",
    "png": "media scanner",
    "gif": "media scanner",
    "zip": "unpacker",
    "gzip": "unpacker",
    "pdf": "document scanner",
}
PACKAGES = ("magika", "matplotlib", "mlxtend", "numpy", "onnxruntime", "pandas", "pip", "scipy", "sklearn", "torch")
SMALLEST, LARGEST = 256, 64 * 1024


@dataclass(frozen=True)
class Screening:
    """What the service knows after one look: Magika's label, its score, and where the file goes."""

    label: str
    score: float
    route: str


@dataclass(frozen=True)
class Attachment:
    """One real file: where it comes from, what it is, where it belongs, its bytes."""

    name: str
    format: str
    route: str
    data: bytes


def screen(data: bytes) -> Screening:
    """Identify one attachment through Magika's public API and choose its route."""
    result = _magika().identify_bytes(data)
    label, group = str(result.output.label), result.output.group
    return Screening(label, float(result.score), LABELS.get(label, GROUPS.get(group, ELSE)))


def route(data: bytes) -> str:
    """Where this attachment goes."""
    return screen(data).route


def model_file() -> Path:
    """Magika's model as its package ships it."""
    folder = Path(magika.__file__).parent / "models"
    return sorted(folder.glob("*/model.onnx"))[0]


def version() -> str:
    """What decides a route besides this file: Magika's release."""
    return str(magika.__version__)


def collect(n: int = 30, seed: int = 0) -> list[Attachment]:
    """`n` real files, the formats in turn, from the standard library and installed packages; working files only."""
    rng = np.random.default_rng(seed)
    queues: dict[str, list[tuple[str, Path]]] = {kind: [] for kind in RIGHT}
    for name, path in _files():
        queues[SUFFIXES[path.suffix]].append((name, path))
    streams = {kind: _working(kind, [queue[i] for i in rng.permutation(len(queue))]) for kind, queue in queues.items()}
    found: list[Attachment] = []
    while streams and len(found) < n:
        for kind in list(streams):
            attachment = next(streams[kind], None)
            if attachment is None:
                del streams[kind]
            elif len(found) < n:
                found.append(attachment)
    return found


@cache
def _magika() -> Magika:
    return Magika()


def _roots() -> Iterator[tuple[str, Path]]:
    yield "stdlib", Path(sysconfig.get_paths()["stdlib"])
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        if spec and spec.submodule_search_locations:
            yield package, Path(next(iter(spec.submodule_search_locations)))


@cache
def _files() -> tuple[tuple[str, Path], ...]:
    found = []
    for name, root in _roots():
        for folder, inner, names in os.walk(root):
            inner[:] = sorted(each for each in inner if each not in ("site-packages", "__pycache__"))
            paths = (Path(folder, each) for each in sorted(names))
            found += [(f"{name}/{p.relative_to(root).as_posix()}", p) for p in paths if _wanted(p)]
    return tuple(found)


def _wanted(path: Path) -> bool:
    return path.suffix in SUFFIXES and path.is_file() and SMALLEST <= path.stat().st_size <= LARGEST


def _working(kind: str, queue: list[tuple[str, Path]]) -> Iterator[Attachment]:
    seen: set[bytes] = set()
    for name, path in queue:
        data = path.read_bytes()
        if data not in seen and formats.works(kind, data):
            seen.add(data)
            yield Attachment(name, kind, RIGHT[kind], data)
