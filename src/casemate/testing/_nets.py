"""Small torch models that count the rows they are asked about, wherever the question comes from."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


class Counted(nn.Module):
    """A network behind a counter, a change of units and a shift of all logits.

    Args:
        net: From inputs in [0, 1] to logits.
        tally: Where rows are counted.
        low, scale: Inputs come as ``low + scale * x``.
        shift: Added to every logit.
    """

    def __init__(self, net: nn.Module, tally: Any, low: float = 0.0, scale: float = 1.0, shift: float = 0.0) -> None:
        super().__init__()
        self.net, self.tally = net, tally
        self.low, self.scale, self.shift = low, scale, shift

    def forward(self, x: Tensor) -> Tensor:
        self.tally.rows += len(x)
        logits: Tensor = self.net((x - self.low) / self.scale) + self.shift
        return logits


def linear(size: int, classes: int, seed: int, noise: float = 0.0) -> nn.Module:
    """A linear model with random weights; `noise` moves it away from the one of the same seed."""
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(classes, size))
    bias = -weight @ np.full(size, 0.5) + 0.1 * rng.normal(size=classes)
    net = nn.Sequential(nn.Flatten(), nn.Linear(size, classes))
    return _filled(net, [weight + noise * np.random.default_rng(seed + 1).normal(size=weight.shape), bias])


def smooth(side: int, classes: int, seed: int, noise: float = 0.0) -> nn.Module:
    """A small convolutional network without kinks, ``(n, 1, side, side)``: finite differences hold everywhere."""
    rng, other = np.random.default_rng(seed), np.random.default_rng(seed + 1)
    flat = 4 * (side // 2) ** 2
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(flat, classes)
    )  # fmt: skip
    shapes = [tuple(p.shape) for p in net.parameters()]
    spread = (1.0, 0.1, 1.0, 0.1)
    return _filled(net, [s * (rng.normal(size=n) + noise * other.normal(size=n)) for s, n in zip(spread, shapes, strict=True)])


def _filled(net: nn.Module, values: list[Any]) -> nn.Module:
    net = net.double()
    with torch.no_grad():
        for parameter, value in zip(net.parameters(), values, strict=True):
            parameter.copy_(torch.as_tensor(value))
            parameter.requires_grad_(False)
    return net.eval()
