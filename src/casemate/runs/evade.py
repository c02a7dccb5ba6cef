"""One cell of evasion: find the rows that were right, attack them, judge the claims, look at the attack's health."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.adversary import Adversary
from ..core.case import Evade
from ..core.constraint import admits
from ..core.control import Service
from ..core.endpoint import DAY, Endpoint
from ..core.errors import BadInput, CasemateError
from ..core.evidence import plain
from ..core.oracle import Known, Meter, Oracle
from ..core.random import RowRandom
from ..core.target import Target, count, take, to_numpy
from ..judges.evade import Judged, judge, right_at_start
from . import health
from .cascade import drive
from .driver import Progress, Trace
from .part import Part
from .watched import Watched, watched

SAMPLES = 6  # claims kept with their originals, to be looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """All that a cell needs besides attack and case.

    Args:
        share: This shard's part of the campaign's queries, where the budget caps them.
    """

    target: Target
    adversary: Adversary
    services: tuple[Service, ...] = ()
    known: Known = field(default_factory=Known)
    seed: int = 0
    check_health: bool = True
    share: int | None = None

    @property
    def hands(self) -> Adversary:
        """The adversary with this shard's share of the campaign: shards know nothing of each other, and the cap is hard."""
        if self.share is None:
            return self.adversary
        return replace(self.adversary, budget=replace(self.adversary.budget, queries=self.share))


def run_evade(attack: Any, case: Evade, setting: Setting, progress: Progress | None = None) -> Part:
    """Attack the rows of `case` that were right at the start, and judge what comes back."""
    began = time.perf_counter()
    setting = replace(setting, target=watched(setting.target))
    declared = setting.target.random
    meter = Meter(case.row)
    setting = replace(setting, target=_steady(setting, case, meter))
    budget = setting.hands.budget
    endpoint = Endpoint(setting.target, setting.services, accounts=budget.accounts, days=budget.days)
    before = setting.target.state()
    right, first_label = right_at_start(case, endpoint, meter)
    inner = case.only(np.flatnonzero(right))
    witness = health.Witness(inner, setting.target, meter) if setting.check_health and len(inner) else None
    oracle = Oracle(endpoint, setting.hands, meter, setting.known, watch=witness)
    rng = RowRandom(setting.seed).fork(_stream(attack.info.id))
    until = None if budget.seconds is None else time.monotonic() + budget.seconds
    trace = drive(attack, oracle, inner, rng, progress, until) if len(inner) else None
    facts: dict[str, Any] = {"stopped": "" if trace is None else trace.stopped, "copy": oracle.on_copy}
    facts |= {"days": endpoint.now / DAY, "accounts": len(endpoint.used)}  # by now: what follows is not the attacker's
    if trace is not None and trace.stages:
        facts["stages"] = [plain(stage) for stage in trace.stages]
    judged = judge(inner, trace.x, endpoint, meter) if trace is not None else None
    facts["random_declared"] = declared
    rows = _columns(case, right, first_label, trace, judged, oracle)
    facts |= {"budget_kept": _kept(meter, setting.hands, case.row), "kind": type(case.within).__name__}
    facts |= {"classes": setting.target.classes, "stated": _stated(setting)}
    if witness is not None and trace is not None and judged is not None:
        facts |= health.measure(attack, inner, trace, judged, setting, endpoint, meter, witness, rng)
    facts["state_kept"] = setting.target.state() == before
    return Part(
        rows=rows, spent=dict(meter.total), facts=facts, seconds=time.perf_counter() - began,
        samples=_samples(inner, trace, judged, setting.target), claims=_claims(case, right, trace, judged),
    )  # fmt: skip


def _stream(id: str) -> int:
    """A stream of randomness of the attack's own, so that two attacks with one seed do not share their noise."""
    return int.from_bytes(hashlib.sha256(id.encode()).digest()[:8], "big")


def _steady(setting: Setting, case: Evade, meter: Meter) -> Target:
    """The target, marked as random where five answers to one question differ and nothing says they would (health check 5).

    What is seen beats what is stated: the attack then has to succeed most of the time, not once.
    """
    target = setting.target
    if target.random or not setting.check_health or not len(case) or not isinstance(target, Watched):
        return target
    few = case.only(np.arange(min(4, len(case))))
    seen = health.unsteady(few, Endpoint(target, setting.services), meter)
    return replace(target, unsteady=True) if seen else target


def _stated(setting: Setting) -> dict[str, Any]:
    """Health check 1: what a threat model has to say, and whether this one does."""
    who = setting.adversary
    return {"who": bool(who.name), "goal": bool(who.goal), "access": bool(who.may), "budget": str(who.budget)}


def _kept(meter: Meter, adversary: Adversary, rows: Any) -> bool:
    """Health check 23: the ledger stays within the budget, by row and in total."""
    budget = adversary.budget
    ok = budget.queries is None or meter.total["queries"] <= budget.queries
    for kind, cap in (("queries", budget.queries_per_row), ("gradients", budget.gradients_per_row)):
        ok &= cap is None or bool((meter.of(kind, rows) <= cap).all())
    return ok


def _columns(
    case: Evade, right: NDArray[np.bool_], label: NDArray[Any], trace: Trace | None, judged: Judged | None, oracle: Oracle
) -> dict[str, Any]:
    n = len(case)

    def spread(values: Any, fill: Any) -> NDArray[Any]:
        values = np.asarray(values)
        column = np.full(n, fill, dtype=values.dtype)
        column[right] = values
        return column

    after = label.astype(np.result_type(label, judged.label)) if judged is not None else label.copy()
    after[right] = label[right] if judged is None else judged.label
    none = np.zeros(int(right.sum()))
    return {
        "row": np.asarray(case.row, np.int64),
        "right": right,
        "truth": to_numpy(case.y),
        "label_before": label,
        "label_after": after,
        "broken": spread(none.astype(bool) if judged is None else judged.met, False),
        "inside": spread(none.astype(bool) if judged is None else judged.inside, True),
        "believed": spread(none.astype(bool) if trace is None else trace.believed, False),
        "blocked": spread(none.astype(bool) if trace is None else trace.blocked, False),
        "improving": spread(none.astype(bool) if trace is None else trace.improving, False),
        "distance": spread(none if judged is None else np.where(judged.met, judged.distance, np.inf), np.inf),
        "broke_at": spread(none if trace is None else trace.broke_at, np.nan),
        "queries": oracle.spent("queries", case.row),
        "local": oracle.spent("local", case.row),
        "gradients": oracle.spent("gradients", case.row) + oracle.spent("backwards", case.row),
        "by": spread(none.astype(int) - 1 if trace is None or trace.by is None else trace.by, -1),
    }


def _samples(case: Evade, trace: Trace | None, judged: Judged | None, target: Target) -> dict[str, Any]:
    """A few broken rows (or, with none, unbroken ones): original, claim, ids, decisions. Of a frame, its cells as text."""
    if trace is None or judged is None:
        return {}
    order = np.argsort(~judged.met, kind="stable")[:SAMPLES]
    before, after = take(to_numpy(case.x), order), take(to_numpy(trace.x), order)
    columns = {}
    if hasattr(before, "iloc"):
        columns = {"columns": np.array([str(name) for name in before.columns])}
        before, after = (np.array(frame.astype(str).values.tolist(), dtype=str) for frame in (before, after))
    return columns | {
        "before": before, "after": after, "row": np.asarray(case.row)[order], "broken": judged.met[order],
        "label_after": _named(target, judged.label[order]), "truth": _named(target, to_numpy(case.y)[order]),
    }  # fmt: skip


def _named(target: Target, labels: Any) -> Any:
    """Labels by the target's own names for its classes, where it has any."""
    names = getattr(getattr(target, "model", None), "values", ())
    if not names:
        return labels
    return np.array([str(names[int(i)]) if 0 <= int(i) < len(names) else "rejected" for i in labels])


def _claims(case: Evade, right: NDArray[np.bool_], trace: Trace | None, judged: Judged | None) -> Any:
    """The claims in the order of the case. A row that failed, or was not attacked, is as it came."""
    if trace is None or judged is None:
        return case.x
    won, met = np.flatnonzero(right)[judged.met], judged.met
    if isinstance(case.x, list | tuple):
        claims = list(case.x)
        for place, changed in zip(won, take(trace.x, met), strict=True):
            claims[place] = changed
        return claims
    if hasattr(case.x, "iloc"):
        import pandas

        # Laid side by side and put in order: assigning into a frame would align by its index.
        same = np.setdiff1d(np.arange(len(case)), won)
        frame = pandas.concat([take(trace.x, met), take(case.x, same)], ignore_index=True)
        return frame.iloc[np.argsort(np.concatenate([won, same]))].set_index(case.x.index)
    x = to_numpy(trace.x)
    whole = np.array(to_numpy(case.x), dtype=x.dtype)
    whole[won] = x[met]
    return whole


def baseline(case: Evade, setting: Setting, draws: int = 8) -> Part:
    """Random allowed changes, judged: which rows need no attacker's skill. A row is broken where any of them does it."""
    began = time.perf_counter()
    endpoint, meter = Endpoint(watched(setting.target), setting.services), Meter(case.row)
    right, _ = right_at_start(case, endpoint, meter)
    inner = case.only(np.flatnonzero(right))
    broken, tried = np.zeros(len(case), bool), 0
    rng = RowRandom(setting.seed).fork(0xBA5E)
    for draw in range(draws if len(inner) else 0):
        x = random_change(inner, rng, draw)
        if x is None:
            break
        tried += 1
        broken[right] |= judge(inner, x, endpoint, meter).met
    rows = {"row": np.asarray(case.row), "right": right, "broken": broken}
    return Part(rows=rows, spent=dict(meter.total), facts={"draws": tried}, seconds=time.perf_counter() - began)


def _sampled(within: Any, origin: Any, rng: RowRandom, rows: Any, draw: int) -> Any:
    """A random change of each row, of whatever constraint."""
    try:
        x = np.asarray(to_numpy(within.sample(origin.copy(), rng, rows, (draw,))))
    except (CasemateError, MemoryError):
        raise
    except Exception as error:
        raise BadInput(f"{within!r}.sample failed: {type(error).__name__}: {error}") from error
    if x.shape != origin.shape or x.dtype.kind not in "iufb":
        raise BadInput(f"{within!r}.sample gave {x.dtype} of shape {x.shape} for {origin.shape}; give one changed row for each")
    return x


def random_change(case: Evade, rng: RowRandom, draw: int) -> Any:
    """One random allowed change of every row, or None where the constraint cannot make any."""
    within: Any = case.within
    if hasattr(within, "sample"):
        origin = to_numpy(case.x)
        x = _sampled(within, origin, rng, case.row, draw)
        # Whole numbers would cut most of the change off.
        x = x.astype(origin.dtype) if origin.dtype.kind == "f" else x
        if not admits(("Region",), within):
            return within.project(x, origin)
        import torch

        return to_numpy(within.project(torch.tensor(x), torch.tensor(origin)))  # copies: it may write to what it gets
    if not hasattr(within, "propose"):
        return None
    single = isinstance(case.x, list | tuple)
    whole = case.x if single or hasattr(case.x, "iloc") else to_numpy(case.x)
    rows = [take(whole, [i]) if hasattr(whole, "iloc") else whole[i : i + 1] for i in range(count(whole))]
    changed = []
    for i, one in enumerate(rows):
        origin = one if hasattr(one, "iloc") else one[0]
        found = within.propose(origin, origin, rng.fork(draw).generator(int(case.row[i])))
        changed.append(found)
    if single:
        return changed
    if not hasattr(case.x, "iloc"):
        return np.stack(changed)
    import pandas

    return pandas.concat(changed)
