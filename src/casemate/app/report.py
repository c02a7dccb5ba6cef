"""`casemate report`."""

from __future__ import annotations

import json

import click


@click.command()
@click.argument("id", required=False)
@click.option("--store", default=".casemate/evidence.db", show_default=True, help="Where evidence is kept.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole assessment as JSON.")
def report(id: str | None, store: str, as_json: bool) -> int:
    """List stored assessments, or print one (by the start of its id).

    The HTML report is written by `casemate assess`; the same command on the same store writes it again in seconds, because
    every cell is there already.
    """
    from ..core.errors import UnknownName
    from ..store.cells import Store

    database = Store(store)
    runs = database.runs()
    if id is None:
        rows = [{"id": run, "system": name, "written": when.isoformat()} for run, name, when in runs]
        lines = "\n".join(f"{r['id'][:12]}  {r['written'][:19]}  {r['system']}" for r in rows)
        click.echo(json.dumps(rows, indent=2) if as_json else lines)
        return 0
    match = [run for run, _, _ in runs if run.startswith(id)]
    if len(match) != 1:
        raise UnknownName("stored assessment", id, [run[:12] for run, _, _ in runs])
    data = json.loads(database.run(match[0]) or "{}")
    click.echo(json.dumps(data, indent=2) if as_json else _text(data))
    return 0


def _text(data: dict[str, object]) -> str:
    findings: list[dict[str, object]] = data["findings"]  # type: ignore[assignment]
    lines = [f"{data['name']}  {data['digest']}", f"repeat: {data['reproduce']}"]
    lines += [f"  {f['status']:<13} {f['severity']:<9} {f['threat']}  {f['title']}" for f in findings]
    return "\n".join(lines)
