"""The last layer of a network whose hidden planes are known, and which way round each plane is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._kinks import Plane

Floats = NDArray[np.float64]
_WHOLE = 1e-3  # how far from 0 or 1 the answer "which way round" may lie
_REST = 1e-6  # of the linear part, what turned units may leave


@dataclass(frozen=True, slots=True)
class Relu:
    """``relu(x @ weights + bias) @ out + x @ skip + constant``.

    Args:
        weights, bias: Hidden units ``(d, m)`` and ``(m,)``.
        out: The last layer ``(m, c)``.
        skip: What is linear ``(d, c)``: zero once every unit is the right way round.
        constant: ``(c,)``.
        turned: Whether it is.
    """

    weights: Floats
    bias: Floats
    out: Floats
    skip: Floats
    constant: Floats
    turned: bool

    def __call__(self, a: Floats) -> Floats:
        """Values ``(n, c)`` of points ``(n, d)``."""
        hidden = np.maximum(a @ self.weights + self.bias, 0.0)
        return np.asarray(hidden @ self.out + a @ self.skip + self.constant)

    def parameters(self) -> dict[str, Any]:
        """Its numbers by name."""
        planes = np.concatenate([self.weights.T, self.bias[:, None]], axis=1)
        return {"planes": planes, "output": self.out, "skip": self.skip, "constant": self.constant}


def solve(a: Floats, value: Floats, planes: Sequence[Plane], centre: Floats, scale: Floats) -> Relu:
    """Fit the last layer to values ``(n, c)`` of points ``(n, d)``, then turn the units that are the wrong way round.

    A unit turned round differs by something linear: ``relu(-z) = relu(z) - z``. So the linear part of the fit is a sum of
    known matrices, one for each unit, each taken or not.
    """
    d, m = a.shape[1], len(planes)
    weights = np.stack([p.weights for p in planes], axis=1) if m else np.zeros((d, 0))
    bias = np.array([p.bias for p in planes])
    net = _fit(a, value, weights, bias, centre, scale, skip=True)
    if not m or len(a) < m + d + 1:
        return net
    parts = (weights[:, :, None] * net.out[None]).transpose(0, 2, 1) * scale[:, None, None]  # (d, c, m)
    rest = net.skip * scale[:, None]
    share = np.linalg.lstsq(parts.reshape(-1, m), -rest.reshape(-1))[0]
    wrong = share > 0.5
    left = np.abs(rest + parts[:, :, wrong].sum(2)).max()
    if np.abs(share - wrong).max() > _WHOLE or left > _REST * max(float(np.abs(parts).max()), 1e-300):
        return net
    sign = np.where(wrong, -1.0, 1.0)
    return _fit(a, value, weights * sign, bias * sign, centre, scale, skip=False)


def _fit(
    a: Floats, value: Floats, weights: Floats, bias: Floats, centre: Floats, scale: Floats, *, skip: bool
) -> Relu:  # fmt: skip
    d, m = weights.shape
    hidden = np.maximum(a @ weights + bias, 0.0)
    size = np.where((peak := np.abs(hidden).max(0, initial=0.0)) > 0, peak, 1.0)
    parts = [hidden / size, np.ones((len(a), 1))] + ([(a - centre) / scale] if skip else [])
    # Answers from far away are large, and their last digits coarse: each row counts by its size.
    row = 1.0 / np.maximum(np.abs(value).max(1, keepdims=True), 1e-3 * float(np.abs(value).max()) + 1e-300)
    found = np.linalg.lstsq(np.concatenate(parts, axis=1) * row, value * row)[0]
    out, constant = found[:m] / size[:, None], found[m]
    straight = found[m + 1 :] / scale[:, None] if skip else np.zeros((d, value.shape[1]))
    return Relu(weights, bias, out, straight, constant - centre @ straight, not skip)
