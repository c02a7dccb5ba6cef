"""The values a pickle stream builds, seen without building them, and the allow list of what it may name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from casemate.attacks.supply._finding import Data

Name = tuple[str, str]
WRAPPER: Name = ("joblib.numpy_pickle", "NumpyArrayWrapper")


class Use(StrEnum):
    """What a stream may do with a global on the allow list."""

    CALL = "call"
    """Call it with any arguments that pass the argument rules."""
    NEW = "new"
    """Create an empty instance and set its state; never pass it arguments."""
    NAME = "name"
    """Mention it as a value; never call it."""


Allowed = Mapping[Name, Use]


@cache
def default_allowed() -> Allowed:
    """The shipped allow list. Exact names only: a pattern would also admit whatever a module happens to re-export."""
    return read_allowed(Path(__file__).with_name("allowed_globals.txt").read_text("utf-8"))


def read_allowed(text: str) -> Allowed:
    """Parse lines of ``use module name``; ``#`` starts a comment. A malformed line raises, it is not skipped."""
    allowed: dict[Name, Use] = {}
    for line in text.splitlines():
        words = line.split("#", 1)[0].split()
        if words:
            use, module, name = words
            allowed[module, name] = Use(use)
    return MappingProxyType(allowed)


class Kind(StrEnum):
    """What is known about a value on the symbolic stack."""

    LITERAL = "literal"
    GLOBAL = "global"
    TUPLE = "tuple"
    LIST = "list"
    DICT = "dict"
    SET = "set"
    MADE = "made"
    OPAQUE = "opaque"


@dataclass(slots=True, eq=False)
class Sym:
    """One symbolic value.

    ``value`` is the literal, or the (module, name) of a global or of what made a MADE value. ``items`` are the
    elements of a tuple or the arguments of a call; ``fields`` the literal string keys of a dict. ``weight`` counts
    the leaves a naive traversal would visit, which is what a nested-memo bomb makes explode.
    """

    kind: Kind
    value: Any = None
    items: tuple[Sym, ...] = ()
    fields: dict[str, Sym] | None = None
    odd_keys: bool = False
    states: tuple[Sym, ...] = ()
    weight: int = 1

    def text(self) -> str | None:
        """The value if it is a literal string, else None."""
        return self.value if self.kind is Kind.LITERAL and isinstance(self.value, str) else None

    def whole(self) -> int | None:
        """The value if it is a literal integer (not a bool), else None."""
        if self.kind is Kind.LITERAL and isinstance(self.value, int) and not isinstance(self.value, bool):
            return self.value
        return None

    def is_none(self) -> bool:
        """Whether it is the literal None."""
        return self.kind is Kind.LITERAL and self.value is None


def no_module(name: str) -> bool:
    """Whether importing `name` fails before anything is executed: of a dotted name the first part is imported first.

    ``my-script`` and ``01_run`` are no identifiers, but names of files that an import by name finds; so is a leading dot.
    """
    first = name.split(".")[0].strip()  # a loader in text mode drops the carriage return
    return not name or bool(first and not _FILE.fullmatch(first))


def stops_everyone(data: Data, at: int) -> bool:
    """Whether the opcode at ``at``, which ``pickletools`` cannot read, stops every unpickler too.

    ``pickletools`` is stricter than the unpicklers: they take ``I0x10``, strings in the loader's encoding, names that
    are not ASCII, and a last line without its newline, and then go on executing.
    """
    code, line = data[at : at + 1], data[at + 1 : at + 80].split(b"\n", 1)[0]
    if code in (b"I", b"L"):
        return not line.strip().lstrip(b"+-")[:1].isdigit()
    if code == b"S":
        return line[:1] not in (b"'", b'"')
    if code in (b"c", b"i"):
        return no_module(line.decode("utf-8", "ignore"))
    return code != b"V" or data.find(b"\n", at) < 0  # at the very end there is nothing left to execute


_LONGEST_KEPT = 1024
_FILE = re.compile(r"[\w-]+")


def literal(value: object) -> Sym:
    """A literal. Long strings and bytes are dropped: nothing legitimate is named by a kilobyte."""
    if isinstance(value, (str, bytes, bytearray)) and len(value) > _LONGEST_KEPT:
        return Sym(Kind.LITERAL, Ellipsis)
    return Sym(Kind.LITERAL, value)
