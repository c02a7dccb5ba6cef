"""`casemate attacks` and `casemate controls`."""

from __future__ import annotations

import json
from typing import Any

import click

from .echo import echo


@click.command()
@click.argument("id", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def attacks(id: str | None, as_json: bool) -> int:
    """List the attacks, or describe one (by id or by its name in the literature)."""
    from ..core.attack import attacks as registry

    return _show(registry, id, as_json, _attack_line)


@click.command()
@click.argument("id", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def controls(id: str | None, as_json: bool) -> int:
    """List the controls, or describe one."""
    from ..core.control import controls as registry

    return _show(registry, id, as_json, _control_line)


def _show(registry: Any, id: str | None, as_json: bool, line: Any) -> int:
    kinds = [registry.get(id)] if id else [registry.get(name) for name in registry]
    if as_json:
        echo(json.dumps([_data(kind) for kind in kinds], indent=2))
    elif id:
        echo(_page(kinds[0]))
    else:
        for kind in kinds:
            echo(line(kind.info))
    return 0


def _data(kind: Any) -> dict[str, Any]:
    from ..core.evidence import plain

    info = {n: getattr(kind.info, n) for n in kind.info.__slots__ if n != "static_cost"}
    if "needs" in info:
        info["needs"] = list(info["needs"].names)
    return {**plain(info), "parameters": {f.name: plain(f.default) for f in kind.__dataclass_fields__.values()}}


def _page(kind: Any) -> str:
    import inspect

    lines = [kind.info.id, "", inspect.getdoc(kind) or "", ""]
    lines += [f"  {key}: {value}" for key, value in _data(kind).items() if key not in ("id", "summary", "parameters") and value]
    lines += [f"  {name} = {value}" for name, value in _data(kind)["parameters"].items()]
    return "\n".join(lines)


def _attack_line(info: Any) -> str:
    return f"{info.id:<28} needs {', '.join(info.needs.names) or 'nothing':<28} {info.summary}"


def _control_line(info: Any) -> str:
    known = ", ".join(info.knows) or "nothing (can only be claimed)"
    return f"{info.id:<30} {info.summary}\n{'':<30} known by {known}"
