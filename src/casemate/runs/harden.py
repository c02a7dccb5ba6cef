"""Hardening: apply each control, change the facts, derive again, attack again knowing it, and show cost beside gain.

A control counts only after an attack that knows it. Its facts change which threats there are; its `knows` adds attacks; the
adversary of a limit per account gets more accounts. Both sides, without the control and with it, are attacked by the same
set of attacks with the same means: else a cost that differs would say nothing of the control.
"""

from __future__ import annotations

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
from ..core.endpoint import Endpoint
from ..core.errors import UsageError
from ..core.finding import Assessment
from ..core.system import System
from ..core.target import Response, take
from ..judges.statistics import bootstrap
from ..store.cells import Store
from ..threats.derive import Derivation, derive
from .applied import applicable, apply, fitted, make, named, no_rounds, suited, why_not
from .assess import Prepared, assess, clean_numbers, prepare, title
from .bench import Bench
from .comparison import change_of, changes, paid, vars_of, worst
from .engine import Event, Show
from .plan import plan
from .profiles import profile

SYBILS = 5  # accounts of the adversary who knows of a limit per account
PAIRS = 15  # timings with the control and without, one after the other
BATCH_S = 0.1  # what one timing should take: enough for the clock, little for the user


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
        The assessment before, with `hardening`: one row for each control and one for all together that could be applied
        (where several ways to train were not asked for by name, without these); then, with a note, the controls that were not
        tried and why.
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
    if bench.target is None and bench.artifact is None and no_rounds(bench):
        return []
    left: list[tuple[str, str]] = []
    if only:
        # A pin needs the artifact: where there is none, the row says so.
        chosen = [(make(c) if why_not(c, bench, True) else suited(c, bench)) if isinstance(c, str) else c for c in only]
    else:
        ids = _ids(order.ready.derivation, bench.component)
        own = [f for f in order.before.findings if f.threat in ids and f.evidence]
        chosen, left = applicable(bench, own, order.trains)
    rows = [_try(order, bench, [control], (i, len(chosen) + 1)) for i, control in enumerate(chosen, 1)]
    sound = [control for control, row in zip(chosen, rows, strict=True) if not row["note"]]
    joint = sound if only else _together(sound)
    if len(joint) > 1:
        rows.append(_try(order, bench, joint, (len(chosen) + 1, len(chosen) + 1)))
    return rows + [
        {"control": id, "component": bench.component, "note": f"not tried: {why}", "changes": []} for id, why in left
    ]


def _together(chosen: list[Any]) -> list[Any]:
    """What is tried as a whole: at most one way to train, for nobody deploys a model that was trained in several at once."""
    several = sum(control.info.kind == "training" for control in chosen) > 1
    return [control for control in chosen if not several or control.info.kind != "training"]


def _ids(derivation: Derivation, component: str) -> set[str]:
    """The threats that are tested on a component."""
    return {threat.id for threat in derivation.threats if threat.target == component}


def _try(order: _Order, bench: Bench, tried: Sequence[Any], turn: tuple[int, int]) -> dict[str, Any]:
    """One row: what a set of controls changed."""
    label = " + ".join(control.info.id for control in tried)
    row: dict[str, Any] = {"control": label, "component": bench.component, "note": ""}
    try:
        hard, row = _hardened(order, bench, tried, row, turn)
    except UsageError as error:
        return {**row, "note": f"cannot be applied: {_line(error)}", "changes": []}
    except (KeyboardInterrupt, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - the user's own training, or a plugin: the other controls are tried all the same
        return {**row, "note": f"failed: {type(error).__name__}: {_line(error)}", "changes": []}
    ready = order.ready
    was = _side(ready, bench, _knowing(ready.derivation, bench.component, tried))
    now = _side(ready, hard, _knowing(derive(hard.system), bench.component, tried))
    name = f"{title(ready)} with {label}"
    now = replace(now, name=name, reproduce=order.command(tried, bench), applied=named(tried, bench))
    before = _attacked(order, was, f"without {label}", record=False)
    after = _attacked(order, now, f"with {label}", record=True)
    old, new = ({f.threat: f for f in a.findings if f.threat in _ids(side.derivation, bench.component)}
                for a, side in ((before, was), (after, now)))  # fmt: skip
    row["changes"] = [vars_of(change) for change in changes(old, new, tried)]
    leads = worst(old), worst(new)
    row["cost_before"], row["cost_after"] = (paid(evidence) for evidence in leads)
    row["cheapest"] = vars_of(change_of("", *leads))
    return {**row, **_price(bench, hard, ready.clean, now.clean)}


def _hardened(
    order: _Order, bench: Bench, tried: Sequence[Any], row: dict[str, Any], turn: tuple[int, int]
) -> tuple[Bench, dict[str, Any]]:
    """The bench with the controls in place; in the row what training cost: its time, and the honest records it leaves out.

    A training is announced before it begins, as only the user's own code knows how long it takes.
    """
    hard, began, trains = bench, time.monotonic(), any(control.info.trains for control in tried)
    if trains:
        order.show(Event(turn[0] - 1, turn[1], f"{row['control']}: trains, which may take a while", 1.0))
    for control in tried:
        hard = apply(hard, control)
    if trains:
        row = {**row, "training_seconds": time.monotonic() - began}
    count = getattr(tried[0], "false_positives", None) if len(tried) == 1 else None
    if count is not None and bench.recipe is not None:
        row = {**row, "honest_share_left_out": float(count(bench.recipe))}
    return hard, row


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())


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


def _attacked(order: _Order, side: Prepared, name: str, record: bool) -> Assessment:
    """One side, attacked. What was measured before is not shown again."""
    def show(event: Event) -> None:
        if not event.stored:
            order.show(replace(event, label=f"{name}: {event.label}"))

    return assess(
        order.path, store=order.store, workers=order.workers, seed=side.seed, budget=side.budget, show=show,
        prepared=side, record=record,
    )  # fmt: skip


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
