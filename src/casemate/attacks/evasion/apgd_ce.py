"""Auto-PGD on cross-entropy: momentum, and a step that halves when progress stalls."""

from __future__ import annotations

from collections.abc import Generator

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Evade
from ...core.oracle import Oracle
from ...core.random import RowRandom
from .._rows import Rows
from ._apgd import NORMS, Plan, begin, checkpoints, climb, scattered
from ._losses import cross_entropy
from ._own import moved_in

__all__ = ["APGD", "checkpoints"]


@attack(
    "evasion.apgd_ce",
    needs=Need.GRADIENT | Need.LABEL,
    norms=("linf", "l2", "l1"),
    within=("Ball", "Region"),
    papers=("arXiv:2003.01690", "arXiv:2103.01208"),
    aka=("APGD", "APGD-CE", "Auto-PGD", "L1-APGD"),
    spends="restarts x (steps gradients + 1 look) per row",
    static_cost=lambda a: a.restarts * (3 * a.draws * a.steps + 1),
)
class APGD:
    """PGD with momentum whose step starts at twice the radius and halves, row by row, when the loss stops rising.

    At each checkpoint a row that rose in too few steps, or whose best loss did not move although its step did not
    either, halves its step and starts again from its best point. The best adversarial point is handed in, not the last
    one.

    In l1 there is no momentum: steps begin at the radius, go along the fifth of the coordinates with the largest slopes,
    and are projected exactly onto ball and box. At each of 25 checkpoints the share becomes the share of coordinates
    changed at the best point over 1.5; a row that became sparser takes full steps again from there, the others shorten
    theirs by 1.5 down to a tenth.

    Args:
        steps: Gradient steps of each restart; the checkpoints are shares of it.
        restarts: Starts, each from a random point of the ball's surface; the first from the case's own start if it has one.
        draws: Gradients averaged at each step, for targets with randomness.
        wide: In l1, spend 30 % of the steps in a ball of three times the radius, 30 % in one of twice, each part going on
            from the best point of the last; only points inside the ball itself are claimed. No other norm heeds it.
    """

    steps: int = 100
    restarts: int = 1
    draws: int = 1
    wide: bool = False

    def __call__(self, oracle: Oracle, case: Evade, *, rng: RowRandom) -> Generator[Rows, Rows, Rows]:
        case = moved_in(case, "evasion.apgd_ce", NORMS)
        loss = cross_entropy(case)
        plan = Plan(loss=lambda at: loss, steps=self.steps, draws=self.draws, wide=self.wide)
        at = begin(oracle, case)
        for restart in range(self.restarts):
            at = yield from climb(oracle, case, scattered(at, case, rng, restart), plan)
        return at
