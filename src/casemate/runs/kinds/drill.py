"""Drills: the model fails, and the bound fallback decides."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.availability import Drill
from ...core.errors import BadInput, CasemateError
from ...core.goal import reached
from ...core.target import count, take, to_numpy
from ...judges import drill
from ...judges.opinion import Opinion
from ..watched import PATIENCE
from .kind import Built, Judging, Kind, rows_held

if TYPE_CHECKING:
    from ...core.adversary import Adversary
    from ..bench import Bench
    from ..plan import Cell
    from ..profiles import Profile

LOOKED_AT = 64  # rows of the data asked for inputs that the system decides otherwise than the attacker wants
INPUTS = 16  # of those, at most so many go into the drill


def check(case: Drill) -> None:
    n = count(case.x)
    if not n:
        raise BadInput("the case has no rows; give at least one input")
    for name in ("y", "usual"):
        shape = np.shape(to_numpy(getattr(case, name)))
        if shape != (n,):
            raise BadInput(f"x has {n} rows and {name} has shape {shape}; give one for each input")
    if not callable(case.fallback):
        raise BadInput(f"fallback={case.fallback!r} is no function; give one that takes a model and returns how to decide")
    met = int(reached(case.goal, case.usual, case.y).sum())
    if met:
        raise BadInput(f"{met} of {n} inputs are decided as the attacker wants while the model works; leave them out of a drill")
    if case.classes < 2:
        raise BadInput(f"classes={case.classes} is not allowed; give the number of decisions, at least 2")


def judge(at: Judging) -> Opinion:
    from ...attacks.availability._faults import Working, labels_of, tried

    model = Working(at.target)

    def decide() -> Any:
        return labels_of(at.case.fallback(model)(at.case.x), count(at.case.x))[0]

    working = decides(decide, getattr(at.target, "patience", PATIENCE))
    at.meter.count("judge", model.asked)
    patience = float(getattr(at.attack, "patience", 0.1))
    return drill.judge(at.case, at.claim, again=lambda fault: tried(at.case, fault, patience), working=working)


def decides(decide: Callable[[], Any], patience: float | None) -> Any:
    """What the bound function decides with the working model; None where it raises, or gives nothing in time.

    In a thread of its own, which ends nothing where it hangs.

    Raises:
        CasemateError: The deployed model itself fails: that is no drill.
    """
    found: list[Any] = []
    failed: list[CasemateError] = []

    def run() -> None:
        try:
            found.append(decide())
        except CasemateError as error:
            failed.append(error)
        except (Exception, SystemExit):  # noqa: BLE001 - the function cannot work with the model: the check says so
            return

    thread = threading.Thread(target=run, name="drill with the working model", daemon=True)
    thread.start()
    thread.join(patience)
    if failed:
        raise failed[0]
    return found[0] if found else None


def build(bench: Bench, cell: Cell) -> Built:
    from ..bench import _Loader, rows_of

    binding = bench.system.binding(bench.component)
    assert bench.data is not None and bench.target is not None and binding is not None and binding.fallback is not None
    rows = rows_of(bench.data, LOOKED_AT)
    x, y = take(bench.data.x, rows), np.asarray(to_numpy(bench.data.y))[rows]
    usual = np.asarray(to_numpy(bench.target.respond(x).label))
    keep = np.flatnonzero(~reached(bench.goal, usual, y))[:INPUTS]
    if not len(keep):
        raise BadInput(f"the first {len(rows)} rows are all decided as the attacker wants; bind others as target.data")
    fallback: Any = _Loader(Path(bench.system.folder or "."), bench.component).find("fallback", binding.fallback)
    return Built(Drill(
        x=take(x, keep), y=y[keep], usual=usual[keep], fallback=fallback, goal=bench.goal, classes=bench.target.classes or 2,
    ))  # fmt: skip


def why_not(bench: Bench, adversary: Adversary) -> str | None:
    binding = bench.system.binding(bench.component)
    return "no fallback is bound (target.fallback)" if binding is None or binding.fallback is None else None


def judged(bench: Bench, chosen: Profile) -> int:
    return min(LOOKED_AT, rows_held(bench)) + INPUTS


DRILL = Kind(check=check, judge=judge, build=build, why_not=why_not, judged=judged)
