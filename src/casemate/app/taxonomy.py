"""`casemate taxonomy check | import`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .echo import echo

if TYPE_CHECKING:
    from ..threats.atlas import Release
    from ..threats.atlas_changes import Difference, Touched


@click.group()
def taxonomy() -> None:
    """Check what the rules cite of ATLAS and others, or read a new ATLAS release."""


@taxonomy.command(epilog="Exit codes: 0 every citation is right, 1 some are not, 2 bad input.")
@click.argument("packs", nargs=-1)
@click.option("--against", metavar="TABLE", help="A table that casemate taxonomy import wrote, in place of the shipped ATLAS.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(packs: tuple[str, ...], against: str | None, as_json: bool) -> int:
    """Check every citation of the catalogue, and of rules of your own in PACKS (files or folders).

    An unknown id, another name, a retired id (with its successor) and another release are problems, each with its line.
    """
    from ..core.evidence import plain
    from ..threats.atlas_changes import names, read_table
    from ..threats.taxonomy import check as run

    table = read_table(against) if against else None
    found = run(packs, {"atlas": (table["data_version"], names(table))} if table else None)
    if as_json:
        echo(json.dumps({"problems": plain(found.problems), "notices": plain(found.notices)}, indent=2))
        return 1 if found.problems else 0
    for problem in found.problems:
        echo(problem)
    for notice in found.notices:
        echo(f"notice: {notice}")
    count = len(found.problems)
    echo(f"{count} {'citation is' if count == 1 else 'citations are'} wrong" if count else "every citation is right")
    return 1 if count else 0


@taxonomy.command("import", epilog="Exit codes: 0 no rule is touched, 1 some are, 2 bad input.")
@click.argument("file")
@click.option("--to", "out", metavar="OUT.json", required=True, help="Where the table is written.")
@click.option("--packs", multiple=True, metavar="RULES", help="Rules of your own, looked at besides the catalogue.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def import_(file: str, out: str, packs: tuple[str, ...], as_json: bool) -> int:
    """Read ATLAS data (formats 5 and 6) into a table, and say what is different from the shipped release.

    FILE is a local ATLAS.yaml, or a file of one line that names one. Nothing is downloaded, and descriptions are left out.
    """
    from ..report._files import replace_file
    from ..threats.atlas import read_atlas
    from ..threats.atlas_changes import differences, shipped, touched
    from ..threats.rules import catalogue, read_packs

    release = read_atlas(file)
    replace_file(Path(out), json.dumps(release.table, indent=1) + "\n")
    old = shipped()
    changes = differences(old, release.table)
    rules = (*catalogue(), *read_packs([Path(pack) for pack in packs], taken=catalogue()))
    affected = touched(rules, old, release.table)
    echo(json.dumps(_data(release, changes, affected), indent=2) if as_json else _text(release, old, changes, affected, out))
    return 1 if any(one.do for one in affected) else 0


def _data(release: Release, changes: Any, affected: Any) -> dict[str, Any]:
    from ..core.evidence import plain

    head = {"release": release.release, "format": release.format, "sha256": release.sha256}
    return {**head, "defects": plain(release.defects), "differences": plain(changes), "rules": plain(affected)}


def _text(
    release: Release, old: dict[str, Any], changes: tuple[Difference, ...], affected: tuple[Touched, ...], out: str
) -> str:
    from ..threats.atlas_changes import KINDS

    table = release.table
    parts = ("tactics", "techniques", "mitigations", "case_studies")
    counts = ", ".join(f"{len(table[part])} {part.replace('_', ' ')}" for part in parts)
    lines = [f"ATLAS {release.release} (format {release.format}): {counts}", f"sha256 {release.sha256}", f"written to {out}"]
    if release.defects:
        lines += ["", "Passed over or mended:", *(f"  {defect}" for defect in release.defects)]
    lines += ["", f"Against the shipped release {old['data_version']}:"]
    words = {"moved": "under other tactics"}
    for kind in KINDS:
        held = [d for d in changes if d.kind == kind]
        lines += [f"  {len(held)} {words.get(kind, kind)}", *(f"    {d}" for d in held)]
    lines += ["", "Rules that cite what is different:" if affected else "No rule cites what is different."]
    for one in affected:
        lines += [f"  {one.place[0]}:{one.place[1]}: {one.rule}: {one.why}", *([f"    -> {one.do}"] if one.do else [])]
    return "\n".join(lines)
