"""Train so that no single record matters much: DP-SGD."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from ...core.control import control
from ...core.errors import UsageError
from ...core.target import Recipe, Target, count
from ...judges.accountant import noise_for
from ...trainers import MLP
from ._network import fitting, keywords, labels_of, no_classes, share, train, whole
from ._private import HookedFit

ENDLESS = float("inf")


@control(
    "training.dp_sgd",
    changes=(("training.dp", "<epsilon>, <delta>"),),
    knows=("privacy.lira", "privacy.canary"),
    threats=("PR-01", "PR-02"),
    side_effects="clean accuracy falls, most for small classes and few records; training is slower through the hook",
    trains=True,
)
class DPSGD:
    """Clip the gradient of each record, add Gaussian noise to their sum (Abadi et al. 2016, arXiv:1607.00133).

    A recipe whose `stack` is an `MLP` is trained natively with the same layers. Any other torch recipe takes a keyword
    ``private=None`` in its `fit`, and where it is not None does
    ``trained, optimiser, loss, batches = private(net, optimiser, loss, batches)``, runs ``private.epochs`` passes over these
    and wraps `net`; Opacus does the clipping (``pip install 'casemate[dp]'``). The noise is the least that keeps to epsilon by
    our own accounting; batches really drawn and steps really taken are held against it after training.

    By default every record takes part in every step: nothing about the sampling can then be wrong, the accounting is exact,
    and on small data the result was better than with batches.

    Args:
        epsilon, delta: What training may spend. Delta must be below one in the number of records.
        clip: Longest gradient of one record (l2, over all layers).
        batch: Expected rows in a step; None: all of them.
        epochs: Passes; with all rows in a batch, steps.
        rate: Step length of the stack; None: the stack's own.
        mode: How Opacus clips: ``ghost`` (two passes, little memory) or ``hooks`` (a gradient kept for each record).
    """

    epsilon: float = 8.0
    delta: float = 1e-5
    clip: float = 1.0
    batch: int | None = None
    epochs: int = 80
    rate: float | None = 0.3
    mode: Literal["ghost", "hooks"] = "ghost"

    def __post_init__(self) -> None:
        share("epsilon", self.epsilon, 0, ENDLESS)
        share("delta", self.delta, 0, 1)
        share("clip", self.clip, 0, ENDLESS)
        whole("epochs", self.epochs, 1)
        if self.batch is not None:
            whole("batch", self.batch, 1)
        if self.rate is not None:
            share("rate", self.rate, 0, ENDLESS)
        if self.mode not in ("ghost", "hooks"):
            raise UsageError(f"mode={self.mode!r} is not allowed; give 'ghost' or 'hooks'")

    def facts(self) -> tuple[tuple[str, Any], ...]:
        return (("training.dp.eps", float(self.epsilon)), ("training.dp.delta", float(self.delta)))

    def fits(self, recipe: Recipe) -> str:
        """Why it cannot be used with that recipe; empty where it can."""
        if not isinstance(recipe.stack, MLP):
            if "private" in keywords(recipe.fit):
                return self._rows_why(count(recipe.x))
            return "the recipe has no stack of kind MLP, and its fit takes no keyword private"
        return no_classes(recipe) or self._rows_why(count(recipe.x))

    def _rows_why(self, rows: int) -> str:
        if self.delta * rows >= 1:
            return f"delta={self.delta:g} allows a record of {rows} to be given away whole; give less than {1 / rows:.1g}"
        return ""

    def batch_of(self, rows: int) -> int:
        """Expected rows in a step, of so many."""
        return rows if self.batch is None else min(self.batch, rows)

    def steps_of(self, rows: int) -> int:
        """Steps of the whole training."""
        return -(-rows // self.batch_of(rows)) * self.epochs

    def learner(self, stack: MLP, rows: int) -> MLP:
        """The private kind of a stack, with noise for that many rows."""
        batch = self.batch_of(rows)
        noise = noise_for(self.epsilon, self.delta, batch / rows, self.steps_of(rows))
        rate = self.rate if self.rate is not None else stack.rate
        return replace(stack, clip=self.clip, noise=noise, batch=batch, epochs=self.epochs, rate=rate)

    def harden_recipe(self, recipe: Recipe) -> Recipe:
        """The same recipe, trained privately.

        Raises:
            UsageError: The recipe offers neither a stack nor the hook, or delta is too large for it.
        """
        fitting(self, recipe)
        version = f"{recipe.version}+{self!r}"
        if isinstance(recipe.stack, MLP):
            labels = labels_of(recipe)
            assert labels is not None
            fit = StackedFit(self, recipe.stack, int(labels.max()) + 1)
            return replace(recipe, fit=fit, stack=self.learner(recipe.stack, len(labels)), version=version)
        return replace(recipe, fit=HookedFit(recipe.fit, self), stack=None, version=version)


@dataclass(frozen=True, slots=True)
class StackedFit:
    """The private training of a stack. The noise follows from the rows it is given. A value, for worker processes."""

    control: DPSGD
    stack: MLP
    classes: int

    def __call__(self, x: Any, y: Any, seed: int) -> Target:
        learner = self.control.learner(self.stack, len(np.asarray(y)))
        return train(learner, x, y, seed, self.classes, f"network with epsilon {self.control.epsilon:g}")
