"""ALMA: an augmented Lagrangian weighs the distance against the boundary, row by row."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

import torch
from torch import Tensor

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Evade
from ...core.constraint import Ball
from ...core.errors import BadInput
from ...core.oracle import Oracle
from ...core.random import RowRandom
from ...core.target import Slope
from .._rows import Rows
from ._nearest import ball_of, begin, met, nearer, soft_margin
from ._polish import clean, lead, polish, wide

CHECK, IMPROVES, GROWS = 10, 0.95, 1.2  # M, tau and gamma: how often, by what share, and by what the penalty rises
LEAST, MOST = 1e-6, 1e12  # of the multiplier


@attack(
    "evasion.alma",
    needs=Need.GRADIENT | Need.LABEL,
    papers=("arXiv:2011.11857",),
    aka=("ALMA", "augmented Lagrangian method for adversarial attacks"),
    spends="steps gradients per row",
    norms=("l2", "l1"),
    static_cost=lambda a: 3 * a.steps,
)
class ALMA:
    """Minimise the distance under the constraint that the goal is met, by an augmented Lagrangian.

    Penalty, multiplier and step are each row's own. The multiplier follows the slope of the penalty through a moving
    average, the penalty's weight rises while a row neither succeeds nor improves, and the step shrinks from the row's first
    success on. Distances and steps are shares of the domain.

    Differs from the paper in four places. The margin is measured in units of the margin at the input, which takes two classes
    as well as many and any goal, where the paper divides by differences of the three or four largest logits. For the first
    half the slope is that of a smooth margin over all classes, which does not settle early for one of them; the constraint
    is always the margin itself. The step grows back to its full length once, halfway, because a row seldom gains by settling
    longer and often by leaving for a nearer part of the boundary. And the last steps follow the boundary to its nearest
    point. ``soften=0, rounds=1, polish=0`` switches the last three off. They were chosen on held-out images that the
    benchmark does not use.

    Args:
        steps: Gradients in all.
        stride: Step length at the start.
        shrink: What it has shrunk to at the end, as a share.
        inertia: Weight of the past in the averages of multiplier, slope and square slope.
        multiplier: Weight of the constraint at the start; left out, 1 for ``l2`` and 10 for ``l1``, whose lengths are longer.
        penalty: Weight of the penalty at the start.
        polish: Share of the steps that follow the boundary.
        soften: Share of the other steps whose slope is that of the smooth margin.
        rounds: How often the step shrinks, starting over at its full length.
    """

    steps: int = 1000
    stride: float = 0.1
    shrink: float = 0.01
    inertia: float = 0.9
    multiplier: float | None = None
    penalty: float = 1.0
    polish: float = 0.15
    soften: float = 0.5
    rounds: int = 2

    def __call__(self, oracle: Oracle, case: Evade, *, rng: RowRandom) -> Generator[Rows, Rows, Rows]:
        ball = ball_of(case, "evasion.alma", ("l2", "l1"))
        if self.rounds < 1:
            raise BadInput(f"evasion.alma needs one round or more; got rounds={self.rounds}")
        last = round(self.polish * self.steps)
        at = begin(case)
        one = torch.ones_like(at.loss)
        weight = self.multiplier if self.multiplier is not None else {"l2": 1.0, "l1": 10.0}[ball.norm]
        at = at.keep(
            square=torch.ones_like(at.x), past=torch.zeros_like(at.x), scale=one, before=one, since=one * self.steps,
            weight=one * weight, rho=one * self.penalty,
        )  # fmt: skip
        shown = False
        for step in range(self.steps - last):
            # Where logits stay hidden, so would the margin beside a smooth slope: the first answer tells.
            here = _asked(oracle, case, at, soft=shown and step < self.soften * (self.steps - last))
            shown = here.response.logits is not None
            won = met(at, case, here.response)
            slope, value = clean(here, at)
            if step == 0:
                at = at.keep(scale=value.abs().clamp_min(1e-12))
            at = self._weigh(nearer(at, case, here.response), won, -value / at.state["scale"], step)
            at = yield self._move(at, -slope / wide(at.state["scale"], slope), -value / at.state["scale"], ball, step)
        at = yield from polish(oracle, case, at, last)
        return at

    def _weigh(self, at: Rows, won: Tensor, short: Tensor, step: int) -> Rows:
        """Multiplier and penalty after an answer; `short` is how much of the margin is left, in shares."""
        state = at.state
        since = torch.where(won & (state["since"] >= self.steps), torch.full_like(short, step), state["since"])
        rho, before = state["rho"], state["before"]
        if step == 0:
            before = short
        elif (step + 1) % CHECK == 0:
            stalls = (since >= self.steps) & (short >= IMPROVES * before)
            rho, before = torch.where(stalls, GROWS * rho, rho), short
        weight = state["weight"]
        if step:
            weight = (self.inertia * weight + (1 - self.inertia) * _pressure(short, rho, weight)).clamp(LEAST, MOST)
        return at.keep(since=since, rho=rho, before=before, weight=weight)

    def _move(self, at: Rows, slope: Tensor, short: Tensor, ball: Ball, step: int) -> Rows:
        """A step of RMSProp with momentum on distance plus penalty."""
        state, span = at.state, ball.high - ball.low
        change = (at.x - at.origin) / span
        pull = slope * wide(_pressure(short, state["rho"], state["weight"]) * span, slope)
        if step:
            pull = pull + _away(change, ball.norm)
        square = self.inertia * state["square"] + (1 - self.inertia) * pull.square()
        past = self.inertia * state["past"] + pull / (square.sqrt() + 1e-8)
        x = at.x - wide(span * self.stride * self.shrink ** self._late(state["since"], step), past) * past
        return at.at(ball.box(x)).keep(square=square, past=past)

    def _late(self, since: Tensor, step: int) -> Tensor:
        """How much of its round has gone, in [0, 1], ``(n,)``; zero for a row without success."""
        # Of all steps, those of the polish too: what is left to settle it settles, and a step that shrinks later finds more.
        length = self.steps / self.rounds
        begun = step // length * length
        start = since.clamp_min(begun)
        return ((step - start).clamp_min(0) / (begun + length - start).clamp_min(1)).clamp_max(1)


def _asked(oracle: Oracle, case: Evade, at: Rows, *, soft: bool) -> Slope:
    """The margin where the rows stand, and its slope or that of the smooth margin, from one call of the model."""
    smooth = soft_margin(case, "evasion.alma") if soft else lead(case)
    here = oracle.gradient(at.x, y=at.y, rows=at.row, loss=smooth)
    # Goals without a smooth form, and a case's own loss, are their own smooth margin already.
    return replace(here, loss=lead(case)(here.response.logits, at.y)) if soft else here


def _pressure(short: Tensor, rho: Tensor, weight: Tensor) -> Tensor:
    """The slope of the penalty (P2 of the paper) at a constraint that is `short` by so much; below zero it is met."""
    over = short.clamp_min(0)
    return torch.where(
        short >= 0, weight * (1 + 2 * rho * over) + rho.square() * over.square() / 2, weight / (1 - rho * short.clamp_max(0)) ** 2
    )


def _away(change: Tensor, norm: str) -> Tensor:
    """The slope of the distance; zero at the origin."""
    if norm == "l1":
        return change.sign()
    return change / wide(change.flatten(1).norm(dim=1).clamp_min(1e-12), change)
