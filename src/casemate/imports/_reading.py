"""What all readers of model files share: where facts are collected, how much is read, and the digest."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from casemate.attacks.supply._finding import Data, Finding, Severity, printable
from casemate.core.errors import UsageError
from casemate.imports.found import Found, Import

MODEL = "$model"
MOST_JSON = 16 << 20  # bytes of a header or configuration: real ones hold one or two million
MOST_FILES = 50_000
_STEP = 1 << 24
_SHOWN = 8


@dataclass(slots=True)
class Reading:
    """One model file on its way to an Import."""

    file: str
    format: str
    facts: list[Found] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def model(self, path: str, value: Any, because: str) -> None:
        """A fact about the component that serves the model: `artifact.format`, `model.family`."""
        self._add(f"{MODEL}.{path}", value, because)

    def system(self, path: str, value: str, because: str) -> None:
        """A fact about the whole system: `modality`, `task`."""
        self._add(f"system.{path}", value, because)

    def _add(self, path: str, value: Any, because: str) -> None:
        known = [found for found in self.facts if found.path == path]
        if not known:
            self.facts.append(Found(path=path, value=value, because=printable(because)))
        elif known[0].value != value:
            self.note(f"{path}: {printable(because)} says {value}, {known[0].because} says {known[0].value}; the latter was kept")

    def states(self, path: str) -> bool:
        """Whether there is a fact at `path` already."""
        return any(found.path in (f"{MODEL}.{path}", path) for found in self.facts)

    def note(self, text: str) -> None:
        """Something that a person should know. Text from the file must have gone through `printable`."""
        if text not in self.notes:
            self.notes.append(text)

    def objections(self, findings: Iterable[Finding]) -> None:
        """What the scanner of artifacts holds against the file, the worst first, as notes."""
        bad = [found for found in findings if found.severity in (Severity.CRITICAL, Severity.HIGH)]
        for found in bad[:_SHOWN]:
            self.note(f"{found.what}: {found.reason}")
        if len(bad) > _SHOWN:
            self.note(f"{len(bad) - _SHOWN} further objections; the attack supply.scan lists them all")

    def done(self) -> Import:
        """The result."""
        return Import(format=self.format, file=self.file, facts=tuple(self.facts), notes=tuple(self.notes))


def listed(names: Iterable[str], most: int = _SHOWN) -> str:
    """Names from a file in one line that a terminal can bear."""
    names = sorted(set(names))
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(printable(name, 80) for name in names[:most]) + more


def refuse(file: str, why: str) -> UsageError:
    """The error for a file that cannot be read as what it is."""
    return UsageError(f"{printable(file)}: {why}")


def digest(data: Data) -> str:
    """`sha256:` and 64 digits, over all bytes."""
    made = hashlib.sha256()
    for start in range(0, len(data), _STEP):
        made.update(data[start : start + _STEP])
    return f"sha256:{made.hexdigest()}"


def digest_folder(root: Path, shown: str) -> str:
    """The digest of a folder: SHA-256 over the lines `<sha256 of the file>  <relative name>`, as the scanner has it.

    Folders are walked in the order of their names, the files of a folder before its subfolders. Links are not followed
    and do not count, nor do empty folders.

    Raises:
        UsageError: Too many files, or one that cannot be read.
    """
    whole, count = hashlib.sha256(), 0
    for folder, folders, files in os.walk(root, followlinks=False):
        folders.sort()
        for path in (Path(folder, name) for name in sorted(files)):
            if path.is_symlink():
                continue
            count += 1
            if count > MOST_FILES or not path.is_file():
                why = f"more than {MOST_FILES} files" if count > MOST_FILES else f"{path.name!r} is no regular file"
                raise refuse(shown, f"{why}; a digest of this folder was not made. Point at the model itself")
            with path.open("rb") as file:
                one = hashlib.file_digest(file, "sha256").hexdigest()
            whole.update(f"{one}  {path.relative_to(root).as_posix()}\n".encode("utf-8", "surrogateescape"))
    return f"sha256:{whole.hexdigest()}"
