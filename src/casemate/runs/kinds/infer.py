"""Membership: members drawn from the training data, others from what no training saw."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.case import Holdout, Infer
from ...core.errors import BadInput
from ...core.random import RowRandom
from ...core.target import count, take, to_numpy
from ...judges import infer
from ...judges.opinion import Opinion
from .kind import Built, Judging, Kind, groups_in, needs_recipe, rows_held, stacked

if TYPE_CHECKING:
    from ..bench import Bench
    from ..plan import Cell
    from ..profiles import Profile

REFERENCE = 200  # known members an attack may ask about to learn a threshold
POPULATION = 2500  # records known not to be members, at most: what an attack compares candidates with


def check(case: Infer) -> None:
    """Say what is wrong with the candidates, or with the records beside them, before anything is asked."""
    if not count(case.x):
        raise BadInput("the case has no rows; give at least one input")
    _labelled(case, "the candidates")
    if case.population is not None:
        _labelled(case.population, "the population's records")
        one, other = (np.shape(to_numpy(x))[1:] if hasattr(x, "shape") else None for x in (case.x, case.population.x))
        if one != other:
            raise BadInput(f"a candidate has shape {one} and a record of the population {other}; give records of one kind")


def _labelled(data: Infer | Holdout, whose: str) -> None:
    """One label for each record, and a number or a name in each."""
    n, y = count(data.x), np.asarray(to_numpy(data.y))
    if y.shape != (n,):
        raise BadInput(f"{whose} are {n} with labels of shape {y.shape}; give one label for each")
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise BadInput(f"{whose} have {int((~np.isfinite(y)).sum())} labels that are not finite; leave those records out")


def judge(at: Judging) -> Opinion:
    return infer.judge(at.case, at.claim, at.meter.total["queries"])


def build(bench: Bench, cell: Cell) -> Built:
    """As many members as others, members drawn from the training data by the seed; what else is held out is the population."""
    assert bench.recipe is not None and bench.data is not None
    recipe, data = bench.recipe, bench.data
    size = min(int(cell.params["members"]), count(recipe.x), count(data.x))
    inside = np.sort(np.argsort(RowRandom(cell.seed).fork(0x1AFE).uniform(np.arange(count(recipe.x)), 0))[:size])
    members, others = take(recipe.x, inside), take(data.x, np.arange(size))
    y = np.concatenate([np.asarray(to_numpy(take(recipe.y, inside))), np.asarray(to_numpy(data.y))[:size]])
    rest = np.arange(size, min(count(data.x), size + POPULATION))
    population = Holdout(x=take(data.x, rest), y=take(data.y, rest)) if len(rest) else None
    x = stacked(members, others)
    return Built(Infer(x=x, y=y, truth=np.arange(2 * size) < size, population=population, group=groups_in(bench, x)))


def asks(bench: Bench, chosen: Profile) -> int:
    return 2 * chosen.members + max(REFERENCE, min(POPULATION, rows_held(bench)))


def first(case: Infer) -> Any:
    return case.x


INFER = Kind(
    check=check, judge=judge, build=build, why_not=needs_recipe, size=lambda case: count(case.x), asks=asks, again=first,
    asking=True,
)  # fmt: skip
