"""Fine-pruning: neurons that honest inputs do not use are where a backdoor lives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.control import control
from ...core.errors import UsageError
from ...core.target import Recipe, Target, to_numpy
from ._activations import module_of, prune, representation, right, with_module

Clean = Callable[[], tuple[Any, Any]]


@control(
    "training.fine_pruning",
    knows=("poisoning.adaptive_blend", "poisoning.badnets"),
    threats=("PO-03",),
    side_effects="accuracy falls by up to `loss`, less where clean rows allow it to be trained on",
    trains=True,
)
class FinePruning:
    """Cut off the neurons in front of the last dense layer that honest inputs excite least, as far as accuracy allows, then go
    on training on clean rows (Liu et al. 2018, arXiv:1805.12185).

    What the paper takes for granted is a set of rows known to be clean. Give it as `clean`. Without one the training data
    says which neurons sleep (a few poisoned rows do not change that much), and nothing is trained further: poisoned rows would
    teach the mark again. It needs the weights: the recipe makes a torch module.

    Args:
        loss: Accuracy that may be lost by pruning, as a share; the paper goes to 0.1 and less.
        clean: Gives inputs and labels known to be clean; None: there are none.
        epochs: Passes over the clean rows, by SGD with momentum.
        rate: Size of a step.
    """

    loss: float = 0.04
    clean: Clean | None = None
    epochs: int = 10
    rate: float = 0.01

    def __post_init__(self) -> None:
        if not 0 < self.loss < 1 or self.epochs < 0 or self.rate <= 0:
            raise UsageError(f"{self!r} is not allowed; give loss in (0, 1), epochs from 0 and a rate above 0")

    def harden_recipe(self, recipe: Recipe) -> Recipe:
        """The same recipe, and what it makes pruned."""
        if not callable(getattr(recipe, "fit", None)):
            raise UsageError(f"cannot harden a {type(recipe).__name__}; give a Recipe")
        return replace(recipe, fit=Pruned(recipe.fit, self), version=f"{recipe.version}+{self!r}", stack=None)


@dataclass(frozen=True, slots=True)
class Pruned:
    """A `fit` whose model is pruned, and tuned on clean rows where there are some."""

    fit: Callable[..., Target]
    control: FinePruning

    def __call__(self, x: Any, y: Any, seed: int) -> Target:
        from ...targets.wrap import wrap

        model = wrap(self.fit(x, y, seed))
        x, y = (x, y) if self.control.clean is None else self.control.clean()
        truth = np.asarray(to_numpy(y))
        sleepy = np.argsort(representation(model, x).values.mean(0), kind="stable")
        found = self._pruned(model, x, truth, sleepy)
        if self.control.clean is not None and self.control.epochs:
            found = with_module(model, tuned(found, x, truth, seed, self.control))
        return found

    def _pruned(self, model: Target, x: Any, y: NDArray[Any], order: NDArray[np.int64]) -> Target:
        """As many neurons of `order` cut off as accuracy allows: looked for by halves, since it falls as more are cut."""
        least = right(model, x, y) - self.control.loss
        low, high = 0, len(order) - 1
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if right(_without(model, order[:middle]), x, y) >= least else (low, middle - 1)
        return _without(model, order[:low])


def _without(model: Target, neurons: NDArray[np.int64]) -> Target:
    net = module_of(model, "training.fine_pruning")
    prune(net, neurons)
    return with_module(model, net)


def tuned(model: Target, x: Any, y: NDArray[Any], seed: int, control: FinePruning) -> Any:
    """The module after further steps on clean rows, the seed alone deciding their order; pruned neurons stay cut off."""
    import torch

    net = module_of(model, "training.fine_pruning")
    dense = [part for part in net.modules() if isinstance(part, torch.nn.Linear)][-1]
    kept = (dense.weight.detach() != 0).any(0)
    inputs = torch.as_tensor(np.asarray(to_numpy(x))).to(next(net.parameters()).dtype)
    labels = torch.as_tensor(y)
    optimiser = torch.optim.SGD(net.parameters(), lr=control.rate, momentum=0.9)
    order = torch.Generator().manual_seed(seed & 0x7FFF_FFFF)
    for _ in range(control.epochs):
        for rows in torch.split(torch.randperm(len(inputs), generator=order), 32):
            optimiser.zero_grad()
            torch.autograd.backward(torch.nn.functional.cross_entropy(net(inputs[rows]), labels[rows]))
            optimiser.step()
            with torch.no_grad():
                dense.weight *= kept
    return net.eval().requires_grad_(True)
