"""Write into a description without touching the rest of it: every byte outside of what changes stays as it was.

A library that loads and dumps YAML folds lines, moves indents and re-quotes. Here the text is composed only to learn
where each value stands, and the changes are spliced in there: new keys in the style (block or flow) of the mapping that
gets them, new elements at the end of their list.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml

Tree: TypeAlias = "dict[str, Tree | Leaf]"

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*\Z")
_WORDS = {"yes", "no", "true", "false", "null", "on", "off", "y", "n", "unknown", "none"}
_ODD = re.compile(r"[\x00-\x1f\x7f-\xa0\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
_ALIAS = re.compile(r"\*[^\s,\]}]+")
_WIDTH = 100  # characters up to which a new element stands on one line


@dataclass(frozen=True, slots=True)
class Leaf:
    """A value to write. `source` makes it `{value: ..., source: ...}`; `word` is a value of the language: yes, server."""

    value: Any
    source: str = ""
    word: bool = False


@dataclass(slots=True)
class Change:
    """What to write below one element.

    Args:
        section: `components`, or `system`, which is a mapping and no list.
        identity: The keys that name the element, ids as in the file: {"id": "api"}, {"from": "a", "to": "b"}.
        tree: Keys to values, at any depth.
        comment: Of an element that is new.
    """

    section: str
    identity: Mapping[str, str]
    tree: Tree = field(default_factory=dict)
    comment: str = ""


class Splicer:
    """A text of YAML (or JSON), and where everything in it stands. The text must be a valid description."""

    def __init__(self, text: str) -> None:
        self.mark = "\ufeff" if text.startswith("\ufeff") else ""
        self.text = text.removeprefix("\ufeff")
        self.root: Any = yaml.compose(self.text, Loader=yaml.CSafeLoader if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader)
        self.line = "\r\n" if "\r\n" in self.text else "\n"
        self.json = self.text.lstrip().startswith("{") and '"' in self.text[: self.text.find(":") + 1]
        self.edits: list[tuple[int, int, str]] = []
        self.shared = _shared(self.root)
        self.named: dict[tuple[int, tuple[str, ...]], dict[tuple[str | None, ...], Any]] = {}  # items of lists, as asked for

    def obstacle(self, section: str, identity: Mapping[str, str], keys: Iterable[str]) -> str:
        """Why a value cannot be written there, or "". A part that several aliases share would change in all of them."""
        node = _child(self.root, section)
        if node is not None and section != "system":
            node = self._item(node, identity)
        for key in ("", *keys):
            node = _child(node, key) if key else node
            if node is not None and id(node) in self.shared:
                return f"line {node.start_mark.line + 1} is written once and used in several places (an alias)"
        return ""

    def has(self, section: str, identity: Mapping[str, str]) -> bool:
        """Whether the text has an item of this name, be it one that takes an element of another file out."""
        return self._item(_child(self.root, section), identity) is not None

    def apply(self, changes: Iterable[Change]) -> str:
        """The text with all changes in it."""
        sections: dict[str, list[Change]] = {}
        for change in changes:
            sections.setdefault(change.section, []).append(change)
        missing: list[tuple[str, list[Change]]] = []
        for section, listed in sections.items():
            node = _child(self.root, section)
            if node is None or _empty(node):
                missing.append((section, listed))
            elif section == "system":
                self._mapping(node, _joined(listed))
            else:
                self._list(node, listed)
        for section, listed in missing:
            self._section(section, listed)
        out, at = [], 0
        for start, end, new in sorted(self.edits, key=lambda edit: edit[0]):  # stable: inner ones first
            out += [self.text[at:start], new]
            at = end
        return self.mark + "".join([*out, self.text[at:]])

    # Where things go -------------------------------------------------------------------------------------------------

    def _item(self, node: Any, identity: Mapping[str, str]) -> Any:
        keys = tuple(identity)
        named = self.named.get((id(node), keys))
        if named is None:
            items = node.value if isinstance(node, yaml.SequenceNode) else ()
            named = {tuple(_text(_child(item, key)) for key in keys): item for item in reversed(items)}
            self.named[id(node), keys] = named
        return named.get(tuple(identity.values()))

    def _list(self, node: Any, changes: list[Change]) -> None:
        new = []
        for change in changes:
            item = self._item(node, change.identity)
            if item is None:
                new.append(change)
            else:
                self._mapping(item, change.tree)
        if not new:
            return
        if node.flow_style:
            self._into_flow(node, [self._flow(_whole(change)) for change in new])
        else:
            dash = node.start_mark.column if self.text[node.start_mark.index] == "-" else self._dash(node)
            self._after(node, [line for change in new for line in self._element(change, dash)])

    def _dash(self, node: Any) -> int:
        at = self.text.rfind("-", 0, node.value[0].start_mark.index)
        return at - (self.text.rfind("\n", 0, at) + 1)

    def _section(self, section: str, changes: list[Change]) -> None:
        """A section that is missing, or there without a value."""
        if self.root.flow_style:
            items = [self._flow(_whole(change)) for change in changes]
            value = self._flow(_joined(changes)) if section == "system" else f"[{', '.join(items)}]"
            node = _child(self.root, section)
            if node is not None:
                self._replace(self.root, section, value)
            else:
                self._into_flow(self.root, [f"{self._key(section)}: {value}"])
            return
        indent = self.root.value[0][0].start_mark.column if self.root.value else 0
        if section == "system":
            lines = self._block(_joined(changes), indent + 2)
        else:
            lines = [line for change in changes for line in self._element(change, indent + 2)]
        node = _child(self.root, section)
        if node is not None:  # "components:" and nothing behind it
            self._replace(self.root, section, self.line + self.line.join(lines))
        else:
            self._after(self.root, [" " * indent + section + ":", *lines])

    def _mapping(self, node: Any, tree: Tree) -> None:
        new: Tree = {}
        for key, value in tree.items():
            child = _child(node, key)
            if child is None:
                new[key] = value
            elif isinstance(value, dict) and isinstance(child, yaml.MappingNode) and not _is_sourced(child):
                self._mapping(child, value)
            else:
                self._replace(node, key, self._flow(value))
        if not new:
            return
        if node.flow_style:
            self._into_flow(node, [f"{self._key(key)}: {self._flow(value)}" for key, value in new.items()])
        else:
            self._after(node, self._block(new, node.value[0][0].start_mark.column))

    # Edits -----------------------------------------------------------------------------------------------------------

    def _replace(self, node: Any, key: str, new: str) -> None:
        """The value of a key; an empty one is put after its colon, and a block gives up its lines."""
        name, child = next((k, v) for k, v in node.value if k.value == key)
        start, end = child.start_mark.index, self._end(child)
        if _empty(child) or (isinstance(child, yaml.CollectionNode) and not child.flow_style):
            start = self.text.index(":", name.end_mark.index) + 1
            end = start if _empty(child) else end
            new = new if new.startswith(self.line) else f" {new}"
        self.edits.append((start, end, new))

    def _into_flow(self, node: Any, items: list[str]) -> None:
        if not node.value:
            at = self.text.index("}" if isinstance(node, yaml.MappingNode) else "]", node.start_mark.index)
            self.edits.append((at, at, ", ".join(items)))
            return
        at = self._last(node)
        self.edits.append((at, at, "".join(f", {item}" for item in items)))

    def _after(self, node: Any, lines: list[str]) -> None:
        """New lines after the last line of a block."""
        at = self._end(node)
        if at and self.text[at - 1] == "\n":  # a block scalar ends where the next line starts
            self.edits.append((at, at, "".join(line + self.line for line in lines)))
            return
        found = re.compile(r"\r?\n|\Z").search(self.text, at)
        at = found.start() if found else len(self.text)
        self.edits.append((at, at, "".join(self.line + line for line in lines)))

    def _end(self, node: Any) -> int:
        """Where a node's last character is; the end of a block as YAML marks it takes in the comments behind it."""
        if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
            return self._last(node)
        at: int = node.end_mark.index
        return at

    def _last(self, node: Any) -> int:
        """Where the last part of a mapping or list ends. An alias is marked where its anchor is, so it is looked for."""
        name, child = node.value[-1] if isinstance(node, yaml.MappingNode) else (None, node.value[-1])
        if id(child) not in self.shared:
            return self._end(child)
        at: int = name.end_mark.index if name is not None else node.start_mark.index
        for item in node.value if name is None else [child]:
            if id(item) in self.shared and item.start_mark.index < at:
                found = _ALIAS.search(self.text, at)
                at = found.end() if found else at
            else:
                at = self._end(item)
        return at

    # Text ------------------------------------------------------------------------------------------------------------

    def _key(self, key: str) -> str:
        return json.dumps(key) if self.json else key

    def _scalar(self, value: Any, word: bool) -> str:
        if isinstance(value, (list, tuple)):
            return "[" + ", ".join(self._scalar(item, word) for item in value) + "]"
        if not isinstance(value, str):
            return json.dumps(value)
        plain = word or (_PLAIN.match(value) and value.lower() not in _WORDS)
        return value if plain and not self.json else quoted(value)

    def _flow(self, value: Tree | Leaf) -> str:
        if isinstance(value, Leaf):
            text = self._scalar(value.value, value.word)
            if not value.source:
                return text
            return f"{{{self._key('value')}: {text}, {self._key('source')}: {self._scalar(value.source, True)}}}"
        return "{" + ", ".join(f"{self._key(key)}: {self._flow(inner)}" for key, inner in value.items()) + "}"

    def _block(self, tree: Tree, indent: int) -> list[str]:
        lines = []
        for key, value in tree.items():
            if isinstance(value, dict):
                lines += [" " * indent + f"{key}:", *self._block(value, indent + 2)]
            else:
                lines.append(" " * indent + f"{key}: {self._flow(value)}")
        return lines

    def _element(self, change: Change, dash: int) -> list[str]:
        whole, pad = _whole(change), " " * dash
        comment = [f"{pad}# {_ODD.sub(' ', change.comment)}"] if change.comment else []
        short = f"{pad}- {self._flow(whole)}"
        if len(short) <= _WIDTH and not any(isinstance(value, dict) for value in whole.values()):
            return [*comment, short]
        lines = self._block(whole, dash + 2)
        return [*comment, f"{pad}- {lines[0].lstrip()}", *lines[1:]]


def quoted(text: str) -> str:
    """A text in double quotes that YAML and JSON read alike."""
    return _ODD.sub(lambda found: f"\\u{ord(found.group()):04x}", json.dumps(text, ensure_ascii=False))


def _child(node: Any, key: str) -> Any:
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    return next((value for name, value in pairs if name.value == key), None)


def _text(node: Any) -> str | None:
    return node.value if isinstance(node, yaml.ScalarNode) else None


def _empty(node: Any) -> bool:
    """Nothing behind the colon."""
    return isinstance(node, yaml.ScalarNode) and node.start_mark.index == node.end_mark.index


def _is_sourced(node: Any) -> bool:
    """`{value: none, source: imported}` where a record may stand."""
    keys = {name.value for name, _ in node.value}
    return "value" in keys and keys <= {"value", "source"} and isinstance(_child(node, "value"), yaml.ScalarNode)


def _shared(root: Any) -> set[int]:
    """The nodes that more than one place uses, with all that is in them."""
    seen: set[int] = set()
    twice: list[Any] = []
    queue = [root]
    while queue:
        node = queue.pop()
        if id(node) in seen:
            twice.append(node)
            continue
        seen.add(id(node))
        queue += _parts(node)
    found: set[int] = set()
    while twice:
        node = twice.pop()
        if id(node) not in found:
            found.add(id(node))
            twice += _parts(node)
    return found


def _parts(node: Any) -> list[Any]:
    if isinstance(node, yaml.MappingNode):
        return [value for _, value in node.value]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _whole(change: Change) -> Tree:
    return {**{key: Leaf(value) for key, value in change.identity.items()}, **change.tree}


def _joined(changes: list[Change]) -> Tree:
    tree: Tree = {}
    for change in changes:
        tree |= change.tree
    return tree
