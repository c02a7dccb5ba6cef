"""Judging changed inputs: trust nothing, repair nothing.

The raw claim is checked in float64 (outside means failed), goes through the deployed pipeline, is decided by the goal, and
counted. On a target with randomness a row counts as broken when most of `votes` draws meet the goal. The measure is the
share of rows broken among those that were right at the start; the others are listed apart. Interval: Clopper-Pearson.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.case import Evade
from ..core.endpoint import Endpoint
from ..core.goal import reached
from ..core.oracle import Meter
from ..core.target import REJECT, count, take, to_numpy

VOTES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Row by row: whether the claim is inside its constraint, meets the goal, how far it went, and what was decided."""

    inside: NDArray[np.bool_]
    met: NDArray[np.bool_]
    distance: NDArray[np.float64]
    label: NDArray[Any]


def decide(endpoint: Endpoint, x: Any, rows: Any, meter: Meter, *, batch: int = 512, vote: bool = True) -> NDArray[Any]:
    """Deployed decisions ``(votes, n)``: one where the target is deterministic, `VOTES` where it draws randomness."""
    votes = VOTES if endpoint.target.random and vote else 1
    found = []
    for draw in range(votes):
        # Draws far from any the attack used: a claim must hold on fresh randomness.
        shift = draw if votes == 1 else 1_000_000 + draw
        labels = []
        for start in range(0, count(x), batch):
            part = np.arange(start, min(start + batch, count(x)))
            labels.append(to_numpy(endpoint.decide(take(x, part), rows[part], shift).label))
        found.append(np.concatenate(labels) if labels else np.zeros(0, int))
        meter.count("judge", count(x))
    return np.stack(found)


def most(met: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which rows a majority of draws agrees on."""
    return np.asarray(met.mean(0) > 0.5)


def right_at_start(case: Evade, endpoint: Endpoint, meter: Meter) -> tuple[NDArray[np.bool_], NDArray[Any]]:
    """Rows whose unchanged input does not meet the goal and is decided at all, and what each is decided."""
    labels = decide(endpoint, case.x, case.row, meter)
    y = to_numpy(case.y)
    met = most(np.stack([reached(case.goal, label, y) for label in labels]))
    # A regression has no reject: -1.0 is a number like any other.
    rejected = most(labels == REJECT) if labels.dtype.kind in "iu" else np.zeros(len(y), bool)
    # Under `Becomes` a row already decided otherwise than the truth is still attackable; under the others it is not.
    wrong = most(labels != y) if type(case.goal).__name__ in ("Wrong", "Routed") else np.zeros(len(y), bool)
    return ~met & ~rejected & ~wrong, labels[0]


def judge(case: Evade, claim: Any, endpoint: Endpoint, meter: Meter) -> Judged:
    """Check, submit, decide. A claim outside its constraint fails: distance infinite, not met."""
    origin, changed = to_numpy(case.x), to_numpy(claim)
    inside = np.asarray(case.within.check(changed, origin), bool)
    distance = np.where(inside, case.within.measure(changed, origin), np.inf)
    labels = _submit(case, claim, inside, endpoint, meter)
    y = to_numpy(case.y)
    met = most(np.stack([reached(case.goal, label, y) for label in labels])) & inside
    return Judged(inside=inside, met=met, distance=distance, label=labels[0])


def _submit(case: Evade, claim: Any, inside: NDArray[np.bool_], endpoint: Endpoint, meter: Meter) -> NDArray[Any]:
    """Decisions on the claims ``(votes, n)``. In place of one outside, which may be anything, the unchanged input is sent."""
    if inside.all():
        return decide(endpoint, claim, case.row, meter)
    kept, failed = np.flatnonzero(inside), np.flatnonzero(~inside)
    back = decide(endpoint, take(case.x, failed), case.row[failed], meter)
    if not len(kept):
        return back
    return np.concatenate([decide(endpoint, take(claim, kept), case.row[kept], meter), back], 1)[
        :, np.argsort(np.concatenate([kept, failed]))
    ]
