"""A release of MITRE ATLAS, read from its own YAML into the table that casemate ships: ids, names, links; no descriptions.

Format 5 lists matrices; format 6 has objects by id and their relationships apart. Both are read leniently, because
releases have had small defects: what is passed over or mended is listed, with its line. Nothing is downloaded.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from casemate.core.errors import BadSystem, Problem
from casemate.threats.nodes import Node, compose_all

MOST_BYTES = 20_000_000
_MOST_NODES = 2_000_000
_HOPS = 8
_KINDS = ("tactics", "techniques", "mitigations", "case-studies")
_IDS = {
    "tactics": re.compile(r"AML\.TA\d{4}\Z"),
    "techniques": re.compile(r"AML\.T\d{4}(\.\d{3})?\Z"),
    "mitigations": re.compile(r"AML\.M\d{4}\Z"),
    "case-studies": re.compile(r"AML\.CS\d{4}\Z"),
}
SOURCE = "https://github.com/mitre-atlas/atlas-data"
NOTICE = "Copyright MITRE. Licensed under the Apache License, Version 2.0. Modified: descriptions, references and dates removed."


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One release as read.

    Args:
        table: As shipped in `taxonomies/atlas-*.json`; JSON-ready.
        defects: What was passed over or mended, each with its line.
    """

    release: str
    format: str
    sha256: str
    table: dict[str, Any]
    defects: tuple[Problem, ...]


@dataclass(slots=True)
class _Links:
    """What belongs to what, by id of the first."""

    tactics: dict[str, list[str]] = field(default_factory=dict)
    parent: dict[str, str] = field(default_factory=dict)
    mitigations: dict[str, list[str]] = field(default_factory=dict)
    steps: dict[str, list[str]] = field(default_factory=dict)


def read_atlas(path: str | Path) -> Release:
    """A release from its file. A file of one line that names another in its folder is followed.

    Raises:
        BadSystem: The file cannot be read, or is no ATLAS data; says what was expected.
    """
    start = Path(path)
    data, place, via = _followed(start)
    (root,) = compose_all(data, place, many=False, most_bytes=MOST_BYTES, most_nodes=_MOST_NODES)
    return _Reader(root, place).release(hashlib.sha256(data).hexdigest(), via)


# Pointer files ------------------------------------------------------------------------------------------------------------


def _followed(start: Path) -> tuple[bytes, str, list[str]]:
    """The bytes at the end of a chain of pointers, where they lie, and the names on the way."""
    root = os.path.realpath(start.parent)
    at, via, seen = start, [start.name], {os.path.realpath(start)}
    while True:
        data = _bytes(at)
        target = _pointer(data)
        if target is None:
            return data, str(at), via
        pure = PurePosixPath(target)
        after = at.parent / pure
        real = os.path.realpath(after)
        if pure.is_absolute() or ".." in pure.parts or "\\" in target or os.path.commonpath([root, real]) != root:
            raise _refused(at, f"points to {target!r}, which is not inside the folder {str(start.parent)!r}")
        if real in seen:
            raise _refused(at, f"points to {target!r}, which leads back to itself")
        if len(via) > _HOPS:
            raise _refused(at, f"is one of more than {_HOPS} pointers in a row")
        if not after.is_file():
            raise _refused(at, f"points to {target!r}, which is not there", "put it beside this file, or name it instead")
        seen.add(real)
        via.append(target)
        at = after


def _refused(at: Path, message: str, hint: str = "") -> BadSystem:
    return BadSystem([Problem(str(at), 1, "pointer", message, hint)])


def _pointer(data: bytes) -> str | None:
    """The name in a file of one short line that is a YAML file's name, else None."""
    line = data.strip()
    if len(line) > 255 or b"\n" in line or b":" in line or not line.endswith((b".yaml", b".yml")):
        return None
    return line.decode("utf-8", "backslashreplace").removeprefix("\ufeff")


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES + 1)
    except OSError as error:
        raise BadSystem([Problem(str(path), 0, "file", f"cannot be read: {error.strerror}")]) from None


# Both formats -------------------------------------------------------------------------------------------------------------


class _Reader:
    def __init__(self, root: Node, place: str) -> None:
        self.root, self.place = root, place
        self.defects: list[Problem] = []
        self.objects: dict[str, dict[str, Node]] = {}
        self.links = _Links()

    def release(self, digest: str, via: list[str]) -> Release:
        """The whole file as a release."""
        matrices, techniques = self.root.get("matrices"), self.root.get("techniques")
        if matrices is not None and matrices.items is not None:
            form = "5"
        elif techniques is not None and (techniques.entries is not None or techniques.items is not None):
            form = "6" if techniques.entries is not None else "3"
        else:
            expected = "expected 'matrices' (format 5) or 'techniques' by id (format 6)"
            raise BadSystem([Problem(self.place, self.root.line, "file", f"is no ATLAS data: {expected}")])
        holders = [self.root, *((matrices.items or ()) if form == "5" and matrices else ())]
        for kind in _KINDS:
            self.objects[kind] = self._objects(kind, [node for h in holders if (node := h.get(kind)) is not None])
        if form == "6":
            self._relationships()
        else:
            self._inner_links()
        release = self._release()
        table = self._table(release, form, digest, via)
        return Release(
            release=release, format=table["format_version"], sha256=digest, table=table, defects=tuple(self.defects)
        )

    def _defect(self, node: Node, key: str, message: str) -> None:
        self.defects.append(Problem(node.file, node.line, key, message))

    def _release(self) -> str:
        collection = self.root.get("collection")
        stated = (collection.get("version") if collection is not None else None) or self.root.get("version")
        if stated is None or not stated.scalar or not stated.text:
            raise BadSystem([Problem(self.place, self.root.line, "version", "says no release")])
        return stated.text

    def _objects(self, kind: str, nodes: list[Node]) -> dict[str, Node]:
        found: dict[str, Node] = {}
        for node in nodes:
            listed = [(None, item) for item in node.items] if node.items is not None else list((node.entries or {}).items())
            for key, item in listed:
                id, name = _text(item, "id") or key or "", _text(item, "name")
                if not _IDS[kind].match(id) or not name:
                    self._defect(item, kind, f"passed over: expected an id of {kind} and a name; got {id!r}, {name!r}")
                elif id in found:
                    same = "" if _text(found[id], "name") == name else f", as {name!r}"
                    self._defect(item, id, f"is there twice{same}; the first one counts")
                else:
                    found[id] = item
                    if key is not None and key != id:
                        self._defect(item, key, f"holds {id}; its own id counts")
        return found

    def _linked(self, held: dict[str, list[str]], one: str, other: str, node: Node, known: str) -> None:
        if other not in self.objects[known]:
            self._defect(node, one, f"names {other!r}, which is none of the {known}")
        elif other in held.setdefault(one, []):
            self._defect(node, one, f"names {other} twice")
        else:
            held[one].append(other)

    def _inner_links(self) -> None:
        """Format 5: links are fields of the objects."""
        for id, node in self.objects["techniques"].items():
            parent = _text(node, "subtechnique-of") or _text(node, "specializes")
            if parent:
                self.links.parent[id] = parent
            for item in _items(node, "tactics"):
                self._linked(self.links.tactics, id, _ref(item), item, "tactics")
        for id, node in self.objects["mitigations"].items():
            stray = [item for item in _items(node, "ml-lifecycle") if not item.scalar]
            for item in stray:
                self._defect(item, id, "has a technique inside 'ml-lifecycle'; taken as one of its techniques")
            for item in (*_items(node, "techniques"), *stray):
                self._linked(self.links.mitigations, id, _ref(item), item, "techniques")
        for id, node in self.objects["case-studies"].items():
            for step in _items(node, "procedure"):
                self._step(id, _text(step, "technique"), step)

    def _step(self, id: str, technique: str, node: Node) -> None:
        if technique not in self.objects["techniques"]:
            self._defect(node, id, f"names {technique!r}, which is none of the techniques")
        elif technique not in self.links.steps.setdefault(id, []):  # a procedure may use one technique twice
            self.links.steps[id].append(technique)

    def _relationships(self) -> None:
        """Format 6: links are apart, by source and type, or in one list."""
        for node in _relations(self.root.get("relationships")):
            kind, source, target = (_text(node, key) for key in ("relationship-type", "source", "target"))
            if kind == "achieves":
                self._linked(self.links.tactics, source, target, node, "tactics")
            elif kind == "specializes":
                self.links.parent[source] = target
            elif kind == "mitigates":
                self._linked(self.links.mitigations, source, target, node, "techniques")
            elif kind == "employs":
                self._step(source, target, node)

    def _table(self, release: str, form: str, digest: str, via: list[str]) -> dict[str, Any]:
        by_technique: dict[str, list[str]] = {}
        for mitigation, techniques in self.links.mitigations.items():
            for id in techniques:
                by_technique.setdefault(id, []).append(mitigation)
        return {
            "source": SOURCE, "data_version": release, "format_version": _text(self.root, "format-version") or form,
            "file": via[-1], "via": via, "sha256": digest, "license": "Apache-2.0", "notice": NOTICE,
            "tactics": [{"id": id, "name": _text(node, "name")} for id, node in self.objects["tactics"].items()],
            "techniques": [self._technique(id, sorted(by_technique.get(id, []))) for id in sorted(self.objects["techniques"])],
            "mitigations": [self._mitigation(id) for id in sorted(self.objects["mitigations"])],
            "case_studies": [self._study(id) for id in sorted(self.objects["case-studies"])],
            "defects": [str(defect) for defect in self.defects],
        }  # fmt: skip

    def _technique(self, id: str, mitigations: list[str]) -> dict[str, Any]:
        node = self.objects["techniques"][id]
        parent = self.links.parent.get(id) or (id.rpartition(".")[0] if id.count(".") == 2 else None)
        if parent is not None and parent not in self.objects["techniques"]:
            self._defect(node, id, f"is part of {parent!r}, which is not there")
        tactics = self.links.tactics.get(id) or self.links.tactics.get(parent or "", [])
        return {
            "id": id, "name": _text(node, "name"), "parent": parent, "tactics": list(tactics),
            "maturity": _text(node, "maturity").lower() or None, "mitigations": mitigations,
        }  # fmt: skip

    def _mitigation(self, id: str) -> dict[str, Any]:
        node = self.objects["mitigations"][id]
        category, lifecycle = (
            [item.text for key in keys for item in _items(node, key) if item.scalar]
            for keys in (("category", "categories"), ("ml-lifecycle", "lifecycle-phases"))
        )
        return {"id": id, "name": _text(node, "name"), "category": category, "lifecycle": lifecycle}

    def _study(self, id: str) -> dict[str, Any]:
        node = self.objects["case-studies"][id]
        kind = (_text(node, "case-study-type") or _text(node, "type")).lower() or None
        return {"id": id, "name": _text(node, "name"), "type": kind, "techniques": self.links.steps.get(id, [])}


def _text(node: Node, key: str) -> str:
    found = node.get(key)
    return found.text.strip() if found is not None and found.scalar else ""


def _items(node: Node, key: str) -> tuple[Node, ...]:
    found = node.get(key)
    if found is None:
        return ()
    return found.items if found.items is not None else (found,)


def _ref(item: Node) -> str:
    """An id that stands alone, or in a mapping with what is said of it."""
    return item.text if item.scalar else _text(item, "id")


def _relations(node: Node | None) -> Iterator[Node]:
    if node is None:
        return
    if node.get("relationship-type") is not None:
        yield node
        return
    for inner in (*(node.entries or {}).values(), *(node.items or ())):
        yield from _relations(inner)
