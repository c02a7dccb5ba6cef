"""What can be counted of the work that an input causes, by kind of target: on a copy, so that nothing deployed is asked.

Of trees, the splits on the way to the leaves. Of neighbours in a KD-tree or ball tree, the points whose distance is taken. Of a
cascade, the models asked. Of a ReLU network, the energy of an accelerator that skips zeros.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.adversary import Need
from ..core.availability import Work
from ..core.errors import NotGranted
from ..core.target import Target, count, take, to_numpy
from ..core.trees import Ensemble
from ._sklearn import final
from .combined import Cascade

Floats = NDArray[np.float64]
PER_OPERATION, PER_ACCESS = 3.7, 1950.0  # pJ: one multiplication with its addition, one value read from memory (arXiv:2006.03463)


def work_of(target: Target) -> Work | None:
    """What there is to count of a target; None where nothing is known here to depend on the input."""
    model: Any = getattr(target, "model", None)
    if isinstance(model, Cascade):
        return Work(count=_Copy(target).models, name="models asked", unit="models", most=float(_stages(model)))
    if hasattr(model, "module"):
        return _network(target)
    if Need.STRUCTURE in target.offers:
        try:
            ensemble = target.structure()  # type: ignore[attr-defined]
        except NotGranted:
            return None
        return paths(ensemble)
    if hasattr(model, "estimator") and hasattr(getattr(final(model.estimator), "_tree", None), "get_n_calls"):
        return Work(count=_Copy(target).distances, name="distances taken", unit="points", most=None)
    return None


class _Copy:
    """A copy of a target, made when first counted on."""

    def __init__(self, target: Target) -> None:
        self._target = target

    @cached_property
    def own(self) -> Any:
        return copy.deepcopy(self._target)

    def models(self, x: Any) -> Floats:
        """Models of a cascade that each input is asked of."""
        found = np.zeros(count(x))
        for stage in self.own.stages:
            x = stage.run(x, None, 0)
        _asked(self.own.model, x, np.arange(count(x)), found)
        return found

    def distances(self, x: Any) -> Floats:
        """Points whose distance to each input is taken."""
        inner = self.own.model.estimator
        last, found = final(inner), np.zeros(count(x))
        steps = getattr(inner, "steps", None)
        plain = hasattr(last, "n_neighbors") and not self.own.stages and (inner is last or (steps and steps[-1][1] is last))
        if plain:  # what `predict` asks the tree, without its checks of every row
            x = to_numpy(x) if inner is last else inner[:-1].transform(x)
            x = np.asarray(x, np.float64)
        for i in range(count(x)):  # the tree counts over all rows of a call
            before = last._tree.get_n_calls()
            if plain:
                last._tree.query(x[i : i + 1], k=last.n_neighbors)
            else:
                self.own.respond(take(x, [i]))
            found[i] = last._tree.get_n_calls() - before
        return found


# cascades -----------------------------------------------------------------------------------------------------------


def _stages(model: Any) -> int:
    inner = getattr(model, "model", model)
    return _stages(inner.first) + _stages(inner.then) if isinstance(inner, Cascade) else 1


def _asked(model: Any, x: Any, rows: NDArray[np.int64], found: Floats) -> None:
    """Add up the models asked about `rows` of `x`, through cascades within cascades."""
    inner = getattr(model, "model", model)
    if not len(rows):
        return
    if not isinstance(inner, Cascade):
        found[rows] += 1
        return
    _asked(inner.first, x, rows, found)
    scores = np.asarray(to_numpy(inner.first.respond(take(x, rows)).scores))
    _asked(inner.then, x, rows[scores.max(1) < inner.sure], found)


# trees --------------------------------------------------------------------------------------------------------------


def paths(ensemble: Ensemble) -> Work:
    """Splits on the way to the leaves, over all trees."""
    depth = depths(ensemble)
    start = np.append(ensemble.root, len(depth))
    most = sum(float(depth[a:b].max()) for a, b in pairwise(start))
    return Work(count=lambda x: depth[ensemble.leaves(x)].sum(1), name="splits on the way", unit="splits", most=most)


def depths(ensemble: Ensemble) -> NDArray[np.int64]:
    """How many splits lie above each node, ``(m,)``."""
    found = np.zeros(len(ensemble.feature), np.int64)
    for node in np.flatnonzero(ensemble.feature >= 0):  # children stand after their parents
        found[[ensemble.left[node], ensemble.right[node]]] = found[node] + 1
    return found


# networks -----------------------------------------------------------------------------------------------------------


def _network(target: Target) -> Work | None:
    """The energy of a ReLU network; None for one without: what it computes does not depend on the input."""
    import torch
    from torch import nn

    module: Any = target.model.module  # type: ignore[attr-defined]
    layers = [part for part in module.modules() if isinstance(part, nn.Linear | nn.Conv2d)]
    sharp = [part for part in module.modules() if isinstance(part, nn.ReLU | nn.ReLU6)]
    if not layers or not sharp:
        return None
    hidden = _Copy(target)

    def energy(x: Any) -> Floats:
        return _tallied(hidden.own, x, _energy)

    def density(x: Any) -> Floats:
        return _tallied(hidden.own, x, _nonzero) / np.maximum(_tallied(hidden.own, x, _values), 1)

    @contextmanager
    def climb() -> Iterator[Callable[[Any, Any], Any]]:
        seen: list[torch.Tensor] = []
        hooks = [part.register_forward_pre_hook(lambda _, given: seen.append(given[0])) for part in sharp]
        try:
            yield lambda logits, y: sum((_open(z) for z in seen), 0.0 * logits.sum(1))
        finally:
            for hook in hooks:
                hook.remove()

    return Work(count=energy, name="energy", unit="pJ", beside={"activation density": density}, climb=climb)


def _open(z: Any) -> Any:
    """A smooth count ``(n,)`` of what is above 0: each value in units of the row's own size."""
    flat = z.flatten(1)
    size = flat.detach().abs().mean(1, keepdim=True).clamp_min(1e-12)
    return (flat / size).sigmoid().sum(1)


def _tallied(target: Any, x: Any, measure: Callable[[Any, Any], Any]) -> Floats:
    """The sum of a measure over what enters each layer, row by row, ``(n,)``."""
    from torch import nn

    parts: list[Floats] = []

    def note(layer: Any, given: Any) -> None:
        parts.append(np.asarray(measure(layer, given[0].detach()).cpu().numpy(), np.float64))

    layers = [part for part in target.model.module.modules() if isinstance(part, nn.Linear | nn.Conv2d)]
    hooks = [layer.register_forward_pre_hook(note) for layer in layers]
    found = []
    try:
        for start in range(0, count(x), 256):  # no more rows than the adapter passes on at once
            parts.clear()
            target.respond(take(x, np.arange(start, min(start + 256, count(x)))))
            found.append(np.sum(parts, axis=0))
    finally:
        for hook in hooks:
            hook.remove()
    return np.concatenate(found) if found else np.zeros(0)


def _nonzero(layer: Any, given: Any) -> Any:
    return (given != 0).flatten(1).sum(1)


def _values(layer: Any, given: Any) -> Any:
    return (given == given).flatten(1).sum(1)


def _energy(layer: Any, given: Any) -> Any:
    """pJ of a layer where zeros are neither read nor multiplied."""
    import torch

    mask = (given != 0).double()
    if isinstance(layer, torch.nn.Linear):
        operations = mask.flatten(1).sum(1) * layer.out_features
    else:
        ones = torch.ones((layer.groups, layer.in_channels // layer.groups, *layer.kernel_size), dtype=mask.dtype)
        padding = layer.padding if layer.padding_mode == "zeros" else 0
        met = torch.nn.functional.conv2d(
            mask.cpu(), ones, None, layer.stride, padding, layer.dilation, layer.groups
        )  # how often each value is multiplied, for one output channel of each group
        operations = met.flatten(1).sum(1).to(mask.device) * (layer.out_channels // layer.groups)
    return PER_OPERATION * operations + PER_ACCESS * mask.flatten(1).sum(1)
