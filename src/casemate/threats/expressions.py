"""The rule language: expressions as data, total, with three truth values.

    all: [..]   any: [..]   not: ..   in_order: [..] (all, but one question at a time)
    exists: t, among: trainers|components|principals|upstream|downstream|controls|flows_in|flows_out|way_in, of: $c, where: ..
                 (or inputs|guards|training_inputs|later_trainers: see AMONG)
    path: $c.endpoint.auth, is: none | in: [..] | at_least: n | below: n
    lists: $c.provenance.datasets   (anything at all; a list that nobody wrote is empty, so nothing is asked)
    can: [read_weights], who: $p, on: $c, where: here|artifact|training
    submits: $c, who: $p          contributes: $c, who: $p        reaches: $c, who: $p
    sees: label|score|logits, who: $p, on: $c
    asset: decision, of: $c, value: I, at_least: 2
    asset: training_data, of: $c, personal: yes   (or public, or aggregates_secret)
    affords: 1000, who: $p, on: $c
    trust: $c, in: [public, user_device]      crosses: $f      carries: personal, on: $f

An expression is checked when it is read (`reader`: operators, names, paths against the types, values against the
choices), so that evaluating it cannot fail: there is no arithmetic, no recursion and no loop but over the finite sets
of a system. Nothing can test for `unknown`: a rule that could would decide on ignorance instead of asking.

Of a set with many unknown elements (the flows on a long way in, the assets of a kind) the first `MOST_ASKED` are asked
about, the nearest ones where the set is one of places: once they are answered, the next ones are. All are looked at
before that: one yes settles an `exists`, wherever it stands.
"""

from __future__ import annotations

import functools
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Protocol

from casemate.core.entities import Asset, Component, DeclaredControl, Flow, Principal
from casemate.core.errors import BadSystem
from casemate.core.fact import NO, UNKNOWN, YES, Fact, Truth
from casemate.core.surface import crosses, reach
from casemate.threats.scene import Scene, Used, Verdict, affords, assets_of, granted, sees

AMONG = {
    "trainers": Component,
    "components": Component,
    "principals": Principal,
    "upstream": Component,
    "downstream": Component,
    "controls": DeclaredControl,  # those that stand on it and are not retired
    "flows_in": Flow,
    "flows_out": Flow,
    "way_in": Flow,  # every flow that an input passes on its way to it
    "inputs": Component,  # itself, and whatever an input passes before it
    "guards": DeclaredControl,  # as `controls`, and those on the way in
    "training_inputs": Component,  # every place from which records reach its training
    "later_trainers": Component,  # those that train downstream of it
}


MOST_ASKED = 12  # of one set at once; a dozen answers can be given in one sitting, five thousand cannot


class BadRule(BadSystem):
    """A rule that cannot be read. Fatal: a rule that is skipped would be a threat silently passed."""


class Expression(Protocol):
    """Something that is yes, no or unknown of a scene. A value: equal ones judge alike."""

    def __hash__(self) -> int: ...

    def judge(self, scene: Scene) -> Verdict: ...


def joined(truth: Truth, verdicts: Sequence[Verdict]) -> Verdict:
    """Verdicts that agree as one, with what all of them rest on. One alone is returned as it is, so that instances which
    wait for the same facts share them."""
    if len(verdicts) == 1:
        return verdicts[0]
    return Verdict(truth, tuple(used for verdict in verdicts for used in verdict.used))


def any_of(verdicts: Iterable[Verdict], most: int | None = None) -> Verdict:
    """Yes as soon as one is; otherwise unknown if one is, resting on the first `most` of those; otherwise no."""
    unknown: list[Verdict] = []
    no: list[Verdict] = []
    for verdict in verdicts:
        if verdict.truth is YES:
            return verdict
        (no if verdict.truth is NO else unknown).append(verdict)
    return joined(UNKNOWN, unknown[:most]) if unknown else joined(NO, no)


@functools.cache
def words_in(part: Hashable) -> frozenset[str]:
    """Every word of an expression that could be a variable: rather one too many than one too few."""
    if isinstance(part, str):
        return frozenset((part,))
    inside = part if isinstance(part, tuple) else [getattr(part, f.name) for f in fields(part)] if is_dataclass(part) else ()
    return frozenset().union(*map(words_in, inside))


@dataclass(frozen=True, slots=True)
class All:
    parts: tuple[Expression, ...]

    def judge(self, scene: Scene) -> Verdict:
        """No as soon as one part is no; otherwise every unknown part is worth asking about."""
        unknown: list[Verdict] = []
        yes: list[Verdict] = []
        for part in self.parts:
            verdict = part.judge(scene)
            if verdict.truth is NO:
                return verdict
            (yes if verdict.truth is YES else unknown).append(verdict)
        return joined(UNKNOWN, unknown) if unknown else joined(YES, yes)


@dataclass(frozen=True, slots=True)
class InOrder:
    """`All`, but of several unknown parts only the first is asked about: the next makes sense once it is answered."""

    parts: tuple[Expression, ...]

    def judge(self, scene: Scene) -> Verdict:
        verdicts = []
        for part in self.parts:
            verdict = part.judge(scene)
            if verdict.truth is NO:
                return verdict
            verdicts.append(verdict)
        first = next((verdict for verdict in verdicts if verdict.truth is UNKNOWN), None)
        return first or joined(YES, verdicts)


@dataclass(frozen=True, slots=True)
class Not:
    part: Expression

    def judge(self, scene: Scene) -> Verdict:
        verdict = self.part.judge(scene)
        return Verdict(~verdict.truth, verdict.used)


@dataclass(frozen=True, slots=True)
class Either:
    parts: tuple[Expression, ...]

    def judge(self, scene: Scene) -> Verdict:
        return any_of(part.judge(scene) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Exists:
    name: str
    among: str
    of: str
    where: Expression

    def judge(self, scene: Scene) -> Verdict:
        of = scene.names[self.of]
        found = scene.among(self.among, of)
        if not found:
            return Verdict(NO, (Used(Fact(f"{self.among} of {of}", "none")),))
        return any_of(self._judged(scene, found), MOST_ASKED)

    def _judged(self, scene: Scene, found: tuple[str, ...]) -> Iterator[Verdict]:
        """The verdict on each element. A condition that speaks of nothing else is judged once, for every scene."""
        if words_in(self.where) & scene.names.keys():
            yield from (self.where.judge(scene.bind(self.name, id)) for id in found)
            return
        known: dict[str, Verdict] = scene.shared.setdefault(("where", self.name, self.where), {})
        for id in found:
            if id not in known:
                known[id] = self.where.judge(scene.bind(self.name, id))
            yield known[id]


@dataclass(frozen=True, slots=True)
class Path:
    """A fact compared with values, or with a bound."""

    name: str
    path: str
    values: tuple[Any, ...] = ()
    least: float | None = None
    below: float | None = None

    def judge(self, scene: Scene) -> Verdict:
        root = "system" if self.name == "system" else scene.names[self.name]
        fact = scene.value(f"{root}.{self.path}")
        if fact.value is UNKNOWN:
            return Verdict(UNKNOWN, (Used(fact, ask=self.path),))
        return Verdict(Truth.of(self._meets(fact.value)), (Used(fact),))

    def _meets(self, value: Any) -> bool:
        if self.values:
            return any(v in self.values for v in (value if isinstance(value, tuple) else (value,)))
        if not isinstance(value, (int, float)):  # known not to exist
            return False
        return value >= self.least if self.least is not None else value < (self.below or 0)


@dataclass(frozen=True, slots=True)
class Lists:
    """Whether a list names anything. One that nobody wrote names nothing: yes or no, never a question."""

    name: str
    path: str

    def judge(self, scene: Scene) -> Verdict:
        root = "system" if self.name == "system" else scene.names[self.name]
        fact = scene.value(f"{root}.{self.path}")
        named = fact.value if isinstance(fact.value, tuple) else ()
        shown = ", ".join(map(str, named)) or "none"
        return Verdict(Truth.of(bool(named)), (Used(Fact(fact.path, shown, fact.source)),))


@dataclass(frozen=True, slots=True)
class Holds:
    """`can`, `submits` and `contributes`: what the access rows grant."""

    what: str
    who: str
    on: str
    capabilities: tuple[str, ...] = ()

    def judge(self, scene: Scene) -> Verdict:
        who, on = scene.names[self.who], scene.names[self.on]
        key = ("granted", self.what, who, on, *self.capabilities)
        if key not in scene.shared:
            asked = f"access({who}, {on}): {' or '.join(self.capabilities) or self.what}"
            scene.shared[key] = granted(scene.grant(self.what, who, on, self.capabilities), asked)
        found: Verdict = scene.shared[key]
        return found


@dataclass(frozen=True, slots=True)
class Reaches:
    who: str
    on: str

    def judge(self, scene: Scene) -> Verdict:
        who, on = scene.names[self.who], scene.names[self.on]
        route = reach(scene.system, who, on)
        return Verdict(Truth.of(bool(route)), (Used(Fact(f"route from {who} to {on}", " -> ".join(route) or "none")),))


@dataclass(frozen=True, slots=True)
class Sees:
    level: str
    who: str
    on: str

    def judge(self, scene: Scene) -> Verdict:
        who, on = scene.names[self.who], scene.names[self.on]
        key = ("sees", who, on, self.level)
        if key not in scene.shared:
            scene.shared[key] = sees(scene, who, on, self.level)
        found: Verdict = scene.shared[key]
        return found


@dataclass(frozen=True, slots=True)
class Stake:
    """Whether any asset of a kind is worth at least so much, or has a flag. No such asset stated: unknown."""

    kind: str
    of: str
    value: str = ""
    least: int = 0
    flag: str = ""
    wanted: Truth = YES

    def judge(self, scene: Scene) -> Verdict:
        found = assets_of(scene.system, scene.names[self.of], self.kind)
        key = ("stake", self, *(asset.id for asset in found))  # components that share their assets share the verdict
        if key not in scene.shared:
            scene.shared[key] = self._of(scene, found)
        verdict: Verdict = scene.shared[key]
        return verdict

    def _of(self, scene: Scene, found: tuple[Asset, ...]) -> Verdict:
        ask = f"{self.kind}.{self.value or self.flag}"
        if not found:
            return Verdict(UNKNOWN, (Used(Fact(f"assets({self.kind}): {self.value or self.flag}", UNKNOWN), ask=ask),))
        verdicts = []
        for asset in found:
            path = f"{asset.id}.value.{self.value}" if self.value else f"{asset.id}.{self.flag}"
            fact = scene.system.fact(path)
            if fact.value is UNKNOWN:
                verdicts.append(Verdict(UNKNOWN, (Used(fact, ask=ask),)))
            else:
                met = fact.value >= self.least if self.value else fact.value is self.wanted
                verdicts.append(Verdict(Truth.of(met), (Used(fact),)))
        return any_of(verdicts, MOST_ASKED)


@dataclass(frozen=True, slots=True)
class Settled:
    verdict: Verdict

    def judge(self, scene: Scene) -> Verdict:
        return self.verdict


@dataclass(frozen=True, slots=True)
class Affords:
    queries: int
    who: str
    on: str

    def judge(self, scene: Scene) -> Verdict:
        who, on = scene.names[self.who], scene.names[self.on]
        key = ("affords", who, on, self.queries)
        if key not in scene.shared:
            scene.shared[key] = affords(scene, who, on, self.queries)
        found: Verdict = scene.shared[key]
        return found


@dataclass(frozen=True, slots=True)
class Trust:
    """Whether a component or principal stands in a zone of one of these kinds. No zone, or one of unknown trust: unknown."""

    name: str
    kinds: tuple[str, ...]

    def judge(self, scene: Scene) -> Verdict:
        id = scene.names[self.name]
        zone = scene.system.element(id).zone
        fact = scene.system.fact(f"{zone}.trust") if zone else Fact(f"{id}.zone", UNKNOWN)
        if fact.value is UNKNOWN:
            return Verdict(UNKNOWN, (Used(fact, ask="zone"),))
        return Verdict(Truth.of(fact.value in self.kinds), (Used(fact),))


@dataclass(frozen=True, slots=True)
class Crosses:
    """Whether a flow leads from one zone into another."""

    flow: str

    def judge(self, scene: Scene) -> Verdict:
        id = scene.names[self.flow]
        truth, shown = crosses(scene.system, id)
        return Verdict(truth, (Used(Fact(f"{id}.crosses", shown), ask="crosses"),))


@dataclass(frozen=True, slots=True)
class Carries:
    """Whether a flow carries data about people. Nothing stated about what it carries: unknown."""

    flow: str

    def judge(self, scene: Scene) -> Verdict:
        flow = scene.system.element(scene.names[self.flow])
        if flow.data is None:
            return Verdict(UNKNOWN, (Used(Fact(f"{flow.id}.data", UNKNOWN), ask="data"),))
        if not flow.data:
            return Verdict(NO, (Used(Fact(f"{flow.id}.data", "none")),))
        facts = [scene.system.fact(f"{asset}.personal") for asset in flow.data]
        verdicts = [Verdict(fact.value, (Used(fact, ask="data.personal"),)) for fact in facts]
        return any_of(verdicts)
