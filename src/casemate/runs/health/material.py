"""Looking at the material: claims in the precision they travel in, duplicates, leaks, surrogates, certified bounds."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.adversary import Need
from ...core.case import Evade
from ...core.constraint import Ball
from ...core.endpoint import Endpoint
from ...core.errors import CasemateError
from ...core.goal import reached
from ...core.oracle import Meter
from ...core.target import REJECT, take, to_numpy
from ..driver import Trace
from .witness import FEW

if TYPE_CHECKING:
    from ...judges.evade import Judged
    from ..evade import Setting

STEPS = 255  # of an 8-bit channel
SOME = 64


def transport(case: Evade, trace: Trace, judged: Judged, endpoint: Endpoint, meter: Meter) -> dict[str, Any]:
    """Check 3: where the unchanged inputs lie on the grid of 8-bit images, whether claims survive being rounded to it."""
    ball = case.within
    if not isinstance(ball, Ball) or endpoint.target.random:
        return {}
    x = to_numpy(case.x)
    if x.ndim < 3 or not _on_grid(x, ball):  # an image, and one that was stored in bytes
        return {}
    won = np.flatnonzero(judged.met)[:SOME]
    if not len(won):
        return {"transported": 0, "lost_on_the_way": 0}
    span = ball.high - ball.low
    claim = np.round((to_numpy(trace.x)[won] - ball.low) / span * STEPS) / STEPS * span + ball.low
    labels = endpoint.decide(claim.astype(x.dtype), case.row[won]).label
    meter.count("health", len(won))
    kept = reached(case.goal, labels, to_numpy(case.y)[won])
    return {"transported": len(won), "lost_on_the_way": int((~kept).sum())}


def _on_grid(x: Any, ball: Ball) -> bool:
    units = (x[:FEW].astype(np.float64) - ball.low) / (ball.high - ball.low) * STEPS
    return bool(np.abs(units - np.round(units)).max(initial=0.0) < 1e-3)


def surrogate(attack: Any, case: Evade, trace: Trace, judged: Judged, setting: Setting) -> dict[str, Any]:
    """Check 13: how many claims fool the attacker's own parent, beside how many fool the target."""
    parent = setting.known.parent
    if Need.PARENT not in attack.info.needs or parent is None or isinstance(parent, list | tuple):
        return {}
    fooled = reached(case.goal, parent.respond(trace.x, rows=case.row).label, to_numpy(case.y))
    return {"on_parent": int(fooled.sum()), "on_target": int(judged.met.sum()), "transferred_rows": len(case)}


def sample(case: Evade, setting: Setting) -> dict[str, Any]:
    """Check 27: what tells rows apart that are there twice, and how many the target was trained on."""
    if not hasattr(case.x, "dtype") and not isinstance(case.x, list | tuple):
        return {}
    keys = _keys(case.x)
    trained = set() if setting.known.recipe is None else set(_keys(setting.known.recipe.x))
    # Marks, not counts: the same row may be in another shard.
    marks = [hashlib.sha256(key).hexdigest()[:16] for key in keys]
    return {"marks": marks, "leaked": sum(k in trained for k in keys)}


def _keys(x: Any) -> list[bytes]:
    if isinstance(x, list | tuple):
        return [item if isinstance(item, bytes) else str(item).encode() for item in x]
    if hasattr(x, "iloc"):
        return [repr(tuple(row)).encode() for row in x.itertuples(index=False)]
    array = np.ascontiguousarray(to_numpy(x), np.float64)
    return [row.tobytes() for row in array]


def bounds(case: Evade, judged: Judged, setting: Setting) -> dict[str, Any]:
    """Check 30: no claim lies below what is certified, where the target's structure gives a bound."""
    if not isinstance(case.within, Ball) or case.within.norm != "linf" or not hasattr(setting.target, "structure"):
        return {}
    if Need.STRUCTURE not in setting.target.offers or setting.target.random:
        return {}
    won = np.flatnonzero(judged.met)[:FEW]
    try:
        from ...attacks.evasion.tree_bound import certify

        ensemble = setting.target.structure()
        x = np.asarray(to_numpy(take(case.x, won)), np.float64)
        least = certify(ensemble, x, to_numpy(case.y)[won], low=case.within.low, high=case.within.high)
    except CasemateError:
        return {}
    return {"bounded": len(won), "below_bound": int((judged.distance[won] < least * (1 - 1e-9)).sum())}


def abstention(labels: Any) -> int:
    """How many decisions are rejects. A regression has none: -1.0 is a number like any other."""
    labels = np.asarray(labels)
    return int((labels == REJECT).sum()) if labels.dtype.kind in "iu" else 0


