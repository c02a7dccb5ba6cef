"""The smallest change that turns every input to a label, for all labels at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

_COST, _RATE, _PATIENCE = 1e-3, 0.1, 5
_FACTOR = 2.0
_BETAS = (0.5, 0.9)


@dataclass(frozen=True, slots=True)
class Reversed:
    """One found trigger for each label.

    Args:
        mask: How much of each place is replaced ``(k, *places)``, 0 to 1.
        pattern: By what ``(k, *shape)``.
        size: Sum of the mask ``(k,)``; of a label that was never reached it is that of the whole input.
        reached: Share of inputs turned ``(k,)`` by the trigger kept.
    """

    mask: NDArray[np.float32]
    pattern: NDArray[np.float32]
    size: NDArray[np.float64]
    reached: NDArray[np.float64]


def reverse(
    net: Any, x: torch.Tensor, y: torch.Tensor, labels: Sequence[int], *, low: float, high: float, steps: int, success: float,
    together: bool = True,
) -> Reversed:  # fmt: skip
    """Find triggers by gradient steps on mask and pattern, all labels in one batch, or one after the other.

    Labels do not touch one another (sums, and steps that are each value's own), so both ways give the same up to rounding.

    Args:
        net: From inputs to logits, differentiable, in evaluation mode.
        x, y: Inputs ``(n, *shape)`` and the labels they have; a trigger is looked for on those of other labels.
        low, high: The domain of a pattern.
        steps: Gradient steps, each on all of `x`.
        success: Share of inputs a trigger must turn to count; the weight of its size is raised while it does, lowered
            while it does not.
    """
    import torch

    groups = [list(labels)] if together else [[label] for label in labels]
    found = [_search(net, x, y, group, low, high, steps, success) for group in groups]
    mask, pattern, size, reached = (torch.cat([one[i] for one in found]).cpu().numpy() for i in range(4))
    return Reversed(mask, pattern, size.astype(np.float64), reached.astype(np.float64))


def _search(
    net: Any, x: Any, y: Any, labels: list[int], low: float, high: float, steps: int, success: float
) -> tuple[Any, Any, Any, Any]:  # fmt: skip
    """Best mask, pattern, size and success of each of `labels`."""
    import torch

    k, shape = len(labels), tuple(x.shape[1:])
    places = (1, *shape[1:]) if len(shape) == 3 and shape[0] in (1, 3, 4) else shape
    wanted = torch.as_tensor(labels, device=x.device)
    others = (y[None] != wanted[:, None]).float()
    share = others / others.sum(1, keepdim=True).clamp_min(1)
    raw = [torch.zeros((k, *part), device=x.device, requires_grad=True) for part in (places, shape)]
    optimiser = torch.optim.Adam(raw, lr=_RATE, betas=_BETAS)
    cost, streak = torch.full((k,), _COST), torch.zeros(k)
    best = [torch.ones(k, *places), torch.zeros(k, *shape), torch.full((k,), float(np.prod(places))), torch.zeros(k)]
    goal = wanted.repeat_interleave(len(x))
    for _ in range(steps):
        mask, pattern = (part.tanh() / 2 + 0.5 for part in raw)
        pattern = low + (high - low) * pattern
        out = net(torch.lerp(x[None], pattern[:, None], mask[:, None]).reshape(-1, *shape))
        size = mask.flatten(1).sum(1)
        hit = ((out.argmax(1) == goal).reshape(k, -1) * share).sum(1).detach().cpu()
        _keep(best, hit, mask, pattern, size, success)
        loss = (torch.nn.functional.cross_entropy(out, goal, reduction="none").reshape(k, -1) * share).sum(1)
        optimiser.zero_grad()
        for part, slope in zip(raw, torch.autograd.grad((loss + cost.to(x.device) * size).sum(), raw), strict=True):
            part.grad = slope
        optimiser.step()
        streak = torch.where(hit >= success, streak.clamp_min(0) + 1, streak.clamp_max(0) - 1)
        cost = torch.where(streak >= _PATIENCE, cost * _FACTOR, torch.where(streak <= -_PATIENCE, cost / _FACTOR**1.5, cost))
        streak = torch.where(streak.abs() >= _PATIENCE, torch.zeros(k), streak)
    return best[0], best[1], best[2], best[3]


def _keep(best: list[Any], hit: Any, mask: Any, pattern: Any, size: Any, success: float) -> None:
    """Note the smallest trigger that turns enough inputs."""
    size = size.detach().cpu()
    better = (hit >= success) & ((size < best[2]) | (best[3] < success))
    for i, value in enumerate((mask.detach().cpu(), pattern.detach().cpu(), size, hit)):
        best[i][better] = value[better]
