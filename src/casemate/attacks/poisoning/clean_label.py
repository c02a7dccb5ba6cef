"""Clean-label backdoor: records keep their labels, and are spoiled so that only the mark still explains them."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Poison, Records
from ...core.errors import BadInput, NotGranted
from ...core.oracle import Oracle
from ...core.random import RowRandom
from ...core.target import Target, take, to_numpy
from ._order import ridge
from ._plant import Ground, first, ground, seen, write
from ._triggers import Corner, like, mark, numbers

Slope = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@attack(
    "poisoning.clean_label",
    needs=Need.CONTRIBUTE,
    scope="set",
    case="backdoor",
    papers=("arXiv:1912.02771",),
    aka=("Turner", "label-consistent backdoor", "CLBD"),
    spends="floor(fraction x n) records",
)
class CleanLabel:
    """Make records of the class wanted hard to recognise, then stamp them: their labels are right, and the mark is what is left
    to learn.

    The records are moved away from their class inside an l-infinity ball by signed steps on a surrogate: a model trained by
    the recipe, where the attacker knows it and it has slopes, else a ridge regression of its own on the data it reads. The
    paper uses an adversarially trained surrogate and shows that it serves better.

    Args:
        radius: Of the ball, as a share of the range of the data.
        steps: Signed steps.
        stride: Length of a step, as a share of the radius.
        size: Side of the square stamped on pictures, in pixels.
        corner: ``upper left``, ``upper right``, ``lower left`` or ``lower right``.
        columns: How many columns of a vector are marked.
    """

    radius: float = 0.3
    steps: int = 20
    stride: float = 0.2
    size: int = 3
    corner: Corner = "lower right"
    columns: int = 3

    def __call__(self, oracle: Oracle, case: Poison, *, rng: RowRandom) -> Generator[Records, None, Records]:
        if not 0 < self.radius <= 1 or self.steps < 1 or self.stride <= 0:
            raise BadInput(f"{self!r} is not allowed; give radius in (0, 1], steps from 1, stride above 0")
        at = ground(oracle, case, rng, "poisoning.clean_label")
        known = numbers(seen(case, at), "poisoning.clean_label")
        low, high = float(known.min()), float(known.max())
        index = first(at.wanted(), at, "poisoning.clean_label")
        mine = take(case.recipe.x, index)
        spoiled = self._spoiled(np.asarray(to_numpy(mine), np.float64), self._slope(oracle, case, at, index, rng), low, high)
        trigger = mark(known, self.size, self.corner, self.columns)
        records = trigger(like(spoiled, mine))
        return (yield from write(oracle, case, at, index, records, at.y[index], trigger))

    def _spoiled(self, x: NDArray[np.float64], slope: Slope, low: float, high: float) -> NDArray[np.float64]:
        radius = self.radius * (high - low)
        at = x
        for _ in range(self.steps):
            at = at + self.stride * radius * np.sign(slope(at))
            at = np.clip(np.clip(at, x - radius, x + radius), low, high)
        return at

    def _slope(self, oracle: Oracle, case: Poison, at: Ground, index: NDArray[np.int64], rng: RowRandom) -> Slope:
        """Where the surrogate's doubt in the right class grows ``(n, *shape) -> (n, *shape)``."""
        model = _surrogate(oracle, case, at, rng)
        if model is not None:
            return _by_recipe(model, at.y[index])
        return ridge(case, at).doubt(at.y[index])


def _surrogate(oracle: Oracle, case: Poison, at: Ground, rng: RowRandom) -> Target | None:
    """A model of the attacker's own, by the recipe; None where the recipe is not theirs to know or makes nothing with slopes."""
    own = np.sort(at.own)
    if at.classes.dtype.kind not in "iu" or len(np.unique(at.y[own])) < 2:
        return None
    try:
        model = oracle.recipe.fit(take(case.recipe.x, own), take(case.recipe.y, own), rng.seed & 0x7FFFFFFF)
    except NotGranted:
        return None
    return model if Need.GRADIENT in model.offers else None


def _by_recipe(model: Target, y: NDArray[Any]) -> Slope:
    import torch

    def loss(logits: Any, y: Any) -> Any:
        return torch.nn.functional.cross_entropy(logits, y, reduction="none")

    def slope(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(to_numpy(model.gradient(torch.as_tensor(x), torch.as_tensor(y), loss).slope), np.float64)

    return slope
