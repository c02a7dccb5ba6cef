"""Putting controls in place: on a bench, on a System, by name for a worker process; and which of them fit at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

from ..core.control import controls
from ..core.errors import BadInput, UsageError
from ..core.evidence import Status
from ..core.finding import Finding
from ..core.identity import hash_file
from ..core.system import System
from ..trainers.limit import TRAINING, too_long, within
from .bench import Bench
from .engine import Applied, one_thread


def make(id: str, params: dict[str, Any] | None = None) -> Any:
    """A control by id, with parameters. Unknown ones are named with what is allowed."""
    kind = controls.get(id)
    known = set(kind.__dataclass_fields__)
    strange = set(params or {}) - known
    if strange:
        raise UsageError(f"{id} has no parameter {', '.join(sorted(strange))}; it has {', '.join(sorted(known)) or 'none'}")
    return kind(**(params or {}))


def fitted(control: Any, bench: Bench) -> Any:
    """The control as it would be applied here: a pin is set to the artifact that is bound."""
    if control.info.kind != "pipeline" or not hasattr(control, "pinned") or getattr(control, "sha256", ""):
        return control
    if bench.artifact is None or not bench.artifact.is_file():
        raise BadInput(f"{control.info.id}: no artifact is bound")
    return control.pinned(bench.artifact)


def apply(bench: Bench, control: Any) -> Bench:
    """The bench with a control in place and the facts that it changes. Raises `BadInput` where it cannot be, saying why."""
    control = fitted(control, bench)
    system = changed(bench.system, bench.component, control)
    bench = replace(bench, system=system, applied=(*bench.applied, repr(control)))
    kind = control.info.kind
    if kind == "service":
        return replace(bench, services=(*bench.services, control))
    if kind == "inference":
        if bench.target is None:
            raise BadInput(f"{control.info.id}: no target is bound")
        return replace(bench, target=control.harden_target(bench.target))
    if hasattr(control, "harden_rounds"):
        if unbound := no_rounds(bench):
            raise BadInput(f"{control.info.id}: {unbound}")
        return replace(bench, rounds=control)
    if kind == "training":
        if bench.recipe is None:
            raise BadInput(f"{control.info.id}: no recipe")
        from ..targets.wrap import wrap

        one_thread()  # whatever ran before: sums come out in one order
        unfit = offers_not(control, bench)
        if unfit:
            raise BadInput(f"{control.info.id}: {unfit}")
        recipe = control.harden_recipe(bench.recipe)
        with within(TRAINING, too_long(f"training with {control.info.id}", TRAINING)):
            made = recipe.fit(recipe.x, recipe.y, 0)
        return replace(bench, recipe=recipe, target=wrap(made))
    if bench.artifact is None or not bench.artifact.is_file():
        raise BadInput(f"{control.info.id}: no artifact is bound")
    pins = (*bench.pins, repr(control))
    return replace(bench, pinned=getattr(control, "sha256", "") or hash_file(bench.artifact), pins=pins)


def apply_all(bench: Bench, applied: Applied) -> Bench:
    """The bench with several controls in place, by id and parameters: what a worker process does for itself."""
    for id, params in applied:
        bench = apply(bench, make(id, dict(params)))
    return bench


def named(tried: Sequence[Any], bench: Bench) -> Applied:
    """The controls by id and parameters, for worker processes; nothing where a worker could not make one of them.

    A worker knows only what casemate brings along: a control of a script lives in this process alone. Nor does every worker
    train a model for itself: that would cost more than it saves, and need not give the same model twice.
    """
    found = []
    for control in (fitted(control, bench) for control in tried):
        own = type(control).__module__.split(".")[0] == __name__.split(".")[0]
        same = control.info.id in controls and controls.get(control.info.id) is type(control)
        if control.info.trains or not own or not same:
            return ()
        found.append((control.info.id, tuple((f.name, getattr(control, f.name)) for f in fields(control) if f.init)))
    return tuple(found)


def changed(system: System, component: str, control: Any) -> System:
    """The System with the facts that the control changes."""
    facts = control.facts() if hasattr(control, "facts") else control.info.changes
    for path, value in facts:
        system = system.replace_fact(f"{component}.{path}", value, "measured")
    return system


def applicable(bench: Bench, findings: Sequence[Finding], trains: bool) -> tuple[list[Any], list[tuple[str, str]]]:
    """The controls that some broken finding names and that can be applied here; and every other one, with the reason."""
    wished = {id for finding in findings if finding.status is Status.BROKEN for id in finding.mitigations}
    found, left = [], []
    for id in sorted(set(controls) | wished):
        # What training would be for nothing is not offered.
        reason = why_not(id, bench, trains or id not in wished)
        if id not in wished and not reason:
            reason = "nothing was broken that it answers" if findings else "nothing was attacked"
        if reason:
            left.append((id, reason))
        else:
            found.append(suited(id, bench))
    return found, left


def why_not(id: str, bench: Bench, trains: bool) -> str:
    """Why a control cannot be tried here; empty where it can."""
    if id not in controls:
        return "no such control is installed"
    kind = controls.get(id)
    family = kind.info.kind
    if any(type(service) is kind for service in bench.services):
        return "it is in place already"
    if hasattr(kind, "harden_rounds"):
        return no_rounds(bench)
    if family in ("inference", "training") and bench.modality not in getattr(kind, "modality", ("array",)):
        return f"it does not take this kind of input ({bench.modality})"
    if family != "pipeline" and bench.target is None:
        return "no target is bound"
    if family == "training":
        if bench.recipe is None:
            return "no recipe is bound"
        unfit = offers_not(suited(id, bench), bench)
        if unfit:
            return unfit
    if family == "pipeline":
        if bench.artifact is None:
            return "no artifact is bound"
        if bench.pinned is not None:
            return "it is in place already"
        if not bench.artifact.is_file():
            return "the artifact is no single file"
    return "it trains a model: give --train" if kind.info.trains and not trains else ""


def suited(id: str, bench: Bench) -> Any:
    """A control with defaults that fit the bench."""
    kind = controls.get(id)
    params: dict[str, Any] = {}
    for name in ("low", "high", "radius", "norm"):
        if name in kind.__dataclass_fields__ and hasattr(bench.within, name):
            params[name] = getattr(bench.within, name)
    return fitted(kind(**params), bench)


def no_rounds(bench: Bench) -> str:
    """Why no federated training can be attacked or hardened here; empty where one is bound."""
    binding = bench.system.binding(bench.component)
    return "" if binding is not None and binding.federated else "no rounds are bound: target.federated"


def offers_not(control: Any, bench: Bench) -> str:
    """What a training control misses in the recipe, in its own words (its method `fits`); empty where it misses nothing."""
    fits = getattr(control, "fits", None)
    return "" if fits is None or bench.recipe is None else str(fits(bench.recipe))
