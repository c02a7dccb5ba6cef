"""`casemate scan`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from .echo import echo


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def scan(path: Path, as_json: bool) -> int:
    """Look into a model file or folder without loading it: its format, and whether opening it could run code.

    What cannot be read counts as unsafe. Nothing is ever unpickled.
    """
    from ..attacks.supply.scan import scan as look
    from ..core.errors import UsageError

    if not path.exists():
        raise UsageError(f"{str(path)!r} does not exist; give a model file or a folder")
    report = look(path)
    data = report.to_dict()
    echo(json.dumps(data, indent=2) if as_json else _text(data))
    return {"safe": 0, "unsafe": 1}.get(str(report.verdict), 2)


def _text(data: dict[str, object]) -> str:
    lines = [f"{data.get('path', '')}: {data['verdict']}"]
    findings: list[dict[str, object]] = data.get("findings", [])  # type: ignore[assignment]
    lines += [f"  {f.get('severity')}: {f.get('where')}: {f.get('what')} ({f.get('reason')})" for f in findings]
    return "\n".join(lines)
