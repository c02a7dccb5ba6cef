"""`casemate harden`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .echo import echo
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
    counts accounts. Shown beside the gain: clean accuracy, rejects and latency; of a training its time too, and the share of
    honest records it leaves out.
    """
    from ..report.as_json import render
    from ..report.write import write
    from ..runs.harden import harden as run
    from ..threats.load import load

    with progress(load(path).name, quiet or as_json) as show:
        result = run(path, only=only, trains=train, store=store, workers=workers, seed=seed, budget=budget, show=show)
    files = write([result], Path(out), show_personal=show_personal)
    if as_json:
        echo(render([result], show_personal=show_personal), nl=False)
    else:
        echo(table(result))
        echo(f"\nReport: {files['html'].resolve()}")
    return exit_code([result])


def table(result: Any) -> str:
    """Before and after, one block for each control; then what was not tried, and why."""
    tried = [row for row in result.hardening if not row["note"].startswith(_LEFT)]
    if not any(finding.evidence for finding in result.findings):
        lines = [f"{result.name}: nothing was attacked, so no control can be measured{_why(result)}"]
    elif tried:
        lines = [f"{result.name}: what each control changes, measured by attacks that know it"]
    else:
        lines = [f"{result.name}: nothing was broken that a known control answers and that can be applied here"]
    for row in tried:
        lines += _block(row)
    left = [row for row in result.hardening if row["note"].startswith(_LEFT)]
    if left:
        lines.append("\n  not tried")
        lines += [f"    {row['control']} at {row['component']}: {row['note'].removeprefix(_LEFT)}" for row in left]
    return "\n".join(lines)


_LEFT = "not tried: "


def _why(result: Any) -> str:
    """Why nothing was attacked: the reasons that the run itself gave."""
    reasons = dict.fromkeys(item["reason"] for item in result.untested)
    unbound = not reasons and all(not b.factory and not b.url for b in result.system.target)
    return f" ({'; '.join(reasons)})" if reasons else " (no target is bound to the description)" if unbound else ""


def _block(row: Any) -> list[str]:
    """One control, or all together."""
    from ..report.hardening import change_words, decided

    lines = [f"\n  {row['control']} at {row['component']}"]
    if row["note"]:
        return [*lines, f"    {row['note']}"]
    if decided(row["cheapest"]):
        lines.append(f"    cheapest break: {change_words(row['cheapest'])}")
    lines += [f"    {change_words(change)}" for change in row["changes"]]
    if "training_seconds" in row:
        lines.append(f"    trained in {row['training_seconds']:.3g} s{_left_out(row)}")
    if row.get("accuracy_before") is not None:
        lines.append(
            f"    clean accuracy {row['accuracy_before']:.3f} → {row['accuracy_after']:.3f}, "
            f"rejected {row['rejected_before']:.3f} → {row['rejected_after']:.3f}, latency {_latency(row)}"
        )
    return lines


def _left_out(row: Any) -> str:
    share = row.get("honest_share_left_out")
    return "" if share is None else f"; leaves out {100 * share:.1f}% of records that nobody poisoned"


def _latency(row: Any) -> str:
    low, high = row["latency_ms_difference"]
    if row["latency_same"]:
        return f"{row['latency_ms_after']:.3g} ms a row, no difference"
    return f"{row['latency_ms_before']:.3g} → {row['latency_ms_after']:.3g} ms a row ({low:+.3g} to {high:+.3g})"
