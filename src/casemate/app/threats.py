"""`casemate threats`."""

from __future__ import annotations

import json
from typing import Any

import click

from .echo import echo
from .show import descriptions


@click.command()
@click.argument("paths", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--why-not", metavar="ID", help="Say why a threat (e.g. EV-01@api#customer) was not derived.")
def threats(paths: tuple[str, ...], as_json: bool, why_not: str | None) -> int:
    """Derive the threats of described systems, with the facts that make each, and the questions left open.

    None of your code is loaded or run.
    """
    from ..threats.derive import derive
    from ..threats.load import load

    found = [(path, load(path)) for path in descriptions(paths)]
    derived = [(system, derive(system)) for _, system in found]
    if why_not:
        for system, result in derived:
            echo(f"{system.name}: {result.why_not(why_not) or 'it was derived, or no such threat is known'}")
        return 0
    if as_json:
        echo(json.dumps([_data(s, d) for s, d in derived], indent=2))
    else:
        for system, result in derived:
            echo(_text(system, result))
    if any(d.threats for _, d in derived):
        return 1
    return 2 if any(d.questions for _, d in derived) else 0


def _data(system: Any, result: Any) -> dict[str, Any]:
    from ..core.evidence import plain

    fired = [{**plain(t), "adversary": _adversary(t)} for t in result.threats]
    return {"system": system.name, "threats": fired, "questions": plain(result.questions)}


def _adversary(threat: Any) -> dict[str, Any]:
    adversary = threat.adversary
    return {
        "name": adversary.name, "principal": adversary.principal, "may": list(adversary.may.names),
        "budget": str(adversary.budget), "derived_from": list(adversary.derived_from),
    }  # fmt: skip


def _text(system: Any, result: Any) -> str:
    lines = [f"{system.name}: {len(result.threats)} threats, {len(result.questions)} open questions"]
    for threat in result.threats:
        lines.append(f"\n  {threat.id}  {threat.title}  (impact {threat.impact} of 4: {threat.impact_because})")
        lines.append(f"    {threat.explanation}")
        lines.append(f"    may: {', '.join(threat.adversary.may.names)}; budget: {threat.adversary.budget}")
        lines += [f"    because {fact}" for fact in threat.facts]
        lines.append(f"    tested by: {', '.join(threat.tests) or 'nothing yet'}")
    if result.questions:
        lines.append("\n  Open questions, the most consequential first:")
        lines += [f"    {q.path}: {q.text} ({', '.join(q.threats)})" for q in result.questions]
    return "\n".join(lines) + "\n"
