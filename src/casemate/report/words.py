"""The sentences and names that every format shares, and the linter that keeps them honest.

A sentence says who, from where, does what, at what measured cost, and names the evidence it rests on.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..core.evidence import Cost, Evidence, Interval, Status
from ..core.fact import Truth
from ..core.finding import SEVERITIES, Finding

EVIDENCE_ID = re.compile(r"\bE[0-9a-f]{10}\b")


@dataclass(frozen=True, slots=True)
class Look:
    """How a status is shown. `tone` names a colour and a shape; `rank` orders from worst to harmless."""

    label: str
    tone: str
    rank: int


LOOKS = {
    Status.BROKEN: Look("Broken", "broken", 0),
    Status.ERROR: Look("Error", "unclear", 1),
    Status.INCONCLUSIVE: Look("Inconclusive", "unclear", 2),
    Status.STALE: Look("Stale", "unclear", 3),
    # A threat that is there and was not looked at is worse than one that may not be there.
    Status.UNTESTED: Look("Untested", "untested", 4),
    Status.CLAIMED: Look("Claimed, not tested", "untested", 5),
    Status.QUESTION: Look("Undecided", "question", 6),
    Status.RESISTED: Look("Resisted within budget", "resisted", 7),
    Status.MITIGATED: Look("Mitigated, re-attacked", "resisted", 8),
    Status.CERTIFIED: Look("Certified", "resisted", 9),
    Status.NOT_APPLICABLE: Look("Does not apply", "none", 10),
}
TONES = {
    "broken": "broken",
    "unclear": "inconclusive",
    "untested": "untested",
    "question": "undecided",
    "resisted": "resisted within budget",
    "none": "no threat derived",
}
BUCKETS = {"broken": "broken", "resisted": "resisted", "unclear": "inconclusive", "untested": "untested", "question": "undecided"}
_UNSAFE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_DOES = {
    "evasion": "changes decisions of",
    "suite": "changes decisions of",
    "poisoning": "poisons the training of",
    "privacy": "learns who is in the training data of",
    "extraction": "copies",
    "availability": "exhausts",
    "supply": "tampers with",
}
# What a family name is too coarse for, by the kind of case.
_DOES_AS = {
    "backdoor": "plants a backdoor in", "misread": "makes chosen inputs be misread by",
    "audit": "tells what went into the training of",
    "attribute": "learns hidden values of people from", "property": "learns about the training data as a whole from",
    "invert": "makes training inputs again from", "leak": "makes training inputs again from the gradients of",
    "drill": "waits for a fault of", "fetch": "swaps files in the training data of",
    "federated": "moves the joint model of",
    "adopt": "plants a backdoor in the parent of", "harvest": "runs up the bill of", "sponge": "slows",
}  # fmt: skip
PLANTED = "planted by the owner: an upper case"
STAND_IN = "shadows by a stand-in: the adversary does not know the recipe"
OWN_SHADOWS = "a small network of the attacker's own"  # as attacks say who trained their shadows


def clean(text: Any) -> str:
    """Text that cannot steer a terminal, reorder a line or end a document: control characters become visible escapes."""
    plain = str(text)
    if plain.isascii() and plain.isprintable():
        return plain
    return "".join(c if c in "\n\t" or unicodedata.category(c) not in _UNSAFE else _visible(c) for c in plain)


def _visible(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 256 else f"\\u{{{code:x}}}"


def line(text: Any) -> str:
    """`clean`, in one line: no name can begin a line of its own, and pass for one of ours."""
    return clean(text).replace("\n", "\\n").replace("\t", "\\t")


def short(text: Any, size: int = 60) -> str:
    """The text, cut with an ellipsis."""
    cleaned = clean(text)
    return cleaned if len(cleaned) <= size else f"{cleaned[: size - 1]}…"


def look(status: Status) -> Look:
    return LOOKS[status]


def worst(statuses: Iterable[Status]) -> str:
    """The tone of the worst status; `none` of nothing."""
    return min((LOOKS[s] for s in statuses), key=lambda found: found.rank, default=LOOKS[Status.NOT_APPLICABLE]).tone


def tally(findings: Iterable[Finding]) -> dict[str, int]:
    """Counts by bucket; `derived` are the threats that fired: neither what waits for a fact nor what does not apply is in it."""
    counts = dict.fromkeys(("derived", *BUCKETS.values()), 0)
    for finding in findings:
        bucket = BUCKETS.get(LOOKS[finding.status].tone)
        if bucket:
            counts[bucket] += 1
            counts["derived"] += finding.status is not Status.QUESTION
    return counts


def urgency(finding: Finding) -> tuple[bool, int, float]:
    """What is read first: what broke, by severity, then by impact. A key to sort by."""
    return finding.status is not Status.BROKEN, SEVERITIES.index(finding.severity), -finding.impact


def evidence_id(evidence: Evidence) -> str:
    """A short name of the evidence: the start of its digest, so it repeats when the measurement does."""
    return f"E{evidence.digest()[:10]}"


def is_share(evidence: Evidence) -> bool:
    """Whether the measure is a share of something, and so reads as a percentage."""
    return is_share_of(evidence.measure, evidence.rate)


def is_share_of(measure: str, rate: float) -> bool:
    """The same of a measure by its name."""
    words = ("advantage", "error", "distance", "seconds", "ratio", "epsilon", "gain", "squared")
    return 0 <= rate <= 1 and not any(word in measure for word in words)


def measured(evidence: Evidence, value: float | None = None) -> str:
    """The rate (or another value of the same measure) in the measure's own notation."""
    value = evidence.rate if value is None else value
    return number(value, is_share(evidence))


def number(value: float, share: bool) -> str:
    """A share as a percentage, anything else in three digits."""
    return f"{100 * value:.0f}%" if share else f"{value:.3g}"


def spread(evidence: Evidence) -> str:
    """The interval in words, or that there is none."""
    interval = evidence.interval
    if interval is None:
        return "a bound at 95%" if "lower bound" in evidence.measure else "no interval"
    low, high = measured(evidence, interval.low), measured(evidence, interval.high)
    joined = is_share(evidence) and interval.low >= 0  # a dash beside a minus cannot be read
    between = f"{low.removesuffix('%')}–{high}" if joined else f"{low} to {high}"
    return f"{100 * interval.level:.0f}% interval {between}"


def percents(interval: Interval) -> str:
    """An interval of a share: ``95% interval 88–100%``."""
    return f"{100 * interval.level:.0f}% interval {100 * interval.low:.0f}–{100 * interval.high:.0f}%"


def unfitted(evidence: Evidence) -> str:
    """Of one change for many rows: how often it fools rows that it was not fitted on. Empty where that was not measured."""
    held = evidence.extra.get("unfitted")
    if not isinstance(held, dict) or not held.get("n"):
        return ""
    interval = held.get("interval")
    between = f" ({percents(Interval(**interval))})" if isinstance(interval, dict) else ""
    return f"{measured(evidence, float(held['rate']))}{between}, n = {int(held['n']):,}"


def count_of(number: float, one: str, many: str = "") -> str:
    """`1 query`, `212 queries`."""
    word = one if number == 1 else many or f"{one}s"
    return f"{number:,.0f} {word}"


def in_bucket(number: int, name: str) -> str:
    """A count with the name of its bucket: `1 undecided`, `2 broken`."""
    return f"{number:,} {name}"


def and_more(broken: int, shown: int) -> str:
    """What to say below the findings to read first, where others are broken too."""
    return f"and {broken - shown:,} more broken" if broken > shown else ""


def cost_words(cost: Cost | None, by_row: bool = True) -> str:
    """What it cost as a clause: per row for evasion, in all for the rest. A censored cost never reads like a measured one."""
    if cost is None:
        return "cost not measured"
    if cost.records:
        return f"with {count_of(cost.records, 'written record')}"
    if cost.queries is None:
        return _censored(cost, by_row)
    if cost.queries == 0 and cost.gradients is not None:
        own = count_of(cost.gradients, "call")
        return f"no query to the deployed endpoint; half of the rows within {own} each on an own copy"
    if cost.queries == 0:
        return "without a query to the deployed endpoint"
    queries = count_of(cost.queries, "query", "queries")
    return f"half of the rows within {queries} each{cost.campaign}" if by_row else f"with {queries}{cost.campaign}"


def _censored(cost: Cost, by_row: bool) -> str:
    """The cost of what was not reached."""
    if not cost.censored_at:
        return "fewer than half of the rows within the budget" if by_row else "cost not shown"
    asked = count_of(cost.censored_at, "query", "queries") + (" each" if by_row else "") + cost.campaign
    if cost.blocked:
        return f"{'fewer than half of the rows, ' if by_row else ''}blocked by the endpoint after {asked}"
    return f"fewer than half of the rows within {asked}" if by_row else f"more than {asked}"


def cost_brief(cost: Cost | None) -> str:
    """The same in a table cell."""
    if cost is None:
        return "not measured"
    if cost.queries == 0 and not cost.records and cost.gradients is not None:
        return f"0 queries, {count_of(cost.gradients, 'own call')}"
    return str(cost)


def access_words(may: Sequence[str]) -> str:
    """The strongest access in words."""
    strongest = {
        "gradient": "holds the model (white box)", "artifact": "holds the model file", "logit": "sees raw scores",
        "score": "sees scores", "label": "sees labels only", "submit": "only sends inputs",
    }  # fmt: skip
    return next((text for name, text in strongest.items() if name in may), ", ".join(map(clean, may)) or "has no access")


def origin(system: Any, principal: str) -> str:
    """Where a principal stands: the zone the description puts it in."""
    found = next((p for p in getattr(system, "principals", ()) if p.id == principal), None)
    return str(found.zone) if found is not None and found.zone else ""


def sentence(finding: Finding, system: Any, id: str) -> str:
    """One sentence: who, from where, what, at what measured cost, on what evidence. `id` is that of the lead evidence."""
    zone = origin(system, finding.principal)
    # A supplier or an outsider who is nobody in the description is named after what it stands beside: "supplier@reader".
    who = clean(finding.principal.split("@")[0] or "someone") + (f", from {clean(zone)}," if zone else "")
    where = clean(finding.element)
    if not finding.evidence:
        reason = f" ({clean(finding.reason)})" if finding.reason else ""
        unbacked = "; no evidence is attached" if finding.status in (Status.BROKEN, Status.RESISTED) else ""
        return f"{clean(finding.title)} by {who.rstrip(',')} at {where}: {LOOKS[finding.status].label.lower()}{reason}{unbacked}."
    lead = finding.evidence[0]
    family = lead.attack.split(".")[0]
    does = _DOES_AS.get(lead.case) or _DOES.get(family, "attacks")
    base = f"; {clean(lead.baseline.name)} {measured(lead, lead.baseline.rate)}" if lead.baseline else ""
    facts = f"{clean(lead.measure)} {measured(lead)} ({spread(lead)}, n = {lead.n:,}{base}) by {clean(lead.attack)}"
    facts += "".join(f" ({said})" for said in qualified(lead))
    if finding.status is Status.BROKEN:
        return f"{who} {does} {where}: {facts}, {cost_words(finding.cost or lead.cost, lead.case == 'evade')} [{id}]."
    label = {Status.RESISTED: "resisted", Status.MITIGATED: "mitigated"}.get(finding.status, LOOKS[finding.status].label.lower())
    reason = clean(finding.reason or "; ".join(lead.reasons[:1]))
    return f"{where} against {who} {label}: {facts}, budget {_plain(lead.budget)}{f' ({reason})' if reason else ''} [{id}]."


def qualified(evidence: Evidence) -> tuple[str, ...]:
    """What a measurement was given that its adversary does not have, or had to do without."""
    found = [PLANTED] if evidence.case == "audit" else []
    return (*found, STAND_IN) if evidence.extra.get("shadows_trained_by") == OWN_SHADOWS else tuple(found)


def _plain(budget: str) -> str:
    """``queries_per_row=150, days=7.0`` as ``150 queries per row, 7 days``; the text as it is where it is none of ours."""
    parts = [re.fullmatch(r"([a-z_]+)=([0-9.e+]+)", part) for part in budget.split(", ")]
    told = [f"{float(part[2]):,.10g} {part[1].replace('_', ' ')}" for part in parts if part]
    return clean(", ".join(told) if len(told) == len(parts) else budget)


def said(value: Any) -> str:
    """A value of a description as its author wrote it."""
    if isinstance(value, Truth):
        return value.value
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, dict):
        return ", ".join(f"{clean(k)} = {said(v)}" for k, v in value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(said(v) for v in value)
    return "unlimited" if value is None else clean(value)


_STRONG = re.compile(r"\b(in)?(secure|robust)(d|ly|r|st|ness)?\b", re.IGNORECASE)
_ADVERSARY = re.compile(r"\b(against|adversary|attacker)\b", re.IGNORECASE)
_BUDGET = re.compile(r"\b(budget|within [\d,]+|unlimited)\b", re.IGNORECASE)
_CLAIM = re.compile(r"\d ?%|\b(broken|breaks|broke|resisted|resists|mitigated|certified|withstood)\b", re.IGNORECASE)
_UNMEASURED = re.compile(r": (untested|undecided|does not apply|claimed)", re.IGNORECASE)


def check_words(text: str) -> tuple[str, ...]:
    """What is wrong with sentences we wrote: strong words without adversary and budget, claims without evidence.

    For our own text. A name that a user chose may well contain such a word, so rendering never refuses because of it.
    """
    problems = []
    for line in re.split(r"(?<=[.!?])\s+(?=[A-Z])|\n+", text.strip()):
        strong = _STRONG.search(line)
        if strong and not (_ADVERSARY.search(line) and _BUDGET.search(line)):
            problems.append(f"{strong.group(0)!r} without an adversary and a budget: {line}")
        if _CLAIM.search(line) and not EVIDENCE_ID.search(line) and not _UNMEASURED.search(line):
            problems.append(f"a claim without an evidence id: {line}")
    return tuple(problems)
