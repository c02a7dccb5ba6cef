"""AutoAttack as published: four attacks without parameters, each on the rows the ones before left standing."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Evade
from ...core.errors import BudgetSpent, Refused
from ...core.oracle import Oracle
from ...core.target import take
from ._apgd import NORMS
from ._own import ball_of
from .apgd_ce import APGD
from .apgd_dlr import APGDDLR
from .apgd_t import APGDT
from .fab_t import FABT
from .square import Square

TARGETS = {"linf": 9, "l2": 9, "l1": 5}  # of APGD-T; FAB-T has 9 in every norm


@attack(
    "evasion.autoattack",
    needs=Need.GRADIENT | Need.LABEL | Need.SCORE,
    scope="cascade",
    norms=("linf", "l2", "l1"),
    papers=("arXiv:2003.01690", "arXiv:2103.01208"),
    aka=("AutoAttack", "AA", "auto-attack"),
    spends="APGD-CE 301 + APGD-T 9 x 301 + FAB-T 9 x 600 + Square 5001 model rows per row that stands to the end, at most",
    static_cost=lambda a: a.cost,
)
class AutoAttack:
    """APGD-CE, APGD-T, FAB-T and Square, in this order, with the steps, targets and restarts of the publication.

    ``standard`` in linf and l2: APGD-CE 100 steps and 1 start; APGD-T 100 steps at 9 targets; FAB-T 100 steps at 9 targets;
    Square 5000 queries with first share 0.8 and the schedule not rescaled. In l1: APGD-CE with 5 starts and APGD-T at 5
    targets, both with larger radii first; FAB-T and Square with the same numbers, inside the l1 ball. ``rand``, for targets
    that draw randomness: APGD-CE and APGD-DLR, 100 steps, 20 gradients averaged at each.

    With fewer than four classes (for APGD-DLR three) the ratio losses do not exist: the margin is climbed instead, at fewer
    targets, and the parameters of the stages in the evidence say ``loss: margin``. Unlike as published a row that breaks
    leaves at once, every row has random numbers of its own (so each has squares of its own), FAB-T ends with a search (see
    `evasion.fab_t`), and Square avoids proposals that change nothing (linf, l1) and moves random
    parts of the length once its squares are smallest (l2, l1; see `evasion.square`).

    Args:
        version: ``standard``, or ``rand`` for random targets.
    """

    version: Literal["standard", "rand"] = "standard"

    def stages(self, oracle: Oracle, case: Evade) -> tuple[Any, ...]:
        """The attacks, in order. Asks once about one row how many classes there are."""
        norm = ball_of(case, "evasion.autoattack", NORMS, "as published it is defined in balls alone").norm
        classes = _classes(oracle, case)
        wide = norm == "l1"
        if self.version == "rand":
            loss: Literal["dlr", "margin"] = "dlr" if classes >= 3 else "margin"
            return APGD(draws=20, wide=wide), APGDDLR(draws=20, loss=loss, wide=wide)
        few: Literal["dlr", "margin"] = "dlr" if classes >= 4 else "margin"
        most = max(1, classes - 1)
        return (
            APGD(restarts=5 if wide else 1, wide=wide),
            APGDT(targets=min(TARGETS[norm], most), loss=few, wide=wide),
            FABT(targets=min(9, most)),
            Square(steps=5000, share=0.8, rescale=False),
        )

    @property
    def cost(self) -> int:
        """Model rows per attacked row, at most."""
        if self.version == "rand":
            return 1 + 2 * (100 * 20 * 3 + 1)
        parts: tuple[Any, ...] = (APGD(restarts=5), APGDT(), FABT(), Square())
        return 1 + sum(int(part.info.static_cost(part)) for part in parts)


def _classes(oracle: Oracle, case: Evade) -> int:
    """How many classes one answer shows; ten, of which nothing needs to be told, where no answer is to be had."""
    try:
        shown = oracle.look(take(case.x, np.array([0])), rows=case.row[:1])
    except (BudgetSpent, Refused):  # the stages will meet the same wall, and say so
        return 10
    scores = shown.logits if shown.logits is not None else shown.scores
    return 10 if scores is None or scores.ndim != 2 else int(scores.shape[1])
