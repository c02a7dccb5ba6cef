"""Model replacement: a client of a federated training sends an update so large that the joint model becomes its own."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from ...core.adversary import Need
from ...core.attack import attack
from ...core.errors import BadInput
from ...core.federated import Federated, Update
from ...core.oracle import Oracle
from ...core.random import RowRandom

Floats = NDArray[np.float64]
NAME = "poisoning.model_replacement"
STRENGTHS = (0.5, 1.0, 2.0)  # standard deviations that are tried beside what the number of clients suggests

ROUNDS = 8  # rehearsed


@attack(
    "poisoning.model_replacement",
    needs=Need.NONE,
    scope="set",
    case="federated",
    papers=("arXiv:1807.00459", "arXiv:1902.06156"),
    aka=("model replacement", "boosted update", "a little is enough"),
    spends="one update for each of the attacker's clients",
    modality=(),
)
class ModelReplacement:
    """Send the way to the wanted model, times n / rate, so that after averaging the joint model is that one.

    What the other clients are expected to send, by what the attacker's own would, is taken off first; the paper expects
    nothing, which is nearly so late in a training. Exact where they send just that. Claims grow by one client at a time; those
    in play share the way among them.

    `inside` sends nothing that looks unlike an honest update, judged by what the attacker's own clients would send: either no
    longer than the longest of those, straight to the goal (or nothing: that holds a training up); or, for each parameter, no
    further from their mean than half to two of their standard deviations, or as many as let it pass for one of the majority.
    Which of these it sends is rehearsed on the server's rule with honest updates drawn like its own. In the paper the
    direction is fixed and the number is that of the majority; here the direction leads to the wanted model, and stops there.

    Args:
        inside: Stay where honest updates may lie.
        boost: Factor on the way of all clients together; None takes n / rate.
        expect: How much each of the others is expected to send, as a multiple of the mean of the attacker's own clients.
        reverse: Where the case names no wanted model: as many rounds of its own clients it would undo.
    """

    inside: bool = False
    boost: float | None = None
    expect: float = 1.0
    reverse: float = 10.0

    def __post_init__(self) -> None:
        if (self.boost is not None and not self.boost > 0) or not self.reverse > 0 or not self.expect >= 0:
            given = f"boost={self.boost!r}, expect={self.expect!r}, reverse={self.reverse!r}"
            raise BadInput(f"{NAME}: {given} are not allowed; give numbers above 0")

    def __call__(self, oracle: Oracle, case: Federated, *, rng: RowRandom) -> Generator[Update, None, Update]:
        own = case.sent()[: case.attackers]
        clients = case.clients or len(case.sent())
        start = np.asarray(case.start, np.float64)
        wanted = start - self.reverse * case.rate * own.mean(0) if case.wanted is None else np.asarray(case.wanted, np.float64)
        boost = clients / case.rate if self.boost is None else self.boost
        for mine in range(1, case.attackers + 1):
            goal = (boost * (wanted - start) - self.expect * (clients - mine) * own.mean(0)) / mine
            sent = self._quiet(case, own, goal, clients, mine, rng) if self.inside else goal
            claim = Update(updates=np.tile(sent, (mine, 1)), wanted=wanted)
            yield claim
        return claim

    def _quiet(self, case: Federated, own: Floats, goal: Floats, clients: int, mine: int, rng: RowRandom) -> Floats:
        """Of the updates that look honest, the one that a rehearsed round takes furthest towards `goal`."""
        longest, long = float(np.linalg.norm(own, axis=1).max()), float(np.linalg.norm(goal))
        tried = [share * goal * min(1.0, longest / max(long, 1e-300)) for share in (1.0, 0.5, 0.0)]
        if len(own) > 1:
            mean, spread = own.mean(0), own.std(0, ddof=1)
            tried += [mean + np.clip(goal - mean, -k * spread, k * spread) for k in (unremarkable(clients, mine), *STRENGTHS)]
        gains = [self._rehearsed(case, own, sent, goal, clients, mine, rng) for sent in tried]
        return tried[int(np.argmax(gains))]

    def _rehearsed(
        self, case: Federated, own: Floats, sent: Floats, goal: Floats, clients: int, mine: int, rng: RowRandom
    ) -> float:
        """How far along `goal` rounds move, on average, in which the others send what is drawn like the attacker's own updates.

        Where the middle of the others lies is known from a few updates only, and is drawn anew for each round.
        """
        spread, p = own.std(0, ddof=1) if len(own) > 1 else np.zeros(own.shape[1]), own.shape[1]
        gain = 0.0
        for turn in range(ROUNDS):
            noise = rng.normal(np.arange(clients - mine + 1), turn, (p,))
            honest = own.mean(0) + spread * (noise[1:] + noise[0] / len(own) ** 0.5)
            joint = np.asarray(case.rule(np.concatenate([np.tile(sent, (mine, 1)), honest])), np.float64)
            gain += float(joint @ goal)
        return gain / ROUNDS


def unremarkable(clients: int, mine: int) -> float:
    """How many standard deviations from the mean enough honest clients lie that these and `mine` are a majority.

    ``z`` with Phi(z) = (n - m - s) / (n - m) and s = floor(n / 2 + 1) - m; from 0, where it is no advantage to have so few,
    to the outermost of the honest clients.
    """
    honest = clients - mine
    short = clients // 2 + 1 - mine
    share = (honest - short) / honest
    return float(np.clip(ndtri(np.clip(share, 0.5, 1 - 0.5 / honest)), 0.0, None))
