"""Small records out of YAML nodes: every key known, every value checked, every problem kept with its line.

What a dispositions file and a gate's policy share. A reading never stops at the first problem: what is wrong reads as
None, and whoever asked raises them all at once.
"""

from __future__ import annotations

import datetime
import difflib
import math
import re
from collections.abc import Iterable

from casemate.core.errors import BadSystem, Problem
from casemate.threats.nodes import Node, told

_DAY = re.compile(r"\d{4}-\d\d-\d\d\Z")


class Form:
    """Reads entries of mappings and collects what is wrong with them."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def wrong(self, node: Node, key: str, message: str, hint: str = "") -> None:
        """Keep one problem, at the node's place."""
        self.problems.append(Problem(node.file, node.line, key, message, hint))

    def entries(self, node: Node, path: str, known: Iterable[str], must: Iterable[str] = ()) -> dict[str, Node]:
        """The entries of a mapping whose keys are known; missing and unknown ones are problems."""
        known = tuple(known)
        if node.entries is None:
            self.wrong(node, path or "file", f"expected a mapping with {', '.join(known)}; got {node.said}")
            return {}
        for key, value in node.entries.items():
            if key not in known:
                close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
                hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
                self.wrong(value, f"{path}.{key}" if path else key, "unknown key", hint)
        for key in must:
            if key not in node.entries:
                self.wrong(node, f"{path}.{key}" if path else key, "is missing")
        return {key: value for key, value in node.entries.items() if key in known}

    def text(self, entries: dict[str, Node], key: str, path: str, most: int = 2000) -> str:
        """A text; "" where there is none. One that is stated and empty is a problem."""
        node = entries.get(key)
        if node is None:
            return ""
        if not node.scalar or (not node.quoted and node.word is None) or not node.text.strip():
            self.wrong(node, f"{path}.{key}", "must be filled in" if node.scalar else "expected a text, not a list or mapping")
            return ""
        if len(node.text) > most:
            self.wrong(node, f"{path}.{key}", f"is longer than {most:,} characters")
            return ""
        return node.text

    def choice(self, entries: dict[str, Node], key: str, path: str, among: Iterable[str]) -> str:
        """One of a few words; "" where it is missing or wrong."""
        text, among = self.text(entries, key, path), tuple(among)
        if text and text not in among:
            close = difflib.get_close_matches(text, among, n=1, cutoff=0.5)
            hint = f"did you mean {close[0]!r}?" if close else ""
            self.wrong(entries[key], f"{path}.{key}", f"expected {', '.join(among)}; got {told(text)}", hint)
            return ""
        return text

    def number(self, entries: dict[str, Node], key: str, path: str, low: float, high: float = math.inf) -> float | None:
        """A finite number from `low` to `high`; None where it is missing or wrong."""
        node = entries.get(key)
        if node is None:
            return None
        word = node.word if node.scalar else None
        if isinstance(word, (int, float)) and not isinstance(word, bool) and math.isfinite(word) and low <= word <= high:
            return float(word)
        span = f"{low:g} to {high:g}" if math.isfinite(high) else f"at least {low:g}"
        self.wrong(node, f"{path}.{key}", f"expected a number, {span}; got {node.said}")
        return None

    def day(self, entries: dict[str, Node], key: str, path: str) -> datetime.date | None:
        """A day of the calendar, as 2026-05-31; None where it is missing or there is no such day."""
        text = self.text(entries, key, path)
        if not text:
            return None
        if not _DAY.match(text):
            self.wrong(entries[key], f"{path}.{key}", f"expected a day as YYYY-MM-DD; got {told(text)}")
            return None
        try:
            return datetime.date.fromisoformat(text)
        except ValueError:
            self.wrong(entries[key], f"{path}.{key}", f"there is no day {text}")
            return None

    def version(self, entries: dict[str, Node], version: int) -> None:
        """The `casemate:` of a file is the version that is read here."""
        node = entries.get("casemate")
        if node is not None and node.word != version:
            self.wrong(node, "casemate", f"expected {version}, the version of this language; got {node.said}")

    def done(self) -> None:
        """Raise `BadSystem` with everything that was wrong, in the order of the lines."""
        if self.problems:
            raise BadSystem(sorted(self.problems, key=lambda p: (p.file, p.line)))
