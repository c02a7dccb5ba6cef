"""`casemate account`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from .echo import echo


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--row", required=True, type=click.IntRange(0), help="Position of the evaluation row in `data`, from 0.")
@click.option("--top", default=5, show_default=True, type=click.IntRange(1), help="How many training rows to name.")
@click.option("--component", help="Which component; needed where the description binds several.")
@click.option("--refit", is_flag=True, help="Train without each row, for models that no method reads: a training a row.")
@click.option("--seed", default=0, show_default=True, help="Of the trainings of --refit.")
@click.option("--show-personal", is_flag=True, help="Print what stands in the rows, not only their positions.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")
def account(
    path: Path, row: int, top: int, component: str | None, refit: bool, seed: int, show_personal: bool, as_json: bool
) -> int:
    """Say which training rows made one decision of a described system: what to look at after a decision nobody understands.

    Needs `data` and `recipe` in the description, and runs your functions.
    """
    from ..core.errors import UsageError
    from ..core.target import count, take
    from ..judges.influence.responsible import refitted, responsible
    from ..runs.bench import open_bench
    from ..runs.named import spelled, told_names
    from ..runs.watched import watched_recipe
    from ..threats.load import load

    system = load(path)
    bench = open_bench(system, _component(system, component))
    if bench.data is None or bench.recipe is None or bench.target is None:
        lacks = [key for key in ("factory", "data", "recipe") if getattr(bench, "target" if key == "factory" else key) is None]
        raise UsageError(f"{bench.component} binds no {' and no '.join(lacks)}; rows are told from all three")
    if row >= (there := count(bench.data.x)):
        raise UsageError(f"--row {row} of {there} evaluation rows; give 0 to {there - 1}")
    recipe, x = bench.recipe, take(bench.data.x, [row])
    said = replace(recipe, y=spelled(recipe.y, told_names(bench.target)))  # a model is explained by the labels it was trained on
    top = min(top, count(recipe.x))
    if refit:
        show = _counted if sys.stderr.isatty() and not as_json else lambda *_: None
        found = refitted(watched_recipe(recipe), x, top, seed=seed, show=show)
    else:
        found = responsible(bench.target, recipe.x, said.y, x, top)
    told = {**asdict(found), "rows": found.rows.tolist(), "effect": found.effect.tolist(), "decision": _plain(found.decision)}
    echo(json.dumps(told, indent=2) if as_json else _text(found, row, said, show_personal))
    return 0


def _component(system: Any, asked: str | None) -> str:
    from ..core.errors import UnknownName, UsageError

    bound = [binding.component for binding in system.target]
    if asked is not None and asked not in bound:
        raise UnknownName("bound component", asked, bound)
    if asked is None and len(bound) != 1:
        raise UsageError(f"the description binds {', '.join(bound) or 'nothing'}; name one with --component")
    return asked or str(bound[0])


def _text(found: Any, row: int, recipe: Any, personal: bool) -> str:
    from ..report.words import line

    lines = [f"evaluation row {row} is decided {line(_plain(found.decision))}", f"  {found.how}", ""]
    for place, effect in zip(found.rows, found.effect, strict=True):
        label = line(_plain(_at(recipe.y, place)))
        side = "for" if effect >= 0 else "against"
        lines.append(f"  training row {place:>6}  label {label:<10}  {effect:+.4g}  {side} the decision")
        if personal:
            lines.append(f"    {line(_row(recipe.x, place))}")
    return "\n".join([*lines, "", "exact" if found.exact else "an estimate: --refit trains without each row"])


def _at(values: Any, place: int) -> Any:
    return values.iloc[place] if hasattr(values, "iloc") else values[place]


def _row(x: Any, place: int) -> str:
    one = _at(x, place)
    return ", ".join(f"{key}={value}" for key, value in one.items()) if hasattr(one, "items") else str(one)


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _counted(done: int, total: int) -> None:
    click.echo(f"\r{done} of {total} trainings", nl=done == total, err=True)
