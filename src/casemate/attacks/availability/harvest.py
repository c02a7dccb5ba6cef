"""Cost harvesting: paid calls, as many as the controls let in, and what they cost the owner."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from ...core.adversary import Need
from ...core.attack import attack
from ...core.availability import Bill, Harvest
from ...core.errors import BadInput
from ...core.oracle import Oracle
from ...core.random import RowRandom
from ...core.target import count, take


@attack(
    "availability.harvest",
    needs=Need.SUBMIT,
    scope="set",
    case="harvest",
    aka=("cost harvesting", "denial of wallet"),
    spends="1 query per row sent",
    modality=("array", "table", "bytes", "text"),
)
class CostHarvest:
    """Repeat paid calls with every account there is, through a day of the endpoint's clock.

    In process, and bounded: `rows` of the case are really sent, and that the ledger of the endpoint counts them is the
    evidence. What a whole day would let in, and how many accounts the line takes, the judge tells from the deployed controls
    themselves, which cost nothing to ask.

    Args:
        line: Money a day that matters to the owner, in the currency of the prices.
        pack: Rows of one request.
    """

    line: float = 100.0
    pack: int = 256

    def __post_init__(self) -> None:
        if not 0 < self.line < np.inf or self.pack < 1:
            raise BadInput(f"availability.harvest: line={self.line!r}, pack={self.pack!r}; give money above 0, and 1 row or more")

    def __call__(self, oracle: Oracle, case: Harvest, *, rng: RowRandom) -> Generator[Bill, None, Bill]:
        rows = int(min(case.rows, max(oracle.affordable, 0)))
        claim = Bill(sent=0, admitted=0)
        for start in range(0, rows, self.pack):
            ids = np.arange(start, min(start + self.pack, rows))
            admitted = oracle.submit(take(case.x, ids % count(case.x)), rows=ids)
            claim = Bill(sent=claim.sent + len(ids), admitted=claim.admitted + int(admitted.sum()))
            yield claim
        return claim
