"""Defences that do not defend: each makes a naive evaluation say that a model resists, and is broken or flagged here.

They are positive controls. Whoever changes an attack, a health check or the way verdicts are made runs them again: a fake
that comes out as `resisted` means that the evaluation cannot be trusted (health check 29, on the whole).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.target import Target
from ..targets.combined import Screened
from ..targets.pipeline import Pipeline, Stage
from ..targets.wrap import wrap


@dataclass(frozen=True, slots=True, kw_only=True)
class Fake:
    """A defence that looks like one.

    Args:
        name: One word or two.
        claim: What its author would say.
        why: Why it fools a naive evaluation.
        target: The defended system, as a user of casemate would wrap it.
        module: The same as a torch module, as a naive evaluation sees it: logits ``(n, k)``.
        rejects: ``(x) -> (n,)`` booleans, what the defence refuses to decide; None where it decides all.
    """

    name: str
    claim: str
    why: str
    target: Target
    module: nn.Module
    rejects: Callable[[Tensor], Tensor] | None = None


class Killer(nn.Module):
    """Answers as the model does, and passes back a slope of zero."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.model(x.detach())
        return out + 0 * x.flatten(1).sum(1, keepdim=True)


class Saturated(nn.Module):
    """Hands out probabilities so sharp that their cross-entropy has no slope left in float32."""

    def __init__(self, model: nn.Module, scale: float = 1000.0) -> None:
        super().__init__()
        self.model, self.scale = model, scale

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.scale * self.model(x)
        return out.softmax(1)


class Quantised(nn.Module):
    """Rounds its inputs to a few levels; rounding is flat, so slopes end there."""

    def __init__(self, model: nn.Module, levels: int = 16) -> None:
        super().__init__()
        self.model, self.levels = model, levels

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.model((x * self.levels).round() / self.levels)
        return out


class Resized(nn.Module):
    """Shrinks and shifts every input at random before it looks, with torch's own generator."""

    def __init__(self, model: nn.Module, least: float = 0.8) -> None:
        super().__init__()
        self.model, self.least = model, least

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.model(_resize(x, torch.rand(3, len(x), dtype=x.dtype), self.least))
        return out


class Noisy(nn.Module):
    """Answers one question in five at random."""

    def __init__(self, model: nn.Module, share: float = 0.2) -> None:
        super().__init__()
        self.model, self.share = model, share

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.model(x)
        lot = torch.rand(len(out), 1, dtype=out.dtype) < self.share
        return torch.where(lot, out[:, torch.randperm(out.shape[1])], out)


def _resize(x: Tensor, lot: Tensor, least: float) -> Tensor:
    """Images ``(n, c, h, w)`` shrunken to between `least` and all of their size and set down elsewhere, by ``lot (3, n)``."""
    size = least + (1 - least) * lot[0]
    turn = torch.zeros(len(x), 2, 3, dtype=x.dtype)
    turn[:, 0, 0] = turn[:, 1, 1] = 1 / size
    turn[:, :, 2] = ((2 * lot[1:] - 1) * (1 - size) / size).T
    grid = F.affine_grid(turn, [len(x), 1, *x.shape[2:]], align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)


def _random_stage(least: float = 0.8) -> Stage:
    """The same resizing as a declared stage, its randomness keyed."""

    def forward(x: Tensor, rows: Any, draw: int) -> Tensor:
        from ..core.random import RowRandom

        lot = RowRandom(5).uniform(np.asarray(rows), (draw,), (3,)).T
        return _resize(x, torch.as_tensor(np.ascontiguousarray(lot), dtype=x.dtype), least)

    return Stage(name="random resize", kind="resize", forward=forward, random=True, params={"least": least})


def fakes(model: nn.Module, detector: nn.Module) -> tuple[Fake, ...]:
    """All fakes around one undefended network.

    Args:
        model: From images ``(n, c, h, w)`` in [0, 1] to logits ``(n, k)``, in evaluation mode, float32.
        detector: From the same images to logits ``(n, 2)``; class 1 says that an image was tampered with.
    """
    model, detector = model.eval(), detector.eval()
    rounded = Quantised(model)
    stage = Stage(
        name="16 levels", kind="quantise", forward=lambda x: (x * 16).round() / 16, backward="straight_through",
        params={"levels": 16},
    )  # fmt: skip
    screened = Screened(model=wrap(model), detector=wrap(detector))
    return (
        Fake(name="gradient killer", claim="no gradient leads anywhere", why="the slope is zero, so the climb never starts",
             target=wrap(Killer(model).eval()), module=Killer(model).eval()),
        Fake(name="saturated softmax", claim="the model is sure of itself", why="cross-entropy underflows to a slope of zero",
             target=wrap(Saturated(model).eval()), module=Saturated(model).eval()),
        Fake(name="quantiser", claim="small changes are rounded away", why="rounding is flat almost everywhere",
             target=wrap(rounded.eval()), module=rounded.eval()),
        Fake(name="declared quantiser", claim="small changes are rounded away", why="the same, stated as a stage",
             target=wrap(model, stages=[stage]), module=rounded.eval()),
        Fake(name="random resize", claim="the attacker cannot know the next size", why="one draw is taken for the answer",
             target=wrap(Resized(model).eval()), module=Resized(model).eval()),
        Fake(name="declared resize", claim="the attacker cannot know the next size", why="the same, stated as a stage",
             target=wrap(model, stages=[_random_stage()]), module=Resized(model).eval()),
        Fake(name="detector", claim="what was tampered with is refused", why="the attack does not know of the detector",
             target=Pipeline(model=screened), module=model, rejects=lambda x: detector(x).softmax(1)[:, 1] >= screened.at),
        Fake(name="noisy labels", claim="no answer can be relied on", why="a wrong answer may be noise, and so may a right one",
             target=wrap(Noisy(model).eval()), module=Noisy(model).eval()),
    )  # fmt: skip


def naive(fake: Fake, x: Any, y: Any, radius: float, steps: int = 40) -> float:
    """The robust accuracy that a quick script would print: PGD on cross-entropy, its last point asked once, a refusal counted
    as resistance, and no look at whether the attack worked.

    Args:
        x, y: Inputs ``(n, c, h, w)`` in [0, 1] and their labels ``(n,)``, all of them decided rightly.
        radius: Of the linf ball.
    """
    origin, label = torch.as_tensor(x), torch.as_tensor(y)
    here = origin.clone()
    for _ in range(steps):
        here.requires_grad_(True)
        loss = F.cross_entropy(fake.module(here), label)
        (slope,) = torch.autograd.grad(loss, here)
        with torch.no_grad():
            here = (here + radius / 10 * slope.sign()).clamp(origin - radius, origin + radius).clamp(0, 1)
    with torch.no_grad():
        stood = fake.module(here).argmax(1) == label
        if fake.rejects is not None:
            stood |= fake.rejects(here)
    return float(stood.float().mean())


__all__ = ["Fake", "fakes", "naive"]
