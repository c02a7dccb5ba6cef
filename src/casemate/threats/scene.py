"""What a rule may ask about a system, for one component and one principal. Every answer is three-valued.

A `Scene` is where the closed list of questions lives: the rule language has no other way to look at a system.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from casemate.core.entities import Access, Asset, Binding, RateLimit
from casemate.core.fact import Fact
from casemate.core.reach import bits
from casemate.core.surface import (
    Grant,
    can_contribute,
    can_submit,
    effective_output,
    holds,
    model_places,
    rows_of,
    taught_by,
    trainers,
    training_inputs,
)
from casemate.core.system import NO, UNKNOWN, YES, Component, Flow, System, Truth

T = TypeVar("T")

CAMPAIGN_DAYS = 30.0  # how long an attacker keeps at it where the access row does not say
_PER_DAY = {"second": 86_400, "minute": 1_440, "hour": 24, "day": 1}
_NO_INPUTS = ("model_artifact", "registry", "ci", "dependency_set")
_SEE = {"label": "see_label", "topk": "see_score", "score": "see_score", "logits": "see_logits"}


@dataclass(frozen=True, slots=True)
class Used:
    """A fact a condition rested on. `ask` is the key of its question, for when it is unknown."""

    fact: Fact
    ask: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A truth and the facts that made it so: for unknown, exactly the ones that would settle it."""

    truth: Truth
    used: tuple[Used, ...] = ()


@dataclass(frozen=True, slots=True)
class Scene:
    """A system with `$c`, `$p` and whatever `exists` has bound. Lookups are shared by all scenes of a derivation."""

    system: System
    names: Mapping[str, str]
    shared: dict[tuple[Any, ...], Any] = field(default_factory=dict)

    def bind(self, name: str, id: str) -> Scene:
        return Scene(self.system, {**self.names, name: id}, self.shared)

    def grant(self, what: str, who: str, on: str, capabilities: tuple[str, ...] = ()) -> Grant:
        if what == "submits":
            return can_submit(self.system, who, on)
        if what == "contributes":
            return can_contribute(self.system, who, on)
        around = {"artifact": model_places, "training": training_inputs}.get(what)
        return holds(self.system, who, capabilities, around(self.system, on) if around else (on,))

    def among(self, family: str, of: str) -> tuple[str, ...]:
        """The finite sets that `exists` may range over."""
        key = ("among", family, of)
        if key not in self.shared:
            self.shared[key] = _among(self.system, family, of)
        found: tuple[str, ...] = self.shared[key]
        return found

    def once(self, answer: Callable[..., T], *asked: str) -> T:
        """What a function says of the system and these ids, worked out once for all scenes."""
        key = (answer.__name__, *asked)
        if key not in self.shared:
            self.shared[key] = answer(self.system, *asked)
        found: T = self.shared[key]
        return found

    def value(self, path: str) -> Fact:
        """A fact by path; `<component>.target...` goes into what binds the component to code.

        Down there nothing is unknown: it is configuration, and what is absent is absent.
        """
        first, _, rest = path.partition(".")
        if not rest.startswith("target."):
            return self.once(System.fact, path)
        at: Any = self.system.binding(first)
        for key in rest.split(".")[1:]:
            at = getattr(at, key, None) if isinstance(at, Binding) else at.get(key) if isinstance(at, Mapping) else None
        return Fact(path, "none" if at is None else at)


def _among(system: System, family: str, of: str) -> tuple[str, ...]:
    if family == "components":
        return tuple(c.id for c in system.components)
    if family == "principals":
        return tuple(p.id for p in system.principals)
    if family == "trainers":
        return trainers(system, of)
    if family == "controls":
        return tuple(c.id for c in system.controls if c.on == of and c.id and c.state != "retired")
    if family in ("flows_in", "flows_out"):
        return tuple(flow.id for flow in _flows(system, family).get(of, ()))
    if family == "inputs":
        return tuple(id for id in _before(system, of) if isinstance(system.element(id), Component))
    if family == "way_in":
        nearest, inward = _before(system, of), _flows(system, "flows_in")
        before = set(nearest)
        return tuple(f.id for to in nearest for f in inward.get(to, ()) if f.from_ in before)
    if family == "guards":
        near = {*_before(system, of), *_among(system, "way_in", of)}
        return tuple(c.id for c in system.controls if c.on in near and c.id and c.state != "retired")
    start = taught_by(system, of) if family == "training_inputs" else (of,)
    found = system.closure(start, back=family in ("upstream", "training_inputs"))
    found = tuple(dict.fromkeys((*found, *trainers(system, of)))) if family == "training_inputs" else found
    components = (e for id in found if isinstance(e := system.element(id), Component))
    return tuple(e.id for e in components if family != "later_trainers" or (e.trains and e.id != of))


def _before(system: System, component: str) -> tuple[str, ...]:
    """What an input passes on its way, the component included: nothing that delivers a model or code instead."""
    key = ("before", component)
    if key not in system._found:
        found = system.closure((component,), back=True, past_trainers=False)
        others = (id for id in found if id == component or getattr(system.element(id), "kind", "") not in _NO_INPUTS)
        system._found[key] = tuple(others)
    before: tuple[str, ...] = system._found[key]
    return before


def _flows(system: System, family: str) -> dict[str, list[Flow]]:
    """The flows into, or out of, each element, in the order of the description."""
    if family not in system._found:
        by_end: dict[str, list[Flow]] = {}
        for flow in system.flows:
            by_end.setdefault(flow.to if family == "flows_in" else flow.from_, []).append(flow)
        system._found[family] = by_end
    found: dict[str, list[Flow]] = system._found[family]
    return found


def granted(grant: Grant, asked: str = "") -> Verdict:
    """A grant as a verdict: each access row is a fact."""
    value = "no" if grant.truth is NO else "unsure" if grant.truth is UNKNOWN else "yes"
    if not grant.because:
        return Verdict(grant.truth, (Used(Fact(asked, value, "not listed")),))
    used = (Used(Fact(row, value), ask=row.rpartition(": ")[2]) for row in grant.because)
    return Verdict(grant.truth, tuple(used))


def sees(scene: Scene, who: str, on: str, level: str) -> Verdict:
    """Whether the principal sees at least this much of the output, as it is really shown."""
    seen = effective_output(scene.system, who, on)
    truth = seen.at_least(level)
    if truth is UNKNOWN:
        # The weakest that is unsure and would do: one that a row rules out already is not asked for again.
        unsure = [(r.id, can) for can in _stronger(_SEE[level]) for r in rows_of(scene.system, who) if can in r.unsure]
        row, capability = unsure[0] if unsure else (f"access({who}, {on})", _SEE[level])
        return Verdict(truth, (Used(Fact(f"{row}: {capability}", "unsure"), ask=capability),))
    if seen.capped:
        path = f"{seen.capped}.model.output"
        cap = scene.system.fact(path)
        return Verdict(truth, (Used(cap), *(Used(Fact(row, f"capped to {seen.level}")) for row in seen.because)))
    if not seen.because:
        return Verdict(truth, (Used(Fact(f"access({who}, {on}): {_SEE[level]}", "no", "not listed")),))
    return Verdict(truth, tuple(Used(Fact(row, "yes")) for row in seen.because))


def _stronger(capability: str) -> tuple[str, ...]:
    order = ("see_label", "see_score", "see_logits")
    alike = ("see_decision",) if capability == "see_label" else ()
    return (*alike, *order[order.index(capability) :])


def assets_of(system: System, component: str, kind: str) -> tuple[Asset, ...]:
    """The assets of a kind at stake at a component: held there or where flows lead to or come from.

    A description that attaches no asset of this kind to any component means all of them.
    """
    key = ("assets_of", component, kind)
    if key not in system._found:
        near, attached = _held(system)
        wanted = sum(1 << i for i in _by_kind(system).get(kind, ()))
        chosen = near[component] & wanted if attached & wanted else wanted
        system._found[key] = tuple(system.assets[i] for i in bits(chosen))
    found: tuple[Asset, ...] = system._found[key]
    return found


def _by_kind(system: System) -> dict[str, list[int]]:
    if "assets by kind" not in system._found:
        by_kind: dict[str, list[int]] = {}
        for i, asset in enumerate(system.assets):
            by_kind.setdefault(asset.kind or "", []).append(i)
        system._found["assets by kind"] = by_kind
    found: dict[str, list[int]] = system._found["assets by kind"]
    return found


def _held(system: System) -> tuple[dict[str, int], int]:
    """For each element the assets held upstream or downstream of it, as bits, and all that anything holds."""
    if "held" not in system._found:
        bit = {asset.id: 1 << i for i, asset in enumerate(system.assets)}
        places = system.group(())
        own = [0] * len(places.ids)
        attached = 0
        for component in system.components:
            held = sum(bit[id] for id in set(component.holds))
            own[places.index[component.id]] = held
            attached |= held
        both = zip(places.ids, system.spread(own), system.spread(own, back=True), strict=True)
        system._found["held"] = {id: onward | before for id, onward, before in both}, attached
    found: tuple[dict[str, int], int] = system._found["held"]
    return found


def rate_limit(system: System, component: str) -> RateLimit | Literal["none"] | None:
    """The limit the endpoint puts on a caller; None where nobody stated one.

    It belongs to the target, which refuses by it. It is never part of an adversary's budget.
    """
    endpoint = system.component(component).endpoint
    return endpoint.rate_limit if endpoint else None


def affords(scene: Scene, who: str, on: str, queries: int) -> Verdict:
    """Whether this many queries fit through the rate limit during the principal's campaign."""
    limit = rate_limit(scene.system, on)
    path = f"{on}.endpoint.rate_limit"
    fact = scene.system.fact(path)
    if limit == "none":
        return Verdict(YES, (Used(fact),))
    if limit is None and scene.system.component(on).kind == "edge_runtime":  # who owns the device sets its pace
        return Verdict(YES, (Used(scene.system.fact(f"{on}.kind")),))
    if limit is None or limit.n is None or limit.per is None:
        return Verdict(UNKNOWN, (Used(fact, ask="endpoint.rate_limit"),))
    rows = rows_of(scene.system, who)
    once = limit.n * _PER_DAY[limit.per] * campaign(rows)
    accounts, unknown = _callers(scene, who, limit, f"{path}.key")
    if unknown is not None and once < queries:
        return Verdict(UNKNOWN, (unknown,))
    shown = Fact(path, f"{_many(once * accounts)} queries in {campaign(rows):g} days", fact.source)
    return Verdict(Truth.of(once * accounts >= queries), (Used(shown),))


def _callers(scene: Scene, who: str, limit: RateLimit, key: str) -> tuple[float, Used | None]:
    """As how many callers the principal can appear to the limit, and the fact that would have to be known for it."""
    if limit.key == "global":
        return 1, None
    if limit.key is None:
        return 1, Used(Fact(key, UNKNOWN), ask="endpoint.rate_limit.key")
    if limit.key == "ip":  # addresses are rented by the thousand, for less than an hour's pay
        return math.inf, None
    stated = [row.budget.accounts for row in rows_of(scene.system, who) if row.budget and row.budget.accounts]
    if stated:
        return max(stated), None
    cost = scene.system.fact(f"{who}.sybil_cost")
    return (1, Used(cost, ask="sybil_cost")) if cost.value is UNKNOWN else (math.inf, None)


def _many(queries: float) -> str:
    return f"{queries:,.0f}" if math.isfinite(queries) else "as many as wished"


def campaign(rows: tuple[Access, ...]) -> float:
    """Days that the longest-lasting of these rows states, or the default length."""
    budgets = [row.budget for row in rows if row.budget]
    stated = [b.days or (b.hours or 0.0) / 24 for b in budgets if b.days or b.hours]
    return max(stated, default=CAMPAIGN_DAYS)
