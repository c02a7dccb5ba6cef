"""`casemate assess`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from .echo import echo
from .given import filled
from .show import descriptions, exit_code, progress, wanted


@click.command()
@click.argument("paths", nargs=-1, required=True)
@click.option("--budget", default="standard", show_default=True, help="quick, standard, or minutes in all.")
@click.option("--store", default=".casemate/evidence.db", show_default=True, help="Where evidence is kept: a path or a URL.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 256), help="Processes; no effect on evidence.")
@click.option("--seed", default=0, show_default=True, help="All randomness comes from it.")
@click.option("--out", default="assessment", show_default=True, help="Folder for the report.")
@click.option("--format", "formats", default="html,json,md", show_default=True, help="Files to write: see casemate threats -h.")
@click.option("--dispositions", callback=filled, help="What was decided. Left out: dispositions.yaml beside it.")
@click.option("--plan", "only_plan", is_flag=True, help="Show what would be run, and send nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")
@click.option("--show-personal", is_flag=True, help="Show rows of personal data in the report.")
@click.option("--rows", "rows_format", type=click.Choice(["csv", "parquet"]), help="Also write per-row results.")
@click.option("--quiet", is_flag=True, help="No progress.")
def assess(
    paths: tuple[str, ...], budget: str, store: str, workers: int, seed: int, out: str, only_plan: bool, as_json: bool,
    show_personal: bool, rows_format: str | None, quiet: bool, formats: str, dispositions: str | None,
) -> int:  # fmt: skip
    """Assess one or more described systems: derive, attack, judge, report.

    PATHS are description files, or folders with some. A description names functions of yours, and this runs them, as a test
    runner would. Killed or interrupted, the same command goes on where it was.
    """
    from ..report.write import expanded
    from ..runs.assess import assess as run
    from ..runs.assess import prepare
    from ..store.cells import Store
    from .decided import dispose

    named = wanted(expanded(formats))
    found = descriptions(paths)
    budget = _shared(budget, len(found))
    if only_plan:
        plans = [prepare(path, budget=budget, seed=seed, look=False) for path in found]
        echo(json.dumps([_plan_dict(p) for p in plans], indent=2) if as_json else "\n\n".join(map(_plan_text, plans)))
        return 0
    database = Store(store)
    done = []
    for path in found:
        ready = prepare(path, budget=budget, seed=seed)
        with progress(ready.system.name, quiet or as_json) as show:
            done.append(run(path, store=database, workers=workers, seed=seed, budget=budget, show=show, prepared=ready))
    done = dispose(done, dispositions, None)
    _write(done, Path(out), named, show_personal, rows_format, as_json)
    return exit_code(done)


def _shared(budget: str, systems: int) -> str:
    """Minutes are for all systems together."""
    try:
        return str(float(budget) / systems)
    except ValueError:
        return budget


def _write(
    done: list[Any], folder: Path, formats: list[str], personal: bool, rows_format: str | None, as_json: bool
) -> None:
    from ..report.rows import write_rows
    from ..report.write import write

    files = write(done, folder, formats, show_personal=personal)
    if rows_format:
        write_rows(done, folder / f"rows.{rows_format}", rows_format, show_personal=personal)
    if as_json:
        from ..report.as_json import render

        echo(render(done, show_personal=personal), nl=False)
        return
    from rich.console import Console

    from ..report.terminal import summary

    Console().print(summary(done))
    echo(f"\nReport: {files.get('html', folder).resolve()}")


def _plan_dict(ready: Any) -> dict[str, Any]:
    cells = [
        {"cell": c.label, "calls": c.calls, "queries": c.queries, "adversary": c.adversary.name, "threats": list(c.threats)}
        for plan in ready.plans.values()
        for c in plan.cells
    ]
    untested = [{"threat": t, "attack": a, "reason": r} for p in ready.plans.values() for t, a, r in p.untested]
    return {
        "system": ready.system.name, "budget": ready.budget, "cells": cells, "untested": untested,
        "queries_by_host": hosts(ready), "calls": ready.calls, "expected_seconds": round(ready.seconds, 1), "price": price(ready),
    }  # fmt: skip


def hosts(ready: Any) -> dict[str, int]:
    """Queries that leave this process, by host; everything else runs in it."""
    found: dict[str, int] = {}
    for name, plan in ready.plans.items():
        binding = ready.system.binding(name)
        remote = binding is not None and bool(binding.url)
        host = str(binding.url).split("/")[2] if binding is not None and remote else "in process"
        # To a host everything counts that is sent there, the judge's and the health checks' rows too.
        sent = plan.sent if remote else plan.queries
        if binding is not None and remote and binding.query_cap is not None:
            sent = min(sent, binding.query_cap)
        found[host] = found.get(host, 0) + sent
    return found


def paced(ready: Any) -> list[str]:
    """What the cap and the pace of each URL mean for this plan."""
    lines = []
    for name, plan in ready.plans.items():
        binding = ready.system.binding(name)
        if binding is None or not binding.url:
            continue
        seconds = min(plan.sent, binding.query_cap) / binding.pace_per_s
        lines.append(f"  {name}: at {binding.pace_per_s:g} rows a second that takes up to {seconds:,.0f} s")
        if plan.sent > binding.query_cap:
            more = f"the plan could send {plan.sent:,} rows, the cap is {binding.query_cap:,}"
            lines.append(f"  {name}: {more}; what it cuts off becomes an error: raise query_cap, or lower rows in target.attacks")
    return lines


def price(ready: Any) -> float | None:
    """What the planned queries would cost at the stated price."""
    prices = ready.system.prices
    if prices is None or prices.per_1000_queries is None:
        return None
    return float(sum(p.queries for p in ready.plans.values()) / 1000 * prices.per_1000_queries)


def _plan_text(ready: Any) -> str:
    data = _plan_dict(ready)
    lines = [f"{data['system']} ({data['budget']}): {len(data['cells'])} cells, at most {data['calls']:,.0f} model rows"]
    lines += [f"  {c['cell']}: up to {c['calls']:,.0f} rows, {c['queries']:,} of them deployed queries" for c in data["cells"]]
    lines += [f"  not tested: {u['threat']} by {u['attack']}: {u['reason']}" for u in data["untested"]]
    lines += [f"  queries to {host}: at most {n:,}" for host, n in data["queries_by_host"].items()]
    lines += paced(ready)
    counted = "model rows times their measured cost"  # nobody knows how long a training takes before one has run
    lines.append(f"  expected: at most {data['expected_seconds']:,.0f} s on one worker, without trainings ({counted})")
    if data["price"] is not None:
        lines.append(f"  price of the queries: {data['price']:,.2f} {ready.system.prices.currency or ''}".rstrip())
    return "\n".join(lines)
