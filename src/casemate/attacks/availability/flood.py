"""A request flood, bounded and in process: does anything limit how much work one sender can cause?"""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Load, Stall
from ...core.errors import BadInput
from ...core.oracle import Oracle
from ...core.random import RowRandom
from ...core.target import count, take


@attack(
    "availability.flood",
    needs=Need.SUBMIT,
    scope="set",
    aka=("request flood",),
    spends="1 query per row sent",
    modality=("array", "table", "bytes", "text"),
)
class Flood:
    """Send honest rows, over and over, until as many are sent as planned.

    The endpoint's controls decide what gets in; the clock is virtual and nothing leaves the process. All accounts of the
    budget are used. Within the stretch of time of the case, what is refused waits for the next window.

    Args:
        pack: Rows of one request.
    """

    pack: int = 256

    def __call__(self, oracle: Oracle, case: Stall, *, rng: RowRandom) -> Generator[Load, None, Load]:
        if not count(case.x):
            raise BadInput("a flood repeats honest requests; give at least one in x")
        rows = int(min(case.rows, max(oracle.affordable, 0)))
        claim = Load(sent=0, admitted=0)
        for start in range(0, rows, self.pack):
            ids = np.arange(start, min(start + self.pack, rows))
            admitted = oracle.submit(take(case.x, ids % count(case.x)), rows=ids)
            claim = Load(sent=claim.sent + len(ids), admitted=claim.admitted + int(admitted.sum()))
            yield claim
        return claim
