"""Auto-PGD at one class after the other: the targeted difference of logits ratio."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Literal

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Evade
from ...core.goal import Loss
from ...core.oracle import Oracle
from ...core.random import RowRandom
from .._rows import Rows
from ._apgd import NORMS, Plan, begin, climb, scattered
from ._losses import toward
from ._own import moved_in
from ._targets import aim, ranked


@attack(
    "evasion.apgd_t",
    needs=Need.GRADIENT | Need.LABEL | Need.SCORE,
    norms=("linf", "l2", "l1"),
    within=("Ball", "Region"),
    papers=("arXiv:2003.01690", "arXiv:2103.01208"),
    aka=("APGD-T", "APGD-DLR targeted"),
    spends="1 look + targets x restarts x (steps gradients + 1 look) per row",
    static_cost=lambda a: 1 + a.targets * a.restarts * (3 * a.draws * a.steps + 1),
)
class APGDT:
    """Auto-PGD toward each of the highest other logits in turn; any decision that meets the goal ends a row.

    Steps are those of `evasion.apgd_ce`. The loss is the aim's lead over the true class, divided by the gap between the
    best logit and the mean of the third and fourth best. With fewer than four classes there is no fourth: the lead itself
    is climbed, and there are fewer aims. A wished class (`Becomes`) is the only aim.

    Args:
        steps: Gradient steps of each run.
        targets: Classes to aim at, the highest other logits of the unchanged input; fewer where there are fewer.
        restarts: Random starts for each of them.
        draws: Gradients averaged at each step, for targets with randomness.
        loss: ``dlr``, or ``margin`` to climb the lead itself whatever the number of classes.
        wide: In l1, begin in balls of three and two times the radius, as `evasion.apgd_ce` does.
    """

    steps: int = 100
    targets: int = 9
    restarts: int = 1
    draws: int = 1
    loss: Literal["dlr", "margin"] = "dlr"
    wide: bool = False

    def __call__(self, oracle: Oracle, case: Evade, *, rng: RowRandom) -> Generator[Rows, Rows, Rows]:
        case = moved_in(case, "evasion.apgd_t", NORMS)
        at = begin(oracle, case)
        at, count = ranked(oracle, case, at, self.targets, "evasion.apgd_t")
        at = yield at
        for place in range(count):
            plan = Plan(
                loss=self._toward(case, place), steps=self.steps, draws=self.draws, wide=self.wide, common=False,
            )  # fmt: skip
            for restart in range(self.restarts):
                at = scattered(at, case, rng, place * self.restarts + restart)
                at = yield from climb(oracle, case, at, plan)
        return at

    def _toward(self, case: Evade, place: int) -> Callable[[Rows], Loss]:
        return lambda at: toward(case, aim(at, place), ratio=self.loss == "dlr")
