"""Jacobian-based augmentation: the copy itself says where to ask next, towards its own boundaries."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Copy, Replica
from ...core.errors import BadInput, BudgetSpent
from ...core.oracle import Oracle
from ...core.random import RowRandom
from ...core.target import REJECT, count
from .._features import Features
from ._axes import draw
from ._talk import Talk, numbers

Floats = NDArray[np.float64]


@attack(
    "extraction.jacobian",
    needs=Need.LABEL,
    scope="set",
    papers=("arXiv:1602.02697",),
    aka=("JBDA", "Papernot", "Jacobian-based data set augmentation"),
    spends="seeds x 2^doubling queries, and `reservoir` more for every further round; never more than the case plans",
)
class JacobianAugmentation:
    """Train a network on a few answers, step from every known input against its label, ask there, train again.

    Each round asks at ``x + step * sign(slope)``, the slope being that of the copy's score for the label the endpoint gave. Up to
    round `doubling` every known input gives a new one; after it a random `reservoir` of them does, which keeps the questions
    from doubling for ever. The sign of the step turns from round to round, as Papernot's later version has it. Scores, where
    they are shown, are learned as soft labels. Every question is counted, those that augment too.

    Args:
        seeds: Inputs of the pool to begin with; a quarter of the plan where that is less.
        rounds: Rounds of augmentation.
        step: How far each feature moves, as a share of its range.
        doubling: Rounds in which all known inputs are used.
        reservoir: Inputs used in each round after that.
        hidden: Units of the hidden layers of the copy.
        epochs: Passes over the answers at each training.
    """

    seeds: int = 150
    rounds: int = 6
    step: float = 0.1
    doubling: int = 3
    reservoir: int = 400
    hidden: tuple[int, ...] = (64,)
    epochs: int = 60

    def __call__(self, oracle: Oracle, case: Copy, *, rng: RowRandom) -> Generator[Replica, None, Replica]:
        pool, talk = numbers(case, "extraction.jacobian"), Talk(oracle, case)
        size = min(self.seeds, max(2, talk.left // 4), talk.left)
        if size < 2:
            raise BudgetSpent(f"{talk.left} questions are too few to learn from")
        x = np.asarray(draw(case, rng, size, 0))
        kind, low, high = x.dtype if pool is None else pool.dtype, *_range(case, x if pool is None else np.asarray(pool))
        known = _Known(talk, x)
        for turn in range(self.rounds + 1):
            copy, slope = self._train(known, rng, turn)
            yield copy
            if slope is None or turn == self.rounds or not talk.left:
                return copy
            base = self._base(known, rng, turn)[: talk.left]
            way = self.step * (high - low) * np.sign(slope(base)) * (-1.0) ** (turn + 1)
            known.ask(np.clip(known.x[base] + way.reshape(known.x[base].shape), low, high).astype(kind))
        return copy

    def _base(self, known: _Known, rng: RowRandom, turn: int) -> NDArray[np.int64]:
        """The known inputs that this round steps from."""
        order = np.argsort(rng.uniform(np.arange(len(known.x)), (1, turn)), kind="stable")
        return order if turn < self.doubling else order[: self.reservoir]

    def _train(self, known: _Known, rng: RowRandom, turn: int) -> tuple[Replica, Any]:
        """A copy of all answers, and how its score for each known input's label changes with the input."""
        from ._net import fit

        names, places = np.unique(known.labels, return_inverse=True)
        detail: dict[str, Any] = {"answers": len(known.x), "round": turn, "soft": False}
        if len(names) < 2:
            return Replica(labels=lambda x: np.repeat(names, count(x)), detail={**detail, "model": "constant"}), None
        shares = known.shares(names)
        detail |= {"soft": shares is not None, "model": "network"}
        read = Features.of(known.x)
        goal = np.eye(len(names))[places] if shares is None else shares
        net = fit(read(known.x), goal, self.hidden, self.epochs, rng.fork(turn).seed & 0x7FFFFFFF)

        def slope(rows: NDArray[np.int64]) -> Floats:
            return net.slope(read(known.x[rows]), places[rows])

        plain = np.array_equal(names, np.arange(len(names)))

        def says(x: Any) -> Floats:
            return net.says(read(x))

        return Replica(labels=lambda x: names[says(x).argmax(1)], scores=says if plain else None, detail=detail), slope


class _Known:
    """Inputs that were asked, with their answers."""

    def __init__(self, talk: Talk, x: Any) -> None:
        self._talk, self.x = talk, x[:0]
        self.labels: NDArray[Any] = np.zeros(0)
        self._scores: list[Any] = []
        self.ask(x)

    def ask(self, x: Any) -> None:
        found = self._talk.ask(x)
        if found.label.dtype.kind == "f":
            raise BadInput("extraction.jacobian copies decisions among classes, and the endpoint answers with decimal numbers")
        self.labels = np.concatenate([self.labels, found.label]) if len(self.x) else found.label
        self.x = np.concatenate([self.x, x])
        self._scores.append(found.scores)

    def shares(self, names: NDArray[Any]) -> Floats | None:
        """Scores as shares of the classes seen ``(n, k)``; None where they are not shown, or something else is decided."""
        if any(part is None for part in self._scores) or names.dtype.kind not in "iu" or REJECT in names:
            return None
        scores = np.concatenate(self._scores).astype(np.float64)
        if names.max() >= scores.shape[1]:
            return None
        seen = np.clip(scores[:, names], 1e-9, 1.0)
        return np.asarray(seen / seen.sum(1, keepdims=True))


def _range(case: Copy, pool: Any) -> tuple[Any, Any]:
    """The domain: as stated, else the range of the pool, feature by feature."""
    if case.low is not None and case.high is not None:
        return np.asarray(case.low, float), np.asarray(case.high, float)
    return pool.min(0).astype(np.float64), pool.max(0).astype(np.float64)
