"""The network that clean-label poison is made with: the public parent's features where there is one, else a surrogate's."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.adversary import Need
from ...core.case import Misread, Poison, Records
from ...core.constraint import Ball
from ...core.errors import BadInput, need
from ...core.oracle import Oracle
from ...core.random import RowRandom
from ...core.target import count, take, to_numpy
from ._records import affordable

Floats = NDArray[np.float64]
HIDDEN, EPOCHS, RATE = 64, 100, 0.02


@dataclass(frozen=True, slots=True)
class Net:
    """A fixed network in float64: ``body`` from inputs ``(n, *shape)`` to features ``(n, h)``, ``head`` from those to logits."""

    body: Any
    head: Any

    def logits(self, x: Any) -> Any:
        return self.head(self.body(x))


@dataclass(frozen=True, slots=True)
class Plan:
    """What each trial needs: the inputs to be misread, the records whose places may be taken, and the room they have.

    Args:
        x: Readable records ``(n, *shape)``, float64; `y` their seats among `classes`.
        goals: Inputs to be misread ``(t, *shape)``, and the seat each should get, `to` ``(t,)``.
        low, high: The range of the data.
        within: How far a record may go; None: anywhere in the range.
    """

    x: Floats
    y: NDArray[np.int64]
    classes: NDArray[Any]
    goals: Floats
    to: NDArray[np.int64]
    low: Floats
    high: Floats
    within: Any
    most: int


def plan(who: str, oracle: Oracle, case: Poison) -> Plan:
    """Read the case.

    Raises:
        BadInput: Not arrays of numbers, or records may not be where they could serve.
    """
    if not isinstance(case.aim, Misread):
        raise BadInput(f"{who} makes given inputs misread; the aim is {case.aim.kind!r}")
    x, labels = oracle.data
    if hasattr(x, "iloc") or not hasattr(x, "shape") or np.asarray(to_numpy(x)).dtype.kind not in "fiub":
        raise BadInput(f"{who} differentiates a network in arrays of numbers; got {type(x).__name__}. In tables and texts "
                       "poisoning.label_flip applies")  # fmt: skip
    if count(x) != count(case.recipe.x):
        raise BadInput(f"{who} takes the places of records it reads; it reads {count(x)} of {count(case.recipe.x)}")
    if case.within is not None and not hasattr(case.within, "project"):
        raise BadInput(f"{who} stays within what can be projected on; got within={case.within!r}")
    array, y = np.asarray(to_numpy(x), np.float64), np.asarray(to_numpy(labels))
    if not np.isfinite(array).all():
        raise BadInput(f"{who} differentiates a network, which needs numbers; some inputs are missing or infinite")
    classes = np.unique(y)
    goals, to = np.asarray(to_numpy(case.aim.x), np.float64), np.asarray(to_numpy(case.aim.to))
    seats = _seats(classes, to, who)
    most, seat = affordable(oracle, case), np.searchsorted(classes, y)
    return Plan(array, seat, classes, goals, seats, array.min(0), array.max(0), case.within, most)


def _seats(classes: NDArray[Any], to: NDArray[Any], who: str) -> NDArray[np.int64]:
    """The places of the classes wanted: by value, or of names by name or by place in sorted order."""
    named = classes.dtype.kind not in "iufb"
    if named and to.dtype.kind in "iu":
        seats, known = to.astype(np.int64), bool(((to >= 0) & (to < len(classes))).all())
    else:
        have, want = (classes.astype(str), to.astype(str)) if named else (classes, to)
        seats = np.searchsorted(have, want).clip(0, len(classes) - 1)
        known = bool((have[seats] == want).all())
    if not known:
        raise BadInput(f"{who}: the aim wants {np.unique(to).tolist()}; the data has {classes.tolist()}")
    return seats


def network(oracle: Oracle, of: Plan, rng: RowRandom) -> Net:
    """The parent's features with a fresh head, or a small network trained on what is read; the same seed, the same network."""
    torch = need("torch", "torch", "clean-label poison")
    found = _parent(oracle) if oracle.works(Need.PARENT) else None
    generator = torch.Generator().manual_seed(rng.seed & 0x7FFF_FFFF)
    x, y = torch.as_tensor(of.x), torch.as_tensor(of.y)
    centre, scale = x.mean(0), x.std(0).clamp_min(1e-12)
    if found is None:
        first = _linear(int(np.prod(of.x.shape[1:])), HIDDEN, generator)

        def body(inputs: Any) -> Any:
            return torch.relu(first(((inputs - centre) / scale).flatten(1)))

        head = _linear(HIDDEN, len(of.classes), generator)
        _train(lambda: head(body(x)), y, [*first.parameters(), *head.parameters()])
    else:
        body = found
        with torch.no_grad():
            seen = body(x)
        head = _linear(seen.shape[1], len(of.classes), generator)
        _train(lambda: head(seen), y, list(head.parameters()))
        return Net(body, head.requires_grad_(False))
    first.requires_grad_(False)
    return Net(body, head.requires_grad_(False))


def _parent(oracle: Oracle) -> Any:
    """All layers of the public parent but the last, where it is a torch sequence; None where it is not."""
    import copy

    import torch

    module = getattr(getattr(oracle.parent().held, "model", None), "module", None)
    if not isinstance(module, torch.nn.Sequential) or len(module) < 2:
        return None
    return torch.nn.Sequential(*list(copy.deepcopy(module).double().eval().requires_grad_(False))[:-1], torch.nn.Flatten(1))


def _linear(inputs: int, outputs: int, generator: Any) -> Any:
    import torch

    layer = torch.nn.Linear(inputs, outputs, dtype=torch.float64)
    with torch.no_grad():
        bound = inputs**-0.5
        layer.weight.copy_((2 * torch.rand(outputs, inputs, generator=generator, dtype=torch.float64) - 1) * bound)
        layer.bias.zero_()
    return layer


def _train(logits: Any, y: Any, parameters: list[Any]) -> None:
    import torch

    steps = torch.optim.Adam(parameters, RATE, weight_decay=1e-4)
    for _ in range(EPOCHS):
        steps.zero_grad()
        torch.autograd.backward(torch.nn.functional.cross_entropy(logits(), y))
        steps.step()


def bases(of: Plan, net: Net, trial: int, each: int, used: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Records of the wanted class whose features lie nearest those of the input, others before ones another trial has taken.

    Trials are campaigns of their own; that they take different records where there are enough keeps them independent.
    """
    import torch

    own = np.flatnonzero(of.y == of.to[trial])
    with torch.no_grad():
        goal = net.body(torch.as_tensor(of.goals[trial : trial + 1]))
        far = (net.body(torch.as_tensor(of.x[own])) - goal).square().sum(1).numpy()
    chosen = own[np.lexsort((far, used[own]))[:each]]
    used[chosen] = True
    return chosen


def inside(of: Plan, x: Any, base: Floats) -> Any:
    """Records brought back to the range of the data and within the constraint around those whose places they take."""
    import torch

    boxed = x.clamp(torch.as_tensor(of.low), torch.as_tensor(of.high))
    if of.within is None:
        return boxed
    return of.within.project(boxed, torch.as_tensor(base)) if isinstance(of.within, Ball) else _projected(of.within, boxed, base)


def _projected(within: Any, x: Any, base: Floats) -> Any:
    import torch

    return torch.as_tensor(np.asarray(within.project(x.numpy(), base)))


def handed(oracle: Oracle, case: Poison, of: Plan, index: list[Any], made: list[Floats]) -> Generator[Records, None, Records]:
    """The records of all trials, those of one campaign paid for."""
    most = max(len(own) for own in index)
    oracle.contribute(most)
    rows = np.concatenate(index)
    like = take(case.recipe.x, rows)
    was = np.asarray(to_numpy(like))
    new = np.concatenate(made).astype(was.dtype) if was.dtype.kind == "f" else np.rint(np.concatenate(made)).astype(was.dtype)
    if of.within is not None:
        good = np.asarray(of.within.check(new, was)).reshape(-1, *([1] * (was.ndim - 1)))
        new = np.where(good, new, was)
    trial = np.concatenate([np.full(len(own), which) for which, own in enumerate(index)])
    y = np.asarray(to_numpy(case.recipe.y))[rows]
    claim = Records(index=rows, x=like.new_tensor(new) if hasattr(like, "new_tensor") else new, y=y, trial=trial)
    yield claim
    return claim
