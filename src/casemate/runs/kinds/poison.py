"""Poisoned training data: the judge retrains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.attack import parameters
from ...core.case import Backdoor, Degrade, Holdout, Misread, Poison
from ...core.constraint import Ball
from ...core.errors import BadInput
from ...core.goal import Becomes
from ...core.target import count, take, to_numpy
from ...judges import aims, poison
from ...judges.opinion import Opinion
from .kind import Built, Judging, Kind, needs_recipe, rows_held

if TYPE_CHECKING:
    from ..bench import Bench
    from ..plan import Cell
    from ..profiles import Profile

SMALL = (0.005, 0.01, 0.03)  # shares at which a backdoor or a chosen target is tried
TRIALS = 10  # inputs to be misread
PROBES = 50  # records of its own that an attack in rounds asks about besides those it sends


def check(case: Poison) -> None:
    wrong = [f for f in case.fractions if not 0 < f < 1]
    if wrong or not case.fractions or not case.seeds:
        raise BadInput(f"fractions={case.fractions}, seeds={case.seeds}: give shares between 0 and 1, and at least one seed")
    if not count(case.recipe.x) or count(case.recipe.x) != len(case.recipe.y):
        raise BadInput(f"the recipe has {count(case.recipe.x)} inputs and {len(case.recipe.y)} labels; give one each")
    if len({str(label) for label in np.asarray(case.recipe.y).tolist()}) < 2:
        raise BadInput("the training labels have one class; nothing can be learned or poisoned")
    if isinstance(case.aim, Misread) and not count(case.aim.x) == len(case.aim.y) == len(case.aim.to) > 0:
        raise BadInput("the aim names inputs to be misread; give x, y and to, one each, at least one")
    if case.truth is not None and count(case.truth.x) != len(case.truth.y):
        raise BadInput(f"truth= has {count(case.truth.x)} inputs and {len(case.truth.y)} labels; give one each")
    if isinstance(case.aim, Backdoor):
        _places(to=case.aim.to, source=case.aim.source)


def _places(**named: Any) -> None:
    """A backdoor names classes as models answer them: by whole numbers."""
    for name, value in named.items():
        number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        if value is not None and not (number and float(value).is_integer()):
            raise BadInput(
                f"{name}={value!r} is no class as a model answers it; give a whole number, of labels that are names the place in "
                "sorted order"
            )


def judge(at: Judging) -> Opinion:
    case: Poison = at.case
    # Only a rule for choosing records is compared with chance; random flips are chance.
    skilled = parameters(at.attack).get("order") != "random" and not at.attack.info.baseline
    paid = at.meter.total["records"]
    if not isinstance(case.aim, Degrade):
        return aims.judge(case, at.claim, paid, seed=at.seed)
    opinion = poison.judge(case, at.claim, paid, seed=at.seed, skilled=skilled, deployed=at.target)
    if any(found.number == 32 for found in opinion.checks):  # the one check that asks the deployed target
        at.meter.count("health", opinion.n)
    return opinion


def build(bench: Bench, cell: Cell) -> Built:
    assert bench.recipe is not None
    return Built(Poison(recipe=bench.recipe, seeds=tuple(range(int(cell.params["seeds"]))), truth=bench.data))


def looked_at(bench: Bench, chosen: Profile) -> int:
    """Rows that an attack in rounds asks in one of them: its records and a few probes."""
    assert bench.recipe is not None
    return int(max(Poison.__dataclass_fields__["fractions"].default) * count(bench.recipe.x)) + PROBES  # type: ignore[arg-type]


def judged(bench: Bench, chosen: Profile) -> int:
    """Its own held-out data, again after every training."""
    fractions: Any = Poison.__dataclass_fields__["fractions"].default
    return rows_held(bench) * chosen.seeds * (1 + 2 * len(fractions))


def towards(bench: Bench, own: int) -> int:
    """The class an attacker wants: what the goal of the description says, else the first."""
    return int(bench.goal.target) if isinstance(bench.goal, Becomes) else own


def build_backdoor(bench: Bench, cell: Cell) -> Built:
    assert bench.recipe is not None
    seeds = tuple(range(int(cell.params["seeds"])))
    return Built(Poison(recipe=bench.recipe, seeds=seeds, truth=bench.data, fractions=SMALL, aim=Backdoor(to=towards(bench, 0))))


def build_misread(bench: Bench, cell: Cell) -> Built:
    """The attacker's own inputs are the first held-out rows of other classes; the rest is the judge's."""
    assert bench.recipe is not None and bench.data is not None
    y = np.asarray(to_numpy(bench.data.y))
    to = towards(bench, int(y[0]) if y.dtype.kind in "iu" else 0)
    own = np.flatnonzero(y != to)[:TRIALS]
    rest = np.setdiff1d(np.arange(len(y)), own)
    aim = Misread(x=take(bench.data.x, own), y=y[own], to=np.full(len(own), to))
    truth = Holdout(x=take(bench.data.x, rest), y=y[rest])
    seeds = tuple(range(int(cell.params["seeds"])))
    # A record that looks like another person's is taken up by whoever labels: only as far as the stated ball may it move.
    within = next((one for one in bench.constraints if isinstance(one, Ball)), None)
    return Built(Poison(
        recipe=bench.recipe, seeds=seeds, truth=truth, fractions=SMALL, aim=aim, within=within, labels=False,
    ))  # fmt: skip


def plan(case: Poison) -> dict[str, int]:
    """The largest declared share of the training data."""
    return {"records": int(max(case.fractions) * count(case.recipe.x))}


POISON = Kind(
    check=check, judge=judge, build=build, why_not=needs_recipe, asks=looked_at, judged=judged, targetless=True, plan=plan
)  # fmt: skip
BACKDOOR = Kind(check=check, judge=judge, build=build_backdoor, why_not=needs_recipe, judged=judged, targetless=True, plan=plan)
MISREAD = Kind(check=check, judge=judge, build=build_misread, why_not=needs_recipe, judged=judged, targetless=True, plan=plan)
