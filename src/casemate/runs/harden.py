"""Hardening: apply each control, change the facts, derive again, attack again knowing it, and show cost beside gain.

A control counts only after an attack that knows it. Its facts change which threats there are; its `knows` adds attacks; the
adversary of a limit per account gets more accounts. Both sides, without the control and with it, are attacked by the same
set of attacks with the same means: else a cost that differs would say nothing of the control.
"""

from __future__ import annotations

import math
import shlex
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..core.attack import attacks
from ..core.control import controls
from ..core.errors import UsageError
from ..core.evidence import Evidence, Status
from ..core.finding import Assessment, Finding
from ..core.oracle import Endpoint
from ..core.system import System
from ..core.target import Response, take
from ..judges.statistics import bootstrap
from ..store.cells import Store
from ..threats.derive import Derivation, derive
from .applied import applicable, apply, fitted, make, named, suited, why_not
from .assess import Prepared, assess, clean_numbers, prepare, title
from .bench import Bench
from .engine import Show
from .plan import plan, profile

SYBILS = 5  # accounts of the adversary who knows of a limit per account
PAIRS = 15  # timings with the control and without, one after the other
BATCH_S = 0.1  # what one timing should take: enough for the clock, little for the user
LEVEL = 0.05  # below it a difference is called one


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What one control (or all of them together) did to one threat.

    Args:
        before, after: The status.
        cost_before, cost_after: What the attacker paid.
        rate_before, rate_after: The decisive evidence: its measure, with the interval.
        difference: Whether the two differ, and how that was told; empty where there is nothing to compare.
    """

    threat: str
    before: str
    after: str
    cost_before: str
    cost_after: str
    attack_before: str = ""
    attack_after: str = ""
    measure: str = ""
    rate_before: float | None = None
    rate_after: float | None = None
    interval_before: tuple[float, float] | None = None
    interval_after: tuple[float, float] | None = None
    difference: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """What was asked for: the same for every control that is tried."""

    path: str | Path | System
    ready: Prepared
    before: Assessment
    store: Store
    workers: int
    trains: bool
    show: Show

    def command(self, tried: Sequence[Any], bench: Bench) -> str:
        """The command that tries these controls again; the call, where parameters differ from what the command would take."""
        ready = self.ready
        if isinstance(self.path, System) or any(not _plain(control, bench) for control in tried):
            source = "SYSTEM" if isinstance(self.path, System) else repr(str(self.path))
            only = ", ".join(map(repr, tried))
            return f"casemate.harden({source}, only=({only},), budget={ready.budget!r}, seed={ready.seed})"
        wished = [word for control in tried for word in ("--control", control.info.id)]
        return shlex.join(["casemate", "harden", str(self.path), *wished, *self._rest()])

    def whole(self, only: Sequence[Any]) -> str:
        """The command of the whole."""
        source = "SYSTEM" if isinstance(self.path, System) else str(self.path)
        ids = [control if isinstance(control, str) else control.info.id for control in only]
        wished = [word for id in ids for word in ("--control", id)] + (["--train"] if self.trains else [])
        return shlex.join(["casemate", "harden", source, *wished, *self._rest()])

    def _rest(self) -> list[str]:
        return ["--seed", str(self.ready.seed), "--budget", self.ready.budget, "--workers", str(self.workers)]


def _plain(control: Any, bench: Bench) -> bool:
    id = control.info.id
    try:
        return id in controls and suited(id, bench) == fitted(control, bench)
    except UsageError:
        return True


def harden(
    path: str | Path | System,
    *,
    only: Sequence[Any] = (),
    trains: bool = False,
    store: Store | str | Path | None = None,
    workers: int = 1,
    seed: int = 0,
    budget: str = "standard",
    show: Show = lambda event: None,
) -> Assessment:
    """Assess, then try controls one by one and all together against attacks that know them.

    Args:
        only: Controls to try (ids or instances); left out, those that the catalogue names for what was broken.
        trains: Whether controls that train a model are tried too.
        workers: Worker processes, for the first attack and for every one after.

    Returns:
        The assessment before, with `hardening`: one row for each control and one for all together; then, with a note, the
        controls that were not tried and why.
    """
    for control in only:
        make(control) if isinstance(control, str) else None  # a slip of the pen is told before the first attack
    with _kept(store) as own:
        kept = None if store is None else own
        ready = prepare(path, budget=budget, seed=seed)
        before = assess(path, store=own, workers=workers, seed=seed, budget=budget, show=show, prepared=ready, record=bool(kept))
        order = _Order(path=path, ready=ready, before=before, store=own, workers=workers, trains=trains, show=show)
        rows = [row for bench in ready.benches.values() for row in _rows(order, bench, only)]
    return replace(before, hardening=tuple(rows), reproduce=order.whole(only))


@contextmanager
def _kept(store: Store | str | Path | None) -> Iterator[Store]:
    """The store that was given, or one for as long as this takes: what was measured once is not measured again."""
    if isinstance(store, Store):
        yield store
    elif store is not None:
        yield Store(store)
    else:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            yield Store(Path(folder) / "evidence.db")


def _rows(order: _Order, bench: Bench, only: Sequence[Any]) -> list[dict[str, Any]]:
    """The rows of one component."""
    if bench.target is None and bench.artifact is None:
        return []
    left: list[tuple[str, str]] = []
    if only:
        # A pin needs the artifact: where there is none, the row says so.
        chosen = [(make(c) if why_not(c, bench, True) else suited(c, bench)) if isinstance(c, str) else c for c in only]
    else:
        ids = _ids(order.ready.derivation, bench.component)
        own = [f for f in order.before.findings if f.threat in ids and f.evidence]
        chosen, left = applicable(bench, own, order.trains)
    sets = [[control] for control in chosen] + ([chosen] if len(chosen) > 1 else [])
    rows = [_try(order, bench, together) for together in sets]
    return rows + [
        {"control": id, "component": bench.component, "note": f"not tried: {why}", "changes": []} for id, why in left
    ]


def _ids(derivation: Derivation, component: str) -> set[str]:
    """The threats that are tested on a component."""
    return {threat.id for threat in derivation.threats if threat.target == component}


def _try(order: _Order, bench: Bench, tried: Sequence[Any]) -> dict[str, Any]:
    """One row: what a set of controls changed."""
    label = " + ".join(control.info.id for control in tried)
    row: dict[str, Any] = {"control": label, "component": bench.component, "note": ""}
    hard = bench
    try:
        for control in tried:
            hard = apply(hard, control)
    except UsageError as error:
        return {**row, "note": f"cannot be applied: {error}", "changes": []}
    except (KeyboardInterrupt, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - the user's own training, or a plugin: the other controls are tried all the same
        return {**row, "note": f"failed: {type(error).__name__}: {error}", "changes": []}
    ready = order.ready
    was = _side(ready, bench, _knowing(ready.derivation, bench.component, tried))
    now = _side(ready, hard, _knowing(derive(hard.system), bench.component, tried))
    name = f"{title(ready)} with {label}"
    now = replace(now, name=name, reproduce=order.command(tried, bench), applied=named(tried, bench))
    before = _attacked(order, was, record=False)
    after = _attacked(order, now, record=True)
    old, new = ({f.threat: f for f in a.findings if f.threat in _ids(side.derivation, bench.component)}
                for a, side in ((before, was), (after, now)))  # fmt: skip
    row["changes"] = [vars_of(change) for change in _changes(old, new, tried)]
    worst = _worst(old), _worst(new)
    row["cost_before"], row["cost_after"] = (_paid(evidence) for evidence in worst)
    row["cheapest"] = vars_of(_change("", *worst))
    return {**row, **_price(bench, hard, ready.clean, now.clean)}


def _side(ready: Prepared, bench: Bench, derivation: Derivation) -> Prepared:
    """One side of the comparison: this bench, these threats, nothing else."""
    chosen, _ = profile(ready.budget)
    name = bench.component
    clean = clean_numbers(bench) if bench.applied else {k.removeprefix(f"{name}."): v for k, v in ready.clean.items()}
    seconds = clean.pop("row_seconds", ready.row_seconds.get(name, 0.0))
    return replace(
        ready, system=bench.system, derivation=derivation, benches={name: bench},
        plans={name: plan(bench, [t for t in derivation.threats if t.target == name], chosen, ready.seed)},
        clean={f"{name}.{key}": value for key, value in clean.items()}, row_seconds={name: seconds},
    )  # fmt: skip


def _attacked(order: _Order, side: Prepared, record: bool) -> Assessment:
    """One side, attacked."""
    return assess(
        order.path, store=order.store, workers=order.workers, seed=side.seed, budget=side.budget, show=order.show,
        prepared=side, record=record,
    )  # fmt: skip


def vars_of(change: Change) -> dict[str, Any]:
    """A change as a JSON-ready row."""
    found = {name: getattr(change, name) for name in Change.__slots__}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}


def _knowing(derivation: Derivation, component: str, tried: Sequence[Any]) -> Derivation:
    """The derivation with the attacks that know the controls, and more accounts against a limit per account."""
    knows = tuple(dict.fromkeys(id for control in tried for id in control.info.knows))
    meant = {id for control in tried for id in control.info.threats}
    sybils = any("account" in str(control) or control.info.id == "service.query_budget" for control in tried)
    threats = []
    for threat in derivation.threats:
        if threat.target == component and (threat.rule in meant or threat.rule.startswith("EV")):
            family = {attacks.get(test).info.case for test in threat.tests}
            extra = tuple(id for id in knows if attacks.get(id).info.case in family and id not in threat.tests)
            adversary = threat.adversary
            if sybils:
                more = max(SYBILS, adversary.budget.accounts)
                adversary = replace(adversary, budget=replace(adversary.budget, accounts=more))
            threat = replace(threat, tests=(*threat.tests, *extra), adversary=adversary)
        threats.append(threat)
    return replace(derivation, threats=tuple(threats))


def _changes(old: dict[str, Finding], new: dict[str, Finding], tried: Sequence[Any]) -> list[Change]:
    """Threat by threat, before and after. One that no longer derives was removed by the facts.

    What was measured on either side is listed, changed or not: that nothing changed is a result.
    """
    found = []
    for id in sorted(old.keys() | new.keys()):
        was, now = old.get(id), new.get(id)
        leads = [f.evidence[0] if f is not None and f.evidence else None for f in (was, now)]
        if was is not None and now is not None and was.status == now.status and leads == [None, None]:
            continue
        found.append(replace(
            _change(id, *leads), before="absent" if was is None else str(was.status), after=_status(was, now, tried),
            cost_before=_said(was), cost_after=_said(now),
        ))  # fmt: skip
    return found


def _change(threat: str, was: Evidence | None, now: Evidence | None) -> Change:
    """Two measurements beside each other."""
    def limits(evidence: Evidence | None) -> tuple[float, float] | None:
        return None if evidence is None or evidence.interval is None else (evidence.interval.low, evidence.interval.high)

    measured = [None if e is None or e.n == 0 else e for e in (was, now)]
    first, second = measured
    lead = first or second
    return Change(
        threat=threat, before="" if was is None else str(was.verdict), after="" if now is None else str(now.verdict),
        cost_before=_paid(was), cost_after=_paid(now), measure="" if lead is None else lead.measure,
        attack_before="" if was is None else was.attack, attack_after="" if now is None else now.attack,
        rate_before=None if first is None else first.rate, rate_after=None if second is None else second.rate,
        interval_before=limits(first), interval_after=limits(second),
        difference="" if first is None or second is None else compared(first, second),
    )  # fmt: skip


def compared(was: Evidence, now: Evidence) -> str:
    """Whether two measurements differ: on the same rows where both have rows, else by their intervals."""
    if was.measure != now.measure:
        return ""
    same = _same_rows(was, now)
    if same is not None:
        fell, rose, n = same
        if not fell and not rose:
            return f"no difference on any of the same {n} rows"
        p = exact_binomial(fell, rose)
        told = f"{fell} rows fell before only, {rose} after only, of the same {n}: p = {p:.2g}"
        if p >= LEVEL:
            return f"no difference beyond the interval ({told})"
        return f"{'fewer' if fell > rose else 'more'} rows fall ({told})"
    if was.interval is None or now.interval is None:
        return ""
    if now.interval.low <= was.interval.high and was.interval.low <= now.interval.high:
        return "no difference beyond the interval"
    return f"{'lower' if now.rate < was.rate else 'higher'}, and the intervals do not meet"


def _same_rows(was: Evidence, now: Evidence) -> tuple[int, int, int] | None:
    """Rows that were right on both sides: broken only before, broken only after, how many."""
    if any(not {"row", "right", "broken"} <= e.rows.keys() for e in (was, now)):
        return None
    both, i, j = np.intersect1d(_right(was, "row"), _right(now, "row"), return_indices=True)
    if not len(both):
        return None
    first, second = _right(was, "broken")[i].astype(bool), _right(now, "broken")[j].astype(bool)
    return int((first & ~second).sum()), int((second & ~first).sum()), len(both)


def _right(evidence: Evidence, column: str) -> Any:
    return np.asarray(evidence.rows[column])[np.asarray(evidence.rows["right"], bool)]


def exact_binomial(one: int, other: int) -> float:
    """The exact two-sided p-value that `one` and `other` discordant pairs are equally likely (McNemar 1947)."""
    n = one + other
    tail = sum(math.comb(n, k) for k in range(min(one, other) + 1))
    return min(1.0, float(2 * tail / 2**n)) if n else 1.0


def _status(was: Finding | None, now: Finding | None, tried: Sequence[Any]) -> str:
    if now is None:
        return "removed by the facts"
    # That an attack is named is not enough: it must have been run, and on this very threat.
    tested = {e.attack for e in now.evidence}
    adaptive = all(tested & set(control.info.knows) for control in tried)
    if was is not None and was.status is Status.BROKEN and now.status is Status.RESISTED:
        return str(Status.MITIGATED if adaptive else Status.CLAIMED)
    return str(now.status)


def _said(finding: Finding | None) -> str:
    """What the cheapest attack of a finding cost; nothing where it has no price in queries or records."""
    if finding is None or finding.cost is None or not finding.evidence:
        return ""
    return _paid(replace(finding.evidence[0], cost=finding.cost))


def _paid(evidence: Evidence | None) -> str:
    if evidence is None or evidence.cost is None:
        return ""
    cost = evidence.cost
    if evidence.case == "evade":
        own = "" if cost.gradients is None else f", {cost.gradients:,.0f} calls of an own copy"
        return cost.said + (own if cost.queries is not None else "")
    return cost.said if cost.queries or cost.records or cost.censored_at else ""


def _worst(findings: dict[str, Finding]) -> Evidence | None:
    """The cheapest break of the decision's integrity, which the attacker would choose; without one, what was tried longest."""
    evidence = [e for f in findings.values() for e in f.evidence if e.case == "evade" and e.cost is not None and e.n]
    return min(evidence, key=_choice, default=None)


def _choice(evidence: Evidence) -> tuple[Any, ...]:
    cost, inf = evidence.cost, float("inf")
    assert cost is not None
    queries = inf if cost.queries is None else cost.queries
    return (not evidence.broken, queries, cost.gradients or 0.0, -evidence.rate, -(cost.censored_at or 0.0), evidence.attack)


def _price(bench: Bench, hard: Bench, was: dict[str, float], now: dict[str, float]) -> dict[str, Any]:
    """What the controls cost honest users: clean accuracy, rejects, latency."""
    name = bench.component
    found: dict[str, Any] = {}
    for key in ("accuracy", "rejected"):
        found |= {f"{key}_before": was.get(f"{name}.{key}"), f"{key}_after": now.get(f"{name}.{key}")}
    return found if found["accuracy_before"] is None else {**found, **latency(bench, hard)}


def latency(bench: Bench, hard: Bench, pairs: int = PAIRS) -> dict[str, Any]:
    """Milliseconds a row, without and with the control: medians of timings taken in turns.

    One timing after another would measure what else the machine did meanwhile; in turns, both see the same.
    """
    rows = min(_rows_in(BATCH_S, bench), _rows_in(BATCH_S, hard))
    taken = np.empty((pairs, 2))
    for i in range(pairs):
        for side in (0, 1) if i % 2 == 0 else (1, 0):
            taken[i, side] = 1000 * _timed((bench, hard)[side], rows)
    interval = bootstrap(taken[:, 1] - taken[:, 0], np.median)
    before, after = np.median(taken, axis=0)
    return {
        "latency_ms_before": float(before), "latency_ms_after": float(after),
        "latency_ms_difference": [interval.low, interval.high], "latency_same": bool(interval.low <= 0 <= interval.high),
    }  # fmt: skip


def _rows_in(seconds: float, bench: Bench) -> int:
    """Rows of one timing. The first call pays for loading, so it is not the one that is looked at."""
    assert bench.data is not None
    _timed(bench, 1)
    return int(np.clip(seconds / max(_timed(bench, 1), 1e-6), 1, min(200, len(bench.data.y))))


def _timed(bench: Bench, rows: int) -> float:
    """Seconds for one row, the service steps included."""
    assert bench.target is not None and bench.data is not None
    x = take(bench.data.x, np.arange(rows))
    endpoint = Endpoint(bench.target, bench.services, days=1e6)
    began = time.perf_counter()
    response: Response = bench.target.respond(x)
    for _ in range(rows if bench.services else 0):
        endpoint.admit(1)
    endpoint.shown(response)
    return (time.perf_counter() - began) / rows
