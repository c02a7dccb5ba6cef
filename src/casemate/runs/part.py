"""The outcome of one cell: numbers by row, counters, and the claims. What the store keeps, and what evidence is made of."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..core.errors import RunError
from ..core.evidence import plain, timeless
from ..core.target import to_numpy


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One shard of one attack (or the whole of a set attack).

    Args:
        rows: Columns ``(n,)`` by name.
        spent: Totals of the ledger.
        facts: Everything else that was measured, JSON-ready: health counters, a family's own measures.
        samples: A few arrays (or byte strings) to look at: claims and their originals.
        seconds: Measured time; never part of a digest.
    """

    rows: dict[str, Any] = field(default_factory=dict)
    spent: dict[str, int] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    samples: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    claims: Any = None  # in memory only

    def to_bytes(self) -> bytes:
        """An npz archive with no pickle in it."""
        buffer = io.BytesIO()
        arrays: dict[str, Any] = {f"rows/{k}": _solid(k, v) for k, v in self.rows.items()}
        listed = {}
        for name, value in self.samples.items():
            if isinstance(value, list | tuple) and value and isinstance(value[0], bytes):
                listed[name] = len(value)
                for i, item in enumerate(value):
                    arrays[f"bytes/{name}/{i}"] = np.frombuffer(item, np.uint8)
            else:
                arrays[f"samples/{name}"] = _solid(name, to_numpy(value))
        head = {"spent": self.spent, "facts": self.facts, "seconds": self.seconds, "listed": listed}
        arrays["head"] = np.frombuffer(json.dumps(plain(head), sort_keys=True).encode(), np.uint8)
        np.savez_compressed(buffer, **arrays)
        return buffer.getvalue()

    @staticmethod
    def from_bytes(data: bytes) -> Part:
        """The inverse of `to_bytes`. Loads no pickle, whatever the bytes say."""
        try:
            return _read(data)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise RunError(f"a stored cell cannot be read ({error}); give --store another place, or restore it") from error

    def digest(self) -> str:
        """A hash of all that must repeat."""
        digest = hashlib.sha256(json.dumps(timeless(plain([self.spent, self.facts])), sort_keys=True).encode())
        for name in sorted(self.rows):
            array = np.ascontiguousarray(_solid(name, self.rows[name]))
            digest.update(f"{name}:{array.dtype}:{array.shape}".encode() + array.tobytes())
        for name in sorted(self.samples):
            value = self.samples[name]
            for item in value if isinstance(value, list | tuple) and value and isinstance(value[0], bytes) else [value]:
                data = item if isinstance(item, bytes) else np.ascontiguousarray(_solid(name, to_numpy(item))).tobytes()
                digest.update(name.encode() + data)
        return digest.hexdigest()


def _read(data: bytes) -> Part:
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        head = json.loads(archive["head"].tobytes())
        rows = {k.removeprefix("rows/"): archive[k] for k in archive.files if k.startswith("rows/")}
        samples: dict[str, Any] = {
            k.removeprefix("samples/"): archive[k] for k in archive.files if k.startswith("samples/")
        }
        for name, size in head["listed"].items():
            samples[name] = [archive[f"bytes/{name}/{i}"].tobytes() for i in range(size)]
    return Part(rows=rows, spent=head["spent"], facts=head["facts"], samples=samples, seconds=head["seconds"])


def _solid(name: str, value: Any) -> Any:
    """An array that is written without pickling: words become text, other objects are refused."""
    array = np.asarray(value)
    if not array.dtype.hasobject:
        return array
    if all(isinstance(item, str | bool | int | float | None) for item in array.ravel()):
        return array.astype(str)
    raise TypeError(f"{name!r} holds objects, which cannot be kept without pickling them")


def merge_rows(parts: Sequence[Part]) -> dict[str, Any]:
    """The columns of all parts, in row order."""
    if not parts or not parts[0].rows:
        return {}
    joined = {name: np.concatenate([np.asarray(part.rows[name]) for part in parts]) for name in parts[0].rows}
    order = np.argsort(joined["row"], kind="stable")
    return {name: column[order] for name, column in joined.items()}


def merge_spent(parts: Sequence[Part]) -> dict[str, int]:
    """The ledgers of all parts, added up."""
    total: dict[str, int] = {}
    for part in parts:
        for kind, amount in part.spent.items():
            total[kind] = total.get(kind, 0) + int(amount)
    return total
