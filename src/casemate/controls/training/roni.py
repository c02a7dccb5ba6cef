"""Leave out rows without which trusted rows are decided better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from ...attacks._features import Features
from ...core.control import control
from ...core.errors import BadInput, UsageError
from ...core.poison import numeric
from ...core.target import Recipe, count, take, to_numpy
from ._sift import Fit, Floats, of_every_class, sifted

NAME = "training.roni"
LEAST = 4  # trusted rows: each is held against the others, and one other says nothing


@control(
    "training.roni",
    knows=("poisoning.adaptive",),
    threats=("PO-01", "PO-02", "PO-06"),
    side_effects="needs rows somebody vouches for, and leaves out the stated share of honest rows",
    trains=True,
)
class Roni:
    """Reject on negative impact: leave out each row without which a ridge model errs less on trusted rows (Nelson et al. 2009).

    Retraining without each row is not needed: for ridge on the scaled inputs the model without a row follows in closed form
    from the model with it, for all rows at once. The trusted rows stand among the suspects too, each held against the others:
    what harm they seem to do sets the line, so that the rate of false alarms is about what was asked for (fewer than
    ``1 / alarm`` trusted rows cannot tell that rate: then the most harmful of them is the line).
    Each row is judged with all others in place: poison that acts only together, or within what an honest row may do, stays;
    `poisoning.adaptive` finds such.

    Args:
        trusted: Share of the rows that somebody vouches for: the first ones of the recipe, as they are when it is hardened.
        alarm: Share of honest rows that may be left out.
        ridge: Of the model on scaled inputs; None takes 1e-3 of the rows, and 1 at least.
    """

    modality: ClassVar[tuple[str, ...]] = ("array", "table")
    trusted: float = 0.2
    alarm: float = 0.05
    ridge: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.trusted < 1 or not 0 < self.alarm < 1:
            raise UsageError(f"trusted={self.trusted!r}, alarm={self.alarm!r} are not allowed; give shares between 0 and 1")
        if self.ridge is not None and not self.ridge > 0:
            raise UsageError(f"ridge={self.ridge!r} is not allowed; give a number above 0, or None")

    def harden_recipe(self, recipe: Recipe) -> Recipe:
        """The same recipe without the rows that do harm.

        Raises:
            UsageError: It is no recipe.
        """
        return sifted(self.sieve(recipe), recipe)

    def sieve(self, recipe: Recipe) -> Sieve:
        """This control with the recipe's first rows as the ones that are trusted."""
        if not callable(getattr(recipe, "fit", None)):
            raise UsageError(f"cannot harden a {type(recipe).__name__}; give a Recipe")
        own = np.arange(int(self.trusted * count(recipe.x)))
        return Sieve(self, take(recipe.x, own), take(recipe.y, own))

    def false_positives(self, recipe: Recipe, seed: int = 0) -> float:
        """Share of the rows nobody vouches for that are left out of data that are clean."""
        kept = self.sieve(recipe).kept(recipe.fit, recipe.x, recipe.y, seed)
        return float(1 - kept[int(self.trusted * count(recipe.x)) :].mean())


@dataclass(frozen=True, slots=True)
class Sieve:
    """The control with its trusted rows ``x``, ``y``."""

    control: Roni
    x: Any
    y: Any

    def __repr__(self) -> str:
        return repr(self.control)

    def kept(self, fit: Fit, x: Any, y: Any, seed: int) -> NDArray[np.bool_]:
        """Which rows stay ``(n,)``; `fit` and `seed` are not asked."""
        if count(self.x) < LEAST:
            raise BadInput(f"{NAME} holds rows against trusted ones: {count(self.x)} are too few, give {LEAST} or more")
        features = Features.of(x)
        labels = np.asarray(to_numpy(y))
        goals = _goals(labels, labels)
        a, trusted, truth = features(x), features(self.x), _goals(np.asarray(to_numpy(self.y)), labels)
        ridge = self.control.ridge if self.control.ridge is not None else max(1.0, 1e-3 * len(a))
        both = np.concatenate([a, trusted]), np.concatenate([goals, truth])
        harm = harms_of(*both, trusted, truth, ridge, among=len(a) + np.arange(len(trusted)))
        harm, line = harm[: len(a)], harm[len(a) :]
        return of_every_class(harm <= np.quantile(line, 1 - self.control.alarm), y, harm)


def _goals(y: NDArray[Any], known: NDArray[Any]) -> Floats:
    """What ridge is trained to give: numbers as they are, -1 and 1 for each class."""
    if numeric(known):
        return y.astype(float)[:, None]
    plain = known if known.dtype.kind in "iufb" else known.astype(str)
    classes = np.unique(plain)
    own = y if y.dtype.kind in "iufb" else y.astype(str)
    return np.asarray(2.0 * (own[:, None] == classes[None, :]) - 1.0)


def harms_of(a: Any, t: Any, trusted: Any, truth: Any, ridge: float, among: Any = None) -> Floats:
    """By how much the mean squared error on trusted rows falls when a row is left out, for every row ``(n,)``.

    Args:
        a, t: Suspected inputs ``(n, d)`` and targets ``(n, k)``.
        trusted, truth: The same of trusted rows ``(m, d)``, ``(m, k)``.
        ridge: Strength of the penalty on the weights; the intercept is free.
        among: Where the trusted rows stand among the suspects ``(m,)``: each is then held against the others alone, since
            of itself every row says that it serves. None where they do not.

    One fit in O(n d^2), then O(n m k): without row i the weights are ``T - H^-1 a_i e_i / (1 - h_i)``.
    """
    x = np.concatenate([np.asarray(a, float), np.ones((len(a), 1))], axis=1)
    v = np.concatenate([np.asarray(trusted, float), np.ones((len(trusted), 1))], axis=1)
    goals, wanted = np.asarray(t, float), np.asarray(truth, float)
    shrink = np.full(x.shape[1], float(ridge))
    shrink[-1] = 1e-9
    back = cho_solve(cho_factor(x.T @ x + np.diag(shrink)), x.T)  # (d + 1, n)
    weights = back @ goals
    spare = np.maximum(1 - np.einsum("nd,dn->n", x, back), 1e-12)
    pull = (goals - x @ weights) / spare[:, None]  # (n, k)
    moved = v @ back  # (m, n): without row i, trusted row j is answered moved[j, i] * pull[i] less
    off = v @ weights - wanted  # (m, k)
    # |off - moved pull|^2 summed over m and k, less |off|^2: two products, and nothing of size m n k.
    change = -2 * np.einsum("ni,ni->n", moved.T @ off, pull) + (moved**2).sum(0) * (pull**2).sum(1)
    harm = np.asarray(-change / len(v))
    if among is not None:
        step = moved[np.arange(len(v)), among][:, None] * pull[among]
        own = (step * (step - 2 * off)).sum(1)
        harm[among] = -(change[among] - own) / (len(v) - 1)
    return harm
