"""`casemate schema`."""

from __future__ import annotations

from importlib import resources

import click

from .echo import echo

# The files that people write by hand, each with a schema for their editor.
FILES = {
    "system": ("casemate.threats", "system.schema.json"),
    "dispositions": ("casemate.threats", "dispositions.schema.json"),
    "gate": ("casemate.runs", "gate.schema.json"),
}


@click.command()
@click.argument("name", type=click.Choice(list(FILES)), default="system")
def schema(name: str) -> int:
    """Print the JSON Schema of a file that you write, for your editor: system, dispositions or gate.

    `casemate schema > system.schema.json`, then put `# yaml-language-server: $schema=system.schema.json` on the first line
    of the description: keys and values are completed, explained and checked as you type.
    """
    package, file = FILES[name]
    echo((resources.files(package) / file).read_text(encoding="utf-8"), nl=False)
    return 0
