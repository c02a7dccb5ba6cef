"""Copies: two thirds of the data not trained on for the attacker, the rest for the judge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...core.adversary import Adversary, Need
from ...core.case import Copy, Holdout
from ...core.errors import BadInput
from ...core.target import count, take
from ...judges import copy
from ...judges.opinion import Opinion
from .kind import Built, Judging, Kind, rows_held

if TYPE_CHECKING:
    from ..bench import Bench
    from ..plan import Cell
    from ..profiles import Profile


def check(case: Copy) -> None:
    if case.queries < 1:
        raise BadInput(f"queries={case.queries} is not allowed; plan at least one")


def judge(at: Judging) -> Opinion:
    return copy.judge(at.case, at.kept, at.endpoint, at.meter, recipe=at.recipe)


def build(bench: Bench, cell: Cell) -> Built:
    from ..bench import rows_of

    assert bench.data is not None
    # Two thirds for the attacker: a pool that misses categories the rest has would be the sample's fault.
    data, own = bench.data, 2 * count(bench.data.x) // 3
    pool, rest = rows_of(data, own), rows_of(data, count(data.x), own)
    queries, asks = cell.adversary.budget.queries, int(cell.params["asks"])
    asks = asks if queries is None else min(asks, queries)
    return Built(Copy(pool=take(data.x, pool), queries=asks, truth=Holdout(x=take(data.x, rest), y=take(data.y, rest))))


def why_not(bench: Bench, adversary: Adversary) -> str | None:
    return "whoever holds the model need not copy it" if Need.ARTIFACT in adversary.may else None


def planned(bench: Bench, chosen: Profile) -> int:
    return chosen.asks


def first(case: Copy) -> Any:
    return None if case.truth is None else case.truth.x


COPY = Kind(
    check=check, judge=judge, build=build, why_not=why_not, size=lambda case: int(case.queries), asks=planned,
    judged=lambda bench, chosen: rows_held(bench), again=first, asking=True,
    plan=lambda case: {"queries": int(case.queries)},
)  # fmt: skip
