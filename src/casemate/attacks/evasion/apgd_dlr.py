"""Auto-PGD on the difference of logits ratio: a loss that no scale of the logits can flatten."""

from __future__ import annotations

from collections.abc import Generator
from typing import Literal

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Evade
from ...core.oracle import Oracle
from ...core.random import RowRandom
from .._rows import Rows
from ._apgd import NORMS, Plan, begin, climb, scattered
from ._losses import dlr, margin
from ._own import moved_in


@attack(
    "evasion.apgd_dlr",
    needs=Need.GRADIENT | Need.LABEL,
    norms=("linf", "l2", "l1"),
    within=("Ball", "Region"),
    papers=("arXiv:2003.01690", "arXiv:2103.01208"),
    aka=("APGD-DLR",),
    spends="restarts x (steps gradients + 1 look) per row",
    static_cost=lambda a: a.restarts * (3 * a.draws * a.steps + 1),
)
class APGDDLR:
    """Auto-PGD that climbs the best other logit's lead over the true one, divided by the gap of best and third best.

    Steps are those of `evasion.apgd_ce`. Cross-entropy saturates where a model is sure, or multiplies its logits; this
    ratio is the same for all positive multiples of the logits. With fewer than three classes there is no third best: the
    margin is climbed instead. For a wished class the numerator is its lead over the best of the others.

    Args:
        steps: Gradient steps of each restart.
        restarts: Starts, each from a random point of the ball's surface; the first from the case's own start if it has one.
        draws: Gradients averaged at each step, for targets with randomness.
        loss: ``dlr``, or ``margin`` to climb the margin itself whatever the number of classes.
        wide: In l1, begin in balls of three and two times the radius, as `evasion.apgd_ce` does.
    """

    steps: int = 100
    restarts: int = 1
    draws: int = 1
    loss: Literal["dlr", "margin"] = "dlr"
    wide: bool = False

    def __call__(self, oracle: Oracle, case: Evade, *, rng: RowRandom) -> Generator[Rows, Rows, Rows]:
        case = moved_in(case, "evasion.apgd_dlr", NORMS)
        loss = dlr(case) if self.loss == "dlr" else margin(case)
        plan = Plan(loss=lambda at: loss, steps=self.steps, draws=self.draws, wide=self.wide)
        at = begin(oracle, case)
        for restart in range(self.restarts):
            at = yield from climb(oracle, case, scattered(at, case, rng, restart), plan)
        return at
