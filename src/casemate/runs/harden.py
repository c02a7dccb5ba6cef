"""Hardening: apply each control, change the facts, derive again, attack again knowing it, and show cost beside gain.

A control counts only after an attack that knows it. Its facts change which threats there are; its `knows` adds attacks; the
adversary of a limit per account gets more accounts.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..core.control import controls
from ..core.errors import BadInput, UsageError
from ..core.evidence import Cost, Evidence, Status
from ..core.finding import Assessment, Finding
from ..core.identity import hash_file
from ..core.oracle import Endpoint
from ..core.system import System
from ..core.target import Target
from ..store.cells import Store
from ..threats.derive import Derivation, derive
from .assess import Prepared, assess, clean_numbers, prepare
from .bench import Bench
from .engine import Applied, Show
from .plan import plan, profile

SYBILS = 5  # accounts of the adversary who knows of a limit per account


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What one control (or all of them together) did to one threat."""

    threat: str
    before: str
    after: str
    cost_before: str
    cost_after: str


def make(id: str, params: dict[str, Any] | None = None) -> Any:
    """A control by id, with parameters. Unknown ones are named with what is allowed."""
    kind = controls.get(id)
    known = set(kind.__dataclass_fields__)
    strange = set(params or {}) - known
    if strange:
        raise UsageError(f"{id} has no parameter {', '.join(sorted(strange))}; it has {', '.join(sorted(known)) or 'none'}")
    return kind(**(params or {}))


def apply(bench: Bench, control: Any) -> Bench:
    """The bench with a control in place. Raises `BadInput` where it cannot be applied, saying why."""
    mark = repr(control)
    kind = control.info.kind
    if kind == "service":
        return replace(bench, services=(*bench.services, control), applied=(*bench.applied, mark))
    if kind == "inference":
        if bench.target is None:
            raise BadInput(f"{control.info.id}: no target is bound")
        return replace(bench, target=control.harden_target(bench.target), applied=(*bench.applied, mark))
    if kind == "training":
        if bench.recipe is None:
            raise BadInput(f"{control.info.id}: no recipe")
        from ..targets.wrap import wrap

        recipe = control.harden_recipe(bench.recipe)
        return replace(
            bench, recipe=recipe, target=wrap(recipe.fit(recipe.x, recipe.y, 0)), applied=(*bench.applied, mark)
        )
    if bench.artifact is None or not bench.artifact.is_file():
        raise BadInput(f"{control.info.id}: no artifact is bound")
    return replace(bench, pinned=hash_file(bench.artifact), applied=(*bench.applied, mark))


def apply_all(bench: Bench, applied: Applied) -> Bench:
    """The bench with several controls in place, by id and parameters: what a worker process does for itself."""
    for id, params in applied:
        bench = apply(bench, make(id, dict(params)))
    return bench


def changed(system: System, component: str, control: Any) -> System:
    """The System with the facts that the control changes."""
    facts = control.facts() if hasattr(control, "facts") else control.info.changes
    for path, value in facts:
        system = system.replace_fact(f"{component}.{path}", value, "measured")
    return system


def applicable(bench: Bench, findings: Sequence[Finding], trains: bool) -> list[Any]:
    """The controls that some broken finding's catalogue entry names and that can be applied here."""
    wished = {id for finding in findings if finding.status is Status.BROKEN for id in finding.mitigations}
    found = []
    for id in sorted(wished):
        if id not in controls:
            continue
        control = _fitted(id, bench)
        if control is not None and (trains or not control.info.trains):
            found.append(control)
    return found


def _fitted(id: str, bench: Bench) -> Any:
    """A control with defaults that fit the bench; None where it is in place already or cannot apply to such inputs."""
    kind = controls.get(id)
    if any(type(service) is kind for service in bench.services):
        return None
    fields = kind.__dataclass_fields__
    params: dict[str, Any] = {}
    for name in ("low", "high", "radius", "norm"):
        if name in fields and hasattr(bench.within, name):
            params[name] = getattr(bench.within, name)
    family = id.split(".")[0]
    if family in ("inference", "training") and bench.modality != "array":
        return None
    if family == "training" and (bench.recipe is None or "perturb" not in _hooks(bench.recipe.fit)):
        return None
    if family == "pipeline" and (bench.artifact is None or bench.pinned is not None):
        return None
    return kind(**params)


def _hooks(fit: Callable[..., Any]) -> set[str]:
    try:
        return set(inspect.signature(fit).parameters)
    except (TypeError, ValueError):
        return set()


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

    Returns:
        The assessment before, with `hardening`: one row for each control and one for all together.
    """
    for control in only:
        make(control) if isinstance(control, str) else None  # a slip of the pen is told before the first attack
    own = store if isinstance(store, Store) or store is None else Store(store)
    ready = prepare(path, budget=budget, seed=seed)
    before = assess(path, store=own, workers=workers, seed=seed, budget=budget, show=show, prepared=ready)
    rows: list[dict[str, Any]] = []
    for name, bench in ready.benches.items():
        if bench.target is None:
            continue
        own_findings = [f for f in before.findings if f.element == name]
        asked = [(_fitted(c, bench) or make(c)) if isinstance(c, str) else c for c in only]
        chosen = asked or applicable(bench, own_findings, trains)
        if not chosen:
            continue
        sets = [[control] for control in chosen] + ([chosen] if len(chosen) > 1 else [])
        rows += [_try(ready, bench, together, before, own, show) for together in sets]
    return replace(before, hardening=tuple(rows))


def _try(
    ready: Prepared, bench: Bench, tried: Sequence[Any], before: Assessment, store: Store | None, show: Show
) -> dict[str, Any]:
    """One row: what a set of controls changed."""
    label = " + ".join(control.info.id for control in tried)
    row: dict[str, Any] = {"control": label, "component": bench.component, "note": ""}
    hard, system = bench, ready.system
    try:
        for control in tried:
            hard = apply(hard, control)
            system = changed(system, bench.component, control)
    except UsageError as error:
        return {**row, "note": f"cannot be applied: {error}", "changes": []}
    except (KeyboardInterrupt, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - the user's own training, or a plugin: the other controls are tried all the same
        return {**row, "note": f"failed: {type(error).__name__}: {error}", "changes": []}
    hard = replace(hard, system=system)
    derivation = _knowing(derive(system), before, bench.component, tried)
    chosen, _ = profile(ready.budget)
    hardened = replace(
        ready, system=system, derivation=derivation, benches={bench.component: hard},
        plans={bench.component: plan(hard, [t for t in derivation.threats if t.target == bench.component], chosen, ready.seed)},
    )  # fmt: skip
    after = assess(ready.path, store=store, seed=ready.seed, budget=ready.budget, show=show, prepared=hardened)
    row["changes"] = [vars_of(change) for change in _changes(before, after, bench.component, tried)]
    row["cost_before"], row["cost_after"] = _worst(before, bench.component), _worst(after, bench.component)
    return {**row, **_price(bench, hard)}


def vars_of(change: Change) -> dict[str, str]:
    """A change as a JSON-ready row."""
    return {name: getattr(change, name) for name in Change.__slots__}


def _knowing(derivation: Derivation, before: Assessment, component: str, tried: Sequence[Any]) -> Derivation:
    """The derivation with the attacks that know the controls, and more accounts against a limit per account."""
    knows = tuple(dict.fromkeys(id for control in tried for id in control.info.knows))
    meant = {id for control in tried for id in control.info.threats}
    sybils = any("account" in str(control) or control.info.id == "service.query_budget" for control in tried)
    threats = []
    for threat in derivation.threats:
        if threat.target == component and (threat.rule in meant or threat.rule.startswith("EV")):
            family = {test.split(".")[0] for test in threat.tests}
            extra = tuple(id for id in knows if id.split(".")[0] in family and id not in threat.tests)
            adversary = threat.adversary
            if sybils:
                more = max(SYBILS, adversary.budget.accounts)
                adversary = replace(adversary, budget=replace(adversary.budget, accounts=more))
            threat = replace(threat, tests=(*threat.tests, *extra), adversary=adversary)
        threats.append(threat)
    return replace(derivation, threats=tuple(threats))


def _changes(before: Assessment, after: Assessment, component: str, tried: Sequence[Any]) -> list[Change]:
    """Threat by threat, before and after. One that no longer derives was removed by the facts."""
    old = {f.threat: f for f in before.findings if f.element == component}
    new = {f.threat: f for f in after.findings if f.element == component}
    found = []
    for id in sorted(old.keys() | new.keys()):
        was, now = old.get(id), new.get(id)
        if was is not None and now is not None and was.status == now.status and _said(was) == _said(now):
            continue
        found.append(Change(
            threat=id, before="absent" if was is None else str(was.status), after=_status(was, now, tried),
            cost_before=_said(was), cost_after=_said(now),
        ))  # fmt: skip
    return found


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
    if finding is None or finding.cost is None:
        return ""
    return str(finding.cost)


def _worst(assessment: Assessment, component: str) -> str:
    """The cheapest break of the decision's integrity: what the attacker would choose."""
    evidence = [e for f in assessment.findings if f.element == component for e in f.evidence if e.case == "evade"]
    cost = cheapest_of(evidence)
    return "" if cost is None else str(cost)


def cheapest_of(evidence: Sequence[Evidence]) -> Cost | None:
    """The cheapest of several attacks, censored ones last."""
    costs = [e.cost for e in evidence if e.cost is not None]
    reached = [c for c in costs if c.queries is not None]
    if reached:
        return min(reached, key=lambda c: c.queries or 0.0)
    return max(costs, key=lambda c: c.censored_at or 0.0, default=None)


def _price(bench: Bench, hard: Bench) -> dict[str, Any]:
    """What the controls cost honest users: clean accuracy, rejects, latency."""
    was, now = clean_numbers(bench), clean_numbers(hard)
    steps = _step_seconds(hard) - _step_seconds(bench)
    return {
        "accuracy_before": was.get("accuracy"), "accuracy_after": now.get("accuracy"),
        "rejected_before": was.get("rejected"), "rejected_after": now.get("rejected"),
        "latency_ms_before": 1000 * was.get("row_seconds", 0.0),
        "latency_ms_after": 1000 * (now.get("row_seconds", 0.0) + max(0.0, steps)),
    }  # fmt: skip


def _step_seconds(bench: Bench, times: int = 50) -> float:
    """What the service steps add to one row, measured."""
    import time

    if not bench.services or bench.target is None or bench.data is None:
        return 0.0
    from ..core.target import take

    target: Target = bench.target
    response = target.respond(take(bench.data.x, [0]))
    endpoint = Endpoint(target, bench.services, days=1e6)
    began = time.perf_counter()
    for _ in range(times):
        endpoint.admit(1)
        endpoint.shown(response)
    return (time.perf_counter() - began) / times
