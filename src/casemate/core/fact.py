"""Facts about a system.

A description says yes, no or unknown, never just "absent": what is not stated is unknown, and unknown is not no.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Literal

Source = Literal["asserted", "imported", "measured"]
Basis = Literal["asserted", "imported", "measured", "not listed"]  # the last: no access row says otherwise


class Truth(enum.Enum):
    """Kleene's three values. `if fact:` raises, because it would read unknown as yes."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"

    @staticmethod
    def of(value: bool) -> Truth:
        return Truth.YES if value else Truth.NO

    def __and__(self, other: Truth) -> Truth:
        return _ORDER[min(_ORDER.index(self), _ORDER.index(other))]

    def __or__(self, other: Truth) -> Truth:
        return _ORDER[max(_ORDER.index(self), _ORDER.index(other))]

    def __invert__(self) -> Truth:
        return _ORDER[2 - _ORDER.index(self)]

    def __bool__(self) -> bool:
        raise TypeError("a fact may be unknown; compare it: fact is Truth.YES")


_ORDER = (Truth.NO, Truth.UNKNOWN, Truth.YES)
YES, NO, UNKNOWN = Truth.YES, Truth.NO, Truth.UNKNOWN


@dataclass(frozen=True, slots=True)
class Fact:
    """One statement about a system: `api.model.output = label (measured)`."""

    path: str
    value: Any
    source: Basis = "asserted"

    @property
    def shown(self) -> str:
        """The value in words; a record by what is stated in it."""
        if isinstance(self.value, Truth):
            return self.value.value
        if is_dataclass(self.value):
            stated = {f.name: getattr(self.value, f.name) for f in fields(self.value)}
            return ", ".join(f"{k} {Fact('', v).shown}" for k, v in stated.items() if v not in (None, (), UNKNOWN))
        return str(self.value)

    def __str__(self) -> str:
        return f"{self.path} = {self.shown} ({self.source})"
