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
    if isinstance(case.goal, Wrong | Routed):
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
