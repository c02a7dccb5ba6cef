"""Floods: honest requests, again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...core.case import Stall
from ...core.errors import BadInput
from ...core.target import count, take
from ...judges import stall
from ...judges.opinion import Opinion
from .kind import Built, Judging, Kind

if TYPE_CHECKING:
    from ..bench import Bench
    from ..plan import Cell
    from ..profiles import Profile


def check(case: Stall) -> None:
    if not count(case.x):
        raise BadInput("the case has no rows; give at least one input")


def judge(at: Judging) -> Opinion:
    return stall.judge(at.case, at.claim, at.meter)


def build(bench: Bench, cell: Cell) -> Built:
    from ..bench import rows_of

    assert bench.data is not None
    return Built(Stall(x=take(bench.data.x, rows_of(bench.data, 64)), rows=int(cell.params["flood"])))


def planned(bench: Bench, chosen: Profile) -> int:
    return chosen.flood


STALL = Kind(
    check=check, judge=judge, build=build, size=lambda case: int(case.rows), asks=planned,
    plan=lambda case: {"queries": int(case.rows)},
)  # fmt: skip
