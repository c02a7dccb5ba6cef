"""A description file, read into a System.

The reader knows no field by name: it walks the records of `casemate.core.entities`, so the language and the types
cannot drift apart. Structure is checked here, meaning by `System` itself, and both lists of problems are raised
as one.
"""

from __future__ import annotations

import difflib
import os
import re
import typing
import unicodedata
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path, PureWindowsPath
from typing import Any, Literal

from casemate.core.errors import BadSystem, Problem
from casemate.core.fact import NO, UNKNOWN, YES, Truth
from casemate.core.shape import HEAD, choices, field_key, hints, record_in
from casemate.core.system import System
from casemate.threats.nodes import Node, compose, read, told

VERSION = 1
_HIDDEN = ("sources", "places", "folder", "_found", *HEAD)
SECTIONS = tuple(f.name for f in fields(System) if f.name not in _HIDDEN)
_FACTS = {"yes": YES, "true": YES, "no": NO, "false": NO, "unknown": UNKNOWN}
_TOP = ("casemate", "system", "extends", "includes")
_PROSE = ("description", "text", "claim", "sanitisation")  # may have several lines; all else is a name
CONTROL = ("Cc", "Zl", "Zp")  # categories of characters that no name may hold
_LOGIN = re.compile(r"(://)[^/\s@]*@")
_SOURCES = ("asserted", "imported", "measured")


def load(path: str | Path) -> System:
    """Read a description with what it extends and includes. A folder means its `system.yaml`.

    Raises:
        BadSystem: with every problem found, each with file and line.
    """
    path = Path(path)
    path = path / "system.yaml" if path.is_dir() else path
    return _system(_merged(path, str(path), ()), os.path.abspath(path.parent))


def loads(text: str | bytes, *, name: str = "<text>", folder: str = "") -> System:
    """Read a description that is already in memory; `extends` and `includes` are looked up in `folder`."""
    root = compose(text.encode() if isinstance(text, str) else text, name)
    return _system(_extended(root, Path(folder), name, ()), folder)


# Overlays ------------------------------------------------------------------------------------------------------------


def _merged(path: Path, shown: str, chain: tuple[str, ...]) -> Node:
    return _extended(read(path, shown), path.parent, shown, (*chain, os.path.realpath(path)))


def _extended(root: Node, folder: Path, shown: str, chain: tuple[str, ...]) -> Node:
    """The file laid over what it extends and includes. Of two equal parts that it includes, neither wins."""
    if root.entries is None:
        raise BadSystem([Problem(shown, root.line, "file", "expected a mapping at the top")])
    problems: list[Problem] = []
    found: dict[str, list[Node]] = {"extends": [], "includes": []}
    for key, listed in found.items():
        for node in _listed(root, key, problems):
            try:
                listed.append(_base(node, folder, shown, chain, key))
            except BadSystem as error:  # one that cannot be read does not keep the others' mistakes from being told
                problems += error.problems
    if problems:
        raise BadSystem(problems)
    own = {key: node for key, node in root.entries.items() if key not in ("extends", "includes")}
    merged = Node(root.file, root.line, root.size, entries={})
    for base in found["extends"]:
        merged = _merge(merged, base, problems, "")
    shared = Node(root.file, root.line, 0, entries={})
    for part in found["includes"]:
        shared = _merge(shared, part, problems, "", equals=True)
    for over in (shared, Node(root.file, root.line, root.size, entries=own)):
        merged = _merge(merged, over, problems, "")
    if problems:
        raise BadSystem(problems)
    return merged


def _listed(root: Node, key: str, problems: list[Problem]) -> tuple[Node, ...]:
    """The file names under a key: one for `extends`, one or many for `includes`."""
    node = root.get(key)
    if node is None:
        return ()
    items = node.items if node.items is not None and key == "includes" else (node,)
    wanted = "a file name" if key == "extends" else "a list of file names"
    wrong = [item for item in items if not item.scalar or not isinstance(item.word, str)]
    problems += [Problem(root.file, item.line, key, f"expected {wanted}; got {item.said}") for item in wrong]
    return tuple(item for item in items if item not in wrong)


def _base(node: Node, folder: Path, shown: str, chain: tuple[str, ...], key: str) -> Node:
    _no_control(node, key)
    _relative(node, key)
    target = folder / node.text
    if os.path.realpath(target) in chain:
        raise BadSystem([Problem(shown, node.line, key, f"{node.text} leads back to itself")])
    if not target.is_file():
        raise BadSystem([Problem(shown, node.line, key, f"there is no file {node.text!r} beside this one")])
    name = os.path.join(os.path.dirname(shown), node.text)
    root = read(target, name)
    if not (root.entries or {}).keys() & {*_TOP, *SECTIONS}:  # of a file that is something else nothing is repeated
        raise BadSystem([Problem(name, root.line, "file", "is no description: expected a mapping with its sections")])
    return _extended(root, target.parent, name, (*chain, os.path.realpath(target)))


def _relative(node: Node, key: str) -> None:
    """What a description names lies beside it, or in a folder that they share; it never points into the machine."""
    if os.path.isabs(node.text) or PureWindowsPath(node.text).drive or node.text.startswith("\\"):
        hint = "absolute paths are not followed"
        expected = f"expected a path relative to the folder of the description; got {told(node.text)}"
        raise BadSystem([Problem(node.file, node.line, key, expected, hint)])


def _no_control(node: Node, key: str) -> None:
    """A name is one line: with a line end in it, it could pass for a line of our own."""
    if any(unicodedata.category(c) in CONTROL for c in node.text):
        told_as = f"holds a line end or another control character: {told(node.text)}"
        raise BadSystem([Problem(node.file, node.line, key, told_as, "write it on one line")])


def _merge(base: Node, over: Node, problems: list[Problem], key: str, equals: bool = False) -> Node:
    """`over` laid over `base`. Among `equals`, two different values of one thing are a problem."""
    if key == "target" and (base.items is None) != (over.items is None):  # one binding is a list of one
        base, over = (n if n.items is not None else Node(n.file, n.line, n.size, items=(n,)) for n in (base, over))
    if base.entries is not None and over.entries is not None:
        entries = dict(base.entries)
        for name, node in over.entries.items():
            entries[name] = _merge(entries[name], node, problems, name, equals) if name in entries else node
        return Node(over.file, over.line, base.size + over.size, entries=entries)
    if base.items is not None and over.items is not None:
        return _merge_lists(base, over, problems, key, equals)
    return _replaced(base, over, problems, key, equals)


def _replaced(base: Node, over: Node, problems: list[Problem], key: str, equals: bool) -> Node:
    if equals and base.plain() != over.plain():
        told = f"{base.said} in {base.file}:{base.line}, {over.said} here"
        problems.append(Problem(over.file, over.line, key, f"two included files disagree: {told}", "let one of them say it"))
    return over


def _merge_lists(base: Node, over: Node, problems: list[Problem], key: str, equals: bool) -> Node:
    """Things with an identity merge by it; any other list is replaced."""
    named = [_identity(item) for item in (*(base.items or ()), *(over.items or ()))]
    if not all(named):
        return _replaced(base, over, problems, key, equals)
    merged = {_identity(item): item for item in base.items or ()}
    for item in over.items or ():
        id = _identity(item)
        remove = item.get("remove")
        if remove is None:
            merged[id] = _merge(merged[id], item, problems, "", equals) if id in merged else item
        elif remove.word is not True:
            problems.append(Problem(item.file, remove.line, f"{key}.remove", f"expected yes; got {told(remove.text)}"))
        elif id not in merged:
            problems.append(Problem(item.file, item.line, f"{key}.remove", f"there is no {' '.join(id)} to remove"))
        else:
            del merged[id]
    return Node(over.file, over.line, base.size + over.size, items=tuple(merged.values()))


def _identity(item: Node) -> tuple[str, ...]:
    for keys in (("id",), ("principal", "on"), ("from", "to"), ("component",), ("text",)):
        found = [node.text for key in keys if (node := item.get(key)) and node.scalar]
        if len(found) == len(keys):
            # A flow may be named by its ends or by the id that they make.
            return ("->".join(found),) if keys[0] == "from" else tuple(found)
    return ()


# Nodes to records ----------------------------------------------------------------------------------------------------


class _Builder:
    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.places: dict[str, tuple[str, int]] = {}
        self.sources: dict[str, Any] = {}

    def wrong(self, node: Node, path: str, message: str, hint: str = "") -> None:
        self.problems.append(Problem(node.file, node.line, path, message, hint))

    def beside(self, key: str, node: Node) -> None:
        """Rules are files: what names them is a relative path."""
        for item in (node.items or ()) if key == "rules" else ():
            try:
                _relative(item, key)
            except BadSystem as error:
                self.problems += error.problems

    def known(self, node: Node, path: str, allowed: list[str]) -> dict[str, Node]:
        """The entries whose key is allowed; the others are reported."""
        entries = node.entries or {}
        for key, value in entries.items():
            if key not in allowed:
                close = difflib.get_close_matches(key, allowed, n=1, cutoff=0.5)
                hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(allowed)}"
                self.wrong(value, f"{path}.{key}" if path else key, "unknown key", hint)
        return {key: value for key, value in entries.items() if key in allowed}

    def record(self, kind: type, node: Node, path: str) -> Any:
        self.places[path] = (node.file, node.line)
        named = {field_key(f): f.name for f in fields(kind)}
        values: dict[str, Any] = {}
        for key, inner in self.known(node, path, list(named)).items():
            value = self.value(hints(kind)[named[key]], inner, f"{path}.{key}")
            if value is not None:
                values[named[key]] = value
        return kind(**values)

    def value(self, hint: Any, node: Node, path: str) -> Any:
        self.places[path] = (node.file, node.line)
        kind = record_in(hint)
        hint = next((part for part in choices(hint) if typing.get_origin(part) is tuple), hint)
        origin = typing.get_origin(hint)
        if origin is Mapping:
            return _without_login(node.plain())
        if _is_sourced(hint, node):
            return self.sourced(hint, node, path)
        if origin is tuple:
            return self.many(typing.get_args(hint)[0], node, path)
        if kind is not None and node.entries is not None:
            return self.record(kind, node, path)
        if not node.scalar:
            return node.plain()  # of the wrong kind: the System says what it expected
        return None if node.word is None else self.scalar(hint, node, path, kind is not None)

    def scalar(self, hint: Any, node: Node, path: str, or_record: bool = False) -> Any:
        """A word, a number, a fact. Names are one line; a login in an address is a secret, and is not kept."""
        if path.rpartition(".")[2] not in _PROSE:
            node = replace(node, text=node.text.rstrip("\r\n"))  # a block of one line ends in one
            try:
                _no_control(node, path)
            except BadSystem as error:
                self.problems += error.problems
        value = _scalar(hint, node, or_record)
        return value if path.startswith("system.target") else _without_login(value)  # that one is to be called

    def sourced(self, hint: Any, node: Node, path: str) -> Any:
        """`{value: label, source: measured}`, `{value: [a, b], source: imported}`."""
        value, source = node.get("value"), node.get("source")
        if source is not None and source.text not in _SOURCES:
            self.wrong(source, f"{path}.source", f"expected {', '.join(_SOURCES)}; got {told(source.text)}")
        elif source is not None and source.text != "asserted":
            self.sources[path] = source.text
        return self.value(hint, value, path) if value is not None else None

    def many(self, hint: Any, node: Node, path: str) -> Any:
        if node.items is None:
            return node.plain() if not node.scalar or node.word is not None else None
        if is_dataclass(hint):
            return self.elements(typing.cast(type, hint), node, path)
        return tuple(self.scalar(hint, item, path) if item.scalar else item.plain() for item in node.items)

    def elements(self, kind: type, node: Node, path: str) -> tuple[Any, ...]:
        found = []
        for index, item in enumerate(node.items or ()):
            label = _label(path, item, index)
            if item.entries is None:
                self.wrong(item, f"{path}[{index}]", f"expected a mapping; got {item.said}")
            else:
                found.append(self.record(kind, item, label))
        return tuple(found)


def _is_sourced(hint: Any, node: Node) -> bool:
    """Whether a mapping is a value with its source, and no record: a single value, a list of words, or the word that
    stands for a whole record (`parent: {value: none, source: imported}`)."""
    if node.entries is None or not set(node.entries) <= {"value", "source"}:
        return False
    value = node.get("value")
    if typing.get_origin(hint) is tuple:
        return value is not None and not is_dataclass(typing.get_args(hint)[0])
    return record_in(hint) is None or (len(choices(hint)) > 1 and value is not None and value.scalar)


def _without_login(value: Any) -> Any:
    """Text without the `user:password@` of addresses."""
    if isinstance(value, str):
        return _LOGIN.sub(r"\1***@", value) if "://" in value else value
    if isinstance(value, dict):
        return {key: _without_login(inner) for key, inner in value.items()}
    return [_without_login(inner) for inner in value] if isinstance(value, list) else value


def _label(path: str, item: Node, index: int) -> str:
    """The name under which the System reports an element; must agree with its own."""
    named = _identity(item)
    if path == "access" and len(named) == 2:
        return f"access({named[0]}, {named[1]})"
    if path == "system.target" and named:
        return f"system.target({named[0]})"
    return named[0] if len(named) == 1 and path != "assumptions" else f"{path}[{index}]"


def _scalar(hint: Any, node: Node, or_record: bool) -> Any:
    """A scalar as its field wants it; what does not fit goes on as it is, and the System refuses it by name."""
    word = node.word
    for part in choices(hint):
        if part is Truth:
            return _FACTS.get(node.text.lower(), node.text)  # quoted or not: JSON has no other yes
        if part is str:
            return node.text
        if word == "unknown":  # the same as leaving it out
            return None
        if part is int and isinstance(word, float) and word.is_integer():
            return int(word)
        if part in (int, float):
            return word if isinstance(word, (int, float)) and not isinstance(word, bool) else node.text
        if typing.get_origin(part) is Literal:
            if word is False and or_record:  # `parent: no` is `parent: none`
                return "none"
            return word if isinstance(typing.get_args(part)[0], int) and isinstance(word, int) else node.text
    return node.text if isinstance(word, bool) else word


def _system(root: Node, folder: str) -> System:
    build = _Builder()
    entries = build.known(root, "", ["casemate", "system", *SECTIONS])
    version = entries.get("casemate")
    if version is None or version.word != VERSION:
        where = version or root
        build.wrong(where, "casemate", f"expected `casemate: {VERSION}`, the version of this language")
    values: dict[str, Any] = {}
    head = entries.get("system")
    if head is None or head.entries is None:
        build.wrong(head or root, "system", "expected a mapping with at least a name")
    else:
        build.places["system"] = (head.file, head.line)
        for key, node in build.known(head, "system", list(HEAD)).items():
            build.beside(key, node)
            if key == "target" and node.entries is not None:
                node = Node(node.file, node.line, node.size, items=(node,))
            value = build.value(hints(System)[key], node, f"system.{key}")
            values |= {} if value is None else {key: value}
    for key in SECTIONS:
        if key in entries:
            value = build.value(hints(System)[key], entries[key], key)
            values |= {} if value is None else {key: value}
    try:
        system = System(**values, sources=build.sources, places=build.places, folder=folder)
    except BadSystem as error:
        build.problems += error.problems
    if build.problems:
        raise BadSystem(sorted(dict.fromkeys(build.problems), key=lambda p: (p.file, p.line)))
    return system
