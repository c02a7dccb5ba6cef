"""Judging a bill: what a day of calls costs the owner under the deployed controls, and how many accounts that takes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from ..core.availability import Bill, Harvest
from ..core.evidence import Check
from ..core.oracle import Meter
from .opinion import Opinion, failed

MEASURE = "daily cost, ratio to the stated line"
MOST = 1000  # accounts up to which the controls are asked


@dataclass(frozen=True, slots=True)
class Day:
    """Rows that the controls let in within a day. `open`: all that were asked for at once, so that nothing bounds them."""

    rows: float
    open: bool


def judge(case: Harvest, claim: Bill | None, meter: Meter, *, day: Callable[[int], Day], accounts: int, line: float) -> Opinion:
    """`broken` when no control bounds the calls of a day, or when those of the attacker's accounts cost the owner `line` or more.

    What was sent is counted from the ledger. What a day lets in is asked of the controls themselves, so there is no interval.

    Args:
        day: The day of so many accounts.
        accounts: Those the attacker has.
        line: Money a day that matters.
    """
    sent, refused = meter.total["queries"], meter.total["refused"]
    if not sent:
        return Opinion(measure=MEASURE, rate=0.0, n=0, broken=False, why=("nothing was sent: the budget covers no row",))
    if claim is not None and (claim.sent, claim.admitted) != (sent, sent - refused):
        reason = f"the attack claims {claim.admitted} of {claim.sent} rows; the ledger has {sent - refused} of {sent}"
        return failed(MEASURE, sent, reason)
    own = day(accounts)
    cost = own.rows * case.price
    wanted, reaches = (1, True) if own.open else _accounts(case, day, line)
    unit = f" {case.currency}" if case.currency else ""
    paid = own.rows * case.fee + accounts * case.account
    broken = own.open or cost >= line
    return Opinion(
        measure=MEASURE, rate=cost / line, n=sent, broken=broken, why=(_said(own, cost, line, unit, wanted, reaches, accounts),),
        checks=(
            Check(62, "rows sent as planned", sent == case.rows, f"{sent} of {case.rows} rows", fatal=False),
        ),
        queries=float(min(own.rows, math.ceil(line / case.price))) if broken else None,
        extra={
            "sent": sent, "admitted": sent - refused, "rows_a_day": own.rows, "bounded": not own.open, "cost_a_day": cost,
            "line": line, "price": case.price, "currency": case.currency, "accounts": accounts,
            "accounts_for_the_line": wanted if reaches else None, "attacker_pays_a_day": paid,
        },
    )  # fmt: skip


def _accounts(case: Harvest, day: Callable[[int], Day], line: float) -> tuple[int, bool]:
    """The fewest accounts whose day costs the line, and whether they were seen to do so."""
    one = day(1).rows * case.price
    if not one:
        return 0, False
    wanted = max(1, math.ceil(line / one * (1 - 1e-9)))
    return wanted, wanted <= MOST and day(wanted).rows * case.price >= line * (1 - 1e-6)


def _said(own: Day, cost: float, line: float, unit: str, wanted: int, reaches: bool, accounts: int) -> str:
    who = "1 account" if accounts == 1 else f"{accounts:,} accounts"
    if own.open:
        return f"no control bounds what a day costs: {own.rows:,.0f} rows of one account at once, {cost:,.4g}{unit}, and so on"
    said = f"{cost:,.4g}{unit} a day with {who} ({own.rows:,.0f} rows); the line is {line:,.4g}{unit}"
    if not reaches:
        most = f"more than {MOST:,} accounts would be needed" if wanted > MOST else "the controls count all accounts together"
        return f"{said}, which is not reached: {most}"
    return f"{said}, which takes {'1 account' if wanted == 1 else f'{wanted:,} accounts'}"
