"""Judging a flood: how much of it the endpoint worked for."""

from __future__ import annotations

from ..core.case import Load, Stall
from ..core.evidence import Check
from ..core.oracle import Meter
from .opinion import Opinion, failed

MEASURE = "share of the flood admitted"
NOTHING_LIMITS = 0.99  # from here on, nothing limits the flood
HELD = 0.5  # up to here, a control held: of what was sent, no more than half got through


def judge(case: Stall, claim: Load | None, meter: Meter) -> Opinion:
    """Count from the ledger, not from the claim. `broken` when 99 % of the flood was admitted, `resisted` when at most half was.

    In between something limits the flood, and nobody can say here whether that is enough: `inconclusive`, with the numbers.

    The count is exact, so there is no interval. The seconds each admitted row cost come from the clock and are added where
    the time was taken.
    """
    sent, refused = meter.total["queries"], meter.total["refused"]
    admitted = sent - refused
    if not sent:
        return Opinion(measure=MEASURE, rate=0.0, n=0, broken=False, why=("nothing was sent: the budget covers no row",))
    if claim is not None and (claim.sent, claim.admitted) != (sent, admitted):
        reason = f"the attack claims {claim.admitted} of {claim.sent} rows; the ledger has {admitted} of {sent}"
        return failed(MEASURE, sent, reason)
    rate = admitted / sent
    broken = rate >= NOTHING_LIMITS
    said = "nothing limits the flood" if broken else f"a control refused {refused} rows"
    return Opinion(
        measure=MEASURE, rate=rate, n=sent, broken=broken,
        why=(f"{admitted} of {sent} rows admitted within {case.within_s:g} s: {said}",),
        checks=(Check(35, "flood sent as planned", sent == case.rows, f"{sent} of {case.rows} rows", fatal=False),),
        undecided="" if broken or rate <= HELD else f"{100 * rate:.3g} % got through: more than half, less than nearly all",
        queries=float(sent) if broken else None,
        extra={"sent": sent, "admitted": admitted, "refused": refused, "within_s": case.within_s},
    )  # fmt: skip
