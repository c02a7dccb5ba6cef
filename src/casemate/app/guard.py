"""`casemate guard`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from .echo import echo


@click.group()
def guard() -> None:
    """Host the service controls in production: the same objects that were assessed."""


@guard.command()
@click.argument("policy", type=click.Path(path_type=Path))
@click.option("--app", default="", help="The model server as module:name; left out, the one the policy names.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535))
def serve(policy: Path, app: str, host: str, port: int) -> int:
    """Run a model server with the guard of POLICY around it. Events go to standard output, one JSON object a line."""
    from ..guard.events import to_stream
    from ..guard.serve import serve as run

    run(policy, app, host=host, port=port, sink=to_stream(sys.stdout))
    return 0


@guard.command()
@click.argument("policy", type=click.Path(path_type=Path))
@click.argument("log", type=click.File("r"))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def replay(policy: Path, log: Any, as_json: bool) -> int:
    """Feed recorded events to the controls of POLICY: what would have been refused, had they been in force."""
    from ..core.evidence import plain
    from ..guard.events import read
    from ..guard.policy import Policy
    from ..guard.replay import replay as run

    found = plain(run(Policy.read(policy).controls, read(iter(log), getattr(log, "name", "events"))))
    echo(json.dumps(found, indent=2) if as_json else "\n".join(f"{key}: {value}" for key, value in found.items()))
    return 0
