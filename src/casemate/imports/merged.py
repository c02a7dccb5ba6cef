"""What a merge tells: what was added, what differs, what two files disagree on, what could not be written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from casemate.imports.claims import Claim


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A fact that the description states otherwise than a file.

    Args:
        stated, stated_source, stated_place: What the description says, whether that is asserted, imported or measured,
            and file and line.
        imported, imported_from, because: What the file says, and where.
    """

    path: str
    stated: Any
    stated_source: str
    stated_place: tuple[str, int]
    imported: Any
    imported_from: str
    because: str

    def __str__(self) -> str:
        file, line = self.stated_place
        where = f"{self.stated_source}, {file}:{line}"
        return f"{self.path}: stated {self.stated!r} ({where}); {self.imported_from} says {self.imported!r} ({self.because})"


@dataclass(frozen=True, slots=True)
class Conflict:
    """A fact on which files disagree with each other. None of them is written, unless a file is named for it."""

    path: str
    claims: tuple[Claim, ...]

    def __str__(self) -> str:
        return f"{self.path}: " + "; ".join(f"{c.file} says {c.value!r} ({c.because})" for c in self.claims)


@dataclass(frozen=True, slots=True)
class Unplaced:
    """A fact that could not be written, and why: no component to put it on, an alias in the way, no such value."""

    claim: Claim
    why: str

    def __str__(self) -> str:
        return f"{self.claim.path} = {self.claim.value!r} ({self.claim.file}): {self.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """A description with what was imported.

    Args:
        text: The description. Outside of what was added or accepted every byte is as it was.
        added: Facts that were missing and are filled in.
        kept: Facts that the description stated already, in the same words.
        differences: Facts that it states otherwise, left as they are.
        accepted: Those of them that `accept` named; here the imported value stands now.
        conflicts: Facts on which the files disagree.
        unplaced: Facts that could not be written.
        elements: New elements, as "components api".
        notes: What was decided on the way: renamed ids, the component that `$model` became.
    """

    text: str
    added: tuple[Claim, ...] = ()
    kept: tuple[Claim, ...] = ()
    differences: tuple[Difference, ...] = ()
    accepted: tuple[Difference, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    unplaced: tuple[Unplaced, ...] = ()
    elements: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
