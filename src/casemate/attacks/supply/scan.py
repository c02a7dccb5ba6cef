"""The artifact scanner: a file or a directory in, a report out. Nothing is ever loaded, imported or unpickled.

Every file is recognised by its bytes, read by each reader that knows its format, and, where it holds pickles, also by
picklescan. The findings are united: one reader's objection is enough. A reader that fails, skips, or does not know
the format says so, and then the verdict is ``unknown``, which counts as unsafe.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from casemate.attacks.supply._archive import Allowance
from casemate.attacks.supply._finding import (
    Data,
    Finding,
    Limits,
    Notebook,
    Severity,
    Verdict,
    verdict_of,
)
from casemate.attacks.supply._inspect import SNIFFER, Inspection, inspect
from casemate.attacks.supply._values import Allowed, default_allowed
from casemate.attacks.supply.sniff import Format
from casemate.core.errors import BadInput

_ORDER = list(Severity)


@dataclass(frozen=True, slots=True)
class ScannerRun:
    """One scanner's verdict on its own, so that disagreement shows."""

    name: str
    verdict: Verdict
    looked_at: int
    findings: int

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {"name": self.name, "verdict": self.verdict, "looked_at": self.looked_at, "findings": self.findings}


@dataclass(frozen=True, slots=True)
class Report:
    """What a scan found. ``members`` are all files and container members, with the format their bytes show.

    The digest of a directory covers the relative names and digests of its files, not links or empty directories.
    """

    path: str
    format: Format
    sha256: str
    size: int
    verdict: Verdict
    findings: tuple[Finding, ...]
    scanners: tuple[ScannerRun, ...]
    members: tuple[tuple[str, Format], ...]

    @property
    def blocks(self) -> bool:
        """Whether a gate must stop the artifact: anything but ``safe``, since unknown counts as unsafe."""
        return self.verdict != "safe"

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "path": self.path,
            "format": str(self.format),
            "sha256": self.sha256,
            "size": self.size,
            "verdict": self.verdict,
            "blocks": self.blocks,
            "findings": [finding.to_dict() for finding in self.findings],
            "scanners": [scanner.to_dict() for scanner in self.scanners],
            "members": [{"where": where, "format": str(found)} for where, found in self.members],
        }


def scan(path: str | Path, *, allowed: Allowed | None = None, limits: Limits | None = None) -> Report:
    """Scan a file or a directory. Only a path that does not exist raises; a bad artifact is a report."""
    path, limits = Path(path), limits or Limits()
    if not path.exists():
        raise BadInput(f"there is nothing to scan at {str(path)!r}")
    i = Inspection(allowed or default_allowed(), limits, Allowance(limits.total_bytes, limits.members))
    if path.is_dir():
        found, digest, size = Format.DIRECTORY, *_directory(i, path)
    else:
        found, digest, size = _file(i, path, path.name)
    findings = tuple(sorted(dict.fromkeys(i.findings), key=lambda f: (_ORDER.index(f.severity), f.where)))
    scanners = tuple(_run(name, count, findings) for name, count in i.ran.items())
    return Report(str(path), found, digest, size, verdict_of(findings), findings, scanners, tuple(i.formats))


def _run(name: str, count: int, findings: tuple[Finding, ...]) -> ScannerRun:
    own = tuple(finding for finding in findings if finding.scanner == name)
    return ScannerRun(name, verdict_of(own), count, len(own))


def _file(i: Inspection, path: Path, where: str) -> tuple[Format, str, int]:
    """One regular file. It is opened once, so that what is hashed is what is judged."""
    book = Notebook(where, SNIFFER)
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # before opening: a pipe would block for ever
            raise OSError("not a regular file")
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if not size:
                return inspect(i, b"", where), hashlib.sha256().hexdigest(), 0
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return inspect(i, data, where, folder=path.parent), _digest(data), size
    except OSError as error:
        book.add(Severity.MEDIUM, None, f"cannot be read: {error.strerror or error}", "nobody looked at it")
        i.findings.extend(book.found)
        i.ran[SNIFFER] = i.ran.get(SNIFFER, 0) + 1
        return Format.UNKNOWN, "", 0


def _digest(data: Data) -> str:
    digest, step = hashlib.sha256(), 1 << 24
    for start in range(0, len(data), step):
        digest.update(data[start : start + step])
    return digest.hexdigest()


def _directory(i: Inspection, root: Path) -> tuple[str, int]:
    whole, total, count = hashlib.sha256(), 0, 0
    book = Notebook("", SNIFFER)
    places: dict[str, Path] = {}

    def unreadable(error: OSError) -> None:
        book.add(Severity.MEDIUM, None, f"directory cannot be read: {error.filename}", "nobody looked inside")

    for folder, folders, files in os.walk(root, onerror=unreadable, followlinks=False):
        folders.sort()
        for name in sorted(files) + [name for name in folders if Path(folder, name).is_symlink()]:
            path = Path(folder, name)
            where = path.relative_to(root).as_posix()
            if path.is_symlink():
                _link(path, root, where, book)
                continue
            count += 1
            if count > i.limits.files:
                book.add(Severity.MEDIUM, None, f"more than {i.limits.files} files", "the rest was not looked at")
                break
            _, digest, size = _file(i, path, where)
            whole.update(f"{digest}  {where}\n".encode("utf-8", "surrogateescape"))
            total += size
            places[where] = path.resolve()
    i.findings[:] = [finding for finding in i.findings if not _explained(i, finding, places)]
    i.findings.extend(book.found)
    return whole.hexdigest(), total


def _explained(i: Inspection, finding: Finding, places: dict[str, Path]) -> bool:
    """A file of raw bytes that a scanned ONNX model names as its tensor data is no unknown format."""
    named = places.get(finding.where) in i.external
    return named and finding.scanner == SNIFFER and finding.what in ("format: unknown", f"format: {Format.TEXT}")


def _link(path: Path, root: Path, where: str, book: Notebook) -> None:
    try:
        inside = path.resolve(strict=True).is_relative_to(root.resolve())
    except (OSError, RuntimeError):
        inside = False
    if inside:
        book.add(Severity.INFO, None, f"{where}: link inside the directory", "its target is scanned in its own place")
    else:
        book.add(Severity.MEDIUM, None, f"{where}: link that leaves the directory", "it was not followed")
