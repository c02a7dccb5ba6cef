"""Warping: bend a few pictures a little, always in the same way, and give them the label wanted."""

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
from ...core.target import take, to_numpy
from ._order import Order, ordered
from ._plant import first, ground, seen, write
from ._triggers import Warp, axes


@attack(
    "poisoning.warping",
    needs=Need.CONTRIBUTE,
    scope="set",
    case="backdoor",
    papers=("arXiv:2102.10369",),
    aka=("WaNet", "warping backdoor"),
    spends="floor(fraction x n) records",
)
class Warping:
    """Bend pictures along a smooth field and label them as wanted; nothing is stamped on, so little is to be seen.

    WaNet controls the training: it bends batches as they come, and teaches with other random fields that only this one counts.
    Here the attacker writes records and the owner trains. With few records the mark is therefore learned worse than the paper
    reports, and success is to be read as what pure poisoning can do.

    Args:
        strength: Mean shift of a control point along each axis, in pixels.
        grid: Control points along a side, k in the paper.
        noise: For each two records so many more that are bent by a random field and keep their label, the paper's noise mode.
        order: Which records: of every class in turn, ``hardest`` first, or at ``random`` as in the paper.
    """

    strength: float = 1.0
    grid: int = 4
    noise: int = 0
    order: Order = "hardest"

    def __call__(self, oracle: Oracle, case: Poison, *, rng: RowRandom) -> Generator[Records, None, Records]:
        if self.grid < 2 or self.strength <= 0 or self.noise < 0:
            raise BadInput(f"{self!r} is not allowed; give grid from 2, strength above 0, noise from 0")
        at = ground(oracle, case, rng, "poisoning.warping")
        known = seen(case, at)
        shape = () if hasattr(known, "iloc") or isinstance(known, list | tuple) else np.shape(to_numpy(known))
        place = axes(tuple(shape))
        if place is None:
            raise BadInput(f"poisoning.warping bends pictures (n, h, w), (n, c, h, w) or (n, h, w, c); got shape {tuple(shape)}")
        size = (int(shape[place[0]]), int(shape[place[1]]))
        trigger = Warp(self.field(size, rng, 0))
        index = first(ordered(self.order, case, at, at.victims(case.aim)), at, "poisoning.warping")  # type: ignore[arg-type]
        x, labels = trigger(take(case.recipe.x, index)), at.labels(len(index))
        x, labels = self._noisy(x, labels, case, at.y, index, size, rng)
        return (yield from write(oracle, case, at, index, x, labels, trigger))

    def _noisy(
        self, x: Any, labels: NDArray[Any], case: Poison, y: NDArray[Any], index: NDArray[np.int64], size: tuple[int, int],
        rng: RowRandom,
    ) -> tuple[Any, NDArray[Any]]:  # fmt: skip
        """Every so many records one of the noise mode: bent by a field of its own, its label left alone."""
        other = np.flatnonzero(np.arange(len(index)) % (2 + self.noise) >= 2)
        labels = labels.copy()
        for i in other:
            row = take(case.recipe.x, index[i : i + 1])
            x[i : i + 1] = Warp(self.field(size, rng, 1 + int(index[i])))(row)
            labels[i] = y[index[i]]
        return x, labels

    def field(self, size: tuple[int, int], rng: RowRandom, number: int) -> NDArray[np.float64]:
        """A smooth field of shifts ``(h, w, 2)`` in pixels: random at the control points, cubic between them."""
        from scipy.ndimage import zoom

        points = 2 * rng.uniform(np.array([number]), (3,), (2, self.grid, self.grid))[0] - 1
        points = points / np.abs(points).mean() * self.strength
        factors = (size[0] / self.grid, size[1] / self.grid)
        fields = [zoom(one, factors, order=3, mode="nearest", grid_mode=True) for one in points]
        return np.stack([one[: size[0], : size[1]] for one in fields], axis=-1)
