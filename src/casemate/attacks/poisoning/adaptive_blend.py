"""Adaptive blending: poison that does not stand apart from honest records."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Poison, Records
from ...core.errors import BadInput
from ...core.oracle import Oracle
from ...core.random import RowRandom
from ...core.target import take
from ._order import Order, ordered
from ._plant import Ground, first, ground, seen, write
from ._triggers import Blend, axes, numbers


@attack(
    "poisoning.adaptive_blend",
    needs=Need.CONTRIBUTE,
    scope="set",
    case="backdoor",
    papers=("doi:10.48550/arXiv.2205.13613",),
    aka=("Adap-Blend", "adaptive blend"),
    spends="floor(fraction x n) records, a share of them with the labels they had",
)
class AdaptiveBlend:
    """Mix parts of a pattern into records; label most of them as wanted, and leave the others their own label (Qi et al. 2023).

    It knows defences that look for poison that lies apart in the model's representation. The records that keep their label
    (regularisation samples) teach that part of the pattern alone decides nothing, so that marked records stay among honest
    ones; the deployed trigger is the whole pattern, more than any record showed. The labels of the records are correct in that
    share of them, and the pattern is uniform noise where the paper takes a picture.

    Args:
        alpha: Share of the pattern in a deployed input.
        faint: Share of it in training records.
        honest: Share of the records that keep their label; the paper has as many as the others.
        shown: Share of the pieces of the pattern that a record shows.
        pieces: Cuts along a side of a picture (a grid), or along a vector.
        order: Which records: of every class in turn, ``hardest`` first, or at ``random`` as in the paper.
    """

    alpha: float = 0.4
    faint: float = 0.3
    honest: float = 0.5
    shown: float = 0.5
    pieces: int = 4
    order: Order = "random"

    def __call__(self, oracle: Oracle, case: Poison, *, rng: RowRandom) -> Generator[Records, None, Records]:
        self._check()
        at = ground(oracle, case, rng, "poisoning.adaptive_blend")
        known = numbers(seen(case, at), "poisoning.adaptive_blend")
        low, high = float(known.min()), float(known.max())
        pattern = low + (high - low) * rng.uniform(np.zeros(1, np.int64), (1,), known.shape[1:])[0]
        candidates = ordered(self.order, case, at, at.victims(case.aim))  # type: ignore[arg-type]
        index = first(candidates, at, "poisoning.adaptive_blend")
        where = masks(index, known.shape, self.pieces, self.shown, rng)
        marked = Blend(pattern, self.faint, where)(take(case.recipe.x, index))
        labels = self._labels(at, index)
        return (yield from write(oracle, case, at, index, marked, labels, Blend(pattern, self.alpha)))

    def _check(self) -> None:
        shares = {"alpha": self.alpha, "faint": self.faint, "shown": self.shown}
        for name, value in shares.items():
            if not 0 < value <= 1:
                raise BadInput(f"{name}={value} is not allowed; give a share above 0 and up to 1")
        if not 0 <= self.honest < 1 or self.pieces < 1:
            raise BadInput(f"honest={self.honest}, pieces={self.pieces} are not allowed; give honest in [0, 1), pieces from 1")

    def _labels(self, at: Ground, index: NDArray[np.int64]) -> NDArray[Any]:
        """The label wanted and the own label in turn, in the stated proportion, so that every first part has it too."""
        turn = np.arange(1, len(index) + 1)
        own = np.floor(turn * self.honest) > np.floor((turn - 1) * self.honest)
        return np.where(own, at.y[index], at.labels(len(index)))


def masks(rows: NDArray[np.int64], shape: tuple[int, ...], pieces: int, shown: float, rng: RowRandom) -> NDArray[np.float64]:
    """Which places each record shows ``(n, *shape)``: so many pieces of a grid over a picture, or of a vector."""
    place = axes(shape)
    sides = [shape[axis] for axis in place] if place else [int(np.prod(shape[1:]))]
    cuts = [np.arange(side) * min(pieces, side) // side for side in sides]
    cell = cuts[0][:, None] * (cuts[1].max() + 1) + cuts[1][None] if place else cuts[0]
    number = int(cell.max()) + 1
    drawn = rng.uniform(rows, (2,), (number,))
    kept = np.argsort(np.argsort(drawn, axis=1), axis=1) < max(1, round(shown * number))
    mask = kept[:, cell].astype(np.float64)
    if place is None:
        return mask.reshape(len(rows), *shape[1:])
    missing = tuple(axis for axis in range(1, len(shape)) if axis not in place)
    return np.asarray(np.broadcast_to(np.expand_dims(mask, missing), (len(rows), *shape[1:])))
