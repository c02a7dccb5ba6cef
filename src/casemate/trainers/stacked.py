"""Networks of one shape trained side by side, as one stack of matrices.

A step of a tiny network is all overhead: of 64 networks one after the other the processor sees sixty-four times the calls and
none of the arithmetic. Here layer l of N networks is one array ``(N, inputs, outputs)``, a step is a few batched products, and
each network still sees its own rows in its own order. The backward pass is written out: for dense layers it is three lines, it
spares the machinery of automatic differentiation, and it holds what the gradient of each example is made of, so that
clipping one example costs a product of two lengths (arXiv:1510.01799).

A model's outcome depends on its seed, its rows and the learner. Beside which others it trains changes only the last bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ._batches import batches
from .learners import MLP

Show = Callable[[int, int], None]
ANSWER_BYTES = 1 << 26  # of activations at once while answering


@contextmanager
def one_thread() -> Iterator[None]:
    """Small products on two threads of a busy machine ran 2 to 8 times slower than on one. Restored afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(slots=True)
class Stack:
    """The weights of N networks: `flat` holds them all, layer by layer; `layers` are views of it.

    ``layers[l] = (weights (N, inputs, outputs), biases (N, 1, outputs))``.
    """

    flat: Tensor
    sizes: tuple[int, ...]
    layers: list[tuple[Tensor, Tensor]]

    @classmethod
    def over(cls, flat: Tensor, sizes: tuple[int, ...]) -> Stack:
        """Views of `flat (N * weights of one,)`."""
        members, start, layers = len(flat) // length(sizes), 0, []
        for inputs, outputs in pairwise(sizes):
            middle, end = start + members * inputs * outputs, start + members * (inputs + 1) * outputs
            layers.append((flat[start:middle].view(members, inputs, outputs), flat[middle:end].view(members, 1, outputs)))
            start = end
        return cls(flat, sizes, layers)

    @classmethod
    def of(cls, rows: Tensor, sizes: tuple[int, ...]) -> Stack:
        """From one row of weights for each network, ``(N, weights of one)``."""
        made = cls.over(torch.empty(rows.numel(), dtype=rows.dtype, device=rows.device), sizes)
        made.put(rows)
        return made

    def put(self, rows: Tensor) -> None:
        """Overwrite with one row of weights for each network."""
        start = 0
        for weight, bias in self.layers:
            for part in (weight, bias):
                many = part[0].numel()
                part.copy_(rows[:, start : start + many].view(part.shape))
                start += many

    def rows(self) -> Tensor:
        """One row of weights for each network."""
        return torch.cat([part.flatten(1) for layer in self.layers for part in layer], 1)

    def like(self) -> Stack:
        """Zeros of the same shape."""
        return Stack.over(torch.zeros_like(self.flat), self.sizes)


def length(sizes: tuple[int, ...]) -> int:
    """Weights and biases of one network."""
    return sum((inputs + 1) * outputs for inputs, outputs in pairwise(sizes))


def fresh(sizes: tuple[int, ...], rng: np.random.Generator, kind: Any) -> NDArray[Any]:
    """The weights one network begins with ``(weights of one,)``, as `torch.nn.Linear` spreads them."""
    parts = []
    for inputs, outputs in pairwise(sizes):
        parts.append(rng.uniform(-1, 1, (inputs + 1) * outputs) / inputs**0.5)
    return np.concatenate(parts).astype(kind)


def train(
    learner: MLP, x: NDArray[Any], y: NDArray[Any], rows: Sequence[NDArray[np.intp]], seeds: Sequence[int], classes: int,
    *, device: str = "cpu", show: Show | None = None,
) -> NDArray[Any]:  # fmt: skip
    """Train one network on each set of rows.

    Args:
        learner: The shape and the steps.
        x: Inputs ``(n, d)``.
        y: Labels ``(n,)``, or ``(N, n)`` where models see unlike labels.
        rows: The rows each model trains on, with repeats; none is empty.
        seeds: One for each model.
        classes: Outputs of the network.
        device: Where the arithmetic happens; what is drawn at random is drawn here, so devices differ by rounding only.
        show: Called with (steps done, steps).

    Returns:
        The weights, one row for each model ``(N, weights of one)``.
    """
    kind = np.float64 if learner.double else np.float32
    sizes = (x.shape[1], *learner.hidden, classes)
    rngs = [np.random.default_rng(int(seed)) for seed in seeds]
    begun = torch.as_tensor(np.stack([fresh(sizes, rng, kind) for rng in rngs]), device=device)
    data = _Data(x, y, kind, device)
    plan = batches(learner, rows, rngs, len(x))
    order = np.argsort(-plan.steps, kind="stable")  # who has most steps first, so that those still at work come first
    done = torch.empty_like(begun)
    with torch.no_grad(), one_thread():
        _run(learner, _Walk(learner, Stack.of(begun[order], sizes)), data, plan, order, done, show)
    return np.asarray(done.cpu().numpy())


def _run(
    learner: MLP, walk: _Walk, data: _Data, plan: Any, order: NDArray[np.intp], done: Tensor, show: Show | None
) -> None:
    most = int(plan.steps.max())
    for step in range(most):
        still = int((plan.steps[order] > step).sum())
        if still < len(order):
            finished = walk.keep(still)
            done[torch.as_tensor(order[still:], device=done.device)] = finished
            order = order[:still]
        places, share = plan.at(step, order)
        inputs, labels, scale = data.at(order, places, share)
        slopes(walk.stack, walk.slope, inputs, labels, scale, learner.clip)
        if learner.noise:
            walk.blur(plan.rngs, order, learner.noise * float(learner.clip or 0) / learner.batch)
        walk.move(step)
        if show is not None:
            show(step + 1, most)
    done[torch.as_tensor(order, device=done.device)] = walk.stack.rows()


class _Data:
    """Inputs and labels where the arithmetic happens, with one row of zeros after the last for what pads a short batch."""

    def __init__(self, x: NDArray[Any], y: NDArray[Any], kind: Any, device: str) -> None:
        ended = np.concatenate([np.asarray(x, kind), np.zeros((1, x.shape[1]), kind)])
        labels = np.concatenate([y, np.zeros((*y.shape[:-1], 1), y.dtype)], -1).astype(np.int64)
        self._x, self._y = torch.as_tensor(ended, device=device), torch.as_tensor(labels, device=device)
        self._kind, self._device = kind, device

    def at(self, models: NDArray[np.intp], places: NDArray[np.intp], share: NDArray[Any]) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs ``(m, b, d)``, labels ``(m, b, 1)`` and the weight of each in its batch ``(m, b, 1)``."""
        index = torch.as_tensor(places, device=self._device)
        inputs = self._x.index_select(0, index.flatten()).view(*index.shape, -1)
        own = self._y[index] if self._y.ndim == 1 else self._y[torch.as_tensor(models, device=self._device)[:, None], index]
        return inputs, own[..., None], torch.as_tensor(share.astype(self._kind), device=self._device)[..., None]


def slopes(stack: Stack, into: Stack, x: Tensor, y: Tensor, share: Tensor, clip: float | None) -> None:
    """The gradient of ``sum of share * cross-entropy`` in every weight.

    Args:
        stack: The networks.
        into: Overwritten with the gradient.
        x: Inputs ``(N, b, d)``.
        y: Labels ``(N, b, 1)``.
        share: The weight of each example ``(N, b, 1)``; 0 leaves it out.
        clip: Longest gradient of one example before it is weighted; None: any.
    """
    inputs = [x]
    for place, (weight, bias) in enumerate(stack.layers):
        answer = torch.baddbmm(bias, inputs[place], weight)
        inputs.append(answer.relu_() if place + 1 < len(stack.layers) else answer)
    back = torch.softmax(inputs.pop(), 2)
    back.scatter_add_(2, y, torch.full_like(share, -1.0))
    if clip is None:
        back *= share
    backs = [back]
    for place in range(len(stack.layers) - 1, 0, -1):
        back = torch.bmm(back, stack.layers[place][0].mT)
        back *= inputs[place] > 0
        backs.insert(0, back)
    if clip is not None:
        _shorten(inputs, backs, share, clip)
    for came, back, (weight, bias) in zip(inputs, backs, into.layers, strict=True):
        torch.bmm(came.mT, back, out=weight)
        torch.sum(back, 1, keepdim=True, out=bias)


def _shorten(inputs: list[Tensor], backs: list[Tensor], share: Tensor, clip: float) -> None:
    """Scale each example's part so that its gradient is no longer than `clip`, then by its share.

    A dense layer's gradient of one example is an outer product, so its length is that of the input (and a 1 for the bias)
    times that of what comes back. Backwards is linear: scaling what came back at each layer scales the gradient.
    """
    square = torch.zeros_like(share)
    for came, back in zip(inputs, backs, strict=True):
        square += (came.square().sum(2, keepdim=True) + 1) * back.square().sum(2, keepdim=True)
    factor = share * (clip / square.sqrt().clamp_min(clip))
    for back in backs:
        back *= factor


class _Walk:
    """The networks and where their optimiser stands."""

    def __init__(self, learner: MLP, stack: Stack) -> None:
        self._learner = learner
        self.stack, self.slope = stack, stack.like()
        self._first = stack.like()
        self._second = stack.like() if learner.optimiser == "adam" else None

    def keep(self, many: int) -> Tensor:
        """Go on with the first `many`; the weights of the others."""
        rows = self.stack.rows()
        self.stack, self._first = self._cut(self.stack, many), self._cut(self._first, many)
        self._second = None if self._second is None else self._cut(self._second, many)
        self.slope = self.stack.like()
        return rows[many:]

    @staticmethod
    def _cut(stack: Stack, many: int) -> Stack:
        return Stack.of(stack.rows()[:many], stack.sizes)

    def blur(self, rngs: Sequence[np.random.Generator], models: NDArray[np.intp], spread: float) -> None:
        """Add normal noise of that standard deviation to the gradient, each model's from its own generator."""
        flat, many = self.slope.flat, length(self.stack.sizes)
        kind = np.float64 if flat.dtype == torch.float64 else np.float32
        drawn = np.stack([rngs[i].standard_normal(many, kind) for i in models])
        flat.add_(Stack.of(torch.as_tensor(drawn, device=flat.device), self.stack.sizes).flat, alpha=spread)

    def move(self, step: int) -> None:
        """One step of every network along its own slope."""
        weights, slope, rate, decay = self.stack.flat, self.slope.flat, self._learner.step, self._learner.decay
        if self._second is None:
            if decay:
                slope.add_(weights, alpha=decay)
            self._first.flat.mul_(self._learner.momentum).add_(slope)
            weights.add_(self._first.flat, alpha=-rate)
            return
        if decay:
            weights.mul_(1 - rate * decay)
        first, second = 1 - 0.9 ** (step + 1), (1 - 0.999 ** (step + 1)) ** 0.5
        self._first.flat.lerp_(slope, 0.1)
        self._second.flat.mul_(0.999).addcmul_(slope, slope, value=0.001)
        torch.sqrt(self._second.flat, out=slope)
        weights.addcdiv_(self._first.flat, slope.add_(1e-8 * second), value=-rate * second / first)


def answers(weights: NDArray[Any], learner: MLP, x: NDArray[Any], classes: int, device: str = "cpu") -> NDArray[Any]:
    """The logits ``(N, n, classes)`` of networks ``(N, weights of one)`` on inputs ``(n, d)``."""
    sizes = (x.shape[1], *learner.hidden, classes)
    out = np.empty((len(weights), len(x), classes), weights.dtype)
    pack = max(1, ANSWER_BYTES // (8 * len(weights) * max(sizes)))
    with torch.no_grad(), one_thread():
        stack = Stack.of(torch.as_tensor(weights, device=device), sizes)
        for start in range(0, len(x), pack):
            part = torch.as_tensor(np.asarray(x[start : start + pack], weights.dtype), device=device)
            seen = part.expand(len(weights), *part.shape)
            for place, (weight, bias) in enumerate(stack.layers):
                seen = torch.baddbmm(bias, seen, weight)
                seen = seen.relu_() if place + 1 < len(stack.layers) else seen
            out[:, start : start + pack] = seen.cpu().numpy()
    return out
