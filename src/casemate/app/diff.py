"""`casemate diff`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .echo import echo
from .given import STORE, filled, given

if TYPE_CHECKING:
    from ..runs.changes import Change, Changes

FORMAT = "casemate.diff/1"
_VERDICTS = ("no worse", "worse", "could not tell")
_NAMES = {"asked": "undecided"}


@click.command(epilog="Exit codes: 0 no worse, 1 worse (new, regressed or cheaper), 2 could not tell, or bad input.")
@click.argument("before", callback=filled)
@click.argument("after", callback=filled)
@click.option(
    "--store", default=STORE, show_default=True, callback=filled, help="Where evidence is kept, for digests of stored runs."
)
@click.option("--sarif", metavar="FILE", callback=filled, help="Also write AFTER as SARIF with baseline states.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--all", "everything", is_flag=True, help="Name what is unchanged, too.")
def diff(before: str, after: str, store: str, sarif: str | None, as_json: bool, everything: bool) -> int:
    """Say what is different between BEFORE and AFTER: threats, what a break costs, facts and open questions.

    Each is a description (file or folder; it is derived, and nothing is run), a report.json of casemate assess, or the
    digest of a stored run as casemate report lists them.
    """
    from ..runs.changes import compare, pairs

    old, new = given(before, store), given(after, store)
    found = [compare(a, b) for a, b in pairs(old, new)]
    if sarif:
        from ..report._files import replace_file
        from ..report.as_json import render as as_report
        from ..report.sarif import render

        replace_file(Path(sarif), render(new, baseline=json.loads(as_report(old))))
    codes = {one.code for one in found}
    code = 1 if 1 in codes else 2 if 2 in codes else 0
    if as_json:
        echo(json.dumps({"format": FORMAT, "code": code, "systems": [one.to_dict() for one in found]}, indent=2))
    else:
        echo("\n".join(text(one, everything) for one in found).rstrip("\n"))
    return code


def text(changes: Changes, everything: bool = False) -> str:
    """One comparison in words."""
    from ..report.words import line
    from ..runs.changes import CATEGORIES, WORDS

    names = changes.before if changes.before == changes.after else f"{changes.before} -> {changes.after}"
    counts = ", ".join(f"{len(held)} {_NAMES.get(c, c)}" for c in CATEGORIES if (held := changes.of(c))) or "no threats"
    lines = [f"{names}: {_VERDICTS[changes.code]} ({counts})"]
    for category in CATEGORIES:
        held = changes.of(category)
        if held and (category != "unchanged" or everything):
            lines += ["", f"  {WORDS[category]}", *(told for change in held for told in _lines(change))]
    lines += _facts(changes)
    asked = (("opened", changes.opened), ("answered", changes.answered), ("no longer asked", changes.dropped))
    for word, questions in asked:
        if questions:
            lines += ["", f"  Questions {word}", *(f"    {q['field']}: {q.get('text', '')}" for q in questions)]
    return "\n".join(map(line, lines)) + "\n"


def _lines(change: Change) -> list[str]:
    known = change.after or change.before
    where = f" ({known.file}:{known.line})" if known is not None and known.line and known.file else ""
    return [f"    {change.threat}  {change.title}{where}", *([f"      {change.because}"] if change.because else [])]


def _facts(changes: Changes) -> list[str]:
    if changes.facts is None:
        return ["", "  Facts were not compared: a report or a stored run holds no description."]
    if not changes.facts:
        return []
    return ["", "  Facts", *(f"    {fact} ({fact.place[0]}:{fact.place[1]})" for fact in changes.facts)]
