"""Universal perturbation: one change for every input."""

from __future__ import annotations

import math
from collections.abc import Generator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Evade, Inputs
from ...core.constraint import Ball
from ...core.errors import BadInput
from ...core.goal import Loss, Routed, Wrong, reached
from ...core.oracle import Oracle
from ...core.random import RowRandom
from .._rows import tensor
from ._losses import cross_entropy, steepest
from ._own import ball_of

PACK = 512  # rows of one pass: memory does not grow with the data
ENOUGH = 9.0  # nats of loss from which a row that fell pulls no more, so that the ones that stand are heard


@attack(
    "evasion.universal",
    needs=Need.GRADIENT | Need.LABEL,
    scope="set",
    papers=("arXiv:1610.08401", "arXiv:1811.11304"),
    aka=("UAP", "universal adversarial perturbation", "SGD-UAP"),
    spends="steps gradients per fitted row, and 1 look per row",
    static_cost=lambda a: 3 * a.steps + 1,
)
class Universal:
    """Projected gradient ascent on one change that all rows share.

    Fitted on a share of the rows and applied to all of them: whether the rest fall too says if it will work on inputs nobody
    has seen. In the evidence the rows it was not fitted on are those that cost no gradient:
    ``evidence.rows["broken"][evidence.rows["gradients"] == 0]``. A row that is already wrong by a wide margin stops pulling.
    The paper moves on one input at a time, each with a search for its own smallest change; here all fitted rows move the
    change together.

    Args:
        steps: Passes over the fitted rows, each a step of the change.
        stride: Length of the first step as a share of the radius; the last is a tenth of it.
        fit_share: Share of the rows, in (0, 1], the change is fitted on; drawn at random, at least one.
        draws: Gradients averaged at each step, for targets with randomness.
    """

    steps: int = 40
    stride: float = 0.25
    fit_share: float = 0.5
    draws: int = 1

    def __call__(self, oracle: Oracle, case: Evade, *, rng: RowRandom) -> Generator[Inputs, None, Inputs]:
        why = "one change is for all inputs, and your own constraint may allow each another"
        ball, x = ball_of(case, "evasion.universal", ("linf", "l2"), why), tensor(case.x)
        if not 0 < self.fit_share <= 1:
            raise BadInput(f"fit_share={self.fit_share!r} is not allowed; give a share of the rows in (0, 1]")
        fitted = fitted_rows(case, self.fit_share, rng)
        part, loss, change = case.only(fitted), _bounded(case), torch.zeros_like(x[:1])
        best, most, broken = change, (-1, -math.inf), np.zeros(len(case), bool)
        for step in range(self.steps):
            slope, met, total = self._pass(oracle, part, ball.project(x[fitted] + change, x[fitted]), loss)
            if (int(met.sum()), total) > most:
                best, most, broken = change, (int(met.sum()), total), _spread(met, fitted, len(case))
                yield Inputs(x=ball.project(x + best, x), broken=broken)
            reach = min(ball.radius, (ball.high - ball.low) / 2)
            length = self.stride * reach * (1 - 0.9 * step / max(1, self.steps - 1))
            change = _shrunk(change + length * steepest(slope, ball.norm), ball)
        met = _looked(oracle, part, ball.project(x[fitted] + change, x[fitted]))
        if int(met.sum()) > most[0]:
            best, broken = change, _spread(met, fitted, len(case))
        yield Inputs(x=ball.project(x + best, x), broken=broken)
        rest = np.setdiff1d(np.arange(len(case)), fitted)
        met = _looked(oracle, case.only(rest), ball.project(x[rest] + best, x[rest]))
        return Inputs(x=ball.project(x + best, x), broken=broken | _spread(met, rest, len(case)))

    def _pass(self, oracle: Oracle, case: Evade, x: Tensor, loss: Loss) -> tuple[Tensor, NDArray[np.bool_], float]:
        """The slope of the summed loss ``(1, *shape)``, which rows meet the goal, and the sum."""
        slope, met, total = torch.zeros_like(x[:1]), [], 0.0
        for some in _packs(len(x)):
            few = case.only(some)
            here = oracle.gradient(x[some], y=torch.as_tensor(few.y), rows=few.row, loss=loss, draws=self.draws)
            slope += torch.nan_to_num(here.slope.to(x.dtype), nan=0.0, posinf=0.0, neginf=0.0).sum(0, keepdim=True)
            met.append(reached(case.goal, here.response.label, few.y))
            total += float(torch.nan_to_num(here.loss.double(), nan=0.0, posinf=0.0, neginf=0.0).sum())
        return slope, np.concatenate(met), total


def fitted_rows(case: Evade, share: float, rng: RowRandom) -> NDArray[np.int64]:
    """Places of a random share of the rows, at least one, in order."""
    size = max(1, math.ceil(share * len(case) - 1e-9))
    return np.sort(np.argsort(rng.uniform(case.row, 0), kind="stable")[:size])


def _packs(size: int) -> list[NDArray[np.int64]]:
    return [np.arange(start, min(start + PACK, size)) for start in range(0, size, PACK)]


def _looked(oracle: Oracle, case: Evade, x: Tensor) -> NDArray[np.bool_]:
    """Which rows of the endpoint's answers meet the goal at `x`."""
    found = [reached(case.goal, oracle.look(x[some], rows=case.row[some]).label, case.y[some]) for some in _packs(len(x))]
    return np.concatenate(found) if found else np.zeros(0, bool)


def _spread(met: NDArray[np.bool_], places: NDArray[np.int64], size: int) -> NDArray[np.bool_]:
    """`met` at its places among all rows, False elsewhere."""
    found = np.zeros(size, bool)
    found[places] = met
    return found


def _bounded(case: Evade) -> Loss:
    """What is climbed; of a cross-entropy of the truth no more than `ENOUGH`."""
    loss = cross_entropy(case)
    if case.loss is not None or not isinstance(case.goal, Wrong | Routed):
        return loss
    return lambda logits, y: loss(logits, y).clamp(max=ENOUGH)


def _shrunk(change: Tensor, ball: Ball) -> Tensor:
    """A shared change of at most the radius, and of no more than the domain is wide."""
    if math.isfinite(ball.radius) and ball.norm == "l2":
        change = change * (ball.radius / change.norm().clamp_min(1e-30)).clamp(max=1.0)
    widest = min(ball.radius, ball.high - ball.low)
    return change.clamp(-widest, widest)
