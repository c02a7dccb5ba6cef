"""Running one cell: from a plan's line to a stored part."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..core.attack import attacks
from ..core.case import AnyCase, Copy, Evade, Holdout, Infer, Poison, Smuggle, Stall
from ..core.constraint import Ball
from ..core.errors import BadInput, CasemateError, RunError
from ..core.random import RowRandom
from ..core.target import count, take, to_numpy
from .bench import Bench, rows_of, supply_facts
from .driver import Progress
from .evade import Setting, baseline, run_evade
from .part import Part
from .plan import BASELINE, Cell


def execute(bench: Bench, cell: Cell, progress: Progress | None = None) -> Part:
    """Run a cell. What the target does wrong comes back as a part with an ``error``, never as a silent pass."""
    try:
        return _execute(bench, cell, progress)
    except (KeyboardInterrupt, MemoryError, BadInput):
        raise
    except CasemateError as error:
        return Part(facts={"error": f"{type(error).__name__}: {error}"})
    except Exception as error:  # noqa: BLE001 - whatever the system under test or a plugin raises is a result
        return Part(facts={"error": f"{type(error).__name__}: {error}"})


def _execute(bench: Bench, cell: Cell, progress: Progress | None) -> Part:
    case = case_of(bench, cell)
    setting = setting_of(bench, cell)
    if cell.attack == BASELINE:
        assert isinstance(case, Evade)
        return baseline(case, setting, int(cell.params["draws"]))
    attack = attack_of(cell)
    if isinstance(case, Evade):
        return run_evade(attack, case, setting, progress)
    from .sets import set_part

    return set_part(attack, case, bench.target, cell.adversary, bench.services, bench.known, cell.seed)


def attack_of(cell: Cell) -> Any:
    """The attack of a cell with its parameters."""
    kind = attacks.get(cell.attack)
    return kind(**{k: v for k, v in cell.params.items() if k in kind.__dataclass_fields__})


def setting_of(bench: Bench, cell: Cell) -> Setting:
    """Target, adversary and what it holds, for a cell of evasion."""
    return Setting(
        target=bench.target,  # type: ignore[arg-type]
        adversary=cell.adversary, services=bench.services, known=bench.known, seed=cell.seed,
        check_health=cell.seek == "any", share=cell.share,
    )  # fmt: skip


def case_of(bench: Bench, cell: Cell) -> AnyCase:
    """The case of a cell. Hidden truth goes in here, and the driver takes it out again before the attack sees it."""
    if cell.case == "smuggle":
        return Smuggle(artifact=bench.artifact, pinned=bench.pinned, facts=supply_facts(bench, cell.adversary))
    data = bench.data
    if data is None:
        raise RunError(f"{cell.label}: no data is bound")
    if cell.case == "evade":
        index = np.arange(*cell.rows)
        within: Any = bench.constraints[cell.place]
        if cell.scale != 1.0 and isinstance(within, Ball):
            within = replace(within, radius=within.radius * cell.scale)
        y, seek = np.asarray(to_numpy(data.y))[index], cell.seek
        return Evade(take(data.x, index), y, within=within, goal=bench.goal, seek=seek, row=index)  # type: ignore[arg-type]
    if cell.case == "stall":
        return Stall(x=take(data.x, rows_of(data, 64)), rows=int(cell.params["flood"]))
    if cell.case == "copy":
        # Two thirds for the attacker: a pool that misses categories the rest has would be the sample's fault.
        own = 2 * count(data.x) // 3
        pool, rest = rows_of(data, own), rows_of(data, count(data.x), own)
        queries = cell.adversary.budget.queries
        asks = int(cell.params["asks"])
        asks = asks if queries is None else min(asks, queries)
        return Copy(pool=take(data.x, pool), queries=asks, truth=Holdout(x=take(data.x, rest), y=take(data.y, rest)))
    if bench.recipe is None:
        raise RunError(f"{cell.label}: no recipe is bound")
    if cell.case == "poison":
        return Poison(recipe=bench.recipe, seeds=tuple(range(int(cell.params["seeds"]))), truth=data)
    return _infer(bench, cell, data)


def _infer(bench: Bench, cell: Cell, data: Holdout) -> Infer:
    """As many members as others, members drawn from the training data by the seed."""
    assert bench.recipe is not None
    size = min(int(cell.params["members"]), count(bench.recipe.x), count(data.x))
    inside = np.argsort(RowRandom(cell.seed).fork(0x1AFE).uniform(np.arange(count(bench.recipe.x)), 0))[:size]
    members, others = take(bench.recipe.x, np.sort(inside)), take(data.x, np.arange(size))
    y = np.concatenate([np.asarray(to_numpy(take(bench.recipe.y, np.sort(inside)))), np.asarray(to_numpy(data.y))[:size]])
    return Infer(x=_stack(members, others), y=y, truth=np.arange(2 * size) < size)


def _stack(a: Any, b: Any) -> Any:
    if hasattr(a, "iloc"):
        import pandas

        return pandas.concat([a, b], ignore_index=True)
    if isinstance(a, list | tuple):
        return [*a, *b]
    return np.concatenate([to_numpy(a), to_numpy(b)])


def error_of(parts: list[Part]) -> str:
    """The first error among the cells of one evidence, or nothing."""
    return next((str(p.facts["error"]) for p in parts if "error" in p.facts), "")


