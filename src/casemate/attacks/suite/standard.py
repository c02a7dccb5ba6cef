"""Everything that applies, cheapest first: one answer for one adversary."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...core.adversary import Need
from ...core.attack import attack, attacks
from ...core.case import Evade
from ...core.constraint import Ball, admits
from ...core.errors import BadInput, BudgetSpent, NotGranted
from ...core.oracle import Oracle
from ...core.target import to_numpy

# What an adversary would try, in this order, by what the constraint is and by what it must hold. Each line: the attack,
# its parameters, and what has to be granted beyond what the attack itself needs.
_BALL: tuple[tuple[str, dict[str, Any]], ...] = (
    ("evasion.noise", {"trials": 10}),
    ("evasion.leaf_tuple", {}),
    ("evasion.fgsm", {}),
    ("evasion.pgd", {"steps": 10, "stride": 0.25}),
    ("evasion.apgd_ce", {}),
    ("evasion.apgd_t", {"targets": 3}),
    ("evasion.sigma_zero", {"steps": 300}),
    ("evasion.fab_t", {"steps": 50, "targets": 3}),
    ("evasion.tree_milp", {}),
    ("evasion.transfer", {}),
    ("evasion.square", {"steps": 5000}),
    ("evasion.rays", {}),
    ("evasion.cgba", {}),
    ("evasion.surfree", {}),
    ("evasion.hopskipjump", {}),
)
MASKING = {"steps": 1000}  # of a black box after a white one: enough to see that slopes were masked
DRAWS = 10  # gradients averaged at each step where the target draws randomness
FEW = 16  # rows whose slope is looked at before the order is made
_OTHER: tuple[tuple[str, dict[str, Any]], ...] = (
    ("evasion.spatial", {}),
    ("evasion.patch", {}),
    ("evasion.constrained_pgd", {}),
    ("evasion.invisible", {}),
    ("evasion.characters", {}),
    ("evasion.substitution", {}),
    ("evasion.edits", {}),
    ("evasion.genetic", {"generations": 10}),
)


@attack(
    "suite.standard",
    needs=Need.LABEL,
    scope="cascade",
    case="evade",
    modality=("array", "table", "bytes", "text"),
    norms=("linf", "l2", "l1", "l0"),
    within=("*",),
    aka=("suite", "standard suite"),
    spends="what its stages spend, within one budget",
)
class Standard:
    """Every attack that fits the case and that this adversary can run, cheap ones first, each on what still stands.

    One budget covers all stages. Where a stage may begin at a point of the caller's choice, it begins where the one before
    it arrived. With `Budget(seconds=...)` no stage begins, and none goes on, once the time is over; the evidence lists
    what was left out and on how many rows. Which stage took which row is the column `by`.

    Args:
        skip: Ids of attacks to leave out.
        share: Whether stages begin where the ones before them arrived, or each at a start of its own.
        settings: Parameters of stages, ``((id, ((name, value), ...)), ...)``; a description's own wishes come this way.
    """

    skip: tuple[str, ...] = ()
    share: bool = True
    settings: tuple[tuple[str, tuple[tuple[str, Any], ...]], ...] = ()

    def stages(self, oracle: Oracle, case: Evade) -> tuple[Any, ...]:
        """The attacks to run, in order."""
        if not oracle.granted(Need.LABEL):
            raise NotGranted(f"suite.standard needs label, which {oracle.adversary.name} does not hold")
        wished = {id: dict(values) for id, values in self.settings}
        found = tuple(made for made in _fitting(oracle, case, wished) if made.info.id not in self.skip)
        if not found:
            held = ", ".join(oracle.adversary.may.names)
            raise BadInput(f"suite.standard knows no attack for {type(case.within).__name__} by somebody who holds {held}")
        return found


def _fitting(oracle: Oracle, case: Evade, wished: dict[str, dict[str, Any]]) -> Iterator[Any]:
    ball = case.within if isinstance(case.within, Ball) else None
    own = ball is None and admits(("Region",), case.within)
    kind, dead = _modality(case.x), oracle.works(Need.GRADIENT) and _dead(oracle, case)
    for id, params in _BALL if own or ball is not None else _OTHER:
        info = attacks.get(id).info
        if not oracle.works(info.needs) or (kind is not None and kind not in info.modality):
            continue
        if ball is not None and ball.norm not in info.norms:
            continue
        if own and not _fits_own(id, info, case.within):
            continue
        if _walks(info) and not dead and any(oracle.works(need) for need in (Need.GRADIENT, Need.STRUCTURE)):
            continue  # who sees inside need not feel its way
        if id == "evasion.square" and oracle.works(Need.GRADIENT):
            params = params | MASKING
        several = {"draws": DRAWS} if oracle.random and "draws" in attacks.get(id).__dataclass_fields__ else {}
        yield attacks.get(id)(**params | several | wished.get(id, {}))


def _fits_own(id: str, info: Any, within: Any) -> bool:
    """Squares are put down by the signs of values, and who sees labels alone looks for a way in through the whole domain."""
    if id == "evasion.square" and getattr(within, "along", "slope") != "signs":
        return False
    domain = hasattr(within, "low") and hasattr(within, "high")
    return "Region" in info.within and (domain or not _walks(info))


def _dead(oracle: Oracle, case: Evade) -> bool:
    """Whether the slopes of half of a few rows are zero or not finite: then inside is nothing to be seen. One gradient each."""
    few = case.only(np.arange(min(FEW, len(case))))
    try:
        slope = to_numpy(oracle.gradient(few.x, y=few.y, rows=few.row, loss=case.loss or case.goal.loss).slope)
    except (BudgetSpent, NotGranted):
        return False
    flat = slope.reshape(len(few), -1)
    return bool((~np.isfinite(flat).all(1) | (np.abs(np.nan_to_num(flat)).max(1) == 0)).mean() >= 0.5)


def _walks(info: Any) -> bool:
    return bool(info.scope == "dialogue" and info.needs == Need.LABEL and info.modality == ("array",))


def _modality(x: Any) -> str | None:
    """The kind of input, as attacks name it; None where only the constraint can tell."""
    if hasattr(x, "iloc"):
        return "table"
    if isinstance(x, list | tuple) and len(x):
        return "bytes" if isinstance(x[0], bytes) else "text"
    return "array" if np.asarray(to_numpy(x)).dtype.kind in "fiub" else None
