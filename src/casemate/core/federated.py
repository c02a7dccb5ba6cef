"""Federated training: a round sums up what clients send, and some of the clients belong to an attacker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import BadInput

Floats = NDArray[np.float64]
Rule = Callable[[Floats], Any]
Makes = Callable[[Floats, int], Any]


def average(updates: Floats) -> Floats:
    """Federated averaging: the mean of the updates ``(n, p)``."""
    return np.asarray(updates.mean(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Federated:
    """Move the joint model of a federated training by what a few clients send in one round.

    A round makes of parameters w the parameters ``w + rate * rule(updates)``.

    Args:
        start: Parameters ``(p,)`` of the joint model before the round.
        updates: What the n clients send where all are honest, as differences from where they start ``(n, p)``; or
            ``updates(params, round) -> (n, p)``, which makes them for each round. The first `attackers` of them are what the
            attacker's own clients would send: of the others the attacker sees nothing.
        attackers: How many clients the attacker has, fewer than n.
        rule: How the server sums updates up: ``rule(updates (n, p)) -> (p,)``. A name or a frozen value, not a closure.
        rate: The server's learning rate.
        evaluate: ``evaluate(params) -> error`` on data held out: one number, or one for each row ``(m,)``, which gives an
            interval. To measure a backdoor, the share of marked inputs decided as the attacker wants. The judge's alone.
        wanted: Parameters ``(p,)`` the attacker would make the joint model; None: it would make it bad.
        rounds: Rounds judged; in all but the first every client is honest. More than one needs a function for `updates`.
        clients: How many clients there are; left out, as many as send updates.
    """

    start: Any
    updates: Any
    attackers: int
    rule: Rule = average
    rate: float = 1.0
    evaluate: Callable[[Floats], Any] | None = None
    wanted: Any = None
    rounds: int = 1
    clients: int | None = None
    kind = "federated"

    def sent(self, params: Any = None, round: int = 0) -> Floats:
        """What honest clients send from `params` (the start by default), ``(n, p)``.

        Raises:
            BadInput: It is not one row of finite numbers for each client.
        """
        start = np.asarray(self.start, np.float64)
        own = self.updates(start if params is None else params, round) if callable(self.updates) else self.updates
        made = np.asarray(own, np.float64)
        if made.ndim != 2 or made.shape[1:] != start.shape or not len(made) or not np.isfinite(made).all():
            raise BadInput(f"updates of shape {made.shape} for parameters {start.shape}; give finite numbers, (clients, p)")
        return made

    def joined(self, updates: Any, params: Any = None) -> Floats:
        """The joint model ``(p,)`` after a round in which `updates` ``(n, p)`` were sent."""
        start = np.asarray(self.start if params is None else params, np.float64)
        return np.asarray(start + self.rate * np.asarray(self.rule(np.asarray(updates, np.float64)), np.float64))

    def blind(self) -> Federated:
        """Without the judge's data, and with the updates of the attacker's own clients alone, of the first round."""
        sent = self.sent()
        return replace(self, updates=sent[: self.attackers], clients=len(sent), evaluate=None, rounds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """What the attacker's clients send in the place of their own updates: ``updates (m, p)``, for m clients of theirs, and
    the parameters ``wanted (p,)`` that this is to make of the joint model."""

    updates: Any
    wanted: Any

    def malformed(self, case: Federated) -> str:
        """What is wrong with the claim; empty where it is well-formed."""
        sent, wanted, p = np.asarray(self.updates), np.asarray(self.wanted), len(np.asarray(case.start))
        if sent.ndim != 2 or sent.shape[1] != p or not 1 <= len(sent) <= case.attackers or wanted.shape != (p,):
            return f"updates {sent.shape} and wanted {wanted.shape}, for {case.attackers} clients and {p} parameters"
        return "" if np.isfinite(sent).all() and np.isfinite(wanted).all() else "some updates are not finite"
