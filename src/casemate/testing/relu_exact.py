"""Tiny networks with one hidden layer of ReLUs, whose nearest other decision is known exactly, by enumeration.

On `toys.linear` every slope points the right way. Here boundaries bend, cells hide behind each other, and an attack can
climb the wrong hill: what it finds is compared with the least distance there is, in ``linf``, ``l2`` and ``l1``.

A pattern says which hidden units are on. Where one holds, the network is linear, so the inputs of a pattern on which a
rival class leads are a polyhedron, and the nearest of its points solves a small convex program. The least of all is the
distance. Work doubles with every hidden unit: stay at ten or fewer.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog, nnls

from ..core.constraint import Norm
from ..core.errors import BadInput

Floats = NDArray[np.float64]
MOST = 12  # hidden units: 4096 patterns
EMPTY = 1e-9  # a residual below this says that no point satisfies all rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Relu:
    """The decision ``argmax(second @ relu(first @ x + shift) + bias)`` over inputs of d values in a box.

    Args:
        first, shift: The hidden layer, ``(h, d)`` and ``(h,)``; at most 12 units.
        second, bias: The output layer, ``(k, h)`` and ``(k,)``.
        low, high: The domain of every value.
    """

    first: Floats
    shift: Floats
    second: Floats
    bias: Floats
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if len(self.first) > MOST:
            raise BadInput(f"{len(self.first)} hidden units are too many to enumerate; give {MOST} or fewer")

    def __call__(self, x: Any) -> Floats:
        """Logits ``(n, k)`` of inputs ``(n, d)``: the model as a numpy callable."""
        hidden = np.asarray(x, np.float64) @ self.first.T + self.shift
        return np.asarray(np.maximum(hidden, 0) @ self.second.T + self.bias)

    def module(self, dtype: str = "float64") -> Any:
        """The model as a torch module, frozen and in evaluation mode."""
        import torch
        from torch import nn

        layers = [nn.Linear(w.shape[1], w.shape[0], dtype=getattr(torch, dtype)) for w in (self.first, self.second)]
        with torch.no_grad():
            for layer, weight, bias in zip(layers, (self.first, self.second), (self.shift, self.bias), strict=True):
                layer.weight.copy_(torch.as_tensor(weight))
                layer.bias.copy_(torch.as_tensor(bias))
        return nn.Sequential(layers[0], nn.ReLU(), layers[1]).requires_grad_(False).eval()

    def inputs(self, n: int, seed: int = 0) -> tuple[Floats, NDArray[np.int64]]:
        """Inputs ``(n, d)`` anywhere in the box, float64, and how each is decided ``(n,)``."""
        share = np.random.default_rng(seed).uniform(size=(n, self.first.shape[1]))
        x = self.low + (self.high - self.low) * share
        return x, self(x).argmax(1)

    def distance(self, x: Any, y: Any, norm: Norm) -> Floats:
        """The exact distance of each input from a decision other than `y`, ``(n,)``; infinite where the box has none."""
        x, point = np.asarray(x, np.float64), self.nearest(x, y, norm)
        order = {"linf": np.inf, "l2": 2, "l1": 1}[norm]
        size = np.linalg.norm(point - x, ord=order, axis=1)
        return np.where(np.isfinite(point).all(1), size, np.inf)

    def nearest(self, x: Any, y: Any, norm: Norm) -> Floats:
        """The nearest point of each input ``(n, d)`` at which another class draws level with `y`; NaN where there is none.

        A point on the boundary: the decision there may still be `y`, and a little beyond it is not.
        """
        if norm not in ("linf", "l2", "l1"):
            raise BadInput(f"norm={norm!r} has no exact distance here; give 'linf', 'l2' or 'l1'")
        x, y = np.asarray(x, np.float64), np.asarray(y)
        found = np.full(x.shape, np.nan)
        for own in np.unique(y):
            cells = list(self._cells(int(own)))
            for i in np.flatnonzero(y == own):
                found[i] = _nearest(x[i], cells, norm)
        return found

    def _cells(self, own: int) -> Iterator[tuple[Floats, Floats]]:
        """Polyhedra ``G x >= g``, one for each pattern and rival of class `own`, the box among their rows."""
        h, d = self.first.shape
        box = np.vstack([np.eye(d), -np.eye(d)]), np.concatenate([np.full(d, self.low), np.full(d, -self.high)])
        for pattern in itertools.product((0.0, 1.0), repeat=h):
            on = np.array(pattern)
            side = 2 * on - 1
            half = np.vstack([box[0], side[:, None] * self.first]), np.concatenate([box[1], -side * self.shift])
            if _least(*half) is None:  # no input has this pattern
                continue
            for rival in set(range(len(self.second))) - {own}:
                pull = on * (self.second[rival] - self.second[own])
                lead = pull @ self.shift + self.bias[rival] - self.bias[own]
                cell = np.vstack([half[0], pull @ self.first]), np.append(half[1], -lead)
                if _least(*cell) is not None:
                    yield cell


def relu(size: int = 3, hidden: int = 5, classes: int = 2, seed: int = 0, *, low: float = 0.0, high: float = 1.0) -> Relu:
    """A tiny network with random weights whose hidden units all switch inside the box.

    Each class leads somewhere near the middle: the logits of 256 random inputs have the mean zero.
    """
    rng = np.random.default_rng(seed)
    first = rng.normal(size=(hidden, size)) / (high - low)
    shift = -(first @ rng.uniform(low + 0.2 * (high - low), high - 0.2 * (high - low), (hidden, size)).T).diagonal()
    plain = Relu(first=first, shift=shift, second=rng.normal(size=(classes, hidden)), bias=np.zeros(classes), low=low, high=high)
    middle = plain(plain.inputs(256, seed)[0]).mean(0)
    return Relu(first=first, shift=shift, second=plain.second, bias=-middle, low=low, high=high)


def _nearest(x: Floats, cells: list[tuple[Floats, Floats]], norm: Norm) -> Floats:
    """The nearest point of all cells. In Euclid's norm each is quick; that length bounds the others from below."""
    steps = [(i, _least(g, h - g @ x)) for i, (g, h) in enumerate(cells)]
    found = sorted(((float(np.linalg.norm(step)), i, step) for i, step in steps if step is not None), key=lambda one: one[:2])
    if norm == "l2" or not found:
        return x + found[0][2] if found else np.full(len(x), np.nan)
    best, least = np.full(len(x), np.nan), math.inf
    shrink = math.sqrt(len(x)) if norm == "linf" else 1.0
    for length, i, _ in found:
        if length / shrink >= least:
            break
        step = _linear(cells[i][0], cells[i][1] - cells[i][0] @ x, norm)
        size = float(np.abs(step).max() if norm == "linf" else np.abs(step).sum())
        if size < least:
            best, least = x + step, size
    return best


def _least(g: Floats, h: Floats) -> Floats | None:
    """The shortest z with ``g z >= h``; None where there is none.

    Least distance programming: with ``E = [g.T; h.T]``, the residual of the nearest non-negative combination of its columns
    to the last unit vector is the answer, up to a factor, and it is zero where the rows contradict each other.
    """
    size = np.maximum(np.linalg.norm(g, axis=1), 1e-300)
    g, h = g / size[:, None], h / size
    e = np.vstack([g.T, h])
    unit = np.append(np.zeros(g.shape[1]), 1.0)
    weight, rest = nnls(e, unit)
    residual = e @ weight - unit
    if rest < EMPTY or -residual[-1] < EMPTY:
        return None
    return np.asarray(-residual[:-1] / residual[-1])


def _linear(g: Floats, h: Floats, norm: Norm) -> Floats:
    """The shortest z with ``g z >= h`` in ``linf`` or ``l1``, by a linear program. The rows are known not to contradict."""
    d, one = g.shape[1], np.eye(g.shape[1])
    bound = np.ones((d, 1)) if norm == "linf" else one  # what |z| stays below: one number, or one for each value
    extra = bound.shape[1]
    rows = np.vstack([np.hstack([-g, np.zeros((len(g), extra))]), np.hstack([one, -bound]), np.hstack([-one, -bound])])
    limits = np.concatenate([-h, np.zeros(2 * d)])
    cost = np.append(np.zeros(d), np.ones(extra))
    solved = linprog(cost, A_ub=rows, b_ub=limits, bounds=[(None, None)] * d + [(0, None)] * extra)
    return np.asarray(solved.x[:d]) if solved.x is not None else np.full(d, np.inf)
