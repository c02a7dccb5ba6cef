"""`casemate harden`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .show import exit_code, progress


@click.command()
@click.argument("path")
@click.option("--control", "only", multiple=True, metavar="ID", help="Try this control (repeatable); left out, those that fit.")
@click.option("--train", is_flag=True, help="Also try controls that train a model.")
@click.option("--budget", default="standard", show_default=True, help="quick, standard, or minutes for each assessment.")
@click.option("--store", default=".casemate/evidence.db", show_default=True)
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 256))
@click.option("--seed", default=0, show_default=True)
@click.option("--out", default="assessment", show_default=True, help="Folder for the report.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")
@click.option("--show-personal", is_flag=True, help="Show rows of personal data in the report.")
@click.option("--quiet", is_flag=True, help="No progress.")
def harden(
    path: str, only: tuple[str, ...], train: bool, budget: str, store: str, workers: int, seed: int, out: str, as_json: bool,
    show_personal: bool, quiet: bool,
) -> int:  # fmt: skip
    """Try controls one by one and all together, each against attacks that know it.

    A control changes facts, so threats are derived again; then every attack is run again, with more accounts where the control
    counts accounts. Shown beside the gain: clean accuracy, rejects and latency.
    """
    from ..report.as_json import render
    from ..report.write import write
    from ..runs.harden import harden as run

    with progress(Path(path).stem, quiet or as_json) as show:
        result = run(path, only=only, trains=train, store=store, workers=workers, seed=seed, budget=budget, show=show)
    files = write([result], Path(out), show_personal=show_personal)
    if as_json:
        click.echo(render([result], show_personal=show_personal), nl=False)
    else:
        click.echo(table(result))
        click.echo(f"\nReport: {files['html'].resolve()}")
    return exit_code([result])


def table(result: Any) -> str:
    """Before and after, one block for each control."""
    if not result.hardening:
        return f"{result.name}: nothing was broken that a known control answers; nothing to try"
    lines = [f"{result.name}: what each control changes, measured by attacks that know it"]
    for row in result.hardening:
        lines.append(f"\n  {row['control']} at {row['component']}")
        if row["note"]:
            lines.append(f"    {row['note']}")
            continue
        lines.append(f"    cheapest break: {row['cost_before'] or 'none'} -> {row['cost_after'] or 'none'}")
        lines += [
            f"    {c['threat']}: {c['before']} ({c['cost_before'] or '-'}) -> {c['after']} ({c['cost_after'] or '-'})"
            for c in row["changes"]
        ]
        if row.get("accuracy_before") is not None:
            lines.append(
                f"    clean accuracy {row['accuracy_before']:.3f} -> {row['accuracy_after']:.3f}, "
                f"rejected {row['rejected_before']:.3f} -> {row['rejected_after']:.3f}, "
                f"latency {row['latency_ms_before']:.2f} -> {row['latency_ms_after']:.2f} ms a row"
            )
    return "\n".join(lines)
