"""What a search for costly inputs has seen so far: it asks, counts, and keeps the costliest."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.adversary import Need
from ...core.availability import Heavy, Sponge
from ...core.oracle import Oracle
from ._inputs import Made, Pool


class Herd:
    """The costliest inputs seen, in order.

    Whoever holds a copy counts on it. Anybody else sends each input, pays a query for it, and sees the time that the answer
    takes; the count stands for that time, as a patient attacker's many measurements would give it.
    """

    def __init__(self, oracle: Oracle, case: Sponge, pool: Pool, keep: int) -> None:
        self._oracle, self._case, self._pool, self._keep = oracle, case, pool, max(keep, case.inputs)
        self.alive: list[Made] = []
        self.work: NDArray[np.float64] = np.zeros(0)
        self.asked = 0
        self.free = oracle.on_copy or oracle.works(Need.GRADIENT) or oracle.works(Need.STRUCTURE)

    @property
    def left(self) -> int:
        """Inputs that may still be tried."""
        most = self._case.asks - self.asked
        return most if self.free else int(max(min(most, self._oracle.affordable), 0))

    def ask(self, young: list[Made]) -> None:
        """Try inputs, no more than `left`; what the endpoint refuses is forgotten."""
        young = young[: self.left]
        if not young:
            return
        x = self._pool.joined([one.value for one in young])
        rows = np.arange(self.asked, self.asked + len(young))
        self.asked += len(young)
        seen = np.ones(len(young), bool) if self.free else self._oracle.submit(x, rows=rows)
        work = np.where(seen, self._case.work(x), -1.0)
        alive = self.alive + young
        every = np.concatenate([self.work, work])
        order = np.argsort(-every, kind="stable")
        order = order[every[order] >= 0][: self._keep]
        self.alive, self.work = [alive[i] for i in order], every[order]

    def claim(self, **detail: Any) -> Heavy | None:
        """The costliest inputs; None where none was let in."""
        best = self.alive[: self._case.inputs]
        if not best:
            return None
        origin = np.array([one.origin for one in best])
        return Heavy(x=self._pool.joined([one.value for one in best]), origin=origin, detail={"asked": self.asked, **detail})
