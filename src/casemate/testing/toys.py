"""Toy targets whose answers are known in closed form.

On a linear model the nearest input that is decided otherwise has an exact distance, box included: `linear_distance`. An
attack that breaks rows nearer than that is wrong, one that needs much more is weak.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..core.constraint import Norm
from ..core.control import ControlInfo
from ..core.errors import BadInput

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """A linear decision ``argmax(weight @ x + bias)`` over inputs of `shape`, with inputs that sit inside its box.

    Args:
        weight: ``(k, d)``.
        bias: ``(k,)``.
        shape: Shape of one input, of d values.
        low, high: The domain.
    """

    weight: Floats
    bias: Floats
    shape: tuple[int, ...]
    low: float = 0.0
    high: float = 1.0

    def __call__(self, x: Any) -> Floats:
        """Logits ``(n, k)`` of inputs ``(n, *shape)``: the model as a numpy callable."""
        return np.asarray(np.asarray(x, dtype=np.float64).reshape(len(x), -1) @ self.weight.T + self.bias)

    def module(self, dtype: str = "float32") -> Any:
        """The model as a torch module, frozen and in evaluation mode."""
        import torch
        from torch import nn

        layer = nn.Linear(self.weight.shape[1], len(self.weight), dtype=getattr(torch, dtype))
        with torch.no_grad():
            layer.weight.copy_(torch.as_tensor(self.weight))
            layer.bias.copy_(torch.as_tensor(self.bias))
        return nn.Sequential(nn.Flatten(), layer).requires_grad_(False).eval()

    def inputs(self, n: int, seed: int = 0, dtype: str = "float32") -> tuple[Any, NDArray[np.int64]]:
        """Inputs ``(n, *shape)`` in the middle half of the domain, and how each is decided ``(n,)``."""
        middle = np.random.default_rng(seed).uniform(0.25, 0.75, (n, *self.shape))
        x = (self.low + (self.high - self.low) * middle).astype(dtype)
        return x, self(x).argmax(1)

    def distance(self, x: Any, y: Any, norm: Norm) -> Floats:
        """The exact distance of each input from another decision, ``(n,)``; infinite where the box has none."""
        return linear_distance(self.weight, self.bias, x, y, norm, low=self.low, high=self.high)


def linear(classes: int = 2, shape: tuple[int, ...] = (16,), seed: int = 0, *, low: float = 0.0, high: float = 1.0) -> Linear:
    """A linear model with random weights whose boundaries pass near the middle of the box.

    The same seed in another domain gives the same model in other units.
    """
    rng = np.random.default_rng(seed)
    unit = rng.normal(size=(classes, int(np.prod(shape))))
    bias = 0.1 * rng.normal(size=classes) - unit.sum(1) / 2
    weight = unit / (high - low)
    return Linear(weight=weight, bias=bias - low * weight.sum(1), shape=shape, low=low, high=high)


def linear_distance(weight: Any, bias: Any, x: Any, y: Any, norm: Norm, *, low: float = -np.inf, high: float = np.inf) -> Floats:
    """How far each input is from a decision other than `y` under ``argmax(weight @ x + bias)``, box included.

    Without a box it is the margin over the dual norm of the difference of weights. With one, coordinates saturate: each
    moves as far as the optimum without it would, or to its end (``linf``: the same length; ``l2``: in proportion to its
    weight; ``l1``: heaviest first).

    Args:
        weight, bias: ``(k, d)`` and ``(k,)``.
        x, y: Inputs ``(n, *shape)`` and their decisions ``(n,)``.

    Returns:
        ``(n,)``, zero where the decision is not `y` already, infinite where the box holds no other decision.
    """
    weight, bias = np.asarray(weight, np.float64), np.asarray(bias, np.float64)
    flat = np.asarray(x, np.float64).reshape(len(x), -1)
    found = np.full(len(flat), np.inf)
    for i, (row, own) in enumerate(zip(flat, np.asarray(y), strict=True)):
        for other in range(len(weight)):
            if other != own:
                change = weight[other] - weight[own]
                lead = float(-(change @ row) - (bias[other] - bias[own]))
                room = np.where(change > 0, high - row, row - low)
                found[i] = min(found[i], _reach(np.abs(change), room, lead, norm))
    return found


def _reach(pull: Floats, room: Floats, lead: float, norm: Norm) -> float:
    """The shortest move, of at most `room` along each coordinate, that gains `lead` at rates `pull`."""
    if lead <= 0:
        return 0.0
    pull, room = pull[pull > 0], room[pull > 0]
    if norm == "linf":
        return _level(pull, room, lead)
    if norm == "l2":
        level = _level(pull**2, room / pull, lead)
        return float(np.linalg.norm(np.minimum(level * pull, room))) if np.isfinite(level) else np.inf
    order = np.argsort(-pull, kind="stable")
    gained = np.concatenate([[0.0], np.cumsum(pull[order] * room[order])])
    full = int(np.searchsorted(gained, lead)) - 1  # coordinates moved all the way
    if full >= len(order):
        return np.inf
    return float(room[order][:full].sum() + (lead - gained[full]) / pull[order][full])


def _level(rate: Floats, cap: Floats, lead: float) -> float:
    """The t at which ``sum(rate * min(t, cap))`` reaches `lead`: piecewise linear, so solved exactly."""
    order = np.argsort(cap, kind="stable")
    rate, cap = rate[order], cap[order]
    open_rate = np.concatenate([np.cumsum(rate[::-1])[::-1], [0.0]])  # of the coordinates that still move
    start = gained = 0.0
    for i in range(len(cap)):
        if not np.isfinite(cap[i]) or gained + open_rate[i] * (cap[i] - start) >= lead:
            return float(start + (lead - gained) / open_rate[i])
        gained, start = gained + open_rate[i] * (cap[i] - start), float(cap[i])
    return np.inf


def forest(trees: int = 20, size: int = 8, seed: int = 0) -> tuple[Any, Floats, NDArray[np.int64]]:
    """A random forest on two clouds in the unit box, with inputs ``(200, size)`` and their classes: no slope anywhere."""
    from sklearn.ensemble import RandomForestClassifier

    rng = np.random.default_rng(seed)
    y = np.arange(200) % 2
    x = np.clip(0.35 + 0.3 * y[:, None] + 0.12 * rng.normal(size=(200, size)), 0, 1)
    return RandomForestClassifier(trees, random_state=seed).fit(x, y), x, y


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiring:
    """An endpoint control that lets a number of rows in and refuses all others for ever.

    Args:
        rows: Rows let in over the whole campaign, whoever sends them.
    """

    rows: int
    info: ClassVar[ControlInfo] = ControlInfo(
        id="service.tiring", kind="service", summary="Refuses for ever.", changes=(), knows=(), threats=()
    )

    @property
    def start(self) -> int:
        """Rows let in so far: none."""
        return 0

    def admit(self, state: int, account: str, rows: Sequence[int], now: float) -> tuple[int, NDArray[np.bool_]]:
        """Let in what is left."""
        let_in = np.arange(len(rows)) < self.rows - state
        return state + int(let_in.sum()), let_in

    def answer(self, state: int, response: Any) -> Any:
        return response

    def wait(self, state: int, account: str, now: float) -> float:
        """Waiting does not help."""
        return 0.0


def constant(label: int, classes: int = 2) -> Any:
    """A numpy callable that decides the same for every input: no attack can break it, and none may say so."""
    if not 0 <= label < classes:
        raise BadInput(f"label={label} is not one of the {classes} classes; give 0 to {classes - 1}")
    scores = np.eye(classes)[label]
    return lambda x: np.tile(scores, (len(x), 1))
