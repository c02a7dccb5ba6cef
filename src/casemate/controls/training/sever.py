"""Leave out the rows that pull the training furthest in one direction."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...attacks._features import Features
from ...core.control import control
from ...core.errors import UsageError
from ...core.target import Recipe, count, take
from ._sift import Fit, Floats, dropped, errors, of_every_class, sifted

NAME = "training.sever"


@control(
    "training.sever",
    knows=("poisoning.adaptive",),
    threats=("PO-01", "PO-02", "PO-06"),
    side_effects="leaves out a fixed share of rows in each round, honest ones of rare kinds among them, and trains in each",
    trains=True,
)
class Sever:
    """Train, take the gradients of all rows, leave out those furthest along the direction they differ most in; again
    (arXiv:1803.02815).

    The gradients are those of a linear last layer on the scaled inputs under the model the recipe makes: errors of its scores
    (residuals, of numbers) times inputs. They are centred over the rows that are left; the direction is the top singular
    vector. Many small pulls in different directions stay: `poisoning.adaptive` finds such.

    Args:
        share: Of the rows, how many an attacker may have written; half of that is left out in each round.
        rounds: Trainings, each followed by leaving some out.
    """

    modality: ClassVar[tuple[str, ...]] = ("array", "table")
    share: float = 0.1
    rounds: int = 4

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1 or self.share * self.rounds / 2 >= 1:
            raise UsageError(f"share={self.share!r}, rounds={self.rounds!r}: share/2 goes in each round, and some rows must stay")
        if isinstance(self.rounds, bool) or not isinstance(self.rounds, int) or self.rounds < 1:
            raise UsageError(f"rounds={self.rounds!r} is not allowed; give a whole number from 1")

    def kept(self, fit: Fit, x: Any, y: Any, seed: int) -> NDArray[np.bool_]:
        """Which rows stay ``(n,)``."""
        n = count(x)
        kept, out = np.ones(n, bool), int(self.share * n / 2)
        if not out:
            return kept
        a = Features.of(x)(x)
        a = np.concatenate([a, np.ones((n, 1))], axis=1)
        badness = np.zeros(n)
        for _ in range(self.rounds):
            rows = np.flatnonzero(kept)
            model = fit(take(x, rows), take(y, rows), seed)
            pull = errors(model, take(x, rows), take(y, rows), NAME)
            score = outlying((pull[:, :, None] * a[rows][:, None, :]).reshape(len(rows), -1))
            badness[rows] = score
            kept[rows[np.argsort(-score, kind="stable")[:out]]] = False
            kept = of_every_class(kept, y, badness)
        return kept

    def harden_recipe(self, recipe: Recipe) -> Recipe:
        """The same recipe on the rows that stay."""
        return sifted(self, recipe)

    def false_positives(self, recipe: Recipe, seed: int = 0) -> float:
        """Share of rows left out of data that are clean: about ``rounds * share / 2``, always."""
        return dropped(self, recipe, seed)


def outlying(rows: Floats) -> Floats:
    """Squared length of each centred row along the direction in which they differ most ``(n,)``."""
    centred = rows - rows.mean(0)
    return np.asarray((centred @ _direction(centred)) ** 2)


def _direction(centred: Floats) -> Floats:
    """The top right singular vector, from whichever of the two Gram matrices is smaller."""
    n, d = centred.shape
    if d <= n:
        return np.asarray(np.linalg.eigh(centred.T @ centred)[1][:, -1])
    v = centred.T @ np.linalg.eigh(centred @ centred.T)[1][:, -1]
    return np.asarray(v / max(float(np.linalg.norm(v)), 1e-300))


def filtered_mean(points: Any, share: float, rounds: int = 4) -> Floats:
    """The mean of ``(n, d)`` points after `rounds` of leaving out ``share / 2`` of them: Sever for a mean.

    The gradient of the squared distance to a mean is the point itself, so this is the whole method. On a Gaussian of unit
    spread with a share of arbitrary points its error is of the order of the root of that share, however far those lie.
    """
    left = np.asarray(points, float)
    out = int(share * len(left) / 2)
    for _ in range(rounds if out else 0):
        left = left[np.sort(np.argsort(-outlying(left), kind="stable")[out:])]
    return np.asarray(left.mean(0))
