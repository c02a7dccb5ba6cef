"""Which files of a folder are descriptions. Decisions, policies, rules and parts of other files lie there, too."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..threats.nodes import Node

_HEAD = ("system", "extends")
# What another kind of file of ours has at its top, and no description.
_OTHERS = (frozenset({"dispositions"}), frozenset({"gate"}), frozenset({"guard"}), frozenset({"id", "applies_when"}))
_KEY = re.compile(rb"""(?:^|[{,\s"'])(casemate|system|extends|components)["']?[ \t]*:""")
_STARTS = re.compile(rb"""(?m)^[{\s"']{0,40}casemate["']?[ \t]*:""")
_FOREIGN = ("site-packages", "node_modules")


@dataclass(frozen=True, slots=True)
class _File:
    """One file: its top, or None where it is no YAML; and the files that it is built on."""

    path: Path
    top: Node | None
    ours: bool

    @property
    def keys(self) -> frozenset[str]:
        return frozenset((self.top.entries or {}) if self.top is not None else ())

    def named(self) -> Iterator[str]:
        """The real paths of what it extends or includes."""
        for key in ("extends", "includes"):
            node = self.top.get(key) if self.top is not None else None
            for item in () if node is None else node.items if node.items is not None else (node,):
                if item.scalar:
                    yield os.path.realpath(self.path.parent / item.text)


def complete(folder: Path) -> list[Path]:
    """The descriptions below a folder, in order of their names.

    Left out are files that other files are made for (decisions, policies of a gate, settings of the guard, rules), parts
    that a description names under `includes`, and descriptions without an access row that others extend. Whatever else
    looks like a description is one: what is wrong with it is told by whoever reads it, not hidden here.
    """
    files = [_read(path) for path in _candidates(folder)]
    built_on = {name for file in files for name in file.named()}
    return [file.path for file in files if _is_description(file, built_on)]


def _candidates(folder: Path) -> list[Path]:
    found = (p for ending in ("*.yaml", "*.yml") for p in folder.rglob(ending) if p.is_file())
    return sorted(p for p in found if not any(_skipped(part) for part in p.relative_to(folder).parts))


def _skipped(part: str) -> bool:
    """Hidden files and folders, and packages of others."""
    return part.startswith(".") or part in _FOREIGN


def _read(path: Path) -> _File:
    from ..core.errors import BadSystem
    from ..threats.nodes import MAX_BYTES, compose

    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    # Only to look: one in UTF-16 is to be refused by name, like any other that cannot be read.
    seen = data.lstrip(b"\xef\xbb\xbf\xff\xfe").replace(b"\0", b"")
    if not _KEY.search(seen) and b"includes" not in seen:
        return _File(path, None, ours=False)
    try:
        return _File(path, compose(data, str(path)), ours=False)
    except BadSystem:  # ours, and broken: reading it as a description says where
        return _File(path, None, ours=_STARTS.search(seen) is not None)


def _is_description(file: _File, built_on: Iterable[str]) -> bool:
    if file.top is None:
        return file.ours
    keys, part = file.keys, os.path.realpath(file.path) in built_on
    if not keys & set(_HEAD):
        if part or any(kind <= keys for kind in _OTHERS):
            return False
        return _looks_like_one(file.top.entries or {})
    if not _looks_like_one(file.top.entries or {}):
        return False
    return not part or _has_access(file.path)


def _looks_like_one(entries: Mapping[str, Node]) -> bool:
    """It says so, or it has the sections of one: `system` with components, or an overlay without a version."""
    from ..threats.load import SECTIONS

    known = set(entries) & {*SECTIONS, *_HEAD, "includes"}
    return "casemate" in entries or (len(known) > 1 and bool(known & {*_HEAD, "components"}))


def _has_access(path: Path) -> bool:
    """A description that others extend, and that names nobody who could attack, is no system of its own."""
    from ..threats.load import load

    return bool(load(path).access)
