"""What could happen to a system, by whom: a pure function of the System and the catalogue."""

from __future__ import annotations

import functools
import gc
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from casemate.core.adversary import Adversary, Need
from casemate.core.entities import Asset, DeclaredControl
from casemate.core.fact import Fact
from casemate.core.finding import Hidden
from casemate.core.surface import end_of
from casemate.core.system import NO, YES, System
from casemate.threats.adversaries import adversary_for
from casemate.threats.asking import Asked, Question, kinds
from casemate.threats.narrowing import Narrowing
from casemate.threats.reader import fill
from casemate.threats.rules import Advice, Prior, Reference, Rule, instances, places_of, rules_for
from casemate.threats.scene import Scene, Used, Verdict, assets_of, rate_limit

__all__ = ["Derivation", "Question", "Silent", "Threat", "Undecided", "adversary_for", "derive", "rate_limit", "threat_id"]

_MANY_PEOPLE = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Threat:
    """A rule that fired. `element` is the component it is about; `target` the one whose binding can test it.

    `claimed` are the active controls of the description that are meant against it; `prior` is what the catalogue assumes
    an attacker pays where nobody has measured it.
    """

    id: str
    rule: str
    title: str
    element: str
    principal: str
    target: str
    explanation: str
    facts: tuple[Fact, ...]
    harm: str
    impact: int
    impact_because: str
    adversary: Adversary
    cell: dict[str, str]
    stride: str
    maturity: str
    mappings: tuple[Reference, ...]
    tests: tuple[str, ...]
    checks: tuple[str, ...]
    mitigations: tuple[str, ...]
    advice: tuple[Advice, ...]
    claimed: tuple[str, ...]
    prior: Prior
    place: tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Undecided:
    """A threat that may or may not exist: its finding has the status `question`."""

    id: str
    rule: str
    title: str
    element: str
    principal: str
    impact: int
    questions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Silent:
    """Why a rule does not apply: its finding has the status `not_applicable`."""

    id: str
    rule: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Derivation:
    """Threats by impact, questions by what hangs on them, what was hidden, and why everything else stayed silent.

    `dropped` are the threats behind `hidden`. Silences are many and rarely asked for, so they are made when they are.
    """

    threats: tuple[Threat, ...]
    questions: tuple[Question, ...]
    undecided: tuple[Undecided, ...]
    hidden: tuple[Hidden, ...] = ()
    dropped: tuple[Threat, ...] = ()
    system: System = field(default_factory=System, repr=False, compare=False)
    rules: tuple[Rule, ...] = field(default=(), repr=False, compare=False)

    @property
    def silent(self) -> tuple[Silent, ...]:
        """Every instance of every rule that does not apply, with the facts that say so."""
        shared: dict[tuple[Any, ...], Any] = {}
        fired = self._fired()
        found = []
        for rule in self.rules:
            for element, principal in instances(rule, self.system):
                reason = _silence(rule, _scene(self.system, element, principal, shared), fired)
                if reason:
                    found.append(Silent(id=threat_id(rule.id, element, principal), rule=rule.id, reason=reason))
        return tuple(sorted(found, key=lambda s: s.id))

    def why_not(self, id: str) -> str:
        """The reason a threat id is absent, or nothing where it is not."""
        by = next((h for h in self.hidden if h.threat == id), None)
        if by:
            return f"hidden by {by.by}: {by.because}"
        name, _, rest = id.partition("@")
        element, _, principal = rest.partition("#")
        rule = next((r for r in self.rules if r.id == name), None)
        if rule is None or (element, principal) not in instances(rule, self.system):
            return ""
        return _silence(rule, _scene(self.system, element, principal, {}), self._fired())

    def _fired(self) -> set[str]:
        return {threat.id for threat in (*self.threats, *self.dropped)}


def _silence(rule: Rule, scene: Scene, fired: Container[str]) -> str:
    """Why a rule has nothing to say of an instance; nothing where it has."""
    ruling = rule.judge(scene)
    if ruling.outcome == "silent":
        return ruling.sentence
    over = _pointless(rule, scene, fired) if ruling.outcome == "question" else ""
    return f"undecided, and would be hidden by {over}: {rule.dominated_by[over.partition('@')[0]]}" if over else ""


def derive(system: System, rules: Iterable[Rule] | None = None) -> Derivation:
    """Every threat, question and silence. Same system and rules, same answer, in the same order.

    While it runs, Python does not look for cycles of garbage: it makes hundreds of thousands of small records, none of
    them in a cycle, and looking through them again and again would take a good part of the time.

    Args:
        rules: Left out: the catalogue, installed packs, and the rules that the description names.
    """
    rules = rules_for(system) if rules is None else tuple(rules)
    collecting = gc.isenabled()
    gc.disable()
    try:
        return _derived(system, rules)
    finally:
        if collecting:
            gc.enable()


def _derived(system: System, rules: tuple[Rule, ...]) -> Derivation:
    threats: list[Threat] = []
    waiting: list[tuple[str, _Spot, Scene, Verdict]] = []
    spot: _Spot | None = None
    for rule, scene, verdict in _open_instances(system, rules):
        element = scene.names["c"]
        if spot is None or spot.rule is not rule or spot.element != element:
            spot = _Spot(rule, element, scene)
        id = threat_id(rule.id, element, scene.names.get("p", ""))
        if verdict.truth is YES:
            threats.append(spot.threat(id, scene, verdict))
        else:
            waiting.append((id, spot, scene, verdict))
    fired = {threat.id for threat in threats}
    undecided: list[Undecided] = []
    asked = Asked()
    for id, spot, scene, verdict in waiting:
        if not _pointless(spot.rule, scene, fired):  # nobody need answer what would be hidden anyway
            undecided.append(_undecided(id, spot, scene, asked.add(id, spot.impact, spot.rule, scene, verdict.used)))
    kept, hidden, dropped = _pruned(threats, {rule.id: rule for rule in rules})
    return Derivation(
        threats=tuple(sorted(kept, key=lambda t: (-t.impact, t.id))),
        questions=(*kinds(system), *asked.questions(system)),
        undecided=tuple(sorted(undecided, key=lambda u: (-u.impact, u.id))),
        hidden=tuple(sorted(hidden, key=lambda h: h.threat)),
        dropped=tuple(sorted(dropped, key=lambda t: t.id)),
        system=system,
        rules=rules,
    )


def _open_instances(system: System, rules: tuple[Rule, ...]) -> Iterator[tuple[Rule, Scene, Verdict]]:
    """The instances of the rules that are not silent, in order: what they all have in common is judged once."""
    shared: dict[tuple[Any, ...], Any] = {}
    narrowing = Narrowing(system)
    elements: dict[tuple[str, ...], tuple[str, ...]] = {}
    for rule in rules:
        if rule.each not in elements:
            elements[rule.each] = places_of(rule, system)
        for element in elements[rule.each]:
            scene, left = _scene(system, element, "", shared), rule.applies_when
            scenes = [scene]
            if rule.adversary == "principal":
                principals, left = narrowing.narrowed(left, scene)
                scenes = [scene.bind("p", id) for id in principals]
            for at in scenes:
                verdict = left.judge(at)
                if verdict.truth is not NO:
                    yield rule, at, verdict


def threat_id(rule: str, element: str, principal: str = "") -> str:
    """The stable id of an instance: `EV-02@api#customer`."""
    return f"{rule}@{element}#{principal}" if principal else f"{rule}@{element}"


def _scene(system: System, element: str, principal: str, shared: dict[tuple[Any, ...], Any]) -> Scene:
    return Scene(system, {"c": element, "p": principal} if principal else {"c": element}, shared)


def _pointless(rule: Rule, scene: Scene, fired: Container[str]) -> str:
    """The threat that has fired for the same attacker at the same place and makes this one pointless, if there is one."""
    ids = (threat_id(id, scene.names["c"], scene.names.get("p", "")) for id in rule.dominated_by)
    return next((id for id in ids if id in fired), "")


def _pruned(threats: list[Threat], rules: Mapping[str, Rule]) -> tuple[list[Threat], list[Hidden], list[Threat]]:
    """Hide what another threat of the same attacker at the same place makes pointless, and let that one inherit the
    attacks of the same family: they still run, on the attacker's own copy."""
    fired = {threat.id: threat for threat in threats}
    hidden: list[Hidden] = []
    dropped: list[Threat] = []
    for threat in threats:
        for id, because in rules[threat.rule].dominated_by.items():
            by = threat_id(id, threat.element, threat.principal)
            if by in fired:
                hidden.append(Hidden(threat=threat.id, title=threat.title, by=by, because=because))
                dropped.append(threat)
                fired[by] = _inheriting(fired[by], threat)
                break
    gone = {h.threat for h in hidden}
    return [t for id, t in fired.items() if id not in gone], hidden, dropped


def _inheriting(threat: Threat, other: Threat) -> Threat:
    tests = _of_the_family(threat.tests, other.tests)
    return threat if tests == threat.tests else replace(threat, tests=tests)


@functools.cache
def _of_the_family(tests: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    families = {test.partition(".")[0] for test in tests}
    more = [test for test in other if test.partition(".")[0] in families]
    return tuple(dict.fromkeys((*tests, *more)))


class _Spot:
    """A rule at a component: what its threats have in common, whoever the attacker is."""

    def __init__(self, rule: Rule, element: str, scene: Scene) -> None:
        self.rule, self.element = rule, element
        self.impact, self.because = _impact(scene, rule)
        self._shared: dict[str, Any] | None = None
        self._used: tuple[Used, ...] = ()
        self._facts: tuple[Fact, ...] = ()

    def threat(self, id: str, scene: Scene, verdict: Verdict) -> Threat:
        rule, principal = self.rule, scene.names.get("p", "")
        if self._shared is None:
            self._shared = self._in_common(scene)
        return Threat(
            id=id,
            principal=principal,
            explanation=fill(rule.explain, scene),
            facts=self._rests_on(verdict.used),
            adversary=_adversary(scene, rule.cell["goal"]) if principal else _outsider(rule, self.element),
            **self._shared,
        )

    def _in_common(self, scene: Scene) -> dict[str, Any]:
        rule = self.rule
        return {
            "rule": rule.id,
            "title": rule.title,
            "element": self.element,
            "target": scene.once(_tested_by, self.element),
            "harm": rule.harm.text,
            "impact": self.impact,
            "impact_because": self.because,
            "cell": dict(rule.cell),
            "stride": rule.stride,
            "maturity": rule.maturity,
            "mappings": rule.mappings,
            "tests": rule.tests,
            "checks": rule.checks,
            "mitigations": rule.mitigations,
            "advice": rule.advice,
            "claimed": _claimed(scene, rule),
            "prior": rule.prior,
            "place": scene.system.place(self.element),
        }

    def _rests_on(self, used: tuple[Used, ...]) -> tuple[Fact, ...]:
        """Each fact once; the same tuple as the last time where it is the same for the next attacker."""
        if used is not self._used or not self._facts:
            paths = {one.fact.path for one in used}
            distinct = len(paths) == len(used)
            facts = (one.fact for one in used) if distinct else {str(one.fact): one.fact for one in used}.values()
            self._used, self._facts = used, tuple(facts)
        return self._facts


def _claimed(scene: Scene, rule: Rule) -> tuple[str, ...]:
    """Active controls that stand on the component, or on the way to it, and are meant against the rule."""
    stands = scene.once(_standing, scene.names["c"])
    return tuple(dict.fromkeys(c.id or c.type for c in stands if c.type in rule.mitigations))


def _standing(system: System, element: str) -> tuple[DeclaredControl, ...]:
    near = system.around((element,), back=True, past_trainers=False)
    active = [c for c in system.controls if c.state == "active"]
    return tuple(c for c in active if c.on in near or end_of(system, c.on) in near)


def _undecided(id: str, spot: _Spot, scene: Scene, questions: tuple[str, ...]) -> Undecided:
    return Undecided(
        id=id,
        rule=spot.rule.id,
        title=spot.rule.title,
        element=spot.element,
        principal=scene.names.get("p", ""),
        impact=spot.impact,
        questions=questions,
    )


def _tested_by(system: System, element: str) -> str:
    """The nearest component, from the element on, that is bound to something executable."""
    bound = {binding.component for binding in system.target}
    return next((id for id in system.closure((element,)) if id in bound), "") if bound else ""


def _impact(scene: Scene, rule: Rule) -> tuple[int, str]:
    """The worth of what is harmed, one more where it cannot be undone and one more where many people are hit."""
    worth, because = scene.once(_worth, scene.names["c"], rule.harm.asset, rule.harm.property)
    if not because:  # the floor stands for a worth that nobody stated
        return rule.harm.floor, f"at least {rule.harm.floor}, by the catalogue"
    return min(worth, 4), because


def _worth(system: System, element: str, kind: str, harmed: str) -> tuple[int, str]:
    assets = assets_of(system, element, kind)
    key = ("worth", kind, harmed, *(asset.id for asset in assets))  # many components stand before the same assets
    if key not in system._found:
        system._found[key] = _worth_of(system, assets, kind, harmed)
    found: tuple[int, str] = system._found[key]
    return found


def _worth_of(system: System, assets: Iterable[Asset], kind: str, harmed: str) -> tuple[int, str]:
    worth, because, many = 0, "", False
    for asset in assets:
        fact = system.fact(f"{asset.id}.value.{harmed}")
        if isinstance(fact.value, int) and (fact.value > worth or not because):
            worth, because = fact.value, str(fact)
            many = (asset.population or 0) > _MANY_PEOPLE
    if worth and kind in ("decision", "safety") and system.decision and system.decision.reversible is NO:
        worth, because = worth + 1, f"{because}, cannot be undone"
    if worth and many:
        worth, because = worth + 1, f"{because}, more than {_MANY_PEOPLE:,} people"
    return worth, because


def _adversary(scene: Scene, goal: str) -> Adversary:
    """`adversary_for`, made once for all rules with the same goal."""
    who, on = scene.names["p"], scene.names["c"]
    known = scene.shared.get(("adversary", who, on, goal))
    if known is None:
        made = scene.once(adversary_for, who, on)
        known = made if made.goal == goal else replace(made, goal=goal)
        scene.shared["adversary", who, on, goal] = known
    found: Adversary = known
    return found


def _outsider(rule: Rule, element: str) -> Adversary:
    """Those whom no description lists: who supplies the artifact, and who happens upon the endpoint."""
    may = Need.SUBMIT | Need.LABEL
    if rule.adversary == "supplier":
        may = Need.ARTIFACT if "artifact" in rule.each else Need.NONE  # who supplies data or packages holds no model
    because = "whoever supplies what it is made of" if rule.adversary == "supplier" else "whoever gets to it from outside"
    return Adversary(name=f"{rule.adversary}@{element}", may=may, goal=rule.cell["goal"], derived_from=(because,))
