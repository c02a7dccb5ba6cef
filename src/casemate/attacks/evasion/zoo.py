"""Zeroth-order optimisation: differences along single values, and Adam on each of them."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
import torch
from torch import Tensor

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Evade
from ...core.constraint import Ball
from ...core.errors import BadInput
from ...core.oracle import Oracle
from ...core.random import RowRandom
from .._rows import Rows, started
from ._losses import steepest
from ._own import ball_of
from ._probes import LEAST, estimate, judged
from ._scores import allowance

FIRST, SECOND = 0.9, 0.999  # Adam's weights of what was before, as published
FLOOR = 0.05  # chance of a value with no slope so far, as a share of that of the steepest


@attack(
    "evasion.zoo",
    needs=Need.SCORE | Need.LABEL,
    papers=("arXiv:1708.03999",),
    aka=("ZOO", "ZOO-ADAM", "zeroth order optimization"),
    spends="steps x (1 + 2 values) + 1 queries per row, or what the budget leaves",
    static_cost=lambda a: a.steps * (1 + 2 * a.values) + 1,
)
class ZOO:
    """Difference quotients along a few values at a time, averaged by Adam for each; steep values are drawn more often.

    As published but for this: the margin (of the logarithm of probabilities) is climbed inside the ball, where the paper
    trades it against the distance; each row draws values of its own; a row whose differences are all zero (a forest, or
    scores that are rounded) looks twice as far the next time. In ``l2`` all values move along the
    averaged slopes. Lengths are shares of the domain and the radius, so that
    columns of any scale and inputs of three features work.

    Args:
        steps: Moves.
        values: Values moved in each step, two queries each; of inputs with fewer, all.
        sigma: Distance of the two points of a difference from the input, as a share of the domain.
        stride: Length of the first moves as a share of the radius: of each value for ``linf``, of all together for ``l2``; a row
            that stopped rising halves it.
        importance: Whether values with steeper slopes are drawn more often.
    """

    steps: int = 100
    values: int = 32
    sigma: float = 0.01
    stride: float = 0.5
    importance: bool = True

    def __call__(self, oracle: Oracle, case: Evade, *, rng: RowRandom) -> Generator[Rows, Rows, Rows]:
        why = "it moves one value at a time, and in your own constraint one value alone may not be free to move"
        ball = ball_of(case, "evasion.zoo", ("linf", "l2"), why)
        if min(self.steps, self.values) < 1 or not min(self.sigma, self.stride) > 0:
            raise BadInput(f"{self!r}: steps and values are at least 1, sigma and stride above 0")
        at = self._begin(case, ball)
        k = min(self.values, at.state["slow"].shape[1])
        for step in range(self.steps + 1):
            most = allowance(oracle, at.row, 2 + 2 * k)  # one is kept for where the move leads
            if not most.any():
                return at
            pairs = np.maximum((most - 2) // 2, 0) if step < self.steps else np.zeros_like(most)
            at = at.keep(chosen=self._chosen(at, rng, step, k))
            at, slope, refusal = estimate(oracle, case, at, np.where(most > 0, pairs, -1), _along)
            at = yield self._learned(at, slope, torch.as_tensor(pairs, device=at.x.device))
            if refusal is not None:
                raise refusal
            at = self._move(judged(at), ball)
        return at

    def _begin(self, case: Evade, ball: Ball) -> Rows:
        at, start = Rows.begin(case), started(case)
        one, none = torch.ones_like(at.loss), torch.zeros_like(at.x).flatten(1)
        span, pace = ball.high - ball.low, self.stride * min(ball.radius, (ball.high - ball.low) / 2)
        return at.at(at.x if start is None else start).keep(
            reach=one * (self.sigma * span), far=one * (span / 2), here=torch.full_like(one, -torch.inf),
            pace=one * pace, least=one * (pace * LEAST), stale=torch.zeros_like(one), top=torch.full_like(one, -torch.inf),
            peak=at.x, slow=none, square=none, times=none, fresh=none.bool(),
        )  # fmt: skip

    def _chosen(self, at: Rows, rng: RowRandom, step: int, k: int) -> Tensor:
        """The values each row moves next, ``(n, k)``, all different: without importance those moved least, at random."""
        d = at.state["slow"].shape[1]
        lot = -torch.as_tensor(rng.uniform(at.row, (step,), (d,)), device=at.x.device).log()
        if self.importance:
            steep = at.state["slow"].abs().double()
            share = steep / steep.amax(1, keepdim=True).clamp_min(1e-300)
            # The smallest of exponential numbers over their weights: k draws without putting back.
            lot = lot / torch.where(at.state["times"] > 0, share + FLOOR, 0.5)
        else:
            lot = lot + 1e3 * at.state["times"]
        return lot.argsort(1)[:, :k]

    def _learned(self, at: Rows, slope: Tensor, pairs: Tensor) -> Rows:
        """Adam's averages of the values that were asked about; those of the others wait."""
        s = at.state
        asked = torch.arange(s["chosen"].shape[1], device=at.x.device) < pairs[:, None]
        fresh = torch.zeros_like(s["fresh"]).scatter_(1, s["chosen"], asked)
        return at.keep(
            slow=torch.where(fresh, FIRST * s["slow"] + (1 - FIRST) * slope, s["slow"]),
            square=torch.where(fresh, SECOND * s["square"] + (1 - SECOND) * slope.square(), s["square"]),
            times=s["times"] + fresh.to(slope.dtype), fresh=fresh,
        )  # fmt: skip

    def _move(self, at: Rows, ball: Ball) -> Rows:
        s = at.state
        times = s["times"].clamp_min(1)
        mean, power = s["slow"] / (1 - FIRST**times), s["square"] / (1 - SECOND**times)
        pace = s["pace"][:, None]
        if ball.norm == "l2":  # the direction of all slopes known: Adam's equal steps would be off the best one for ever
            step = pace * steepest(mean, "l2")
        else:  # values without a slope do not move; whatever the unit of the loss, nothing is added to the root
            step = torch.where(s["fresh"] & (power > 0), pace * mean / power.sqrt().clamp_min(1e-30), 0.0)
        return at.at(ball.project(at.x + step.reshape(at.x.shape), at.origin))


def _along(at: Rows, k: int) -> Tensor:
    """Unit vectors of the first `k` values chosen, ``(n, k, d)``."""
    d = at.state["slow"].shape[1]
    return torch.zeros((len(at), k, d), dtype=at.x.dtype, device=at.x.device).scatter_(2, at.state["chosen"][:, :k, None], 1.0)
