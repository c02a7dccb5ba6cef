"""Anti-backdoor learning: what is learned first is the mark; find it, and unlearn it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.control import control
from ...core.errors import UsageError
from ...core.target import Recipe, Target, to_numpy
from ._activations import module_of, with_module
from ._filter import Flags

_STALL = 1.0  # mean loss of the isolated rows, in units of log(classes), at which they count as unlearned


@control(
    "training.abl",
    knows=("poisoning.adaptive_blend", "poisoning.badnets"),
    threats=("PO-03",),
    side_effects="training a second, short time; the isolated rows are unlearned, honest ones among them too",
    trains=True,
)
class AntiBackdoor:
    """Isolate the rows that a network learns first and best, then climb their loss (Li et al. 2021, arXiv:2110.11571).

    A fresh copy of the recipe's network is trained for a few passes with the paper's flooding: a row whose loss is below
    `flood` is pushed away again, so that only what is learned with ease goes under. The rows of least loss are isolated. Then
    the recipe runs as ever, and its model climbs the loss of the isolated rows until it no longer knows them. In the paper
    both happen in one training; a recipe is not ours to open. It needs the weights: the recipe makes a torch module.

    Args:
        isolated: Share of the rows isolated.
        flood: Loss below which a row is pushed away, in nats.
        passes: Over the data, before rows are isolated.
        climbs: Passes over the isolated rows, uphill, at most.
        rate: Size of a step of the first, by SGD with momentum; of the climb it is a tenth.
    """

    isolated: float = 0.01
    flood: float = 0.5
    passes: int = 20
    climbs: int = 20
    rate: float = 0.05

    def __post_init__(self) -> None:
        if not 0 < self.isolated < 0.5 or self.passes < 1 or self.climbs < 1 or self.rate <= 0 or self.flood < 0:
            raise UsageError(f"{self!r} is not allowed; give isolated in (0, 0.5), passes and climbs from 1, a rate above 0")

    def harden_recipe(self, recipe: Recipe) -> Recipe:
        """The same recipe, and what it makes freed of the isolated rows."""
        if not callable(getattr(recipe, "fit", None)):
            raise UsageError(f"cannot harden a {type(recipe).__name__}; give a Recipe")
        return replace(recipe, fit=Unlearned(recipe.fit, self), version=f"{recipe.version}+{self!r}", stack=None)

    def flagged(self, recipe: Recipe, seed: int = 0) -> Flags:
        """What would be isolated of the recipe's data; on clean data, its false positives."""
        from ...targets.wrap import wrap

        return self.flag(wrap(recipe.fit(recipe.x, recipe.y, seed)), recipe.x, recipe.y, seed)

    def flag(self, model: Target, x: Any, y: Any, seed: int = 0) -> Flags:
        """The rows that a fresh network like the model's learns first."""
        import torch

        net = _fresh(module_of(model, "training.abl"), seed)
        inputs, labels = _tensors(net, x, y)
        optimiser = torch.optim.SGD(net.parameters(), lr=self.rate, momentum=0.9)
        order = torch.Generator().manual_seed(seed & 0x7FFF_FFFF)
        for _ in range(self.passes):
            for rows in torch.split(torch.randperm(len(inputs), generator=order), 32):
                loss = torch.nn.functional.cross_entropy(net(inputs[rows]), labels[rows], reduction="none")
                optimiser.zero_grad()
                torch.autograd.backward(((loss.detach() - self.flood).sign() * loss).mean())
                optimiser.step()
        net.eval()
        with torch.no_grad():
            kept = torch.nn.functional.cross_entropy(net(inputs), labels, reduction="none").double().numpy()
        flagged = np.zeros(len(kept), bool)
        flagged[np.argsort(kept, kind="stable")[: max(1, int(self.isolated * len(kept)))]] = True
        return Flags(flagged, -kept, "the loss of each row early in training")


@dataclass(frozen=True, slots=True)
class Unlearned:
    """A `fit` whose model unlearns what was learned first."""

    fit: Callable[..., Target]
    control: AntiBackdoor

    def __call__(self, x: Any, y: Any, seed: int) -> Target:
        from ...targets.wrap import wrap

        model = wrap(self.fit(x, y, seed))
        rows = np.flatnonzero(self.control.flag(model, x, y, seed).flagged)
        return with_module(model, self._climbed(model, x, y, rows))

    def _climbed(self, model: Target, x: Any, y: Any, rows: NDArray[np.int64]) -> Any:
        import torch

        net = module_of(model, "training.abl")
        inputs, labels = _tensors(net, x, y)
        inputs, labels = inputs[rows], labels[rows]
        optimiser = torch.optim.SGD(net.parameters(), lr=self.control.rate / 10)
        for _ in range(self.control.climbs):
            out = net(inputs)
            loss = torch.nn.functional.cross_entropy(out, labels)
            if loss.item() >= _STALL * np.log(out.shape[1]):
                break
            optimiser.zero_grad()
            torch.autograd.backward(-loss)
            optimiser.step()
        return net


def _fresh(net: Any, seed: int) -> Any:
    """The network as before any training. Weights of layers that can be reset are drawn again, by the seed."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed & 0x7FFF_FFFF)
        for part in net.modules():
            if hasattr(part, "reset_parameters"):
                part.reset_parameters()
    return net.train()


def _tensors(net: Any, x: Any, y: Any) -> tuple[Any, Any]:
    import torch

    return torch.as_tensor(np.asarray(to_numpy(x))).to(next(net.parameters()).dtype), torch.as_tensor(np.asarray(to_numpy(y)))
