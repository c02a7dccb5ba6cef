"""A small network of the attacker's own: trained on answers, differentiated in its inputs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

Floats = NDArray[np.float64]
_RATE = 0.01  # at the start; it falls to nothing


@dataclass(frozen=True, slots=True)
class Net:
    """A trained network on features ``(n, d)``."""

    layers: nn.Module

    def says(self, a: Floats) -> Floats:
        """Shares of the classes ``(n, k)``."""
        with torch.no_grad():
            return np.asarray(self.layers(torch.as_tensor(a)).softmax(1).numpy(), np.float64)

    def slope(self, a: Floats, place: NDArray[np.int64]) -> Floats:
        """How the share of class `place` ``(n,)`` changes with the features ``(n, d)``."""
        x = torch.as_tensor(a).requires_grad_(True)
        with torch.enable_grad():
            shares: Tensor = self.layers(x).softmax(1)
            total = shares.gather(1, torch.as_tensor(place)[:, None]).sum()
        return np.asarray(torch.autograd.grad(total, x)[0].numpy(), np.float64)


def fit(a: Floats, shares: Floats, hidden: tuple[int, ...], epochs: int, seed: int, batch: int = 128) -> Net:
    """Train on features ``(n, d)`` and shares of classes ``(n, k)``, with Adam and a rate that falls to nothing."""
    generator = torch.Generator().manual_seed(seed)
    layers = _layers((a.shape[1], *hidden, shares.shape[1]), generator)
    x, goal = torch.as_tensor(a), torch.as_tensor(shares)
    step = _Adam(list(layers.parameters()))
    for epoch in range(epochs):
        rate = _RATE * 0.5 * (1 + math.cos(math.pi * epoch / epochs))
        order = torch.randperm(len(x), generator=generator)
        for start in range(0, len(x), batch):
            rows = order[start : start + batch]
            with torch.enable_grad():
                loss = functional.cross_entropy(layers(x[rows]), goal[rows])
            step(loss, rate)
    return Net(layers.requires_grad_(False).eval())


class _Adam:
    """Adam (arXiv:1412.6980), because the one that comes with torch takes seconds to load, longer than a copy to train."""

    def __init__(self, weights: list[Tensor]) -> None:
        self._weights, self._steps = weights, 0
        self._means = [(torch.zeros_like(w), torch.zeros_like(w)) for w in weights]

    def __call__(self, loss: Tensor, rate: float) -> None:
        self._steps += 1
        size = rate * math.sqrt(1 - 0.999**self._steps) / (1 - 0.9**self._steps)
        slopes = torch.autograd.grad(loss, self._weights)
        with torch.no_grad():
            for w, slope, (mean, square) in zip(self._weights, slopes, self._means, strict=True):
                mean.lerp_(slope, 0.1)
                square.lerp_(slope * slope, 0.001)
                w.addcdiv_(mean, square.sqrt().add_(1e-8), value=-size)


def _layers(sizes: tuple[int, ...], generator: torch.Generator) -> nn.Sequential:
    parts: list[nn.Module] = []
    for before, after in pairwise(sizes):
        with torch.random.fork_rng(devices=[]):  # a layer draws from the global generator, which is put back
            layer = nn.Linear(before, after, dtype=torch.float64)
        nn.init.normal_(layer.weight, 0.0, (2 / before) ** 0.5, generator=generator)
        nn.init.zeros_(layer.bias)
        parts += [layer, nn.ReLU()]
    return nn.Sequential(*parts[:-1])
