"""What could happen to a system, by whom: a pure function of the System and the catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from casemate.core.adversary import Adversary, Need
from casemate.core.entities import DeclaredControl, Fact
from casemate.core.finding import Hidden
from casemate.core.surface import end_of
from casemate.core.system import NO, YES, System
from casemate.threats.adversaries import adversary_for
from casemate.threats.narrowing import Narrowing
from casemate.threats.reader import fill
from casemate.threats.rules import Advice, Prior, Reference, Rule, instances, rules_for
from casemate.threats.scene import Scene, Verdict, assets_of, rate_limit

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
class Question:
    """An unknown fact, and the threats that wait for it. `impact` is the gravest of them, `weight` their sum."""

    path: str
    text: str
    threats: tuple[str, ...]
    impact: int
    weight: int
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
        shared: dict[tuple[str, ...], Any] = {}
        found = []
        for rule in self.rules:
            for element, principal in instances(rule, self.system):
                ruling = rule.judge(_scene(self.system, element, principal, shared))
                if ruling.outcome == "silent":
                    found.append(Silent(id=threat_id(rule.id, element, principal), rule=rule.id, reason=ruling.sentence))
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
        ruling = rule.judge(_scene(self.system, element, principal, {}))
        return ruling.sentence if ruling.outcome == "silent" else ""


def derive(system: System, rules: Iterable[Rule] | None = None) -> Derivation:
    """Every threat, question and silence. Same system and rules, same answer, in the same order.

    Args:
        rules: Left out: the catalogue, installed packs, and the rules that the description names.
    """
    rules = rules_for(system) if rules is None else tuple(rules)
    threats: list[Threat] = []
    undecided: list[Undecided] = []
    open_: dict[str, _Open] = {}
    for rule, scene, verdict in _open_instances(system, rules):
        id = threat_id(rule.id, scene.names["c"], scene.names.get("p", ""))
        if verdict.truth is YES:
            threats.append(_threat(id, rule, scene, verdict))
        else:
            undecided.append(_undecided(id, rule, scene, verdict, open_))
    kept, hidden, dropped = _pruned(threats, {rule.id: rule for rule in rules})
    return Derivation(
        threats=tuple(sorted(kept, key=lambda t: (-t.impact, t.id))),
        questions=_ranked(system, open_),
        undecided=tuple(sorted(undecided, key=lambda u: (-u.impact, u.id))),
        hidden=tuple(sorted(hidden, key=lambda h: h.threat)),
        dropped=tuple(sorted(dropped, key=lambda t: t.id)),
        system=system,
        rules=rules,
    )


def _open_instances(system: System, rules: tuple[Rule, ...]) -> Iterator[tuple[Rule, Scene, Verdict]]:
    """The instances of the rules that are not silent, in order: what they all have in common is judged once."""
    shared: dict[tuple[str, ...], Any] = {}
    narrowing = Narrowing(system)
    elements: dict[tuple[str, ...], tuple[str, ...]] = {}
    for rule in rules:
        if rule.each not in elements:
            elements[rule.each] = tuple(dict.fromkeys(element for element, _ in instances(rule, system)))
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


def _scene(system: System, element: str, principal: str, shared: dict[tuple[str, ...], Any]) -> Scene:
    return Scene(system, {"c": element, "p": principal} if principal else {"c": element}, shared)


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
    families = {test.partition(".")[0] for test in threat.tests}
    more = [test for test in other.tests if test.partition(".")[0] in families]
    return replace(threat, tests=tuple(dict.fromkeys((*threat.tests, *more))))


@dataclass(slots=True)
class _Open:
    text: str
    threats: dict[str, int]


def _threat(id: str, rule: Rule, scene: Scene, verdict: Verdict) -> Threat:
    system, element, principal = scene.system, scene.names["c"], scene.names.get("p", "")
    impact, because = _impact(scene, rule)
    if principal:
        adversary = _adversary(scene, rule.cell["goal"])
    else:
        adversary = _outsider(rule, element)
    return Threat(
        id=id,
        rule=rule.id,
        title=rule.title,
        element=element,
        principal=principal,
        target=scene.once(_tested_by, element),
        explanation=fill(rule.explain, scene),
        facts=tuple({str(used.fact): used.fact for used in verdict.used}.values()),
        harm=rule.harm.text,
        impact=impact,
        impact_because=because,
        adversary=adversary,
        cell=dict(rule.cell),
        stride=rule.stride,
        maturity=rule.maturity,
        mappings=rule.mappings,
        tests=rule.tests,
        checks=rule.checks,
        mitigations=rule.mitigations,
        advice=rule.advice,
        claimed=_claimed(scene, rule),
        prior=rule.prior,
        place=system.place(element),
    )


def _claimed(scene: Scene, rule: Rule) -> tuple[str, ...]:
    """Active controls that stand on the component, or on the way to it, and are meant against the rule."""
    stands = scene.once(_standing, scene.names["c"])
    return tuple(dict.fromkeys(c.id or c.type for c in stands if c.type in rule.mitigations))


def _standing(system: System, element: str) -> tuple[DeclaredControl, ...]:
    near = system.around((element,), back=True, past_trainers=False)
    active = [c for c in system.controls if c.state == "active"]
    return tuple(c for c in active if c.on in near or end_of(system, c.on) in near)


def _undecided(id: str, rule: Rule, scene: Scene, verdict: Verdict, open_: dict[str, _Open]) -> Undecided:
    impact, _ = _impact(scene, rule)
    for used in verdict.used:
        entry = open_.get(used.fact.path)
        if entry is None:
            entry = open_[used.fact.path] = _Open(rule.question(used, scene), {})
        entry.threats[id] = impact
    return Undecided(
        id=id,
        rule=rule.id,
        title=rule.title,
        element=scene.names["c"],
        principal=scene.names.get("p", ""),
        impact=impact,
        questions=tuple(dict.fromkeys(used.fact.path for used in verdict.used)),
    )


def _ranked(system: System, open_: dict[str, _Open]) -> tuple[Question, ...]:
    questions = [
        Question(
            path=path,
            text=entry.text,
            threats=tuple(sorted(entry.threats)),
            impact=max(entry.threats.values()),
            weight=sum(entry.threats.values()),
            place=system.place(path.partition(": ")[0]),
        )
        for path, entry in open_.items()
    ]
    return tuple(sorted(questions, key=lambda q: (-q.weight, -q.impact, q.path)))


def _tested_by(system: System, element: str) -> str:
    """The nearest component, from the element on, that is bound to something executable."""
    bound = {binding.component for binding in system.target}
    return next((id for id in system.closure((element,)) if id in bound), "")


def _impact(scene: Scene, rule: Rule) -> tuple[int, str]:
    """The worth of what is harmed, one more where it cannot be undone and one more where many people are hit."""
    worth, because = scene.once(_worth, scene.names["c"], rule.harm.asset, rule.harm.property)
    if rule.harm.floor >= worth:
        return rule.harm.floor, f"at least {rule.harm.floor}, by the catalogue"
    return min(worth, 4), because


def _worth(system: System, element: str, kind: str, harmed: str) -> tuple[int, str]:
    worth, because, many = 0, "", False
    for asset in assets_of(system, element, kind):
        fact = system.fact(f"{asset.id}.value.{harmed}")
        if isinstance(fact.value, int) and fact.value > worth:
            worth, because = fact.value, str(fact)
            many = (asset.population or 0) > _MANY_PEOPLE
    if worth and kind in ("decision", "safety") and system.decision and system.decision.reversible is NO:
        worth, because = worth + 1, f"{because}, cannot be undone"
    if worth and many:
        worth, because = worth + 1, f"{because}, more than {_MANY_PEOPLE:,} people"
    return worth, because


def _adversary(scene: Scene, goal: str) -> Adversary:
    """`adversary_for`, made once for all rules."""
    made = scene.once(adversary_for, scene.names["p"], scene.names["c"])
    return made if made.goal == goal else replace(made, goal=goal)


def _outsider(rule: Rule, element: str) -> Adversary:
    """Those whom no description lists: who supplies the artifact, and who happens upon the endpoint."""
    may = Need.ARTIFACT if rule.adversary == "supplier" else Need.SUBMIT | Need.LABEL
    because = "whoever can put a model file in its place" if rule.adversary == "supplier" else "whoever finds the endpoint"
    return Adversary(name=f"{rule.adversary}@{element}", may=may, goal=rule.cell["goal"], derived_from=(because,))
