"""What was decided about a threat: by whom, until when, and under which conditions it stands."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Literal

Decided = Literal["fix", "accept", "transfer", "avoid", "false_positive"]
State = Literal["active", "expired", "violated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Disposition:
    """One entry of a dispositions file.

    Args:
        threat: A threat id, or a pattern with `*` ("EV-0*@api#*").
        made, expires: Days. It counts up to and including the day it expires.
        cost_floor: It stands only while a break costs at least so much (money), where that is measured.
        queries_floor: The same in deployed queries until half of the rows break.
        rate_ceiling: It stands only while the measured rate is at most this (0 to 1).
        ticket: Where the work is tracked.
        place: File and line.
    """

    threat: str
    decision: Decided
    reason: str
    owner: str
    expires: datetime.date
    made: datetime.date | None = None
    approved_by: str = ""
    cost_floor: float | None = None
    queries_floor: float | None = None
    rate_ceiling: float | None = None
    ticket: str = ""
    place: tuple[str, int] = ("", 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Disposed:
    """A disposition as it applies to one finding today: whether it still stands, and if not why."""

    disposition: Disposition
    state: State = "active"
    why: str = ""
