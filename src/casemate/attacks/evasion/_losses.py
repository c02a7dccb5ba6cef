"""What gradient attacks climb."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ...core.case import Evade
from ...core.goal import Becomes, Loss, Routed, Wrong


def cross_entropy(case: Evade) -> Loss:
    """Cross-entropy of the truth (or its negative for the wished class); the goal's own loss where there is no class.

    The case's own loss, where it brings one, comes before either.
    """
    if case.loss is not None:
        return case.loss
    if isinstance(case.goal, Becomes):
        wished = case.goal.target
        return lambda logits, y: -F.cross_entropy(logits, torch.full_like(y, wished), reduction="none")
    if isinstance(case.goal, Wrong) or (isinstance(case.goal, Routed) and not case.goal.to):
        return _of_the_truth
    return case.goal.loss


def _of_the_truth(logits: Tensor, y: Tensor) -> Tensor:
    # Summed over rows, never averaged: a mean would make every row's slope depend on the batch it travels in.
    return F.cross_entropy(logits, y, reduction="none")


def steepest(slope: Tensor, norm: str) -> Tensor:
    """The unit step of steepest ascent in `norm`; zero where the slope is zero or not finite."""
    if not bool(torch.isfinite(slope.sum())):  # one sum is cheaper than a cleaned copy at every step
        slope = torch.nan_to_num(slope, nan=0.0, posinf=0.0, neginf=0.0)
    if norm == "linf":
        sign: Tensor = slope.sign()
        return sign
    flat = slope.flatten(1)
    unit: Tensor
    if norm == "l2":
        unit = flat / flat.norm(dim=1, keepdim=True).clamp_min(1e-30)
    else:  # l1: all on the steepest coordinate
        unit = torch.zeros_like(flat)
        top = flat.abs().argmax(1, keepdim=True)
        unit.scatter_(1, top, flat.gather(1, top).sign())
    return unit.reshape(slope.shape)


def margin(case: Evade) -> Loss:
    """The case's own loss, else the goal's: the best other logit less the true one, or the wished less the best other."""
    return case.loss or case.goal.loss


def dlr(case: Evade) -> Loss:
    """Difference of logits ratio: the goal's margin over the gap between the best and the third best logit.

    Neither a number added to all logits nor a positive factor changes it. With fewer than three classes there is no third
    best, and the margin itself is climbed; so it is where the goal knows no classes. The case's own loss comes before either.
    """
    goal = case.goal
    if case.loss is not None or not isinstance(goal, Wrong | Routed | Becomes):
        return margin(case)

    def ratio(logits: Tensor, y: Tensor) -> Tensor:
        lead: Tensor = goal.loss(logits, y)
        if logits.shape[1] < 3:
            return lead
        best = logits.topk(3, dim=1).values
        return lead / (best[:, 0] - best[:, 2] + 1e-12)

    return ratio


def toward(case: Evade, target: Tensor, *, ratio: bool) -> Loss:
    """The lead of each row's own `target` ``(n,)`` over the truth; with `ratio`, the targeted DLR loss.

    That divides by the gap between the best logit and the mean of the third and fourth best. With fewer than four classes
    it stays the lead. A wished class leads over the best of all others, and the case's own loss comes before everything.
    """
    goal = case.goal
    if case.loss is not None or not isinstance(goal, Wrong | Routed | Becomes):
        return margin(case)

    def lead(logits: Tensor, y: Tensor) -> Tensor:
        if isinstance(goal, Becomes):
            found: Tensor = goal.loss(logits, y)
        else:
            pair = logits.gather(1, torch.stack([target, y], 1).long())
            found = pair[:, 0] - pair[:, 1]
        if not ratio or logits.shape[1] < 4:
            return found
        best = logits.topk(4, dim=1).values
        return found / (best[:, 0] - (best[:, 2] + best[:, 3]) / 2 + 1e-12)

    return lead


def confident(case: Evade) -> Loss:
    """The largest log-probability of a class that would meet the goal: to be climbed where doubt is rejected.

    A margin is content as soon as another class leads; a target that sends doubtful inputs to somebody who looks is evaded
    only by one that is sure.
    """
    if case.loss is not None or not isinstance(case.goal, Wrong | Routed | Becomes):
        return margin(case)
    if isinstance(case.goal, Becomes):
        return cross_entropy(case)

    def surest(logits: Tensor, y: Tensor) -> Tensor:
        return logits.log_softmax(1).scatter(1, y.reshape(-1, 1).long(), -torch.inf).amax(1)

    return surest
