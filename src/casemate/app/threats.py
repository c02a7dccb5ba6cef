"""`casemate threats`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .echo import echo
from .given import filled
from .show import descriptions, wanted


@click.command()
@click.argument("paths", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")
@click.option("--all", "everything", is_flag=True, help="A block for each threat: who, facts, advice; all that is hidden too.")
@click.option("--why", metavar="ID", help="Say what makes a threat (EV-04@api, EV-04@api#customer): facts, adversary, route.")
@click.option("--why-not", metavar="ID", help="Say why a threat (e.g. EV-01@api#customer) is not in the list.")
@click.option("--rules", multiple=True, help="A file or folder with rules of your own, beside the shipped ones.")
@click.option("--dispositions", callback=filled, help="What was decided. Left out: dispositions.yaml beside it.")
@click.option("--check", "static", is_flag=True, help="Let static checks read the files the description names, first.")
@click.option("--out", type=click.Path(path_type=Path), help="Also write files there, as --format says.")
@click.option("--format", "formats", default="html,json,md,csv,sarif,navigator,tmbom,svg,mermaid,dot", show_default=True,
              help="With --out: which files, separated by commas; rows, github, parquet too. all: all but parquet.")
@click.option("--shop", is_flag=True, hidden=True, help="With test: print the system that fixtures vary.")
@click.option("--today", hidden=True, callback=filled, help="The day against which dispositions expire (YYYY-MM-DD).")
def threats(
    paths: tuple[str, ...], as_json: bool, everything: bool, why: str | None, why_not: str | None, rules: tuple[str, ...],
    dispositions: str | None, static: bool, out: Path | None, formats: str, shop: bool,
    today: str | None,
) -> int:  # fmt: skip
    """Derive the threats of described systems, with the facts that make each, and the questions left open.

    None of your code is loaded or run. `casemate threats test [RULES...]` runs the fixtures of rules instead.
    """
    if paths[0] == "test":
        return _shop() if shop else _test(paths[1:] + rules)
    if why or why_not:
        from .why import explain

        return explain(descriptions(paths), rules, why, why_not)
    from ..report.write import expanded
    from ..runs.derived import derived
    from .decided import dispose

    named = wanted(expanded(formats))
    done = [derived(path, rules=rules, static=static)[1] for path in descriptions(paths)]
    done = dispose(done, dispositions, today)
    if out:
        from ..report.write import write

        write(done, out, named)
    if as_json:
        from ..report.as_json import render

        echo(render(done), nl=False)
    else:
        from ..report.threat_list import render as listed

        for assessment in done:
            echo(listed(assessment, everything=everything))
        if out:
            echo(f"\nFiles: {out.resolve()}")
    return _exit(done)


def _exit(done: list[Any]) -> int:
    from ..core.evidence import Status

    found = [f for a in done for f in a.findings]
    if any(f.status is not Status.QUESTION for f in found):
        return 1
    return 2 if found or any(a.questions or a.warnings for a in done) else 0


def _shop() -> int:
    from ..threats.rules import CATALOGUE

    echo((CATALOGUE / "fixtures" / "shop.yaml").read_text(encoding="utf-8"), nl=False)
    return 0


def _test(paths: tuple[str, ...]) -> int:
    """The fixtures of rules: of the files and folders given, or of the shipped catalogue."""
    from ..threats.fixtures import cases, run
    from ..threats.rules import CATALOGUE, catalogue, read_packs

    rules = read_packs([Path(p) for p in paths], taken=catalogue()) if paths else catalogue()
    failed = total = 0
    for rule in rules:
        folder = Path(rule.place[0]).parent if paths else CATALOGUE
        for outcome in run(rule, cases(rule, folder)):
            total += 1
            failed += bool(outcome.problem)
            if outcome.problem:
                file, line = outcome.case.place
                echo(f"{file}:{line}: {rule.id} {outcome.case.name}: {outcome.problem}")
    echo(f"{len(rules)} rules, {total} fixtures: {f'{failed} failed' if failed else 'all passed'}")
    return 1 if failed else 0


