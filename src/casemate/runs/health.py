"""Health of an attack: could it have succeeded at all? The numbers are those of Carlini et al. 2019 and Pintor et al. 2022
as collected in docs/explanation; a failed check turns `resisted` into `inconclusive`.

`measure` runs inside a cell, on a few rows, and charges what it asks to the ledger's ``health``. `checks` turns the
counters of all cells of one attack into named lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.case import Evade
from ..core.constraint import Ball
from ..core.errors import CasemateError
from ..core.evidence import Check
from ..core.goal import reached
from ..core.oracle import Endpoint, Meter, Oracle
from ..core.random import RowRandom
from ..core.target import to_numpy
from .driver import Trace, drive_dialogue, drive_rows
from .part import Part, merge_rows

if TYPE_CHECKING:
    from ..judges.evade import Judged
    from .evade import Setting

FEW = 16  # rows of a health check; its own finding is binary, and more rows would not change it
UNBOUNDED_QUERIES = 400


def measure(
    attack: Any, case: Evade, trace: Trace, judged: Judged, setting: Setting, endpoint: Endpoint, meter: Meter
) -> dict[str, Any]:
    """The counters that only the cell itself can take. Rows are the ones attacked."""
    few = case.only(np.arange(min(FEW, len(case))))
    facts: dict[str, Any] = {"health_rows": len(few)}
    facts["outside"] = int((~judged.inside).sum())
    facts["silent"] = int((trace.believed & judged.inside & ~judged.met).sum())
    facts |= _randomness(few, endpoint, meter)
    facts |= _saturation(few, endpoint, meter)
    if "gradient" in attack.info.needs.names:
        facts |= _slopes(few, endpoint, meter)
    unbroken = np.flatnonzero(~judged.met)[:FEW]
    if len(unbroken) and isinstance(case.within, Ball):
        facts |= _unbounded(attack, case.only(unbroken), setting, meter)
    return facts


def _randomness(few: Evade, endpoint: Endpoint, meter: Meter) -> dict[str, Any]:
    """Check 5: five answers to the same question."""
    few = few.only(np.arange(min(4, len(few))))
    answers = [endpoint.decide(few.x, few.row, draw) for draw in range(5)]
    meter.count("health", 5 * len(few))
    labels = np.stack([to_numpy(a.label) for a in answers])
    differ = bool((labels != labels[0]).any())
    if answers[0].logits is not None:
        logits = np.stack([to_numpy(a.logits).astype(float) for a in answers])
        size = np.linalg.norm(logits[0], axis=-1) + 1e-12
        differ |= bool((np.linalg.norm(logits - logits[0], axis=-1) / size > 1e-4).any())
    return {"random_seen": differ, "random_declared": bool(endpoint.target.random)}


def _saturation(few: Evade, endpoint: Endpoint, meter: Meter) -> dict[str, Any]:
    """Check 6: scores so near one that cross-entropy underflows."""
    response = endpoint.target.respond(few.x, rows=few.row)
    meter.count("health", len(few))
    if response.scores is None:
        return {}
    scores = to_numpy(response.scores).astype(float)
    logits = None if response.logits is None else to_numpy(response.logits).astype(float)
    probabilities = logits is not None and bool((logits >= 0).all() and np.allclose(logits.sum(1), 1, atol=1e-3))
    return {"saturated": int((scores.max(1) >= 1 - 1e-7).sum()), "probabilities": probabilities}


def _slopes(few: Evade, endpoint: Endpoint, meter: Meter) -> dict[str, Any]:
    """Check 7: rows whose slope is zero or not finite, at the input and at a random point of the ball."""
    y = to_numpy(few.y)
    points = [few.x]
    if isinstance(few.within, Ball):
        points.append(few.within.sample(to_numpy(few.x), RowRandom(7), few.row, 0))
    bad = np.zeros(len(few), bool)
    for x in points:
        slope = endpoint.target.gradient(x, y, few.loss or few.goal.loss, rows=few.row).slope
        meter.count("health", len(few))
        flat = to_numpy(slope).reshape(len(few), -1)
        bad |= ~np.isfinite(flat).all(1) | (np.abs(np.nan_to_num(flat)).max(1) == 0)
    return {"dead_slopes": int(bad.sum())}


def _unbounded(attack: Any, case: Evade, setting: Setting, meter: Meter) -> dict[str, Any]:
    """Check 14: with no radius the attack must reach every row; if it does not, the attack is what failed."""
    free = replace(case, within=case.within.unbounded(), seek="any")  # type: ignore[attr-defined]
    own = Meter(case.row)
    budget = replace(setting.hands.budget, queries=None, accounts=1, days=None)
    # Whether the attack works at all is the question here, not whether this adversary can pay for it.
    budget = replace(budget, queries_per_row=max(UNBOUNDED_QUERIES, budget.queries_per_row or 0), gradients_per_row=None)
    endpoint = Endpoint(setting.target, tuple(s for s in setting.services if s.start is None))
    oracle = Oracle(endpoint, replace(setting.adversary, budget=budget), own, setting.known)
    drive = drive_dialogue if attack.info.scope == "dialogue" else drive_rows
    try:
        trace = drive(attack, oracle, free, RowRandom(setting.seed).fork(14))
    except CasemateError as error:
        return {"unbounded_error": str(error)}
    finally:  # what was asked before it failed was asked all the same
        asked = sum(own.total[kind] for kind in ("queries", "local", "gradients")) - own.total["refused"]
        meter.count("health", asked)
    y = to_numpy(case.y)
    met = reached(case.goal, endpoint.decide(trace.x, case.row, 3).label, y)
    meter.count("health", len(case))
    # One draw of a random target is one vote; asking for all rows would punish randomness twice.
    return {"unbounded_rows": len(case), "unbounded_broken": int(met.sum())}


def checks(attack: Any, parts: Sequence[Part]) -> tuple[Check, ...]:
    """The named lines of one attack, from the counters of all its cells."""

    def total(name: str) -> int:
        return sum(int(part.facts.get(name, 0)) for part in parts)

    def seen(name: str) -> bool:
        return any(name in part.facts for part in parts)

    rows = merge_rows(parts)
    attacked = int(rows["right"].sum())
    improving = int(rows["improving"].sum())
    unbounded, reached = total("unbounded_rows"), total("unbounded_broken")
    found = [
        Check(2, "target untouched", all(p.facts.get("state_kept", True) for p in parts), "hash before and after"),
        Check(4, "claims inside the constraint", total("outside") == 0, f"{total('outside')} outside, counted as failed"),
        Check(
            5, "randomness declared", total("random_seen") == 0 or total("random_declared") > 0,
            "answers repeat" if not total("random_seen") else "the same input gets different answers",
        ),
        Check(10, "no silent success", total("silent") == 0, f"{total('silent')} rows believed broken, not seen so by the judge"),
        Check(11, "finished optimising", improving <= 0.05 * max(1, attacked), f"{improving} of {attacked} rows still improving"),
        Check(23, "budget kept", all(p.facts.get("budget_kept", True) for p in parts), "ledger against budget, by row"),
        Check(
            25, "wrong at the start listed apart", True, f"{len(rows['right']) - attacked} of {len(rows['right'])} rows",
            fatal=False,
        ),
    ]  # fmt: skip
    if seen("saturated"):
        flat = total("saturated") > 0 or any(p.facts.get("probabilities") for p in parts)
        gradient = "gradient" in attack.info.needs.names
        detail = f"{total('saturated')} rows with a score above 1 - 1e-7"
        detail += "; the model returns probabilities, not logits" if any(p.facts.get("probabilities") for p in parts) else ""
        found.append(Check(6, "scores not saturated", not flat, detail, fatal=gradient))
    if seen("dead_slopes"):
        dead = total("dead_slopes")
        found.append(Check(7, "slopes alive", dead == 0, f"{dead} rows with no or no finite slope"))
    if seen("unbounded_rows"):
        detail = f"with no radius {reached} of {unbounded} rows break"
        found.append(Check(14, "breaks without a radius", reached >= 0.95 * unbounded, detail))
    if seen("unbounded_error"):
        detail = next(p.facts["unbounded_error"] for p in parts if "unbounded_error" in p.facts)
        found.append(Check(14, "breaks without a radius", None, detail))
    return tuple(sorted(found, key=lambda c: c.number))
