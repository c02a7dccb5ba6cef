"""The health lines of one piece of evidence, sorted by what they ask of the reader."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..core.evidence import Check

PAGE = "docs/reference/health.md"  # what each number means, how it is measured, and when it fails
INFORMATION = frozenset({21, 22, 25})  # lines that state a count and never fail: no result is no gap
END = 40  # where it is not fatal, a control or the adversary's own budget ended the attack: no fault, and the verdict names it
_ABSENT = "does not apply: "


@dataclass(frozen=True, slots=True)
class Health:
    """Each check is in one of these, by number. What does not apply is neither passed nor unknown."""

    failed: tuple[Check, ...]
    unknown: tuple[Check, ...]
    passed: tuple[Check, ...]
    told: tuple[Check, ...]  # information
    absent: tuple[Check, ...]

    @property
    def said(self) -> str:
        """The counts of those that apply: ``20 pass, 1 fail, 0 unknown``."""
        return f"{len(self.passed)} pass, {len(self.failed)} fail, {len(self.unknown)} unknown"

    @property
    def notes(self) -> tuple[Check, ...]:
        """What is no failure, but part of what the verdict stands for."""
        return tuple(check for check in self.told if check.ok is False)

    @property
    def calm(self) -> tuple[Check, ...]:
        """What needs no reading."""
        return tuple(sorted((*self.passed, *self.told), key=lambda check: check.number))


def health(checks: Iterable[Check]) -> Health:
    """The checks by what they say."""
    held: dict[str, list[Check]] = {name: [] for name in ("failed", "unknown", "passed", "told", "absent")}
    for check in sorted(checks, key=lambda check: check.number):
        held[_kind(check)].append(check)
    return Health(**{name: tuple(found) for name, found in held.items()})


def _kind(check: Check) -> str:
    if not check.applies:
        return "absent"
    if check.ok is None:
        return "told" if check.number in INFORMATION and not check.fatal else "unknown"
    if check.number == END and not check.ok and not check.fatal:
        return "told"
    return "passed" if check.ok else "failed"


def numbers(checks: Iterable[Check]) -> str:
    """By number alone: ``3, 13, 28``."""
    return ", ".join(str(check.number) for check in checks)


def why_not(check: Check) -> str:
    """Why a check does not apply, without saying again that it does not."""
    return check.detail.removeprefix(_ABSENT)
