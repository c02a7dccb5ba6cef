"""The counters that only a cell itself can take, on a few of its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.adversary import Need
from ...core.case import Evade
from ...core.constraint import Ball
from ...core.endpoint import Endpoint
from ...core.oracle import Meter
from ...core.random import RowRandom
from ..driver import Trace
from . import material, probes, reruns
from .witness import ASKING, FEW, Witness, moves

if TYPE_CHECKING:
    from ...judges.evade import Judged
    from ..evade import Setting


def measure(
    attack: Any, case: Evade, trace: Trace, judged: Judged, setting: Setting, endpoint: Endpoint, meter: Meter,
    witness: Witness, rng: RowRandom,
) -> dict[str, Any]:  # fmt: skip
    """What the lines of `checks` are made of. Rows are the ones attacked; what is asked is charged to ``health``.

    Args:
        rng: What the attack drew from, so that it can be run again.
    """
    few = witness.few
    facts: dict[str, Any] = {"health_rows": len(few)}
    calls = np.sum([meter.of(kind, case.row) for kind in ASKING], axis=0)
    facts["unasked"] = int((calls == 0).sum()) if Need.STRUCTURE not in attack.info.needs else 0
    facts["outside"] = int((~judged.inside).sum())
    if witness.moved is not None:
        facts["moved"] = witness.moved or moves(case, trace.x, np.arange(len(case)))
    facts["silent"] = int((trace.believed & judged.inside & ~judged.met).sum())
    # A change for all rows wins some and loses others on the way: nothing of that was a claim.
    facts["forgotten"] = 0 if attack.info.scope == "set" else int((witness.hit & ~trace.believed & ~judged.met).sum())
    if optimises(attack, case):
        facts["unmeasured"] = int((~trace.measured & ~trace.believed).sum())
    facts["random_seen"] = bool(endpoint.target.random)  # declared, or seen before the attack began
    facts |= probes.saturation(few, endpoint, meter)
    facts |= probes.purifies(few, endpoint, meter)
    if looks_inside(attack, setting):
        facts |= probes.slopes(few, endpoint, meter) | probes.agreement(few, endpoint, meter)
        facts |= probes.stability(few, endpoint, meter)
    facts |= material.transport(case, trace, judged, endpoint, meter) | material.sample(case, setting)
    facts |= material.surrogate(attack, case, trace, judged, setting) | material.bounds(case, judged, setting)
    facts["rejected_after"] = material.abstention(judged.label)
    facts |= _reruns(attack, case, trace, judged, setting, meter, rng)
    if not endpoint.target.random and not facts["random_seen"]:  # last, so that every call of the cell lies between
        facts["answers_changed"] = witness.changed()
    return facts


def _reruns(
    attack: Any, case: Evade, trace: Trace, judged: Judged, setting: Setting, meter: Meter, rng: RowRandom
) -> dict[str, Any]:
    unbroken = np.flatnonzero(~judged.met)[:FEW]
    facts: dict[str, Any] = {}
    if len(unbroken) and isinstance(case.within, Ball) and attack.info.scope != "set":  # what learns from all rows is dear
        left = case.only(unbroken)
        facts |= reruns.unbounded(attack, left, setting, meter) | reruns.doubled(attack, left, trace, setting, meter)
        facts |= reruns.ablated(attack, left, setting, meter)
    facts |= reruns.control(attack, case)
    return facts | reruns.repeated(attack, case, trace, setting, meter, rng)


def looks_inside(attack: Any, setting: Setting) -> bool:
    """Whether the attack differentiates the target itself: it says so, or it is a cascade that does where it may."""
    if Need.PARENT in attack.info.needs:
        return False
    may = Need.GRADIENT in setting.adversary.may and Need.GRADIENT in setting.target.offers
    return Need.GRADIENT in attack.info.needs or (attack.info.scope == "cascade" and may)


def optimises(attack: Any, case: Evade) -> bool:
    """Whether check 11 applies: not to random trials, to a climb on the attacker's own parent, to a search over edits, to
    one change for all rows, to what solves exactly, or to a climb on a model of its own."""
    if not isinstance(case.within, Ball) or attack.info.baseline or attack.info.scope == "set":
        return False
    return not attack.info.needs & (Need.PARENT | Need.STRUCTURE | Need.DATA)
