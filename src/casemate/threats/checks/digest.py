"""Whether a model file, or a data file, is the one whose digest is stated."""

from __future__ import annotations

import re
from collections.abc import Iterator

from casemate.core.entities import Component
from casemate.core.system import System
from casemate.threats.checks.outcome import Finding, Measured, Said, unread
from casemate.threats.checks.within import CannotRead, Folder

_SHA256 = re.compile(r"(?:sha-?256[:=])?([0-9a-f]{64})\Z", re.IGNORECASE)


def artifact(system: System, component: Component, folder: Folder, /) -> Iterator[Said]:
    """`artifact.path` against `artifact.digest`."""
    record = component.artifact
    if record is not None and record.path:
        yield from _compared(system, f"{component.id}.artifact", record.path, record.digest, folder, "digest.artifact")


def dataset(system: System, component: Component, folder: Folder, /) -> Iterator[Said]:
    """`dataset.path` against `dataset.digest`."""
    record = component.dataset
    if record is not None and record.path:
        yield from _compared(system, f"{component.id}.dataset", record.path, record.digest, folder, "digest.dataset")


def _compared(system: System, at: str, path: str, digest: str | None, folder: Folder, check: str) -> Iterator[Said]:
    stated = _SHA256.match(digest.strip()) if digest else None
    if digest and stated is None:
        why = f"expected a SHA-256 of 64 hexadecimal digits, with or without 'sha256:'; got {digest[:80]!r}"
        yield unread(system, f"{at}.digest", why, check)
        return
    try:
        found = folder.find(path)
        actual, shown = folder.sha256(found), folder.shown(found)
    except CannotRead as error:
        yield unread(system, f"{at}.path", str(error), check)
        return
    if stated is None:
        text = f"no digest is stated for {shown}; today it is sha256:{actual}: state it if this is the file that was reviewed"
        yield Finding(component=at.partition(".")[0], text=text, check=check, file=shown)
    elif stated[1].lower() == actual:
        yield Measured(path=f"{at}.digest", value=digest, because="the file has this digest", check=check, file=shown)
    else:
        because = "the file is not the one that was described"
        yield Measured(path=f"{at}.digest", value=f"sha256:{actual}", because=because, check=check, file=shown)
