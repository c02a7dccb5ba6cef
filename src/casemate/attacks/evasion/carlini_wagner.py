"""Carlini and Wagner's attack: minimise the squared distance plus c times a hinge of the margin, and search for the least c."""

from __future__ import annotations

from collections.abc import Generator

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
from ._nearest import ball_of, begin, can_pay, margin, merged, met, nearer, pull_back, selected, wide

SLACK = 0.05  # by which the range of tanh is wider than the domain, as a share
FIRST, SECOND = 0.9, 0.999  # what Adam keeps of its mean and of its mean of squares
CHECKS = 10  # times in a search that a row is asked whether it still gains
STILL = 0.99  # of the objective at the last check: a row above has stalled (0.9999: the same medians, a third longer)
FALL = 0.1  # of the stride, over a search
DECADE, MOST = 10.0, 1e10


@attack(
    "evasion.carlini_wagner",
    needs=Need.GRADIENT | Need.LABEL,
    norms=("l2",),
    papers=("arXiv:1608.04644",),
    aka=("C&W", "CW", "Carlini-Wagner"),
    spends="at most searches x steps gradients + polish looks per row; less where a row stalls",
    static_cost=lambda a: 3 * a.searches * a.steps + a.polish,
)
class CarliniWagner:
    """Minimise ``distance^2 + c * max(confidence - margin, 0)`` by Adam in the space of tanh, for several c of each row's own.

    Distances count in shares of the domain. It differs from the paper in these things. The range of tanh is a little wider
    than the domain, and what leaves the domain is clipped: values at an end of it stand where tanh still has a slope, and
    move. A search begins where the row's nearest success so far is, not at the input again. c is searched by its
    logarithm. Rows stall one by one: a search ends for a row that no longer gains, and the others go on. The last looks
    search the way back to the input.

    Args:
        searches: Values of c tried for each row.
        steps: Gradient steps with each, at most.
        stride: Length of the first step of Adam, in the space of tanh; it falls to a tenth.
        weight: The first c.
        confidence: Margin that counts as a success, in logits.
        polish: Looks for the search from the success back to the input.
    """

    searches: int = 9
    steps: int = 200
    stride: float = 0.03
    weight: float = 1.0
    confidence: float = 0.0
    polish: int = 4

    def __call__(self, oracle: Oracle, case: Evade, *, rng: RowRandom) -> Generator[Rows, Rows, Rows]:
        ball_of(case, "evasion.carlini_wagner", ("l2",))
        if self.confidence < 0 or self.weight <= 0:
            raise BadInput(
                "evasion.carlini_wagner takes confidence from 0 and weight above 0; "
                f"got confidence={self.confidence!r}, weight={self.weight!r}"
            )
        loss, at = margin(case, "evasion.carlini_wagner"), begin(case)
        one = torch.ones_like(at.loss)
        at = at.keep(c=self.weight * one, low=0 * one, high=torch.inf * one)
        for _ in range(self.searches):
            at = self._begin(case, at)
            for step in range(self.steps):
                going = at.state["going"] & (at.state["size"] > 0) & can_pay(oracle, at, gradients=1)
                part, index = selected(at, going)
                if not len(part):
                    break
                here = oracle.gradient(part.x, y=part.y, rows=part.row, loss=loss)
                at = yield merged(at, self._move(case, part, here, step), index)
            at = _next_weight(at)
        if self.confidence:  # nearer the input the margin is smaller
            return at
        return (yield from pull_back(oracle, case, at, self.polish, 0.01))

    def _begin(self, case: Evade, at: Rows) -> Rows:
        """A new search: Adam forgets, and the row stands where it succeeded nearest."""
        x = at.state["near"]
        zero = torch.zeros_like(x)
        return at.at(x).keep(
            point=_to_tanh(x, case), mean=zero, square=zero, going=torch.ones_like(at.broken),
            won=torch.zeros_like(at.broken), before=torch.full_like(at.loss, torch.inf),
        )  # fmt: skip

    def _move(self, case: Evade, at: Rows, here: Slope, step: int) -> Rows:
        """See what was answered, and take one step of Adam; rows that stall are marked."""
        ball, state = case.within, at.state
        assert isinstance(ball, Ball)
        found = here.loss.to(at.x.dtype)
        won = met(at, case, here.response)
        if self.confidence:
            won &= found >= self.confidence
        at = nearer(at, case, here.response, won=won)
        span = ball.high - ball.low
        change = (at.x - at.origin) / span
        hinge = (self.confidence - found).clamp_min(0)
        total = change.flatten(1).square().sum(1) + state["c"] * hinge
        going = state["going"]
        if step and step % max(1, self.steps // CHECKS) == 0:
            going, state = going & ~(total > STILL * state["before"]), {**state, "before": total}
        elif not step:
            state = {**state, "before": total}
        bend = 1 - state["point"].tanh().square()  # slope of tanh
        pull = torch.nan_to_num(here.slope.to(at.x.dtype), 0.0, 0.0, 0.0) * span
        slope = (2 * change - wide(state["c"] * (hinge > 0), at.x) * pull) * bend
        mean, square = FIRST * state["mean"] + (1 - FIRST) * slope, SECOND * state["square"] + (1 - SECOND) * slope * slope
        unit = mean / (1 - FIRST ** (step + 1)) / ((square / (1 - SECOND ** (step + 1))).sqrt() + 1e-8)
        stride = self.stride * FALL ** (step / self.steps)
        point = state["point"] - stride * unit
        return at.at(_from_tanh(point, at, ball)).keep(
            point=point, mean=mean, square=square, going=going, won=state["won"] | won, before=state["before"]
        )


def _to_tanh(x: Tensor, case: Evade) -> Tensor:
    ball = case.within
    assert isinstance(ball, Ball)
    middle, half = (ball.high + ball.low) / 2, (ball.high - ball.low) / 2
    return ((x - middle) / (half * (1 + SLACK))).clamp(-1 + 1e-6, 1 - 1e-6).atanh()


def _from_tanh(point: Tensor, at: Rows, ball: Ball) -> Tensor:
    half = (ball.high - ball.low) / 2
    x: Tensor = ball.box((ball.high + ball.low) / 2 + half * (1 + SLACK) * point.tanh())
    return x


def _next_weight(at: Rows) -> Rows:
    """Less weight on the margin for a row that succeeded with it, more for another; in between where both are known."""
    c, won = at.state["c"], at.state["won"]
    high = torch.where(won, torch.minimum(at.state["high"], c), at.state["high"])
    low = torch.where(won, at.state["low"], torch.maximum(at.state["low"], c))
    one_sided = torch.where(won, c / DECADE, (c * DECADE).clamp_max(MOST))
    return at.keep(c=torch.where((low > 0) & torch.isfinite(high), (low * high).sqrt(), one_sided), low=low, high=high)
