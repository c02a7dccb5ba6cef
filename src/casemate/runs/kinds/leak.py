"""Leaking gradients: what the clients of a federated training send, on rows of the training data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.adversary import Adversary
from ...core.case import Holdout, Leak
from ...core.errors import BadInput
from ...core.random import RowRandom
from ...core.target import count, take, to_numpy
from ...judges import leak
from ...judges.opinion import Opinion
from .kind import Built, Judging, Kind, needs_recipe, rows_held

if TYPE_CHECKING:
    from ..bench import Bench
    from ..plan import Cell

UPDATES, ROWS = 8, 4  # of an assessment
OTHERS = 500


def check(case: Leak) -> None:
    if case.rows < 1 or not case.gradients:
        raise BadInput(f"rows={case.rows} and {len(case.gradients)} updates: give one update or more, of one row or more")
    if not case.low < case.high:
        raise BadInput(f"low={case.low}, high={case.high}: give a domain, low below high")
    due = len(case.gradients) * case.rows
    if case.labels is not None and np.size(to_numpy(case.labels)) != due:
        raise BadInput(f"labels holds {np.size(to_numpy(case.labels))}, and {len(case.gradients)} updates have {due} rows")


def judge(at: Judging) -> Opinion:
    return leak.judge(at.case, at.claim)


def build(bench: Bench, cell: Cell) -> Built:
    """The deployed network in training mode, but for dropout: gradients of its loss on rows of the training data."""
    import torch

    assert bench.recipe is not None and bench.data is not None
    recipe, due = bench.recipe, UPDATES * ROWS
    chosen = np.sort(np.argsort(RowRandom(cell.seed).fork(0x1EAC).uniform(np.arange(count(recipe.x)), 0))[:due])
    x = np.asarray(to_numpy(take(recipe.x, chosen)))
    y = np.asarray(to_numpy(take(recipe.y, chosen)))
    net = client(network(bench))
    kind = next(iter(net.parameters())).dtype
    sent = tuple(
        gradients(net, torch.as_tensor(x[i : i + ROWS], dtype=kind), torch.as_tensor(y[i : i + ROWS]).long())
        for i in range(0, due, ROWS)
    )
    rest = np.asarray(to_numpy(take(bench.data.x, np.arange(min(OTHERS, count(bench.data.x))))))
    low, high = float(min(x.min(), rest.min())), float(max(x.max(), rest.max()))
    return Built(Leak(
        model=net, gradients=sent, rows=ROWS, shape=tuple(x.shape[1:]), low=low, high=high,
        truth=Holdout(x=x, y=y), others=Holdout(x=rest, y=np.asarray(to_numpy(bench.data.y))[: len(rest)]),
    ))  # fmt: skip


def network(bench: Bench) -> Any:
    """The torch module of the deployed target; None where it is no network, or something stands before it."""
    module = getattr(getattr(bench.target, "model", None), "module", None)
    plain = module is not None and hasattr(module, "named_parameters") and not getattr(bench.target, "stages", ())
    return module if plain else None


def client(module: Any) -> Any:
    """A copy as a client trains it. Dropout is left out: its draws are the client's own."""
    import copy

    from torch import nn

    made = copy.deepcopy(module).train()
    for part in made.modules():
        if isinstance(part, nn.modules.dropout._DropoutNd):
            part.eval()
    return made


def gradients(module: Any, x: Any, y: Any) -> tuple[Any, ...]:
    """What a client sends: the gradients of the mean cross-entropy, as arrays, in the order of the parameters.

    Args:
        module: A torch module; it is copied, so that running means do not move.
        x, y: Inputs and labels of one update, as tensors.
    """
    import copy

    import torch

    own = copy.deepcopy(module)
    loss = torch.nn.functional.cross_entropy(own(x), y)
    found = torch.autograd.grad(loss, list(own.parameters()))
    return tuple(each.detach().cpu().numpy() for each in found)


def why_not(bench: Bench, adversary: Adversary) -> str | None:
    binding = bench.system.binding(bench.component)
    if binding is None or binding.federated is None:
        return "no federated training is stated: target.federated"
    untrained = needs_recipe(bench, adversary)
    if untrained is not None or bench.recipe is None:
        return untrained
    if network(bench) is None:
        return "gradients are read of a torch network that takes the inputs as they are; none is bound"
    if np.asarray(to_numpy(bench.recipe.y)).dtype.kind not in "iub":
        return "the training labels are no classes"
    return None if count(bench.recipe.x) >= UPDATES * ROWS and rows_held(bench) else f"fewer than {UPDATES * ROWS} training rows"


LEAK = Kind(check=check, judge=judge, build=build, why_not=why_not, targetless=True)
