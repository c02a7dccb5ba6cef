"""What a static check can say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from casemate.core.entities import Component
from casemate.core.errors import Problem
from casemate.core.system import System
from casemate.threats.checks.within import Folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A fact that a file shows.

    Args:
        path: Of the fact, such as `packages.dependencies.pinned`; `value` as the fact holds it.
        file, line: What shows it, from the folder of the description; line 0 is the file as a whole.
        weak: Nothing was found, which is less than that there is nothing: it answers a question, but contradicts nobody.
    """

    path: str
    value: Any
    because: str
    check: str
    file: str
    line: int = 0
    weak: bool = False

    @property
    def where(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something worth knowing that is no fact of the description. A secret that was found is never part of `text`."""

    component: str
    text: str
    check: str
    file: str
    line: int = 0


Said = Measured | Finding | Problem


class Check(Protocol):
    """Reads what a component names, if it names anything for this check."""

    def __call__(self, system: System, component: Component, folder: Folder, /) -> Iterator[Said]: ...


def unread(system: System, path: str, why: str, check: str) -> Problem:
    """What a check could not do, at the line of the description that asked for it."""
    file, line = system.place(path)
    return Problem(file, line, path, why, f"not checked by {check}")
