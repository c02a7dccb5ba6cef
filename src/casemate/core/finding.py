"""A finding: a threat, what was measured of it, and how much it matters.

Severity is impact against the band of the attacker's cost: measured where it was broken, assumed by the catalogue where
nobody tested it (`Finding.risk` says which). There is never one sum over the system.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from .disposition import Disposed
from .evidence import Cost, Evidence, Status, plain
from .risk import Risk

SEVERITIES = ("critical", "high", "medium", "low", "none")
BANDS = ("trivial", "cheap", "costly", "not shown")
# Deployed queries until half the rows break. The bands are decades that a rate limit of 1,000 a day turns into
# minutes, a day, and months.
_EDGES = (10.0, 1_000.0)


def band(cost: Cost | None) -> str:
    """The band of a measured cost; ``not shown`` where nothing was broken, or less than half within the budget."""
    if cost is None or cost.queries is None:
        return BANDS[3]
    return BANDS[0] if cost.queries <= _EDGES[0] else BANDS[1] if cost.queries <= _EDGES[1] else BANDS[2]


def severity(impact: int, status: Status, cost: Cost | None) -> str:
    """From impact (0-4) and what the break was measured to cost.

    A break whose cost has no query count (an artifact, a poisoned record) counts as cheap; one that reached fewer than
    half the rows as costly. What is not broken has severity ``none``: it is listed, not ranked.
    """
    if status is not Status.BROKEN:
        return "none"
    found = band(cost)
    step = {"trivial": 0, "cheap": 0, "costly": 1, "not shown": 1}[found] if cost else 0
    return SEVERITIES[min(3, max(0, 4 - impact) + step)] if impact else "low"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One threat with its evidence.

    Args:
        threat: Stable id, e.g. ``EV-02@api#customer``.
        status: Where it stands; `reason` says why where there is no evidence.
        evidence: Every attack that was run for it, the decisive one first.
        cost: The cheapest measured break.
        adversary: Name, principal, capabilities, budget and the access rows they were derived from, as text.
        mappings: ``{framework: ["ID name (release)", ...]}`` (atlas, nist, owasp_ml, cwe, aiexchange).
        advice: What else can be done: ``{do, effect, reference}``.
        claimed: Ids of active controls of the description that are meant against this; not tested unless there is evidence.
        tests, checks: Attacks that run it, static checks that settle its facts.
        cell: Phase, surface, goal and capability.
        disposed: What was decided about it, and whether that stands.
    """

    threat: str
    rule: str
    title: str
    element: str
    principal: str
    explanation: str
    impact: int
    status: Status
    reason: str = ""
    severity: str = "none"
    cost: Cost | None = None
    evidence: tuple[Evidence, ...] = ()
    adversary: dict[str, Any] = field(default_factory=dict)
    mappings: dict[str, Any] = field(default_factory=dict)
    mitigations: tuple[str, ...] = ()
    advice: tuple[dict[str, Any], ...] = ()
    claimed: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    cell: dict[str, str] = field(default_factory=dict)
    stride: str = ""
    harm: str = ""
    maturity: str = ""
    risk: Risk | None = None
    disposed: Disposed | None = None
    file: str = ""
    line: int = 0

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, evidence included."""
        data = {name: plain(getattr(self, name)) for name in self.__slots__ if name != "evidence"}
        return {**data, "evidence": [e.to_dict() for e in self.evidence]}

    def sentence(self) -> str:
        """One line: who does what, at what measured cost."""
        if not self.evidence:
            return f"{self.title} at {self.element}: {self.status}" + (f" ({self.reason})" if self.reason else "")
        lead = self.evidence[0]
        known = self.cost is not None and (self.cost.queries is not None or self.cost.blocked)
        half = self.cost is not None and self.cost.queries is not None and lead.case == "evade"
        share = "half of the rows for " if half else "" if self.cost and self.cost.blocked else "for "
        paid = lead.case == "evade" or bool(self.cost and (self.cost.queries or self.cost.records or self.cost.blocked))
        spent = f", {share}{self.cost}" if known and paid and lead.case != "smuggle" else ""
        return f"{self.principal} against {self.element}: {lead.measure} {lead.rate:.0%} by {lead.attack}{spent}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """Threats of which each opens the next, for one attacker.

    Args:
        steps: Threat ids, the first one open to the attacker as things stand.
        gains: What each step gives: ``"write_weights on store"``; the last gives nothing further ("").
        low, high: The summed cost in money; `basis` as in `Risk` (`prior` as soon as one step is).
    """

    steps: tuple[str, ...]
    gains: tuple[str, ...]
    attacker: str
    title: str
    impact: int
    low: float | None = None
    high: float | None = None
    currency: str = ""
    basis: str = "prior"

    @property
    def id(self) -> str:
        return " > ".join(self.steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hidden:
    """A threat that is not listed, because another with the same outcome is cheaper for the same attacker."""

    threat: str
    title: str
    by: str
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """The outcome of one run over one description.

    Args:
        system: The System as it was assessed (measured facts included).
        findings: Ranked: broken first by severity, then the rest.
        questions: Open questions, most consequential first: ``{field, text, threats}``.
        conflicts: What is at odds: the target shows something else than the description says, data of one class.
        untested: What was not tested and why: ``{what, reason}``.
        reproduce: The command that repeats it.
        versions: casemate and libraries, as far as they matter to the numbers.
        hardening: Rows of `casemate harden`, where it was run: before and after for each control.
        chains: Paths through several threats, the cheapest for each attacker and end.
        hidden: Threats that others make pointless.
        judged_on: The day on which dispositions were applied, where they were.
        warnings: Dispositions that fit nothing, rules without a technique, and the like, one sentence each.
    """

    name: str
    path: str
    system: Any
    findings: tuple[Finding, ...]
    questions: tuple[dict[str, Any], ...] = ()
    conflicts: tuple[str, ...] = ()
    untested: tuple[dict[str, str], ...] = ()
    seed: int = 0
    budget: str = "standard"
    reproduce: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    clean: dict[str, float] = field(default_factory=dict)  # clean accuracy, rejected share, latency (seconds_ keys vary)
    hardening: tuple[dict[str, Any], ...] = ()
    chains: tuple[Chain, ...] = ()
    hidden: tuple[Hidden, ...] = ()
    warnings: tuple[str, ...] = ()
    judged_on: datetime.date | None = None
    samples: dict[str, dict[str, Any]] = field(default_factory=dict)  # by threat id: before/after/row/truth/label_after arrays
    personal: bool = False
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; the System as its name only, the samples left out (they may be personal)."""
        skip = {"system", "findings", "samples"}
        data = {name: plain(getattr(self, name)) for name in self.__slots__ if name not in skip}
        return {**data, "digest": self.digest(), "findings": [f.to_dict() for f in self.findings]}

    def digest(self) -> str:
        """A hash over all evidence: identical for one worker or many, killed or not."""
        lines = [[f.threat, str(f.status), [e.digest() for e in f.evidence]] for f in self.findings]
        return hashlib.sha256(json.dumps([self.name, sorted(lines)]).encode()).hexdigest()

    def top(self, count: int = 3) -> tuple[Finding, ...]:
        """The findings to read first."""
        return self.findings[:count]
