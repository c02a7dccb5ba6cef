"""Bills: honest requests again and again, at the owner's price."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ...core.availability import Harvest
from ...core.endpoint import DAY, Endpoint
from ...core.errors import BadInput
from ...core.target import count, take
from ...judges import harvest
from ...judges.harvest import Day
from ...judges.opinion import Opinion
from .kind import Built, Judging, Kind

if TYPE_CHECKING:
    from ...core.adversary import Adversary
    from ..bench import Bench
    from ..plan import Cell
    from ..profiles import Profile

ENDLESS = 1_000_000  # rows of one account that are let in at once where nothing is taken to bound them
PACED = 5_000  # rows after the first burst: beyond them the pace is taken to go on
SAME = 0.99  # of the rows of as many single accounts: the pace of one is told to a part of its window


def check(case: Harvest) -> None:
    if not count(case.x):
        raise BadInput("the case has no rows; give at least one input")
    if not 0 < case.price < math.inf:
        raise BadInput(f"price={case.price!r} is not allowed; give what one row costs the owner, above 0")
    if isinstance(case.rows, bool) or not isinstance(case.rows, int) or case.rows < 1:
        raise BadInput(f"rows={case.rows!r} is not allowed; give a whole number from 1")
    for name in ("fee", "account"):
        if not 0 <= getattr(case, name) < math.inf:
            raise BadInput(f"{name}={getattr(case, name)!r} is not allowed; give money, at least 0")


def judge(at: Judging) -> Opinion:
    line = float(getattr(at.attack, "line", 100.0))
    services, target = at.endpoint.services, at.target
    one = day_of_one(services, target)

    def day(accounts: int) -> Day:
        return one if one.open or accounts == 1 else day_of_many(services, target, accounts, one)

    return harvest.judge(at.case, at.claim, at.meter, day=day, accounts=at.endpoint.accounts, line=line)


def day_of_one(services: Any, target: Any) -> Day:
    """What the controls let in of one account within a day. Nothing is asked of the target."""
    at_once = int(Endpoint(target, services).admit(ENDLESS).sum())
    if at_once == ENDLESS:
        return Day(float(ENDLESS), True)
    patient = Endpoint(target, services, days=1.0)
    let_in = int(patient.admit(at_once + PACED).sum())
    if let_in < at_once + PACED:  # the day ended first
        return Day(float(let_in), False)
    return Day(at_once + PACED / patient.now * DAY, False)


def day_of_many(services: Any, target: Any, accounts: int, one: Day) -> Day:
    """The day of several accounts: as many times that of one, unless something counts them all together."""
    wanted = math.ceil(accounts * one.rows)
    asked = min(wanted, ENDLESS)
    let_in = int(Endpoint(target, services, accounts=accounts, days=1.0).admit(asked).sum())
    return Day(accounts * one.rows if let_in >= SAME * asked else float(let_in), False)


def build(bench: Bench, cell: Cell) -> Built:
    from ..bench import rows_of

    assert bench.data is not None
    price, prices = _price(bench), bench.system.prices
    assert price is not None
    per_row = (prices.per_1000_queries or 0.0) / 1000 if prices else 0.0
    return Built(Harvest(
        x=take(bench.data.x, rows_of(bench.data, 64)), price=price, rows=int(cell.params["flood"]), fee=per_row,
        account=(prices.per_account or 0.0) if prices else 0.0, currency=(prices.currency or "") if prices else "",
    ))  # fmt: skip


def _price(bench: Bench) -> float | None:
    """What one call costs the owner, where that is stated and above 0."""
    endpoint = bench.system.component(bench.component).endpoint
    return endpoint.cost_per_call if endpoint is not None and endpoint.cost_per_call else None


def why_not(bench: Bench, adversary: Adversary) -> str | None:
    return "what a call costs is not stated (endpoint.cost_per_call)" if _price(bench) is None else None


def planned(bench: Bench, chosen: Profile) -> int:
    return chosen.flood


HARVEST = Kind(
    check=check, judge=judge, build=build, why_not=why_not, size=lambda case: int(case.rows), asks=planned,
    plan=lambda case: {"queries": int(case.rows)},
)  # fmt: skip
