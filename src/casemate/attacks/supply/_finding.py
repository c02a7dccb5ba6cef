"""What every scanner of artifacts speaks in: severities, findings, limits."""

from __future__ import annotations

import io
import mmap
from dataclasses import dataclass, field
from enum import StrEnum
from typing import IO, Literal, cast

Verdict = Literal["safe", "unsafe", "unknown"]
Data = bytes | mmap.mmap

_KEPT_PER_SEVERITY = 200


def opened(data: Data) -> IO[bytes]:
    """The bytes as a file at its start. A memory map is one already, and copying a model of gigabytes is not an option."""
    if isinstance(data, mmap.mmap):
        data.seek(0)
        return cast(IO[bytes], data)
    return io.BytesIO(data)


class Severity(StrEnum):
    """How much a finding decides.

    ``critical`` and ``high`` make the verdict unsafe, ``medium`` says that something could not be vouched for
    (verdict unknown, which every gate must treat as unsafe), ``low`` and ``info`` leave the verdict alone.
    """

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Finding:
    """One observation: what was seen, at which byte of which member, and why it matters."""

    severity: Severity
    where: str
    offset: int | None
    what: str
    reason: str
    scanner: str

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "severity": str(self.severity),
            "where": self.where,
            "offset": self.offset,
            "what": self.what,
            "reason": self.reason,
            "scanner": self.scanner,
        }


@dataclass(frozen=True, slots=True)
class Limits:
    """Hard caps. Reaching one is a finding, never a silent stop: the rest was not looked at."""

    opcodes: int = 2_000_000
    memo: int = 1_000_000
    depth: int = 6
    members: int = 20_000
    member_bytes: int = 1 << 30
    total_bytes: int = 4 << 30
    text_bytes: int = 8 << 20
    weight: int = 100_000_000
    elements: int = 1 << 33
    files: int = 50_000


def verdict_of(findings: list[Finding] | tuple[Finding, ...]) -> Verdict:
    """The worst finding decides; no finding at all is safe only because every scanner reports its own failures."""
    worst = {finding.severity for finding in findings}
    if worst & {Severity.CRITICAL, Severity.HIGH}:
        return "unsafe"
    return "unknown" if Severity.MEDIUM in worst else "safe"


@dataclass(slots=True)
class Notebook:
    """Collects findings for one place. The cap is per severity, so a flood of notes never hides a critical one."""

    where: str
    scanner: str
    found: list[Finding] = field(default_factory=list)
    _seen: set[tuple[str, str, str]] = field(default_factory=set)
    _count: dict[Severity, int] = field(default_factory=dict)

    def add(self, severity: Severity, offset: int | None, what: str, reason: str) -> None:
        """Note it once: the same observation at a later offset adds nothing."""
        what = printable(what)
        key = (severity, what, reason)
        count = self._count.get(severity, 0)
        if key in self._seen or count > _KEPT_PER_SEVERITY:
            return
        self._count[severity] = count + 1
        if count == _KEPT_PER_SEVERITY:
            what, reason = "further findings of this severity left out", "the report stays readable"
        else:
            self._seen.add(key)
        self.found.append(Finding(severity, self.where, offset, what, reason, self.scanner))


def printable(text: str, most: int = 200) -> str:
    """Names come from the attacker: control characters must not reach a terminal."""
    clean = "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)
    return clean if len(clean) <= most else clean[:most] + "..."
