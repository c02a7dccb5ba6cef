"""Show scores with a few digits only."""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.control import control
from ...core.errors import UsageError
from ...core.target import Response


@control(
    "service.round_scores",
    changes=(("model.precision_digits", "<digits>"),),
    knows=("evasion.square", "evasion.hopskipjump"),
    threats=("EV-02", "EX-01", "PR-01"),
    side_effects="scores no longer add up to one, and close classes look equal",
)
class RoundScores:
    """Round scores, and logits where they are shown, to `digits` decimals.

    The label was decided before rounding and stays, also where two classes now show the same score. A step of the score
    that rounding hides is a plateau to a score-based attack; one that knows this falls back on the label.

    Args:
        digits: Decimals kept, 0 to 15.
    """

    digits: int = 2

    def __post_init__(self) -> None:
        if isinstance(self.digits, bool) or not isinstance(self.digits, int) or not 0 <= self.digits <= 15:
            raise UsageError(f"digits={self.digits!r} is not allowed; give a whole number from 0 to 15")

    def facts(self) -> tuple[tuple[str, Any], ...]:
        return (("model.precision_digits", self.digits),)

    @property
    def start(self) -> None:
        return None

    def admit(self, state: None, account: str, rows: Sized, now: float) -> tuple[None, NDArray[np.bool_]]:
        return state, np.ones(len(rows), bool)

    def answer(self, state: Any, response: Response) -> Response:
        scores, logits = response.scores, response.logits
        return replace(
            response,
            scores=None if scores is None else scores.round(decimals=self.digits),
            logits=None if logits is None else logits.round(decimals=self.digits),
        )

    def wait(self, state: None, account: str, now: float) -> float:
        return 0.0
