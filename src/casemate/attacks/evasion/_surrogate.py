"""A model of the attacker's own, trained on answers or on data, that is climbed in place of the deployed one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ...core.errors import BadInput
from ...core.goal import Loss
from ...core.random import RowRandom
from ...core.target import Response, Slope, to_numpy

PACK = 128  # rows of one training step
RATE = 3e-3
SIDE = 4  # pictures are halved until a side is shorter than twice this


@dataclass(frozen=True, slots=True)
class Surrogate:
    """A network over inputs in ``[low, high]``. In single precision: it is a stand-in, and its last digits mean nothing."""

    net: nn.Module
    low: float
    high: float

    def unit(self, x: Any) -> Tensor:
        """Inputs on [0, 1]."""
        return ((torch.as_tensor(to_numpy(x), dtype=torch.float64) - self.low) / (self.high - self.low)).float()

    def gradient(self, x: Any, *, y: Any, rows: Any, loss: Loss) -> Slope:
        """Differentiate ``loss(logits, y)`` in the input, as an oracle does; nobody is asked, and nothing is charged."""
        seen = self.unit(x).requires_grad_(True)
        logits = self.net(seen)
        value = loss(logits, torch.as_tensor(y))
        (slope,) = torch.autograd.grad(value.sum(), seen)
        # Up to a positive factor, which no climber looks at, this is the slope in input units.
        return Slope(value.detach(), slope, Response(logits.detach().argmax(1), None, logits.detach()))

    def labels(self, x: Any) -> NDArray[np.int64]:
        """Its own decisions ``(n,)``."""
        with torch.no_grad():
            return np.asarray(self.net(self.unit(x)).argmax(1).numpy())


class Mean(nn.Module):
    """The mean of several networks' logits."""

    def __init__(self, nets: list[nn.Module]) -> None:
        super().__init__()
        self.nets = nn.ModuleList(nets)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([net(x) for net in self.nets]).mean(0)


def network(shape: tuple[int, ...], classes: int, width: int) -> nn.Module:
    """A small network for inputs of `shape`: convolutions for pictures ``(c, h, w)``, two hidden layers for the rest."""
    if len(shape) != 3 or min(shape[1:]) < SIDE:
        units = 8 * width
        layers: list[nn.Module] = [nn.Flatten(), nn.Linear(int(np.prod(shape)), units), nn.ReLU(), nn.Linear(units, units)]
        return nn.Sequential(*layers, nn.ReLU(), nn.Linear(units, classes))
    channels, height, out = shape[0], torch.empty(1, *shape), width
    layers = [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
    while min(height.shape[2:]) >= 2 * SIDE:
        layers += [nn.Conv2d(out, 2 * width, 3, stride=2, padding=1), nn.ReLU()]
        out = 2 * width
        height = height[:, :, ::2, ::2]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(out * height[0, 0].numel(), classes))


def fresh(shape: tuple[int, ...], classes: int, width: int, members: int, rng: RowRandom) -> nn.Module:
    """Untrained networks, each with weights of its own, that decide by the mean of their logits."""
    nets = []
    for member in range(members):
        with torch.random.fork_rng(devices=[]):  # the caller's generator stays where it was
            torch.manual_seed(rng.fork(member).seed & 0x7FFFFFFF)
            nets.append(network(shape, classes, width))
    return Mean(nets)


def train(net: nn.Module, unit: Tensor, shares: Tensor, epochs: int, rng: RowRandom) -> nn.Module:
    """Train every member of `net` on inputs ``(n, *shape)`` in [0, 1] and shares of classes ``(n, k)``; further, if it was.

    Each member sees its own order of the rows.
    """
    for place, member in enumerate(net.nets):  # type: ignore[arg-type]
        generator = torch.Generator().manual_seed(rng.fork(place).seed & 0x7FFFFFFF)
        step = _Adam(member)
        for _ in range(epochs):
            order = torch.randperm(len(unit), generator=generator)
            for start in range(0, len(unit), PACK):
                rows = order[start : start + PACK]
                with torch.enable_grad():
                    step(functional.cross_entropy(member(unit[rows]), shares[rows]))
        member.requires_grad_(False)
    return net.eval()


class _Adam:
    """Adam (arXiv:1412.6980) on all weights as one vector: of small networks a third of the time of an optimiser that goes
    through them one by one, and none of the seconds that one takes to load."""

    def __init__(self, net: nn.Module) -> None:
        self._weights = list(net.requires_grad_(True).parameters())
        self._flat = torch.cat([w.detach().flatten() for w in self._weights])
        start = 0
        for w in self._weights:  # each weight becomes a view of the vector
            w.data = self._flat[start : start + w.numel()].view_as(w)
            start += w.numel()
        self._mean, self._square, self._steps = torch.zeros_like(self._flat), torch.zeros_like(self._flat), 0

    def __call__(self, loss: Tensor) -> None:
        slope = torch.cat([part.flatten() for part in torch.autograd.grad(loss, self._weights)])
        self._steps += 1
        self._mean.lerp_(slope, 0.1)
        self._square.lerp_(slope * slope, 0.001)
        size = (self._square / (1 - 0.999**self._steps)).sqrt_().add_(1e-8)
        self._flat -= RATE / (1 - 0.9**self._steps) * self._mean / size


def told(response: Response, classes: int) -> Tensor:
    """What answers say of the classes: shares ``(n, classes)``, soft where scores are shown, else all on the decision."""
    labels = indices(response.label, "an answer")
    if response.logits is not None:
        shown = torch.as_tensor(to_numpy(response.logits), dtype=torch.float64).softmax(1)
    elif response.scores is not None:
        shown = torch.as_tensor(to_numpy(response.scores), dtype=torch.float64).clamp_min(0)
    else:
        return functional.one_hot(torch.as_tensor(labels).clamp_min(0), classes).float()
    shown = functional.pad(shown, (0, classes - shown.shape[1]))
    return (shown / shown.sum(1, keepdim=True).clamp_min(1e-12)).float()


def indices(labels: Any, what: str) -> NDArray[np.int64]:
    """Labels as indices of classes.

    Raises:
        BadInput: They are words or numbers of a regression: a stand-in of this kind decides among classes.
    """
    found = np.asarray(to_numpy(labels))
    if found.dtype.kind not in "iub":
        raise BadInput(f"{what} is {found.dtype}; a stand-in is trained on indices of classes, as a classifier gives them")
    return found.astype(np.int64)
