"""Attacking again, a few rows at a time, under other circumstances: the attack itself is what is on trial."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.adversary import Need
from ...core.case import Evade
from ...core.constraint import Ball
from ...core.endpoint import Endpoint
from ...core.errors import CasemateError
from ...core.goal import reached
from ...core.oracle import Known, Meter, Oracle
from ...core.random import RowRandom
from ...core.target import Target, take, to_numpy
from ..cascade import drive
from ..driver import Trace
from .witness import FEW, UNBOUNDED_QUERIES

if TYPE_CHECKING:
    from ..evade import Setting

PATIENCE = 0.25  # of the time the attack has, for each attack again: health must not cost several times the attack
TWICE = 2  # rows attacked again to see that they end up the same
CONTROL_ROWS = 8
CONTROL_CALLS = 2000  # of a row, at most: an attack that needs more for a linear model has failed


def _again(attack: Any, case: Evade, setting: Setting, meter: Meter, *, free: bool, rng: RowRandom, target: Any = None) -> Trace:
    """The attack on some rows under a ledger of its own, charged to ``health`` whatever becomes of it."""
    own = Meter(case.row)
    budget, patience = replace(setting.hands.budget, queries=None, accounts=1, days=None), setting.hands.budget.seconds
    until = None if patience is None else time.monotonic() + PATIENCE * patience
    if free:  # whether the attack works at all is the question here, not whether this adversary can pay for it
        budget = replace(budget, queries_per_row=max(UNBOUNDED_QUERIES, budget.queries_per_row or 0), gradients_per_row=None)
    endpoint = Endpoint(target or setting.target, tuple(s for s in setting.services if s.start is None))
    oracle = Oracle(endpoint, replace(setting.adversary, budget=budget), own, setting.known)
    try:
        return drive(attack, oracle, case, rng, until=until)
    finally:  # what was asked before it failed was asked all the same
        if target is None:
            asked = sum(own.total[kind] for kind in ("queries", "local", "gradients")) - own.total["refused"]
            meter.count("health", asked)


def unbounded(attack: Any, case: Evade, setting: Setting, meter: Meter) -> dict[str, Any]:
    """Check 14: with no radius the attack must reach every row; if it does not, the attack is what failed."""
    free = replace(case, within=case.within.unbounded(), seek="any", start=None)  # type: ignore[attr-defined]
    try:
        trace = _again(attack, free, setting, meter, free=True, rng=RowRandom(setting.seed).fork(14))
    except CasemateError as error:
        return {"unbounded_error": str(error)}
    endpoint = Endpoint(setting.target, tuple(s for s in setting.services if s.start is None))
    met = reached(case.goal, endpoint.decide(trace.x, case.row, 3).label, to_numpy(case.y))
    meter.count("health", len(case))
    # One draw of a random target is one vote; asking for all rows would punish randomness twice.
    return {"unbounded_rows": len(case), "unbounded_broken": int(met.sum())}


def doubled(attack: Any, case: Evade, trace: Trace, setting: Setting, meter: Meter) -> dict[str, Any]:
    """Check 12: twice the steps, on rows that stood. Where any falls, the attack had been cut short."""
    knob = next((name for name in ("steps", "restarts") if name in attack.__dataclass_fields__), None)
    if trace.stopped or knob is None or Need.GRADIENT not in attack.info.needs or Need.PARENT in attack.info.needs:
        return {}
    case = case.only(np.arange(min(FEW, len(case))))
    longer = replace(attack, **{knob: 2 * getattr(attack, knob)})
    trace = _again(longer, case, setting, meter, free=True, rng=RowRandom(setting.seed).fork(12))
    return {"doubled_rows": len(case), "doubled_fell": int(trace.believed.sum())}


def repeated(attack: Any, case: Evade, trace: Trace, setting: Setting, meter: Meter, rng: RowRandom) -> dict[str, Any]:
    """Check 26: the same seed on two rows alone ends as it did among the others."""
    model = getattr(setting.target, "model", None)
    remote = hasattr(model, "pace_per_s")
    if setting.target.random or attack.info.scope == "set" or remote or trace.stopped or not _stateless(setting):
        return {}
    places = np.arange(min(TWICE, len(case)))
    second = _again(attack, case.only(places), setting, meter, free=False, rng=rng)
    return {"repeated_rows": len(places), "repeated_otherwise": int((second.believed != trace.believed[places]).sum())}


def _stateless(setting: Setting) -> bool:
    return all(service.start is None for service in setting.services) and setting.adversary.budget.queries is None


def ablated(attack: Any, case: Evade, setting: Setting, meter: Meter) -> dict[str, Any]:
    """Check 22: the attack on the target without each of its defences, on rows that stood."""
    found = {}
    case = replace(case.only(np.arange(min(FEW // 2, len(case)))), seek="any")
    for name, bare in _without(setting.target):
        try:
            trace = _again(attack, case, setting, meter, free=True, rng=RowRandom(setting.seed).fork(22), target=bare)
        except CasemateError:
            continue  # what is left does not take these inputs: it was no defence but a part
        found[name] = [len(case), int(trace.believed.sum())]
    return {"ablated": found} if found else {}


def _without(target: Any) -> Iterator[tuple[str, Target]]:
    """The target without each stage or decision that is there to stop somebody."""
    whole = getattr(target, "inner", target)
    stages = getattr(whole, "stages", ())
    for i, stage in enumerate(stages):
        if stage.random or stage.backward != "auto" or stage.kind == "quantise":
            yield stage.name, whole.replace(stages=(*stages[:i], *stages[i + 1 :]))
    if hasattr(getattr(whole, "decision", None), "doubt"):
        from ...targets.pipeline import Argmax

        yield "reject", whole.replace(decision=Argmax())
    screened = getattr(getattr(whole, "model", None), "detector", None)
    if screened is not None:
        yield "detector", whole.model.model


def control(attack: Any, case: Evade) -> dict[str, Any]:
    """Check 29: a linear model of the same shape, at one and a half times its exact distance, which must fall."""
    ball = case.within
    if not isinstance(ball, Ball) or ball.norm == "l0" or Need.GRADIENT not in attack.info.needs:
        return {}
    if Need.PARENT in attack.info.needs or attack.info.scope == "set":
        return {}
    shape = tuple(np.shape(to_numpy(take(case.x, [0])))[1:])
    try:
        fell = _falls(attack, shape, ball.norm, float(ball.low), float(ball.high))
    except CasemateError:
        return {}
    return {"control_rows": CONTROL_ROWS, "control_fell": fell}


@functools.lru_cache(64)
def _falls(attack: Any, shape: tuple[int, ...], norm: Any, low: float, high: float) -> int:
    import torch

    from ...core.adversary import Budget, researcher
    from ...targets.wrap import wrap

    size = math.prod(shape)
    rng = np.random.default_rng(29)
    weight = torch.as_tensor(rng.normal(size=(4, size)) / (high - low))
    layer = torch.nn.Linear(size, 4, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(-weight.sum(1) * (high + low) / 2)
    target = wrap(torch.nn.Sequential(torch.nn.Flatten(), layer).requires_grad_(False).eval())
    x = low + (high - low) * rng.uniform(0.4, 0.6, (CONTROL_ROWS, *shape))
    logits = to_numpy(target.respond(x).logits)
    y = logits.argmax(1)
    dual: Any = {"linf": 1, "l2": 2, "l1": np.inf}[norm]
    slopes = weight.numpy()[None] - weight.numpy()[y][:, None]  # (rows, 4, d): zero for the own class
    lead = logits[np.arange(CONTROL_ROWS), y][:, None] - logits
    reach = lead / np.maximum(np.linalg.norm(slopes, dual, axis=2), 1e-30)
    reach[np.arange(CONTROL_ROWS), y] = np.inf
    case = Evade(x, y, within=Ball(norm, 1.5 * float(reach.min(1).max()), low, high))
    budget = Budget(queries_per_row=CONTROL_CALLS, gradients_per_row=CONTROL_CALLS)
    oracle = Oracle(Endpoint(target), researcher(budget), Meter(case.row), Known())
    return int(drive(attack, oracle, case, RowRandom(29)).believed.sum())
