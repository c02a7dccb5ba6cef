"""A search over allowed edits: bytes, rows of a table, whatever the constraint knows how to change."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np

from ...core.adversary import Need
from ...core.attack import Answer, Ask, Claim, attack
from ...core.case import Evade
from ...core.errors import BadInput
from ...core.oracle import Oracle
from ...core.target import Response, take, to_numpy
from ._scores import climb

Talk = Generator[Ask | Claim, Answer, None]
DUDS = 20  # refused proposals in a row after which a search gives up a batch: some rows have nothing left to change


@attack(
    "evasion.edits",
    needs=Need.LABEL,
    scope="dialogue",
    modality=("bytes", "table", "text"),
    papers=("arXiv:2003.13526",),
    aka=("edits", "byte edits", "greedy edits", "(1+lambda) search"),
    spends="at most queries per row",
    static_cost=lambda a: a.queries,
)
class Edits:
    """Propose edits, keep the one that helps most, edit on from there.

    With scores it is a (1+lambda) search: the best candidate of a batch replaces the current input when it is nearer
    the goal. Without, edits pile up on a walk of random length and the search starts over from the input. Every
    candidate is checked against the constraint, by the attacker and at the attacker's cost, before it is asked.

    Args:
        queries: Most queries of a row.
        batch: Candidates asked at a time (lambda), at least 1.
        pile: Most edits piled up before a walk without scores starts over.
        patience: Batches without gain after which a search with scores starts over from the input.
    """

    queries: int = 100
    batch: int = 4
    pile: int = 8
    patience: int = 10

    def __call__(self, oracle: Oracle, case: Evade, *, rng: np.random.Generator) -> Talk:
        if not hasattr(case.within, "propose"):
            kind = type(case.within).__name__
            raise BadInput(f"evasion.edits needs a constraint that proposes edits; {kind} does not")
        within, origin = case.within, _only(case.x)
        seen: set[Any] = {_key(origin)}
        here, height, idle, piled, stuck, size = origin, -np.inf, 0, 0, 0, np.inf
        left = min(self.queries, float(oracle.left(case.row)[0]))
        while left >= 1 and stuck <= self.pile:
            found, known = self._candidates(within, here, origin, int(min(self.batch, left)), seen, rng)
            if not found:  # all that one edit reaches was asked before: go on from one of those, or give up
                here, height, stuck = (origin if known is None else known), -np.inf, stuck + 1
                continue
            stuck = 0
            answer = yield Ask(_join(found))
            left = min(left - len(found), answer.left)
            for i in np.flatnonzero(answer.met):
                if _size(within, found[i], origin) < size:
                    size = _size(within, found[i], origin)
                    yield Claim(_join([found[i]]), True)
            loss = climb(case, Response(answer.label, answer.scores), np.repeat(np.asarray(case.y), len(found)))
            if loss is None:
                piled += 1
                here = found[int(rng.integers(len(found)))]
                over = bool(piled >= rng.integers(1, self.pile + 1))
            else:
                best = int(np.argmax(np.nan_to_num(loss, nan=-np.inf)))
                idle = 0 if loss[best] > height else idle + 1
                here, height = (found[best], float(loss[best])) if idle == 0 else (here, height)
                over = idle >= self.patience
            if over:
                here, height, idle, piled = origin, -np.inf, 0, 0

    def _candidates(
        self, within: Any, here: Any, origin: Any, wanted: int, seen: set[Any], rng: np.random.Generator
    ) -> tuple[list[Any], Any]:
        """Up to `wanted` allowed edits of `here` that were not asked before, and an allowed one that was (or None)."""
        found: list[Any] = []
        known, duds = None, 0
        while len(found) < wanted and duds < DUDS:
            new = within.propose(here, origin, rng)
            key = _key(new)
            if key in seen or not _allowed(within, new, origin):
                known = new if key in seen and key != _key(origin) else known
                duds += 1
                continue
            seen.add(key)
            found.append(new)
            duds = 0
        return found, known


def _only(x: Any) -> Any:
    """The one row of a case: an item of a sequence, a row of an array, or a frame of one row."""
    return take(x, [0]) if hasattr(x, "iloc") else to_numpy(x)[0]


def _allowed(within: Any, new: Any, origin: Any) -> bool:
    return bool(within.check(_join([new]), _join([origin]))[0])


def _size(within: Any, new: Any, origin: Any) -> float:
    return float(within.measure(_join([new]), _join([origin]))[0])


def _key(x: Any) -> Any:
    if isinstance(x, np.ndarray):
        return x.tobytes()
    return tuple(x.iloc[0]) if hasattr(x, "iloc") else x


def _join(rows: list[Any]) -> Any:
    if isinstance(rows[0], np.ndarray):
        return np.stack(rows)
    if not hasattr(rows[0], "iloc"):
        return rows
    import pandas

    return pandas.concat(rows, ignore_index=True) if len(rows) > 1 else rows[0]
