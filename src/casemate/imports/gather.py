"""What every importer collects into: facts with their place, elements with ids that a description accepts, notes."""

from __future__ import annotations

import re
from typing import Any

from casemate.imports.found import Found, Import
from casemate.threats.nodes import Node

MODEL = "$model"
_NO_ID = re.compile(r"[^A-Za-z0-9_-]+")
_SHOWN = 80  # characters of a foreign name in a note
_PASSWORD = re.compile(r"(://)[^/\s@]*:[^/\s@]*@")


class Gathered:
    """One import in the making.

    Args:
        format: In words, as `Import.format`.
        file: As the user named it.
    """

    def __init__(self, format: str, file: str) -> None:
        self.format, self.file = format, file
        self.facts: list[Found] = []
        self.elements: dict[str, list[dict[str, Any]]] = {}
        self.notes: list[str] = []
        self._ids: dict[tuple[str, str], str] = {}

    def fact(self, path: str, value: Any, because: str, node: Node | None = None) -> None:
        """A fact, unless there is nothing to say (None, "" or an empty list). The line is put before `because`."""
        if value in (None, "", (), []):
            return
        line = node.line if node is not None else 0
        if isinstance(value, bool):
            value = "yes" if value else "no"
        value = [_told(item) for item in value] if isinstance(value, (tuple, list)) else _told(value)
        because = _told(f"line {line}: {because}" if line else because)
        self.facts.append(Found(path=path, value=value, because=because, line=line))

    def element(self, section: str, element: dict[str, Any]) -> None:
        """A whole element; keys without a value are left out, and an equal one is proposed once."""
        stated = {key: value for key, value in element.items() if value not in (None, "", (), [], {})}
        if stated not in self.elements.setdefault(section, []):
            self.elements[section].append(stated)

    def note(self, text: str) -> None:
        text = _told(text)
        if text not in self.notes:
            self.notes.append(text)

    def id(self, name: str, kind: str, title: str = "") -> str:
        """The id of a thing of the file: the same for the same name and kind, and no other's.

        A name that is no id is rewritten, and a note keeps the original.
        """
        known = self._ids.get((kind, name))
        if known:
            return known
        wanted = slug(title or name, kind)
        found, index = wanted, 1
        while found in self._ids.values():
            index += 1
            found = f"{wanted}_{index}"
        self._ids[kind, name] = found
        if found != (title or name):
            self.note(f"{quoted(title or name)} is called {found} here")
        return found

    def done(self) -> Import:
        if not self.facts and not self.elements:
            self.note("nothing in it says anything that a description can state")
        elements = {section: tuple(found) for section, found in self.elements.items()}
        return Import(
            format=self.format, file=self.file, facts=tuple(self.facts), elements=elements, notes=tuple(self.notes)
        )


def _told(value: Any) -> Any:
    """A value without the password that an address in it may carry."""
    return _PASSWORD.sub(r"\1…@", value) if isinstance(value, str) else value


def slug(name: str, otherwise: str) -> str:
    """An id from any text: ASCII letters, digits, - and _, at most 60 characters, not starting with a digit."""
    found = _NO_ID.sub("_", name).strip("_-")[:60].strip("_-")
    if not found:
        found = otherwise
    if not (found[0].isalpha() or found[0] == "_"):
        found = f"{otherwise}_{found}"
    return "the_system" if found == "system" else found


def quoted(text: str) -> str:
    """A foreign text inside a note: escaped, and cut."""
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…")
