"""The digits of scikit-learn as 8 x 8 pictures, and a recipe that trains a small network on them in a fraction of a second."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.case import Holdout
from ..core.target import Recipe, Target, to_numpy

TRAIN = 1297  # the other 500 are held out
_MOMENTUM = 0.9


@dataclass(frozen=True, slots=True)
class SmallNet:
    """Train a network with one hidden layer by SGD with momentum: ``(x, y, seed) -> Target``, the seed alone decides.

    The steps are taken in numpy, where so small a network costs least, and end up in a torch module. Inputs of any shape
    ``(n, *shape)``, flattened; `y` counts classes from 0.
    """

    hidden: int = 64
    epochs: int = 40
    batch: int = 32
    rate: float = 0.05
    classes: int = 10

    def __call__(self, x: Any, y: Any, seed: int) -> Target:
        import torch
        from torch import nn

        from ..targets.wrap import wrap

        array = np.asarray(to_numpy(x), np.float32)
        weights = self._descend(array.reshape(len(array), -1), np.asarray(to_numpy(y)), np.random.default_rng(seed))
        sizes = (weights[0].shape[0], self.hidden, self.classes)
        with torch.random.fork_rng(devices=[]):
            first, last = nn.Linear(*sizes[:2]), nn.Linear(*sizes[1:])
        net = nn.Sequential(nn.Flatten(), first, nn.ReLU(), last)
        with torch.no_grad():
            for layer, place in ((first, 0), (last, 2)):
                layer.weight.copy_(torch.as_tensor(weights[place].T.copy()))
                layer.bias.copy_(torch.as_tensor(weights[place + 1]))
        return wrap(net.eval(), name="small net")

    def _descend(self, x: NDArray[np.float32], y: NDArray[Any], rng: np.random.Generator) -> list[NDArray[np.float32]]:
        one = np.eye(self.classes, dtype=np.float32)[y]
        w = [_drawn(rng, x.shape[1], self.hidden), np.zeros(self.hidden, np.float32)]
        w += [_drawn(rng, self.hidden, self.classes), np.zeros(self.classes, np.float32)]
        speed = [np.zeros_like(part) for part in w]
        for _ in range(self.epochs):
            order = rng.permutation(len(x))
            for start in range(0, len(x), self.batch):
                for part, v, slope in zip(w, speed, _slopes(w, x, one, order[start : start + self.batch]), strict=True):
                    v *= _MOMENTUM
                    v -= self.rate * slope
                    part += v
        return w


def _drawn(rng: np.random.Generator, inputs: int, outputs: int) -> NDArray[np.float32]:
    return np.asarray(rng.uniform(-1, 1, (inputs, outputs)) / np.sqrt(inputs), np.float32)


def _slopes(w: list[NDArray[np.float32]], x: Any, one: Any, rows: NDArray[Any]) -> list[NDArray[np.float32]]:
    """Gradients of the mean cross-entropy of a batch."""
    a, target = x[rows], one[rows]
    hidden = np.maximum(a @ w[0] + w[1], 0)
    out = hidden @ w[2] + w[3]
    out = np.exp(out - out.max(1, keepdims=True))
    back = (out / out.sum(1, keepdims=True) - target) / len(rows)
    inner = (back @ w[2].T) * (hidden > 0)
    return [a.T @ inner, inner.sum(0), hidden.T @ back, back.sum(0)]


def digits(flat: bool = False, fit: Any = None, seed: int = 0) -> tuple[Recipe, Holdout]:
    """A recipe on 1297 digits and 500 held out. Values 0 to 1; pictures ``(n, 8, 8)``, or vectors ``(n, 64)``."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(x))
    x = (x[order] / 16).astype(np.float32)
    x, y = (x if flat else x.reshape(-1, 8, 8)), y[order].astype(np.int64)
    recipe = Recipe(fit or SmallNet(), x[:TRAIN], y[:TRAIN], "digits 1")
    return recipe, Holdout(x=x[TRAIN:], y=y[TRAIN:])
