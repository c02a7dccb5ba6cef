"""Running one cell: from a plan's line to a stored part."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..core.attack import attacks
from ..core.case import Evade
from ..core.constraint import Ball
from ..core.errors import BadInput, CasemateError, RunError
from ..core.target import take, to_numpy
from ..trainers.limit import too_long, within
from .bench import Bench
from .driver import Progress
from .evade import Setting, baseline, run_evade
from .kinds import KINDS, Built
from .part import Part
from .plan import BASELINE, Cell
from .watched import allowed


def execute(bench: Bench, cell: Cell, progress: Progress | None = None, training: float | None = None) -> Part:
    """Run a cell. What the target does wrong comes back as a part with an ``error``, never as a silent pass.

    Args:
        training: Seconds the whole run is given, where it is: no single training may take longer.
    """
    try:
        return _execute(bench, cell, progress, training)
    except (KeyboardInterrupt, MemoryError):
        raise
    except BadInput as error:
        # What is wrong with inputs concerns every attack on them; what one attack on a whole set cannot use, it alone.
        if cell.case == "evade" or cell.attack == BASELINE:
            raise
        return Part(facts={"error": f"{type(error).__name__}: {error}"})
    except CasemateError as error:
        return Part(facts={"error": f"{type(error).__name__}: {error}"})
    except Exception as error:  # noqa: BLE001 - whatever the system under test or a plugin raises is a result
        return Part(facts={"error": f"{type(error).__name__}: {error}"})


def _execute(bench: Bench, cell: Cell, progress: Progress | None, training: float | None) -> Part:
    limit = allowed(training)
    with within(limit, too_long(f"training a model for {cell.label}", limit)):  # an audit builds its case by a training
        made = built(bench, cell)
    case, setting = made.case, setting_of(bench, cell)
    if cell.attack == BASELINE:
        assert isinstance(case, Evade)
        return baseline(case, setting, int(cell.params["draws"]))
    attack = attack_of(cell)
    if isinstance(case, Evade):
        return run_evade(attack, case, setting, progress)
    from .sets import set_part

    target = made.target or bench.target
    return set_part(attack, case, target, cell.adversary, bench.services, bench.known, cell.seed, training=training)


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


def built(bench: Bench, cell: Cell) -> Built:
    """The case of a cell. Hidden truth goes in here, and the driver takes it out again before the attack sees it."""
    if cell.case != "evade":
        return KINDS[cell.case].build(bench, cell)
    data = bench.data
    if data is None:
        raise RunError(f"{cell.label}: no data is bound")
    index = np.arange(*cell.rows)
    within: Any = bench.constraints[cell.place]
    if cell.scale != 1.0 and isinstance(within, Ball):
        within = replace(within, radius=within.radius * cell.scale)
    y, seek = np.asarray(to_numpy(data.y))[index], cell.seek
    return Built(Evade(take(data.x, index), y, within=within, goal=bench.goal, seek=seek, row=index))  # type: ignore[arg-type]


def error_of(parts: list[Part]) -> str:
    """The first error among the cells of one evidence, or nothing."""
    return next((str(p.facts["error"]) for p in parts if "error" in p.facts), "")


