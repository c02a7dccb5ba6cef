"""`casemate report`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .echo import echo
from .given import filled
from .show import descriptions, exit_code, wanted

if TYPE_CHECKING:
    from ..core.finding import Assessment
    from ..store.cells import Store


@click.command()
@click.argument("paths", nargs=-1)
@click.option("--store", default=".casemate/evidence.db", show_default=True, help="Where evidence is kept.")
@click.option("--budget", default="standard", show_default=True, help="The budget the evidence was made with.")
@click.option("--seed", default=0, show_default=True, help="The seed the evidence was made with.")
@click.option("--out", default="assessment", show_default=True, help="Folder for the report.")
@click.option("--format", "formats", default="html,json,md", show_default=True, help="Files to write: see casemate threats -h.")
@click.option("--dispositions", callback=filled, help="What was decided. Left out: dispositions.yaml beside it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")
@click.option("--show-personal", is_flag=True, help="Show rows of personal data in the report.")
def report(
    paths: tuple[str, ...], store: str, budget: str, seed: int, out: str, formats: str, dispositions: str | None,
    as_json: bool, show_personal: bool,
) -> int:  # fmt: skip
    """Write the report of what the store holds again, attacking nothing; without PATHS, list the stored assessments.

    A cell that is not in the store is reported as not tested, so this also shows how far an interrupted run came.
    """
    from ..core.errors import UsageError
    from ..store.cells import Store

    if "://" not in store and not Path(store).is_file():
        raise UsageError(f"there is no store at {store!r}; casemate assess makes one, or give --store its place")
    database = Store(store)
    if not paths:
        return _listed(database, as_json)
    from ..report.as_json import render
    from ..report.write import expanded, write
    from ..runs.assess import ABSENT, assess
    from .decided import dispose

    named = wanted(expanded(formats))
    found = descriptions(paths)
    done = [assess(path, store=database, seed=seed, budget=budget, only_stored=True) for path in found]
    if not any(map(_held, done)) and any(u["reason"] == ABSENT for a in done for u in a.untested):
        raise UsageError(_nothing(database, {a.name for a in done}, budget, seed))
    done = dispose(done, dispositions, None)
    files = write(done, Path(out), named, show_personal=show_personal)
    echo(render(done, show_personal=show_personal) if as_json else f"Report: {files.get('html', Path(out)).resolve()}")
    return exit_code(done)


def _held(assessment: Assessment) -> bool:
    return any(finding.evidence for finding in assessment.findings)


def _nothing(database: Store, names: set[str], budget: str, seed: int) -> str:
    """That nothing was measured with these options, and with which something was."""
    known: dict[str, None] = {}
    for run, name, _ in database.runs():
        if name in names:
            stored = json.loads(database.run(run) or "{}")
            known[f"--budget {stored.get('budget')} --seed {stored.get('seed')}"] = None
    hint = f"it holds {'; '.join(known)}" if known else "run casemate assess with them, or give --store another place"
    return f"the store holds nothing for --budget {budget} --seed {seed}; {hint}"


def _listed(database: Store, as_json: bool) -> int:
    runs = database.runs()
    rows = [{"id": run, "system": name, "written": when.isoformat()} for run, name, when in runs]
    lines = "\n".join(f"{r['id'][:12]}  {r['written'][:19]}  {r['system']}" for r in rows)
    echo(json.dumps(rows, indent=2) if as_json else lines or "nothing is stored yet; run casemate assess")
    return 0
