"""Which rows each model of a stack sees in each step, drawn from its own generator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .learners import MLP


class Shuffled:
    """Every row once in a pass, in a new order each time.

    Args:
        learner: Batch and passes.
        rows: The rows of each model, with repeats.
        rngs: The generator of each model.
        pad: The index that fills a short batch.
    """

    def __init__(self, learner: MLP, rows: Sequence[NDArray[np.intp]], rngs: Sequence[np.random.Generator], pad: int) -> None:
        self.rngs, self._rows, self._batch, self._pad = rngs, rows, learner.batch, pad
        self._many = np.array([len(own) for own in rows])
        self._pass = -(-self._many // learner.batch)  # steps in a pass
        self.steps = self._pass * learner.epochs
        self._order = np.full((len(rows), int(self._pass.max()) * learner.batch), pad)

    def at(self, step: int, models: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[Any]]:
        """Rows ``(m, batch)`` of those models in that step, and the share of each in the mean (0 for padding)."""
        place = step % self._pass[models]
        for i in models[place == 0]:
            self._order[i, : self._many[i]] = self.rngs[i].permutation(self._rows[i])
        packs = self._order.reshape(len(self._order), -1, self._batch)
        rows = packs[models, place]
        held = np.minimum(self._batch, self._many[models] - place * self._batch)
        return rows, (rows != self._pad) / held[:, None]


class Poisson:
    """Every row with the same chance in every step, each for itself: what the accounting of DP-SGD supposes.

    As many steps as passes over the rows in batches would take. A batch may be of any size, also empty, and its sum is divided
    by the size expected, which tells nothing about the rows.
    """

    def __init__(self, learner: MLP, rows: Sequence[NDArray[np.intp]], rngs: Sequence[np.random.Generator], pad: int) -> None:
        self.rngs, self._rows, self._batch, self._pad = rngs, rows, learner.batch, pad
        self.steps = np.array([-(-len(own) // learner.batch) for own in rows]) * learner.epochs

    def at(self, step: int, models: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[Any]]:
        """As `Shuffled.at`, as wide as the largest batch drawn."""
        drawn = [self._rows[i][self.rngs[i].random(len(self._rows[i])) * len(self._rows[i]) < self._batch] for i in models]
        rows = np.full((len(models), max(1, *map(len, drawn))), self._pad)
        for place, own in zip(rows, drawn, strict=True):
            place[: len(own)] = own
        return rows, (rows != self._pad) / self._batch


def batches(
    learner: MLP, rows: Sequence[NDArray[np.intp]], rngs: Sequence[np.random.Generator], pad: int
) -> Shuffled | Poisson:
    """Who draws the batches of that learner."""
    return (Shuffled if learner.noise is None else Poisson)(learner, rows, rngs, pad)
