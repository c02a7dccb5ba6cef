"""Documents as nodes with line numbers: YAML (one or many in a file) and JSON, small enough to be what they claim.

YAML goes through the reader of descriptions. JSON has a reader of its own here, because bills of materials and API
descriptions outgrow a description, and because Python's reader forgets lines. Nothing below raises for a value of the
wrong kind: the look-ups answer with nothing, since a document from elsewhere may hold anything anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from json.decoder import JSONDecodeError, scanstring  # type: ignore[attr-defined]
from pathlib import Path

from casemate.core.errors import BadSystem, Problem, UsageError
from casemate.threats.nodes import Node, compose_all

MAX_BYTES = 8_000_000  # of a JSON document; YAML has the limit of a description
MAX_NODES = 400_000
MAX_DEPTH = 64
MAX_TEXT = 300  # characters of a value that is taken over

_JSON = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:\{\s*[\"{}\[]|\[\s*[\"{}\[\]])")  # flow YAML goes on with a bare word
_SPACE = re.compile(r"[ \t\r\n]*")
_SCALAR = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?|true|false|null")
_CODE = re.compile(r"[\ud800-\udfff]")  # half a character: cannot be written to a file


@dataclass(frozen=True, slots=True)
class Document:
    """A file that was read: as the user named it, and each document in it (several only in YAML)."""

    file: str
    roots: tuple[Node, ...]

    @property
    def root(self) -> Node:
        return self.roots[0]


def read_bytes(path: Path, limit: int = MAX_BYTES) -> bytes:
    """At most `limit` bytes of a file. Raises UsageError for what cannot be read or is larger."""
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(data) > limit:
        raise UsageError(f"{path}: is larger than {limit:,} bytes, which no document to import from should be")
    return data


def parse(data: bytes, shown: str) -> Document:
    """JSON where it starts like JSON, else YAML. Raises BadSystem with file and line for what is neither."""
    if _JSON.match(data):
        return Document(shown, (_Json(_text(data, shown), shown).document(),))
    return Document(shown, compose_all(data, shown))


def _text(data: bytes, shown: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BadSystem(
            [Problem(shown, line, "file", f"is not UTF-8 (byte {error.start})", "save it as UTF-8")]
        ) from None


class _Json:
    """JSON to nodes. A word that stood in quotes is `quoted`, as in YAML."""

    def __init__(self, text: str, shown: str) -> None:
        self.text, self.shown = text, shown
        self.line, self.counted = 1, 0  # lines are counted forward only, once
        self.nodes = 0

    def document(self) -> Node:
        node, end = self.value(self.space(0), 0)
        if self.space(end) != len(self.text):
            raise self.wrong(end, "goes on after its end")
        return node

    def wrong(self, at: int, message: str, key: str = "json") -> BadSystem:
        return BadSystem([Problem(self.shown, self.text.count("\n", 0, at) + 1, key, message)])

    def space(self, at: int) -> int:
        found = _SPACE.match(self.text, at)
        return found.end() if found else at

    def value(self, at: int, depth: int) -> tuple[Node, int]:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise self.wrong(at, f"holds more than {MAX_NODES:,} values", "limit")
        if depth > MAX_DEPTH:
            raise self.wrong(at, f"is nested deeper than {MAX_DEPTH}", "limit")
        self.line += self.text.count("\n", self.counted, at)
        self.counted = at
        line, first = self.line, self.text[at : at + 1]
        if first == "{":
            return self.mapping(at + 1, line, depth)
        if first == "[":
            return self.list(at + 1, line, depth)
        if first == '"':
            text, end = self.string(at)
            return Node(self.shown, line, 1, text=text, quoted=True), end
        found = _SCALAR.match(self.text, at)
        if not found:
            raise self.wrong(at, f"expected a value; got {self.text[at : at + 12]!r}")
        return Node(self.shown, line, 1, text=found.group()), found.end()

    def string(self, at: int) -> tuple[str, int]:
        if self.text[at : at + 1] != '"':
            raise self.wrong(at, f"expected a name in quotes; got {self.text[at : at + 12]!r}")
        try:
            text, end = scanstring(self.text, at + 1, True)
        except JSONDecodeError as error:
            raise self.wrong(at, error.msg) from None
        return _CODE.sub("\ufffd", text), end

    def next(self, at: int, closing: str) -> tuple[int, bool]:
        """Past a comma or the closing bracket; and whether it was the bracket."""
        at = self.space(at)
        mark = self.text[at : at + 1]
        if mark not in (",", closing) or not mark:
            raise self.wrong(at, f"expected ',' or '{closing}'; got {self.text[at : at + 12]!r}")
        return self.space(at + 1), mark == closing

    def mapping(self, at: int, line: int, depth: int) -> tuple[Node, int]:
        entries: dict[str, Node] = {}
        at = self.space(at)
        done = self.text[at : at + 1] == "}"
        end = at + 1
        while not done:
            key, after = self.string(at)
            after = self.space(after)
            if self.text[after : after + 1] != ":":
                raise self.wrong(after, f"expected ':' after {key!r}")
            if key in entries:
                raise self.wrong(at, f"is stated twice; first on line {entries[key].line}", key[:MAX_TEXT])
            entries[key], after = self.value(self.space(after + 1), depth + 1)
            at, done = self.next(after, "}")
            end = at
        return Node(self.shown, line, 1, entries=entries), end

    def list(self, at: int, line: int, depth: int) -> tuple[Node, int]:
        items: list[Node] = []
        at = self.space(at)
        done = self.text[at : at + 1] == "]"
        end = at + 1
        while not done:
            item, after = self.value(at, depth + 1)
            items.append(item)
            at, done = self.next(after, "]")
            end = at
        return Node(self.shown, line, 1, items=tuple(items)), end


# Look-ups that take anything -----------------------------------------------------------------------------------------


def at(node: Node | None, *keys: str) -> Node | None:
    """What stands below the keys, or None."""
    for key in keys:
        node = node.get(key) if node is not None else None
    return node


def word(node: Node | None, *keys: str) -> str:
    """The text of a scalar, cut to a length that fits a description; "" where there is none."""
    found = at(node, *keys)
    if found is None or not found.scalar or found.word is None:
        return ""
    text = found.text.strip()
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


def words(node: Node | None, *keys: str) -> tuple[str, ...]:
    """A list of texts; one text is a list of one, and what is no text is left out."""
    found = at(node, *keys)
    if found is None or found.entries is not None:
        return ()
    items = (found,) if found.scalar else found.items or ()
    return tuple(dict.fromkeys(text for item in items if (text := word(item))))


def number(node: Node | None, *keys: str) -> float | None:
    """A number, or None."""
    found = at(node, *keys)
    value = found.word if found is not None and found.scalar else None
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def truth(node: Node | None, *keys: str) -> bool | None:
    """A flag, or None where there is none."""
    found = at(node, *keys)
    value = found.word if found is not None and found.scalar else None
    return value if isinstance(value, bool) else None


def rows(node: Node | None, *keys: str) -> tuple[Node, ...]:
    """The mappings of a list."""
    found = at(node, *keys)
    items = found.items if found is not None else ()
    return tuple(item for item in items or () if item.entries is not None)


def entries(node: Node | None, *keys: str) -> Mapping[str, Node]:
    """The entries of a mapping; {} where there is none."""
    found = at(node, *keys)
    return (found.entries if found is not None else None) or {}


def below(node: Node) -> Iterator[tuple[str, Node]]:
    """Every key with its value, at any depth, each shared part once."""
    seen: set[int] = set()
    queue = [node]
    while queue:
        here = queue.pop()
        if id(here) in seen:
            continue
        seen.add(id(here))
        yield from (here.entries or {}).items()
        queue += [*(here.entries or {}).values(), *(here.items or ())]
