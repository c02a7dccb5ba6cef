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
from numpy.typing import NDArray

from ..core.adversary import Need
from ..core.case import Evade
from ..core.constraint import Ball
from ..core.errors import CasemateError
from ..core.evidence import Check
from ..core.goal import reached
from ..core.oracle import Endpoint, Meter, Oracle
from ..core.random import RowRandom
from ..core.target import Response, Target, take, to_numpy
from .cascade import drive
from .driver import Trace
from .part import Part, merge_rows

if TYPE_CHECKING:
    from ..judges.evade import Judged
    from .evade import Setting

FEW = 16  # rows of a health check; its own finding is binary, and more rows would not change it
UNBOUNDED_QUERIES = 400
SAME = 1e-4  # relative difference of scores that rounding cannot explain (AutoAttack's own)
ASKING = ("queries", "local", "gradients", "parent")


class Witness:
    """Sees every answer the attacker gets, and how the target answered before the first.

    Args:
        case: The rows attacked. `hit` tells which of them an answer met the goal of, at an input inside the constraint.
    """

    def __init__(self, case: Evade, target: Target, meter: Meter) -> None:
        self._case, self._target, self._meter = case, target, meter
        self._order = np.argsort(case.row)
        self.hit = np.zeros(len(case), bool)
        self.few = case.only(np.arange(min(FEW, len(case))))
        self._before = self._answers()

    def __call__(self, x: Any, rows: NDArray[Any], label: Any) -> None:
        case = self._case
        # Of a random target one answer is not the answer: there is nothing to forget.
        if self._target.random or _shape(x) != _shape(case.x):
            return
        near = np.searchsorted(case.row, rows, sorter=self._order).clip(0, len(case) - 1)
        places = self._order[near]
        open_ = (case.row[places] == rows) & ~self.hit[places]
        found = np.flatnonzero(open_ & reached(case.goal, label, to_numpy(case.y)[places]))
        if len(found):
            places = places[found]
            inside = case.within.check(to_numpy(take(x, found)), to_numpy(take(case.x, places)))
            self.hit[places[np.asarray(inside, bool)]] = True

    def changed(self) -> int:
        """How many of the first rows are answered otherwise than before the attack."""
        return int(differ(self._before, self._answers()).sum())

    def _answers(self) -> Response:
        self._meter.count("health", len(self.few))
        return self._target.respond(self.few.x, rows=self.few.row)


def _shape(x: Any) -> tuple[int, ...]:
    return tuple(x.shape[1:]) if hasattr(x, "shape") else ()


def differ(a: Response, b: Response) -> NDArray[np.bool_]:
    """Which rows two answers to the same questions differ in, by more than rounding."""
    found = np.asarray(to_numpy(a.label) != to_numpy(b.label))
    for one, other in ((a.scores, b.scores), (a.logits, b.logits)):
        if one is None or other is None:
            found = found | (one is not other)
            continue
        left, right = (np.asarray(to_numpy(side), np.float64).reshape(len(found), -1) for side in (one, other))
        with np.errstate(invalid="ignore"):
            gap, size = np.linalg.norm(left - right, axis=1), np.linalg.norm(left, axis=1)
        found = found | (gap > SAME * size + 1e-12)
    return np.asarray(found)


def measure(
    attack: Any, case: Evade, trace: Trace, judged: Judged, setting: Setting, endpoint: Endpoint, meter: Meter,
    witness: Witness,
) -> dict[str, Any]:  # fmt: skip
    """The counters that only the cell itself can take. Rows are the ones attacked."""
    few = witness.few
    facts: dict[str, Any] = {"health_rows": len(few)}
    calls = np.sum([meter.of(kind, case.row) for kind in ASKING], axis=0)
    facts["unasked"] = int((calls == 0).sum())
    facts["outside"] = int((~judged.inside).sum())
    facts["silent"] = int((trace.believed & judged.inside & ~judged.met).sum())
    facts["forgotten"] = int((witness.hit & ~trace.believed & ~judged.met).sum())
    if _optimises(attack, case):
        facts["unmeasured"] = int((~trace.measured & ~trace.believed).sum())
    facts |= _randomness(few, endpoint, meter)
    facts |= _saturation(few, endpoint, meter)
    if "gradient" in attack.info.needs.names:
        facts |= _slopes(few, endpoint, meter)
    unbroken = np.flatnonzero(~judged.met)[:FEW]
    if len(unbroken) and isinstance(case.within, Ball):
        facts |= _unbounded(attack, case.only(unbroken), setting, meter)
    if not endpoint.target.random and not facts["random_seen"]:  # last, so that every call of the cell lies between
        facts["answers_changed"] = witness.changed()
    return facts


def _optimises(attack: Any, case: Evade) -> bool:
    """Whether check 11 applies: not to random trials, to a climb on the attacker's own parent, or to a search over edits."""
    return isinstance(case.within, Ball) and not attack.info.baseline and Need.PARENT not in attack.info.needs


def _randomness(few: Evade, endpoint: Endpoint, meter: Meter) -> dict[str, Any]:
    """Check 5: five answers to the same question."""
    few = few.only(np.arange(min(4, len(few))))
    answers = [endpoint.decide(few.x, few.row, draw) for draw in range(5)]
    meter.count("health", 5 * len(few))
    seen = any(bool(differ(answers[0], answer).any()) for answer in answers[1:])
    return {"random_seen": seen, "random_declared": bool(endpoint.target.random)}


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


class _Counts:
    """The counters of all cells of one attack."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts
        self.rows = merge_rows(parts)
        self.attacked = int(self.rows["right"].sum())

    def total(self, name: str) -> int:
        return sum(int(part.facts.get(name, 0)) for part in self._parts)

    def seen(self, name: str) -> bool:
        return any(name in part.facts for part in self._parts)

    def all(self, name: str) -> bool:
        return all(part.facts.get(name, True) for part in self._parts)

    def first(self, name: str) -> Any:
        return next(part.facts[name] for part in self._parts if name in part.facts)


def checks(attack: Any, parts: Sequence[Part]) -> tuple[Check, ...]:
    """The named lines of one attack, from the counters of all its cells. What does not apply is left out."""
    counts = _Counts(parts)
    found = [
        _untouched(counts),
        Check(4, "claims inside the constraint", not counts.total("outside"),
              f"{counts.total('outside')} outside, counted as failed"),
        Check(
            5, "randomness declared", counts.total("random_seen") == 0 or counts.total("random_declared") > 0,
            "answers repeat" if not counts.total("random_seen") else "the same input gets different answers",
        ),
        _silent(counts),
        Check(23, "budget kept", counts.all("budget_kept"), "ledger against budget, by row"),
        Check(25, "wrong at the start listed apart", None, _apart(counts), fatal=False),
    ]  # fmt: skip
    if counts.seen("unasked"):
        unasked = counts.total("unasked")
        found.append(Check(3, "the attack asked", not unasked, f"{unasked} of {counts.attacked} rows attacked without one call"))
    if counts.seen("unmeasured"):
        found.append(_finished(counts))
    if counts.seen("saturated"):
        found.append(_saturated(counts, fatal="gradient" in attack.info.needs.names))
    if counts.seen("dead_slopes"):
        dead = counts.total("dead_slopes")
        found.append(Check(7, "slopes alive", dead == 0, f"{dead} rows with no or no finite slope"))
    if counts.seen("unbounded_rows"):
        unbounded, fell = counts.total("unbounded_rows"), counts.total("unbounded_broken")
        detail = f"with no radius {fell} of {unbounded} rows break"
        found.append(Check(14, "breaks without a radius", fell >= 0.95 * unbounded, detail))
    if counts.seen("unbounded_error"):
        found.append(Check(14, "breaks without a radius", None, counts.first("unbounded_error")))
    return tuple(sorted(found, key=lambda c: c.number))


def _untouched(counts: _Counts) -> Check:
    """Check 2: what can be hashed, and what can only be asked."""
    changed, kept = counts.total("answers_changed"), counts.all("state_kept")
    detail = "hash before and after"
    if changed:
        detail = f"the target changed during the run: {changed} rows are answered otherwise than before it"
    elif counts.seen("answers_changed"):
        detail += "; the first rows asked again"
    return Check(2, "target untouched", kept and not changed, detail)


def _silent(counts: _Counts) -> Check:
    believed, forgotten = counts.total("silent"), counts.total("forgotten")
    detail = f"{believed} rows believed broken, not seen so by the judge"
    detail += f"; in {forgotten} an answer met the goal and was not claimed" if forgotten else ""
    return Check(10, "no silent success", not believed and not forgotten, detail)


def _finished(counts: _Counts) -> Check:
    """Check 11. Where too few rows were measured, nobody knows."""
    improving, unmeasured = int(counts.rows["improving"].sum()), counts.total("unmeasured")
    few = 0.05 * max(1, counts.attacked)
    detail = f"{improving} of {counts.attacked} rows still improving"
    detail += f"; {unmeasured} not measured: too few steps, or no distance was noted" if unmeasured else ""
    return Check(11, "finished optimising", False if improving > few else None if unmeasured > few else True, detail)


def _saturated(counts: _Counts, fatal: bool) -> Check:
    rows, probabilities = counts.total("saturated"), counts.total("probabilities") > 0
    detail = f"{rows} rows with a score above 1 - 1e-7"
    detail += "; the model returns probabilities, not logits" if probabilities else ""
    return Check(6, "scores not saturated", not rows and not probabilities, detail, fatal=fatal)


def _apart(counts: _Counts) -> str:
    """How many rows were not attacked; where all of them, what labels and decisions look like."""
    rows = counts.rows
    n = len(rows["right"])
    detail = f"{n - counts.attacked} of {n} rows"
    y, decided = np.asarray(rows["truth"]), np.asarray(rows["label_before"])
    if counts.attacked or not n or np.array_equal(y, decided):
        return detail
    if y.dtype.kind not in "iufb" or decided.dtype.kind not in "iufb":
        return f"{detail}; labels y like {y[0]!s}, decisions like {decided[0]!s}: do they share one naming?"
    spans = [f"{side.min():g}..{side.max():g}" for side in (y, decided)]
    return f"{detail}; labels y in {spans[0]}, decisions in {spans[1]}: do they share one numbering?"
