"""What can be read off shared gradients: labels, exact inputs of a first dense layer, and how well a guess explains them.

A dense layer with a bias has ``dW_i = sum over rows of delta_ri * x_r`` and ``db_i = sum of delta_ri`` for its unit i. Where one
row alone moves unit i, ``dW_i / db_i`` is that row, exactly.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ...core.case import Leak
from ...core.errors import BadInput
from ...core.random import RowRandom

Floats = NDArray[np.float64]
SAME = 1e-4  # two units name the same row: as a share of the domain
STILL = 1e-5  # a unit whose bias moves less, as a share of the largest move, says nothing


@dataclass(frozen=True, slots=True)
class Sent:
    """The updates, and the model to explain them with: a copy, in the mode the client's was in."""

    model: nn.Module
    names: tuple[str, ...]
    gradients: tuple[torch.Tensor, ...]  # each ``(updates, *shape of the parameter)``
    case: Leak

    @staticmethod
    def of(case: Leak) -> Sent:
        if not isinstance(case.model, nn.Module):
            raise BadInput(f"privacy.gradient_inversion reads gradients of a torch module; got a {type(case.model).__name__}")
        model = copy.deepcopy(case.model)
        named = [(name, p) for name, p in model.named_parameters()]
        for i, update in enumerate(case.gradients):
            shapes, due = [np.shape(g) for g in update], [tuple(p.shape) for _, p in named]
            if shapes != due:
                raise BadInput(f"update {i} has gradients of shapes {shapes}; the model's parameters are {due}")
            if not all(np.isfinite(np.asarray(g)).all() for g in update):
                raise BadInput(f"update {i} holds NaN or infinite gradients: nothing can be read off it")
        for part in model.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.training:
                # It normalises by its batch alone; running means, which it would move, say nothing here.
                part.track_running_stats, part.running_mean, part.running_var, part.num_batches_tracked = False, None, None, None
        kind = named[0][1].dtype if named else torch.float32
        stacked = [torch.stack([torch.as_tensor(np.asarray(u[j])).to(kind) for u in case.gradients]) for j in range(len(named))]
        return Sent(model, tuple(name for name, _ in named), tuple(stacked), case)

    @property
    def batch_norm(self) -> str:
        """In which mode normalisation by batches was: in training each row depends on the others of its update."""
        found = [part for part in self.model.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
        return "none" if not found else "training" if any(part.training for part in found) else "evaluation"

    def first(self) -> tuple[Floats, Floats] | str:
        """``dW (updates, h, d)`` and ``db (updates, h)`` of a first dense layer that reads the inputs, or why there is none."""
        size = int(np.prod(self.case.shape))
        layer = next((part for part in self.model.modules() if next(part.parameters(recurse=False), None) is not None), None)
        if not isinstance(layer, nn.Linear):
            return f"the first layer is a {type(layer).__name__}, not dense"
        if layer.bias is None:
            return "the first layer has no bias"
        if layer.in_features != size:
            return f"the first layer reads {layer.in_features} numbers, and an input has {size}"
        return self.gradients[0].double().numpy(), self.gradients[1].double().numpy()

    def last(self) -> Floats:
        """What the last layer says of each class ``(updates, k)``: the gradient of its bias, or of its weights, summed."""
        end = self.gradients[-1].double().numpy()
        return end if end.ndim == 2 else end.reshape(*end.shape[:2], -1).sum(2)

    def answers(self, x: Any) -> torch.Tensor:
        """Logits of inputs ``(m, *shape)``, without a graph and without moving what the model keeps."""
        with torch.no_grad():
            return torch.as_tensor(copy.deepcopy(self.model)(self.tensor(x)))

    def tensor(self, x: Any) -> torch.Tensor:
        return torch.as_tensor(x, dtype=self.gradients[0].dtype)

    def explained(self, x: Any, y: NDArray[np.int64], update: int) -> float:
        """One less the cosine between the gradients a guess would give and those sent: 0 where it explains them."""
        own = copy.deepcopy(self.model)
        loss = nn.functional.cross_entropy(own(self.tensor(x)), torch.as_tensor(y))
        found = torch.autograd.grad(loss, list(own.parameters()), allow_unused=True)
        pairs = [(torch.zeros_like(s[update]) if g is None else g, s[update]) for g, s in zip(found, self.gradients, strict=True)]
        ours, theirs = (torch.cat([pair[i].double().reshape(-1) for pair in pairs]) for i in (0, 1))
        lengths = float(ours.norm() * theirs.norm())
        return 1 - float(ours @ theirs) / lengths if lengths > 0 else 1.0


def labels(sent: Sent, rng: RowRandom) -> NDArray[np.int64]:
    """The labels of each update ``(updates, rows)``, from the gradients of the last layer.

    Of one row the only negative entry is its class (iDLG). Of several, entry c is the mean chance of c less the share of rows
    of class c: with the chances a model gives to inputs at random, the shares follow.
    """
    case, shown = sent.case, sent.last()
    if case.labels is not None:
        return np.asarray(case.labels, np.int64).reshape(len(case.gradients), case.rows)
    if case.rows == 1:
        return np.asarray(shown.argmin(1))[:, None]
    guess = rng.fork(0x1AB).uniform(np.arange(64), 0, case.shape) * (case.high - case.low) + case.low
    chance = sent.answers(guess).double().softmax(1).mean(0).numpy()
    found = np.zeros((len(shown), case.rows), np.int64)
    for u, entry in enumerate(shown):
        # Sums over weights know no scale: there the negative entries share the rows among themselves.
        bias = sent.gradients[-1].ndim == 2
        left, each = (chance - entry, 1 / case.rows) if bias else (-entry, -entry[entry < 0].sum() / case.rows)
        for r in range(case.rows):
            found[u, r] = int(left.argmax())
            left[found[u, r]] -= each
    return np.sort(found, 1)


def exact(sent: Sent, update: int) -> Floats:
    """Rows that a first dense layer gives away ``(m, d)``, at most as many as the update has; the surest first."""
    layer = sent.first()
    if isinstance(layer, str):
        return np.zeros((0, int(np.prod(sent.case.shape))))
    weight, bias = layer[0][update], layer[1][update]
    loud = np.flatnonzero(np.abs(bias) > STILL * max(np.abs(bias).max(), 1e-300))
    if not len(loud):
        return np.zeros((0, weight.shape[1]))
    if sent.case.rows == 1:
        return np.asarray(bias @ weight / (bias @ bias))[None]
    return _distinct(weight[loud] / bias[loud, None], np.abs(bias[loud]), sent.case)


def _distinct(found: Floats, sure: Floats, case: Leak) -> Floats:
    """Of what units say, what several say alike: a row of its own. Mixtures of rows differ from unit to unit."""
    span = case.high - case.low
    inside = ((found >= case.low - SAME * span) & (found <= case.high + SAME * span)).all(1)
    order = np.argsort(-sure[inside], kind="stable")
    rest, groups = found[inside][order], []
    while len(rest):
        alike = np.abs(rest - rest[0]).max(1) <= SAME * span
        groups.append((int(alike.sum()), rest[0]))
        rest = rest[~alike]
    said = [row for times, row in sorted(groups, key=lambda one: -one[0]) if times > 1]
    return np.stack(said[: case.rows]) if said else np.zeros((0, found.shape[1]))


def assigned(sent: Sent, x: Floats, update: int) -> NDArray[np.int64] | None:
    """Labels of rows that are all known ``(rows,)``, from the last layer's gradients; None where they do not tell.

    ``rows * dV = (P - E)^T A`` with chances P, one-hot labels E and the last layer's inputs A: E follows where A has full rank.
    """
    last = [part for part in sent.model.modules() if isinstance(part, nn.Linear)]
    weight = next((g for g in reversed(sent.gradients) if g.ndim == 3), None)
    if not last or weight is None or last[-1].weight.shape != weight.shape[1:]:
        return None
    own = copy.deepcopy(sent.model)
    inner = [part for part in own.modules() if isinstance(part, nn.Linear)][-1]
    seen: list[torch.Tensor] = []
    hook = inner.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].detach()))
    with torch.no_grad():
        chance = own(sent.tensor(x)).double().softmax(1).numpy()
    hook.remove()
    features = seen[0].double().numpy().reshape(len(x), -1)
    if features.shape[1] != inner.in_features or np.linalg.matrix_rank(features) < len(x):
        return None
    one_hot = (chance.T @ features - len(x) * weight[update].double().numpy()) @ np.linalg.pinv(features)
    return np.asarray(one_hot.argmax(0))
