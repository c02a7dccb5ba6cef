"""The deployed endpoint: a target behind its service controls, on a virtual clock."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .control import Service
from .errors import NotGranted
from .poison import Records
from .target import Response, Target

Array = Any
DAY = 86_400.0


class Endpoint:
    """The deployed endpoint: a target behind its service controls, on a virtual clock.

    Holds the state of the controls. A patient attacker (one with days to spend) waits for the next window instead of
    being refused; an attacker with several accounts goes on with the next one.

    `retrain` trains the target again with records of the attacker's in its data; None where nobody does.
    `used` are the accounts that were let in.
    """

    def __init__(
        self, target: Target, services: Sequence[Service] = (), *, accounts: int = 1, days: float | None = None,
        retrain: Callable[[Records], Target] | None = None,
    ):  # fmt: skip
        self.target, self.services, self.retrain = target, tuple(services), retrain
        # One clock for this endpoint and for what it becomes when it is trained again: `copy` shares the list.
        self._clock, self._end = [0.0], 0.0 if days is None else days * DAY
        self._accounts = [str(i) for i in range(accounts)]
        self._states = [service.start for service in self.services]
        self.used: set[str] = set()

    @property
    def now(self) -> float:
        """What the campaign took so far, in seconds of the virtual clock, at this endpoint and at those trained again."""
        return self._clock[0]

    @property
    def accounts(self) -> int:
        """How many accounts the attacker has here."""
        return len(self._accounts)

    def retrained(self, records: Records) -> Endpoint:
        """This endpoint with the model trained anew: the same clock, controls and accounts go on."""
        if self.retrain is None:
            raise NotGranted("nothing trains this endpoint again; bind a recipe (target.recipe)")
        after = copy.copy(self)
        after.target = self.retrain(records)
        return after

    def admit(self, rows: int, account: int | None = None) -> NDArray[np.bool_]:
        """Which of the next `rows` rows are let in, ``(rows,)``; moves the clock where waiting helps."""
        if account is not None and not 0 <= account < len(self._accounts):
            raise NotGranted(f"account {account} was asked with, and the adversary has {len(self._accounts)}, counted from 0")
        admitted = np.zeros(rows, bool)
        if rows and not self.services:
            self.used.add(self._accounts[account or 0])
        while self.services and not admitted.all():
            open_rows = np.flatnonzero(~admitted)
            for name in self._accounts if account is None else [self._accounts[account]]:
                mask = self._ask(name, len(open_rows))
                if mask.any():
                    self.used.add(name)
                admitted[open_rows[mask]] = True
                open_rows = open_rows[~mask]
                if not len(open_rows):
                    return admitted
            names = self._accounts if account is None else [self._accounts[account]]
            pause = min(self._wait(name) for name in names)
            if not (pause > 0 and self.now + pause <= self._end):
                return admitted
            self._clock[0] += pause
        return admitted if self.services else np.ones(rows, bool)

    def _ask(self, account: str, rows: int) -> NDArray[np.bool_]:
        """One pass through all controls. A row that a later control refuses was still counted by the earlier ones."""
        mask = np.ones(rows, bool)
        for i, service in enumerate(self.services):
            inside = np.flatnonzero(mask)
            self._states[i], let_in = service.admit(self._states[i], account, range(len(inside)), self.now)
            mask[inside[~np.asarray(let_in, bool)]] = False
        return mask

    def _wait(self, account: str) -> float:
        return max((s.wait(st, account, self.now) for s, st in zip(self.services, self._states, strict=True)), default=0.0)

    def shown(self, response: Response) -> Response:
        """The response as the controls let it out."""
        for state, service in zip(self._states, self.services, strict=True):
            response = service.answer(state, response)
        return response

    def decide(self, x: Any, rows: Array | None = None, draw: int = 0) -> Response:
        """The deployed decision with nothing metered: the judge's own way in."""
        return self.shown(self.target.respond(x, rows=rows, draw=draw))
