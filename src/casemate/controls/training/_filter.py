"""What a filter says of training rows, and the sieve it makes: train, look for poison, leave out what is suspected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...core.target import Recipe, Target
from ._sift import Fit, of_every_class


@dataclass(frozen=True, slots=True)
class Flags:
    """What a filter says of training rows.

    Args:
        flagged: Rows it suspects ``(n,)``, booleans.
        score: How suspicious each is ``(n,)``; larger is more.
        source: In words, what was looked at.
    """

    flagged: NDArray[np.bool_]
    score: NDArray[np.float64]
    source: str


class Filter(Protocol):
    """A control that can tell which rows of the data a model was trained on it suspects."""

    def flag(self, model: Target, x: Any, y: Any) -> Flags: ...


def unsuspected(control: Filter, fit: Fit, x: Any, y: Any, seed: int) -> NDArray[np.bool_]:
    """Which rows stay ``(n,)``: those that the filter lets pass once a model was trained on all; of every class at least one."""
    flags = control.flag(target_of(fit(x, y, seed)), x, y)
    return of_every_class(~flags.flagged, y, flags.score)


def flagged_by(control: Filter, recipe: Recipe, seed: int = 0) -> Flags:
    """What the filter flags of the recipe's own data: on data known to be clean, every one is a false positive."""
    return control.flag(target_of(recipe.fit(recipe.x, recipe.y, seed)), recipe.x, recipe.y)


def target_of(made: Any) -> Target:
    """What a recipe made, as a target."""
    from ...targets.wrap import wrap

    return wrap(made)
