"""Train on the rows a model can agree about."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...core.control import control
from ...core.errors import BadInput, UsageError
from ...core.target import Recipe, count, take
from ._sift import Fit, Floats, dropped, losses, of_every_class, sifted

NAME = "training.trim"


@control(
    "training.trim",
    knows=("poisoning.adaptive",),
    threats=("PO-01", "PO-02", "PO-06"),
    side_effects="leaves out a fixed share of rows, honest and rare ones among them, and trains several times over",
    trains=True,
)
class Trim:
    """Train, keep the rows with the smallest losses, train again on those, until they stay the same (arXiv:1804.00308).

    The paper trims residuals of linear regression; here it is whatever loss the recipe's model has: squared residuals of
    numbers, cross-entropy of classes. It starts from all rows in place of random ones, so that a seed decides nothing.
    Poison with a small loss stays: `poisoning.adaptive` finds such.

    Args:
        share: Of the rows, how many are left out; it should be at least the share an attacker can write. 0 trains as before.
        rounds: Most trainings.
    """

    modality: ClassVar[tuple[str, ...]] = ("array", "table", "bytes", "text")
    share: float = 0.1
    rounds: int = 10

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise UsageError(f"share={self.share!r} is not allowed; give one from 0 to below 1")
        if isinstance(self.rounds, bool) or not isinstance(self.rounds, int) or self.rounds < 1:
            raise UsageError(f"rounds={self.rounds!r} is not allowed; give a whole number from 1")

    def kept(self, fit: Fit, x: Any, y: Any, seed: int) -> NDArray[np.bool_]:
        """Which rows stay ``(n,)``."""
        n = count(x)
        stay, kept = n - int(self.share * n), np.ones(n, bool)
        if stay == n:
            return kept
        for _ in range(self.rounds):
            rows = np.flatnonzero(kept)
            loss = losses(fit(take(x, rows), take(y, rows), seed), x, y, NAME)
            new = of_every_class(smallest(loss, stay), y, loss)
            if (new == kept).all():
                break
            kept = new
        return kept

    def harden_recipe(self, recipe: Recipe) -> Recipe:
        """The same recipe on the rows that stay."""
        return sifted(self, recipe)

    def false_positives(self, recipe: Recipe, seed: int = 0) -> float:
        """Share of rows left out of data that are clean: about `share`, always."""
        return dropped(self, recipe, seed)


def smallest(loss: Floats, stay: int) -> NDArray[np.bool_]:
    """The `stay` rows with the smallest losses; of equal ones the first."""
    kept = np.zeros(len(loss), bool)
    kept[np.argsort(loss, kind="stable")[:stay]] = True
    return kept


def trimmed_least_squares(x: Any, y: Any, share: float, ridge: float = 0.0, rounds: int = 100) -> Floats:
    """TRIM for ``|y - [x, 1] w|^2 + ridge |w|^2`` (the intercept is free): weights ``(d + 1,)``, the intercept last.

    With share 0 it is least squares itself.

    Raises:
        BadInput: Fewer rows stay than there are weights, without a ridge.
    """
    a = np.concatenate([np.asarray(x, float), np.ones((len(x), 1))], axis=1)
    b, stay = np.asarray(y, float), len(x) - int(share * len(x))
    if not ridge and stay < a.shape[1]:
        raise BadInput(f"{stay} rows stay for {a.shape[1]} weights; trim less, or give ridge > 0")
    kept = np.arange(len(b))
    while True:
        w = _least_squares(a[kept], b[kept], ridge)
        new = np.flatnonzero(smallest((b - a @ w) ** 2, stay))
        rounds -= 1
        if rounds < 0 or np.array_equal(new, kept):
            return w
        kept = new


def _least_squares(a: Floats, b: Floats, ridge: float) -> Floats:
    if not ridge:
        return np.asarray(np.linalg.lstsq(a, b, rcond=None)[0])
    shrink = ridge * np.eye(a.shape[1])
    shrink[-1, -1] = 0.0
    return np.asarray(np.linalg.solve(a.T @ a + shrink, a.T @ b))
