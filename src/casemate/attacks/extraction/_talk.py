"""Questions of an attack that builds each on the answers before: numbered, inside the plan of the case and the budget."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...core.case import Copy
from ...core.errors import BadInput, BudgetSpent
from ...core.oracle import Oracle
from ...core.target import Response, count, to_numpy


class Talk:
    """All questions of one extraction, each with a ledger id of its own.

    Args:
        oracle: The door.
        case: Whose `queries` is the plan: no more are asked, whatever the budget.
    """

    def __init__(self, oracle: Oracle, case: Copy) -> None:
        self._oracle, self._plan, self.asked = oracle, case.queries, 0

    @property
    def left(self) -> int:
        """Questions that may still be asked."""
        return int(max(0, min(self._plan - self.asked, self._oracle.affordable)))

    def ask(self, x: Any) -> Response:
        """The answers to all of `x` ``(n, *shape)``, as numpy; one query each.

        Raises:
            BudgetSpent: Not all of `x` is affordable; nothing was asked.
            Refused: The endpoint refused some of it.
        """
        size = count(x)
        if size > self.left:
            raise BudgetSpent(f"{size} more questions are beyond the {self.left} that are left")
        ids = self.asked + np.arange(size)
        self.asked += size
        found = self._oracle.look(x, rows=ids)
        return Response(_numpy(found.label), _numpy(found.scores), _numpy(found.logits))


def _numpy(part: Any) -> Any:
    return part if part is None or isinstance(part, np.ndarray) else np.asarray(to_numpy(part))


def numbers(case: Copy, who: str) -> Any:
    """The pool of an attack that moves real numbers freely; None where there is none.

    Raises:
        BadInput: It is a frame, or holds no real numbers; or neither pool nor domain is given.
    """
    if case.pool is None:
        if case.low is None or case.high is None:
            raise BadInput(f"{who} needs inputs to ask about: give a pool, or low and high of the domain")
        return None
    if not count(case.pool):
        raise BadInput(f"{who}: the pool has no rows; give at least one input to start from, or low and high")
    kind = "a frame" if hasattr(case.pool, "iloc") else str(getattr(to_numpy(case.pool), "dtype", type(case.pool).__name__))
    if not kind.startswith("float"):
        raise BadInput(f"{who} moves real numbers freely, and the pool is {kind}; extraction.learning takes tables too")
    return to_numpy(case.pool)
