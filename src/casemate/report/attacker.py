"""Who attacks, in words: what a principal may do, what it can spend, and the way it takes through the system."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

from ..core.adversary import Budget
from ..core.entities import RateLimit
from ..core.finding import Finding
from ..core.surface import WRITES, end_of, reach, rows_of, trainers
from .words import clean, count_of

# The strongest of these says what the attacker sees; the weaker ones go without saying.
_SEES = {
    "gradient": "holds the model (white box)", "structure": "reads its trees", "artifact": "holds the model file",
    "logit": "sees raw scores",
    "score": "sees scores", "label": "sees labels",
}  # fmt: skip
_KNOWS = {"parent": "the public parent", "data": "training data", "recipe": "the recipe"}
_DOES = {"contribute": "writes training records", "submit": "sends inputs", "sensor": "acts before the sensor"}
_BUDGET = re.compile(r"(\w+)=(\d+(?:\.\d+)?)\Z")
_KEYS = {"account": "per account", "ip": "per address", "global": "for all callers together"}
_TRAINING = "training"


def powers(may: Iterable[str]) -> str:
    """The capabilities of an adversary as phrases: "sees labels, knows the recipe, sends inputs"."""
    held = list(may)
    parts = [text for name, text in _SEES.items() if name in held][:1]
    known = [text for name, text in _KNOWS.items() if name in held]
    parts += [f"knows {_and(known)}"] if known else []
    parts += [text for name, text in _DOES.items() if name in held]
    named = {*_SEES, *_KNOWS, *_DOES}
    return ", ".join([*parts, *(clean(name) for name in held if name not in named)])


def _and(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def abilities(system: Any, principal: str, element: str, may: Iterable[str]) -> str:
    """What a principal can do to an element: as its adversary, or, where that is nothing, what its access rows say."""
    said = powers(may)
    if said:
        return said
    rows = [row for row in _rows(system, principal) if element in (row.on, end_of(system, row.on))]
    sure = dict.fromkeys(can for row in rows for can in row.can)
    unsure = dict.fromkeys(can for row in rows for can in row.unsure if can not in sure)
    parts = [_verb(can) for can in sure] + [f"perhaps {_verb(can)}" for can in unsure]
    return f"may {', '.join(parts)} on {clean(element)}" if parts else f"no access to {clean(element)} is stated"


def _verb(can: str) -> str:
    return clean(can).replace("_", " ")


def _rows(system: Any, principal: str) -> Sequence[Any]:
    return rows_of(system, principal) if system is not None and principal else ()


def who(finding: Finding, system: Any) -> str:
    """The attacker of a finding and what it may do."""
    name = clean(finding.principal.split("@")[0]) or "anyone"
    return f"{name}, {abilities(system, _id(finding), finding.element, finding.adversary.get('may') or ())}"


def _id(finding: Finding) -> str:
    return str(finding.adversary.get("principal") or finding.principal)


def budget(system: Any, principal: str, element: str, stated: Budget | str, may: Iterable[str]) -> str:
    """What the attacker can spend, in words. What is its own and what the endpoint lets through are told apart.

    Args:
        stated: A `Budget`, or the text of one as a finding holds it.
        may: Names of its capabilities: only who sends inputs meets the limit of an endpoint.
    """
    told = _told(str(stated))
    if told is None:
        return clean(stated)
    if "submit" not in set(may) or any("quer" in part for part in told):
        return ", ".join(told) or "not stated"
    through = _through(system, principal, element)
    own = f"{', '.join(told)}; own number of queries not stated" if told else "own budget not stated"
    return f"{own}; {through}" if through else own


def _told(text: str) -> list[str] | None:
    """The parts of the text of a budget, in words; None where it is not one of ours."""
    if text in ("", "unlimited"):
        return []
    found = [_BUDGET.match(part) for part in text.split(", ")]
    held = {match[1]: float(match[2]) for match in found if match}
    if len(held) != len(found) or not set(held) <= set(Budget.__slots__):
        return None
    # The cap counts every query of the campaign, whatever account it is sent from.
    many = held.get("accounts", 1) > 1
    words: dict[str, Callable[[float], str]] = {
        "queries": lambda n: count_of(n, "query", "queries") + (" in all" if many else ""),
        "queries_per_row": lambda n: f"{count_of(n, 'query', 'queries')} for each attacked row",
        "gradients_per_row": lambda n: f"{count_of(n, 'call')} on an own copy for each attacked row",
        "records": lambda n: count_of(n, "training record"),
        "accounts": lambda n: count_of(n, "account"),
        "days": lambda n: f"{n:g} {'day' if n == 1 else 'days'}",
        "seconds": lambda n: f"{n:g} s of computing",
    }
    return [say(held[name]) for name, say in words.items() if name in held]


def _through(system: Any, principal: str, element: str) -> str:
    """What the endpoint lets through to this principal, as a clause; empty where there is no endpoint on its way."""
    places = [element, *(end_of(system, row.on) or row.on for row in _rows(system, principal))]
    known = {c.id: c.endpoint for c in getattr(system, "components", ())}
    place = next((id for id in places if known.get(id) is not None), None)
    if place is None:
        return ""
    limit, name = known[place].rate_limit, "the endpoint" if place == element else clean(place)
    if limit == "none":
        return f"{name} has no limit"
    if not isinstance(limit, RateLimit) or limit.n is None or limit.per is None:
        return f"what {name} lets through is not stated"
    return f"{name} lets through {limit.n:,} a {limit.per}" + (f" {_KEYS[limit.key]}" if limit.key else "")


def routes(
    system: Any, principal: str, element: str, phase: str = "", derived_from: Iterable[str] = ()
) -> tuple[tuple[str, ...], ...]:
    """The ways of a threat through the system, each a chain of element ids; () where there is none.

    What is written into training takes the way of the records: from each place where an access row lets the principal
    write, through what trains, to the element. Everything else takes the shortest way from the principal.

    Args:
        phase: Of the threat's cell.
        derived_from: The access rows its adversary rests on: "access(customer, corrections): write_feedback".
    """
    if phase == _TRAINING:
        ways = [_taught(system, principal, start, element) for start in _written(system, principal, derived_from)]
        if any(ways):
            return tuple(dict.fromkeys(way for way in ways if way))
    way = reach(system, principal, element)
    return (way,) if way else ()


def _written(system: Any, principal: str, derived_from: Iterable[str]) -> list[str]:
    """Where the rows let the principal write records."""
    named = {row.rpartition(": ")[0] for row in derived_from if row.rpartition(": ")[2] in WRITES}
    return [end_of(system, row.on) or row.on for row in rows_of(system, principal) if row.id in named]


def _taught(system: Any, principal: str, start: str, element: str) -> tuple[str, ...]:
    """From where records are written through the nearest trainer to the element; () where no records arrive there."""
    found = []
    for teacher in trainers(system, element):
        before = (start,) if start == teacher else reach(system, start, teacher)
        after = (teacher,) if teacher == element else reach(system, teacher, element)
        if before and after:
            found.append((principal, *before, *after[1:]))
    return min(found, key=len, default=())


def way_of(finding: Finding, system: Any) -> tuple[tuple[str, str], ...]:
    """The pairs of elements between which the ways of a finding lead, for a picture."""
    known = {e.id for e in (*system.principals, *system.components)}
    if finding.principal not in known or finding.element not in known:
        return ()
    rows = finding.adversary.get("derived_from") or ()
    held = routes(system, finding.principal, finding.element, finding.cell.get("phase", ""), map(str, rows))
    return tuple(dict.fromkeys(pair for way in held for pair in pairwise(way)))
