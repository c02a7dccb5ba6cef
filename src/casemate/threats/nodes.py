"""YAML as nodes that remember file and line, and cannot hurt the reader.

Plain PyYAML loading is not enough for a file from elsewhere: it expands aliases without bound, keeps the last of
two equal keys, reads `on:` as a boolean, and forgets the lines. Nodes are composed here from the event stream, so
an alias costs what it stands for before anything is expanded.
"""

from __future__ import annotations

import math
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from casemate.core.errors import BadSystem, Problem

MAX_BYTES = 5_000_000
MAX_NODES = 400_000
MAX_DEPTH = 32
MAX_DIGITS = 30  # of a number: no fact needs more, and larger ones overflow whatever calculates with them

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NUMBER = re.compile(r"[-+]?(\d[\d_]*(\.\d*)?|\.\d+)([eE][-+]?\d+)?\Z")
_WORDS = {"yes": True, "true": True, "no": False, "false": False, "null": None, "~": None, "": None}

CLIPPED = 80  # characters of what a file holds, in a message

Plain: TypeAlias = "dict[str, Plain] | list[Plain] | str | int | float | bool | None"


@dataclass(frozen=True, slots=True)
class Node:
    """A mapping, a list or a scalar (`text`, and whether it was quoted), and where it stands."""

    file: str
    line: int
    size: int
    entries: dict[str, Node] | None = None
    items: tuple[Node, ...] | None = None
    text: str = ""
    quoted: bool = False

    @property
    def scalar(self) -> bool:
        return self.entries is None and self.items is None

    @property
    def word(self) -> str | int | float | bool | None:
        """The value of a scalar: yes/no/true/false, null and numbers only where they are not quoted."""
        if self.quoted:
            return self.text
        if self.text.lower() in _WORDS:
            return _WORDS[self.text.lower()]
        number = _number(self.text)
        return self.text if number is None else number

    def plain(self) -> Plain:
        """Plain data, for the parts of a description that others interpret."""
        if self.entries is not None:
            return {key: value.plain() for key, value in self.entries.items()}
        if self.items is not None:
            return [item.plain() for item in self.items]
        return self.word

    @property
    def said(self) -> str:
        """What stands here, for a message: a file may hold anything, so no more than its start."""
        return told(self.plain())

    def get(self, key: str) -> Node | None:
        return (self.entries or {}).get(key)


def told(value: Any) -> str:
    """A value in quotes for a message, cut where it is long."""
    text = repr(value[:CLIPPED] if isinstance(value, str) else value)
    cut = len(text) > CLIPPED or (isinstance(value, str) and len(value) > CLIPPED)
    return f"{text[:CLIPPED]}..." if cut else text


def _number(text: str) -> int | float | None:
    """The number that a word is; None for a word. What is too long is not calculated with (`compose` refuses it)."""
    if not _NUMBER.match(text) or _too_long(text):
        return None
    try:
        return int(text) if re.fullmatch(r"[-+]?[\d_]+", text) else float(text)
    except ValueError:  # 1__0
        return None


def _too_long(text: str) -> bool:
    return sum(map(str.isdigit, text)) > MAX_DIGITS


def _unfit(text: str) -> str:
    """Why a number cannot be read; empty where it can, and for words."""
    if not _NUMBER.match(text):
        return ""
    if _too_long(text):
        return f"has more than {MAX_DIGITS} digits"
    number = _number(text)
    return "is larger than any number that can be calculated with" if isinstance(number, float) and math.isinf(number) else ""


def read(path: Path, shown: str) -> Node:
    """The one document of a file. Raises `BadSystem` for what is not a small UTF-8 YAML file."""
    try:
        mode = path.stat().st_mode
        endless = not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)  # a pipe or a device: opening it may wait for ever
        data = b""
        if not endless:
            with path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise BadSystem([Problem(shown, 0, "file", f"cannot be read: {error.strerror}")]) from None
    except ValueError:
        raise BadSystem([Problem(shown, 0, "file", "cannot be read: no file can have such a name")]) from None
    if endless:
        raise BadSystem([Problem(shown, 0, "file", "is no regular file")])
    return compose(data, shown)


def compose(data: bytes, shown: str) -> Node:
    """`read`, for bytes that are already here."""
    return compose_all(data, shown, many=False)[0]


def compose_all(
    data: bytes, shown: str, *, many: bool = True, most_bytes: int = MAX_BYTES, most_nodes: int = MAX_NODES
) -> tuple[Node, ...]:
    """Every document of a file, which share its limits; one or more."""
    if len(data) > most_bytes:
        raise BadSystem([Problem(shown, 0, "file", f"is larger than {most_bytes:,} bytes")])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BadSystem(
            [Problem(shown, line, "file", f"is not UTF-8 (byte {error.start})", "save it as UTF-8")]
        ) from None
    composer = _Composer(shown, most_nodes)
    try:
        roots = composer.documents(text, many)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise BadSystem([Problem(shown, mark.line + 1 if mark else 0, "yaml", str(error.problem))]) from None
    except yaml.YAMLError as error:
        raise BadSystem([Problem(shown, 0, "yaml", str(error).splitlines()[0])]) from None
    if composer.problems:
        raise BadSystem(composer.problems)
    return roots


class _Composer:
    def __init__(self, shown: str, most: int) -> None:
        self.shown = shown
        self.most = most
        self.problems: list[Problem] = []
        self.anchors: dict[str, Node | None] = {}
        self.spent = 0
        self.depth = 0

    def documents(self, text: str, many: bool) -> tuple[Node, ...]:
        events = iter(yaml.parse(text, Loader=_LOADER))
        roots: list[Node] = []
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                if roots and not many:
                    self._fatal(event, "yaml", "holds more than one document")
                self.anchors.clear()  # an anchor is of its document
                roots.append(self._node(next(events), events))
        if not roots:
            raise BadSystem([Problem(self.shown, 1, "file", "is empty")])
        return tuple(roots)

    def _fatal(self, event: Any, key: str, message: str, hint: str = "") -> None:
        raise BadSystem([*self.problems, Problem(self.shown, event.start_mark.line + 1, key, message, hint)])

    def _charge(self, event: Any, size: int) -> None:
        self.spent += size
        if self.spent > self.most:
            self._fatal(event, "yaml", f"expands to more than {self.most:,} values", "use fewer aliases")

    def _node(self, event: Any, events: Iterator[Any]) -> Node:
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            known = self.anchors.get(str(event.anchor))
            if known is None:
                self._fatal(event, f"*{event.anchor}", "refers to itself, or to an anchor that comes later")
            assert known is not None
            self._charge(event, known.size)
            return known
        self._charge(event, 1)
        if event.tag not in (None, "!") and not (isinstance(event.tag, str) and event.implicit):
            self.problems.append(Problem(self.shown, line, str(event.tag), "tags are not read", "remove it"))
        if event.anchor:
            self.anchors[event.anchor] = None
        before, self.depth = self.spent, self.depth + 1
        if self.depth > MAX_DEPTH:
            self._fatal(event, "yaml", f"is nested deeper than {MAX_DEPTH}")
        if isinstance(event, yaml.MappingStartEvent):
            entries = self._entries(events)
            node = Node(self.shown, line, self.spent - before + 1, entries=entries)
        elif isinstance(event, yaml.SequenceStartEvent):
            items = []
            while not isinstance(inner := next(events), yaml.SequenceEndEvent):
                items.append(self._node(inner, events))
            node = Node(self.shown, line, self.spent - before + 1, items=tuple(items))
        else:
            node = Node(self.shown, line, 1, text=event.value, quoted=bool(event.style))
            unfit = "" if node.quoted else _unfit(node.text)
            if unfit:
                hint = "quote it, if it is a text"
                self.problems.append(Problem(self.shown, line, "number", f"{told(node.text)} {unfit}", hint))
        self.depth -= 1
        if event.anchor:
            self.anchors[event.anchor] = node
        return node

    def _entries(self, events: Iterator[Any]) -> dict[str, Node]:
        entries: dict[str, Node] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            key = self._node(event, events)
            value = self._node(next(events), events)
            line = event.start_mark.line + 1
            if not key.scalar:
                self.problems.append(Problem(self.shown, line, "yaml", "a key must be a word"))
            elif key.text in entries:
                first = entries[key.text].line
                self.problems.append(Problem(self.shown, line, key.text, f"is stated twice; first on line {first}"))
            else:
                entries[key.text] = value
        return entries
