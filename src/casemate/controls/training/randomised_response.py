"""Train on labels of which some are drawn at random, so that none can be held against anybody."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...core.control import control
from ...core.target import Recipe, Target, to_numpy
from ._network import fitting, labels_of, no_classes, share


@control(
    "training.randomised_response",
    knows=("privacy.lira",),
    threats=("PR-02",),
    side_effects="a share of the training labels is wrong: clean accuracy falls, and who is in the data is not hidden",
    trains=True,
)
class RandomisedResponse:
    """Keep each training label with probability e^eps / (e^eps + k - 1), else name one of the k - 1 others (Warner 1965).

    Of every label the model then tells at most what epsilon allows, exactly and whatever is done with it: this is privacy of
    the label, given that the record is in. It does not hide that a record is in, so the fact ``training.dp`` stays as it is.

    Args:
        epsilon: For each label; 3 keeps 95 of 100 labels of two classes, 51 of 100 of twenty.
    """

    modality: ClassVar[tuple[str, ...]] = ("array", "table", "bytes", "text")
    epsilon: float = 3.0

    def __post_init__(self) -> None:
        share("epsilon", self.epsilon, 0, float("inf"))

    def fits(self, recipe: Recipe) -> str:
        """Why it cannot be used with that recipe; empty where it can."""
        return no_classes(recipe)

    def kept(self, classes: int) -> float:
        """The chance of a label to stay as it is."""
        return 1 / (1 + (classes - 1) * math.exp(-self.epsilon))

    def answer(self, y: Any, classes: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Labels as given away ``(n,)``."""
        labels = np.asarray(to_numpy(y)).astype(np.int64)
        other = (labels + rng.integers(1, classes, len(labels))) % classes
        return np.where(rng.random(len(labels)) < self.kept(classes), labels, other)

    def harden_recipe(self, recipe: Recipe) -> Recipe:
        """The same recipe on randomised labels, drawn anew by the seed of each training.

        Raises:
            UsageError: The labels are no classes.
        """
        fitting(self, recipe)
        labels = labels_of(recipe)
        assert labels is not None
        fit = Answered(recipe.fit, self, int(labels.max()) + 1)
        return replace(recipe, fit=fit, stack=None, version=f"{recipe.version}+{self!r}")


@dataclass(frozen=True, slots=True)
class Answered:
    """A `fit` that sees randomised labels. A value, for worker processes."""

    fit: Callable[..., Target]
    control: RandomisedResponse
    classes: int

    def __call__(self, x: Any, y: Any, seed: int) -> Target:
        given = np.asarray(to_numpy(y))
        labels = self.control.answer(given, self.classes, np.random.default_rng([seed, 0x4242]))
        return self.fit(x, labels.astype(given.dtype), seed)
