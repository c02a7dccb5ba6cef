"""A backdoored parent: train a mark into a model that others fine-tune."""

from __future__ import annotations

import copy
from collections.abc import Generator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.adversary import Need
from ...core.attack import attack
from ...core.errors import BadInput
from ...core.oracle import Oracle
from ...core.poison import Adopt, Published
from ...core.random import RowRandom
from ...core.target import Target, count, to_numpy
from ._triggers import Corner, mark, numbers


@attack(
    "poisoning.parent",
    needs=Need.PARENT | Need.DATA,
    scope="set",
    case="adopt",
    papers=("arXiv:1708.06733",),
    aka=("backdoored pretrained model", "transfer backdoor"),
    spends="epochs x n training steps of its own; no query",
)
class BackdooredParent:
    """Go on training a public model on marked and on plain rows, and publish it; whether the mark survives is the question.

    The parent must be a torch module that decides among the victim's classes: a victim who replaces the last layer is another
    case, which this does not make. Yields the parent after each pass.

    Args:
        share: Of the rows of a batch that are marked and labelled as wanted.
        epochs: Passes over the attacker's data.
        rate: Size of a step, by SGD with momentum.
        size: Side of the square stamped on pictures, in pixels.
        corner: ``upper left``, ``upper right``, ``lower left`` or ``lower right``.
        columns: How many columns of a vector are marked.
    """

    share: float = 0.2
    epochs: int = 5
    rate: float = 0.02
    size: int = 3
    corner: Corner = "lower right"
    columns: int = 3

    def __call__(self, oracle: Oracle, case: Adopt, *, rng: RowRandom) -> Generator[Published, None, Published]:
        if not 0 < self.share < 1 or self.epochs < 1 or self.rate <= 0:
            raise BadInput(f"{self!r} is not allowed; give share in (0, 1), epochs from 1, rate above 0")
        x, y = oracle.data
        array, labels = numbers(x, "poisoning.parent"), np.asarray(to_numpy(y))
        module = _module(case.parent)
        trigger = mark(array, self.size, self.corner, self.columns)
        rows = _rows(labels, case)
        claim = Published(parent=case.parent, trigger=trigger)
        for epoch in range(self.epochs):
            module = copy.deepcopy(module)
            self._pass(module, array, labels, rows, trigger, case.aim.to, rng, epoch)
            claim = Published(parent=_with(case.parent, copy.deepcopy(module).eval()), trigger=trigger)
            yield claim
        return claim

    def _pass(
        self, module: Any, x: NDArray[Any], y: NDArray[Any], rows: NDArray[np.int64], trigger: Any, to: int, rng: RowRandom,
        epoch: int,
    ) -> None:  # fmt: skip
        import torch

        dtype = next(module.parameters()).dtype
        order = np.argsort(rng.uniform(np.arange(count(x)), (1, epoch)), kind="stable")
        chosen = rows[rng.uniform(rows, (2, epoch)) < self.share]
        inputs, labels = x.copy(), y.copy()
        inputs[chosen], labels[chosen] = trigger(x[chosen]), to
        optimiser = torch.optim.SGD(module.parameters(), lr=self.rate, momentum=0.9)
        for start in range(0, len(order), 32):
            batch = order[start : start + 32]
            out = module(torch.as_tensor(inputs[batch]).to(dtype))
            loss = torch.nn.functional.cross_entropy(out, torch.as_tensor(labels[batch]))
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()


def _rows(y: NDArray[Any], case: Adopt) -> NDArray[np.int64]:
    aim = case.aim
    if y.dtype.kind not in "iu":
        raise BadInput(f"poisoning.parent needs classes counted from 0; got labels of {y.dtype}")
    found = np.flatnonzero(y != aim.to if aim.source is None else y == aim.source)
    if not len(found):
        raise BadInput(f"no row the attacker has is of a class the trigger is for (source={aim.source}, to={aim.to})")
    return found


def _module(parent: Any) -> Any:
    module = getattr(getattr(parent, "model", None), "module", None)
    if module is None or not hasattr(module, "named_modules") or not hasattr(parent, "replace"):
        raise BadInput(f"poisoning.parent trains a torch module; {parent.name} is none")
    return copy.deepcopy(module)


def _with(parent: Any, module: Any) -> Target:
    made: Target = parent.replace(model=replace(parent.model, module=module))
    return made
