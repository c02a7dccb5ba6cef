"""`casemate gate`."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .echo import echo
from .given import STORE, day, filled, given, opened

if TYPE_CHECKING:
    from ..core.finding import Assessment
    from ..runs.gate import Objection, Ruling

FORMAT = "casemate.gate/1"
_VERDICTS = ("pass", "fail", "could not tell")
_SAID = {"question": "undecided"}


@click.command(epilog="Exit codes: 0 pass, 1 fail, 2 could not tell, or bad input.")
@click.argument("target", callback=filled)
@click.option(
    "--policy",
    metavar="FILE",
    callback=filled,
    help="What fails, what warns; without it, the defaults of docs/reference/gate.md.",
)
@click.option(
    "--baseline", metavar="A", callback=filled, help="What it is compared with: a description, a report.json, or a stored digest."
)
@click.option(
    "--dispositions", metavar="FILE", callback=filled, help="What was decided; default: dispositions.yaml beside the description."
)
@click.option("--description", metavar="FILE", callback=filled, help="Evidence in TARGET that does not fit it is stale.")
@click.option("--store", default=STORE, show_default=True, callback=filled, help="Where evidence and earlier runs are kept.")
@click.option("--today", metavar="DAY", callback=filled, help="Judge as on this day, YYYY-MM-DD (or CASEMATE_TODAY).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def gate(
    target: str, policy: str | None, baseline: str | None, dispositions: str | None, description: str | None, store: str,
    today: str | None, as_json: bool,
) -> int:  # fmt: skip
    """Decide whether TARGET may go ahead: a description, a report.json, or the digest of a stored run.

    Prints every rule of the policy that is not met, why, and what to do about it.
    """
    from ..runs.changes import pairs
    from ..runs.gate import Question
    from ..runs.gate import gate as judge
    from ..runs.gate_policy import Policy, read_policy
    from ..threats.dispositions import read_dispositions

    when = day(today)
    found = given(target, store)
    rules = read_policy(policy) if policy else Policy()
    file = Path(dispositions) if dispositions else _beside(found)
    decided = read_dispositions(file, when) if file else ()
    before = given(baseline, store) if baseline else None
    missing: list[str] = []
    matched: list[tuple[Assessment, Assessment | None]] = [(a, None) for a in found]
    if before is not None:
        both = pairs(before, found)
        matched = [(now, old) for old, now in both if any(now is one for one in found)]
        missing = [old.name for old, now in both if not any(now is one for one in found)]
    question = Question(
        pairs=matched, dispositions=decided, today=when, policy=rules,
        described={a.name: a for a in given(description, store)} if description else None, missing=missing,
        citations=_citations(found) if rules["taxonomy"].then != "ignore" else (),
        open_since=_open_since(store),
    )  # fmt: skip
    ruling = judge(question)
    if as_json:
        held = {"format": FORMAT, "today": str(when), "dispositions": str(file or ""), **ruling.to_dict()}
        echo(json.dumps(held, indent=2))
    else:
        echo(text(ruling, file, when))
    return ruling.code


def _beside(found: list[Assessment]) -> Path | None:
    """The dispositions file in the folder of what was assessed. Several folders with one each: it must be said which."""
    from ..core.errors import UsageError
    from ..threats.dispositions import beside

    files = sorted({file for a in found if a.path and (file := beside(a.path)) is not None})
    if len(files) > 1:
        raise UsageError(f"there are several dispositions files: {', '.join(map(str, files))}; name one with --dispositions")
    return files[0] if files else None


def _citations(found: list[Assessment]) -> Any:
    """What is wrong with the citations of the catalogue and of the rules that the descriptions name."""
    from ..threats.taxonomy import check

    packs = [Path(a.system.folder, path) for a in found if a.system is not None for path in a.system.rules]
    return check(sorted(set(packs))).problems


def _open_since(store: str) -> Any:
    from ..core.errors import UsageError
    from ..runs.gate import first_seen
    from ..runs.read_back import Misfit, assessment_of, parsed

    database = opened(store)
    if database is None and store != STORE:
        raise UsageError(f"there is no store at {store!r}; casemate assess makes one, or leave --store out")
    if database is None:
        return None
    runs: list[tuple[Assessment, datetime.date]] = []
    for id, _, written in database.runs():
        try:
            runs.append((assessment_of(parsed((database.run(id) or "").encode(), id), id), written.date()))
        except Misfit:
            continue  # a run of another version of casemate: it says nothing about today's threats
    return first_seen(runs)


def text(ruling: Ruling, file: Path | None, today: datetime.date) -> str:
    """The ruling in words."""
    from ..report.words import line as one_line

    counts = [(sum(o.then == then for o in ruling.objections), then) for then in ("fail", "warn")]
    said = ", ".join(f"{n} {then}" for n, then in counts if n) or "nothing to object to"
    lines = [f"gate: {_VERDICTS[ruling.code]} ({said}) on {today}; dispositions: {file or 'none'}"]
    judged = ", ".join(f"{n} {_SAID.get(status, status)}" for status, n in sorted(ruling.statuses.items()))
    lines.append(f"judged: {judged or 'no threat'}")
    lines += [line for objection in ruling.objections for line in _lines(objection)]
    if ruling.unjudged:
        lines += ["", "  Not judged", *(f"    {rule}: {reason}" for rule, reason in ruling.unjudged)]
    lines = [one_line(line) for line in lines]  # what a name holds begins no line of its own
    if ruling.stubs:
        lines += ["", f"  To decide, fill in and paste into {file or 'dispositions.yaml beside the description'}:", ""]
        lines += [] if file else ["casemate: 1", "dispositions:"]
        lines += ruling.stubs
    return "\n".join(lines)


def _lines(objection: Objection) -> list[str]:
    file, line = objection.place
    where = f" ({file}:{line})" if file and line else ""
    of = f" [{objection.system}]" if objection.system else ""
    head = f"  {objection.then}: {objection.rule}: {objection.what}{of}{where}"
    return ["", head, f"    {objection.why}", f"    -> {objection.do}"]
