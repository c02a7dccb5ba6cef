"""So many rows for each account, and no more."""

from __future__ import annotations

import math
from collections.abc import Sized
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from ...core.control import control
from ...core.errors import UsageError
from ...core.target import Response
from ._ledger import Table, Window

PERIODS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86_400.0}


@dataclass(frozen=True, slots=True)
class Used:
    """The state: rows let in, by account and over all of them."""

    table: Table
    everyone: Window


@control(
    "service.query_budget",
    changes=(("endpoint.rate_limit", "<rows> per <per>, by account"),),
    knows=("evasion.hopskipjump", "evasion.square"),
    threats=("EV-02", "EV-03", "EX-01", "AV-01"),
    side_effects="a burst of honest use is refused until older rows are a whole period old",
)
class QueryBudget:
    """Let in at most `rows` rows of one account in any period.

    Rows are counted, not requests: packing many questions into one request gains nothing. The promise holds for every
    stretch of time as long as a period, not only for calendar windows, so nobody doubles it around midnight. The
    price is granularity: time is counted in parts, and a row stops counting up to one part after it is a period old,
    so that spending greedily gives `rows` per ``period * (1 + 1/parts)``.

    What it cannot see is one person with many accounts: `knows` attacks it with several.

    Args:
        rows: Rows let in per account, at least 1.
        per: The period: ``second``, ``minute``, ``hour`` or ``day``.
        total: Rows let in per period over all accounts; None for no such cap.
        accounts: Accounts remembered. More than this share one budget, see `Table`.
        parts: Into how many parts a period is cut.
    """

    rows: int = 1000
    per: Literal["second", "minute", "hour", "day"] = "day"
    total: int | None = None
    accounts: int = 65_536
    parts: int = 8
    edits: ClassVar[bool] = False  # the guard need not read answers for it

    def __post_init__(self) -> None:
        if self.per not in PERIODS:
            raise UsageError(f"per={self.per!r} is not a period known here; allowed: {', '.join(PERIODS)}")
        for name in ("rows", "total", "accounts", "parts"):
            value = getattr(self, name)
            if name == "total" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise UsageError(f"{name}={value!r} is not allowed; give a whole number from 1")

    def facts(self) -> tuple[tuple[str, Any], ...]:
        limit = "endpoint.rate_limit"
        return ((f"{limit}.per", self.per), (f"{limit}.n", self.rows), (f"{limit}.key", "account"))

    @property
    def start(self) -> Used:
        # One part more than a period has: the oldest is only partly over.
        return Used(Table.empty(self.accounts, self.parts + 1), Window(0, (0,) * (self.parts + 1)))

    def admit(self, state: Used, account: str, rows: Sized, now: float) -> tuple[Used, NDArray[np.bool_]]:
        """Let in the first rows that fit. What is refused is not counted."""
        size, index = len(rows), self._part(now)
        mine, everyone = state.table.find(account, index), state.everyone.at(index)
        left = self.rows - mine.used
        if self.total is not None:
            left = min(left, self.total - everyone.used)
        inside = min(size, max(left, 0))
        mask = np.ones(size, bool) if inside == size else np.arange(size) < inside
        if not inside:
            return state, mask
        return Used(state.table.put(account, mine.plus(inside)), everyone.plus(inside)), mask

    def answer(self, state: Any, response: Response) -> Response:
        return response

    def wait(self, state: Used, account: str, now: float) -> float:
        """Seconds until one more row is let in, exact to the rounding of the clock; 0 if it is now."""
        index = self._part(now)
        opens = state.table.find(account, index).at(index).frees_at(self.rows)
        if self.total is not None:
            opens = max(opens, state.everyone.at(index).frees_at(self.total))
        if opens <= index:
            return 0.0
        pause = max(opens * self._length - now, 0.0)
        while self._part(now + pause) < opens:  # the sum may round to just before the boundary
            pause = math.nextafter(max(pause, math.ulp(now)), math.inf)
        return pause

    @property
    def _length(self) -> float:
        return PERIODS[self.per] / self.parts

    def _part(self, now: float) -> int:
        return math.floor(now / self._length)
