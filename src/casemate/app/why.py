"""`casemate threats --why` and `--why-not`: everything that one threat rests on, or that keeps it away."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..core.errors import UnknownName
from .echo import echo


def explain(paths: Iterable[Path], rules: tuple[str, ...], why: str | None, why_not: str | None) -> int:
    """Print the answer for every description in which the id means something; for none, say what could be meant."""
    from ..report.words import line as one_line
    from ..threats.derive import derive
    from ..threats.load import load
    from ..threats.rules import rules_for

    asked = why or why_not or ""
    known: list[str] = []
    answered = False
    for path in paths:
        system = load(path)
        result = derive(system, rules_for(system, rules))
        lines = [line for id in _meant(asked, result) for line in (*_answer(id, result), "")]
        known += [t.id for t in result.threats]
        if lines:
            answered = True
            echo(one_line(system.name or path))
            echo("\n".join(f"  {one_line(line)}".rstrip() for line in lines))
    if not answered:
        raise UnknownName("threat", asked, known)
    return 0


def _meant(asked: str, result: Any) -> list[str]:
    """The ids an answer is given for: `EV-04@api` means every principal's."""
    from ..threats.derive import threat_id
    from ..threats.rules import instances

    rule = next((r for r in result.rules if r.id == asked.partition("@")[0]), None)
    if rule is None:
        return []
    ids = [threat_id(rule.id, element, principal) for element, principal in instances(rule, result.system)]
    return [id for id in ids if id == asked or id.startswith(f"{asked}#") or (asked == rule.id)]


def _answer(id: str, result: Any) -> list[str]:
    fired = {t.id: t for t in (*result.threats, *result.dropped)}
    hidden = next((h for h in result.hidden if h.threat == id), None)
    if id in fired:
        return _because(fired[id], result.system, hidden)
    waiting = next((u for u in result.undecided if u.id == id), None)
    if waiting:
        asks = {q.path: q for q in result.questions}
        lines = [f"{id}: undecided, because a fact is unknown"]
        return lines + [f"  asks {path}: {asks[path].text}{_at(asks[path].place)}" for path in waiting.questions]
    return [f"{id}: does not apply", *(f"  because {part}" for part in result.why_not(id).split("; "))]


def _because(threat: Any, system: Any, hidden: Any) -> list[str]:
    from ..report.attacker import abilities, budget, routes

    lines = [f"{threat.id}  {threat.title}", f"  {threat.explanation}"]
    if hidden:
        lines.append(f"  hidden by {hidden.by}: {hidden.because}")
    lines += [f"  because {fact}{_at(system.place(fact.path.partition(': ')[0]))}" for fact in threat.facts]
    adversary, who, at = threat.adversary, threat.principal, threat.element
    if who:
        ways = routes(system, who, at, threat.cell.get("phase", ""), adversary.derived_from)
        lines += [f"  route: {' -> '.join(way)}" for way in ways]
    lines.append(f"  may: {abilities(system, who, at, adversary.may.names)}")
    lines.append(f"  budget: {budget(system, who, at, adversary.budget, adversary.may.names)}")
    if adversary.knowledge:
        lines.append(f"  knows: {', '.join(adversary.knowledge)}")
    if who and threat.cell.get("phase") == "training":
        lines.append(f"  influence: {_share(system, who, at)}")
    lines += [f"  granted by {row}" for row in adversary.derived_from]
    lines.append(f"  harm: {threat.harm} Impact {threat.impact} of 4: {threat.impact_because}")
    lines.append(f"  tested by: {', '.join((*threat.tests, *threat.checks)) or 'nothing here yet'}")
    return lines


def _share(system: Any, who: str, at: str) -> str:
    """How much of the training data the attacker writes: what the poisoning attacks are given."""
    from ..core.surface import influence

    share = influence(system, who, at)
    if share is None:
        return "not known: state budget.samples of the access row, and population of the training data"
    return f"writes {share:.1%} of the training data"


def _at(place: tuple[str, int]) -> str:
    return f"  ({place[0]}:{place[1]})" if place[1] else ""
