"""What could happen to a system, by whom: a pure function of the System and the catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from casemate.core.adversary import Adversary, Budget, Need
from casemate.core.entities import Access, Fact, Parent
from casemate.core.finding import Hidden
from casemate.core.surface import (
    WRITES,
    Seen,
    can_contribute,
    can_submit,
    documented,
    effective_output,
    holds,
    model_places,
    rows_of,
    training_inputs,
)
from casemate.core.system import NO, YES, System
from casemate.threats.rules import Advice, Prior, Reference, Rule, Ruling, instances, rules_for
from casemate.threats.scene import CAMPAIGN_DAYS, Scene, assets_of, campaign, rate_limit

__all__ = ["Derivation", "Question", "Silent", "Threat", "Undecided", "adversary_for", "derive", "rate_limit", "threat_id"]

_SEEN = {
    "none": Need.NONE,
    "label": Need.LABEL,
    "topk": Need.LABEL | Need.SCORE,
    "score": Need.LABEL | Need.SCORE,
    "logits": Need.LABEL | Need.SCORE | Need.LOGIT,
}
_COPY = Need.ARTIFACT | Need.GRADIENT | Need.LABEL | Need.SCORE | Need.LOGIT
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
        return next((s.reason for s in self.silent if s.id == id), "")


def derive(system: System, rules: Iterable[Rule] | None = None) -> Derivation:
    """Every threat, question and silence. Same system and rules, same answer, in the same order.

    Args:
        rules: Left out: the catalogue, installed packs, and the rules that the description names.
    """
    rules = rules_for(system) if rules is None else tuple(rules)
    threats: list[Threat] = []
    undecided: list[Undecided] = []
    open_: dict[str, _Open] = {}
    shared: dict[tuple[str, ...], Any] = {}
    for rule in rules:
        for element, principal in instances(rule, system):
            scene = _scene(system, element, principal, shared)
            ruling = rule.judge(scene)
            id = threat_id(rule.id, element, principal)
            if ruling.outcome == "fired":
                threats.append(_threat(id, rule, scene, ruling))
            elif ruling.outcome == "question":
                undecided.append(_undecided(id, rule, scene, ruling, open_))
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


def threat_id(rule: str, element: str, principal: str = "") -> str:
    """The stable id of an instance: `EV-02@api#customer`."""
    return f"{rule}@{element}#{principal}" if principal else f"{rule}@{element}"


def _scene(system: System, element: str, principal: str, shared: dict[tuple[str, ...], Any]) -> Scene:
    return Scene(system, {"c": element, "p": principal} if principal else {"c": element}, shared)


def _pruned(
    threats: list[Threat], rules: Mapping[str, Rule]
) -> tuple[list[Threat], list[Hidden], list[Threat]]:
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


def _threat(id: str, rule: Rule, scene: Scene, ruling: Ruling) -> Threat:
    system, element, principal = scene.system, scene.names["c"], scene.names.get("p", "")
    impact, because = _impact(system, rule, element)
    if principal:
        adversary = adversary_for(system, principal, element, goal=rule.cell["goal"])
    else:
        adversary = _outsider(rule, element)
    return Threat(
        id=id,
        rule=rule.id,
        title=rule.title,
        element=element,
        principal=principal,
        target=_tested_by(system, element),
        explanation=ruling.sentence,
        facts=tuple({str(used.fact): used.fact for used in ruling.used}.values()),
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
        claimed=_claimed(system, rule, element),
        prior=rule.prior,
        place=system.place(element),
    )


def _claimed(system: System, rule: Rule, element: str) -> tuple[str, ...]:
    """Active controls that stand on the component, or on the way to it, and are meant against the rule."""
    near = {element, *system.closure((element,), back=True, past_trainers=False)}
    active = [c for c in system.controls if c.state == "active"]
    stands = [c for c in active if c.on in near or getattr(system.element(c.on), "to", "") in near]
    return tuple(dict.fromkeys(c.id or c.type for c in stands if c.type in rule.mitigations))


def _undecided(id: str, rule: Rule, scene: Scene, ruling: Ruling, open_: dict[str, _Open]) -> Undecided:
    impact, _ = _impact(scene.system, rule, scene.names["c"])
    for used in ruling.used:
        entry = open_.setdefault(used.fact.path, _Open(rule.question(used, scene), {}))
        entry.threats[id] = impact
    return Undecided(
        id=id,
        rule=rule.id,
        title=rule.title,
        element=scene.names["c"],
        principal=scene.names.get("p", ""),
        impact=impact,
        questions=tuple(dict.fromkeys(used.fact.path for used in ruling.used)),
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


def _impact(system: System, rule: Rule, element: str) -> tuple[int, str]:
    """The worth of what is harmed, one more where it cannot be undone and one more where many people are hit."""
    harm = rule.harm
    worth, because, many = 0, f"at least {harm.floor}, by the catalogue", False
    for asset in assets_of(system, element, harm.asset):
        fact = system.fact(f"{asset.id}.value.{harm.property}")
        if isinstance(fact.value, int) and fact.value > worth:
            worth, because = fact.value, str(fact)
            many = (asset.population or 0) > _MANY_PEOPLE
    if worth and harm.asset in ("decision", "safety") and system.decision and system.decision.reversible is NO:
        worth, because = worth + 1, f"{because}, cannot be undone"
    if worth and many:
        worth, because = worth + 1, f"{because}, more than {_MANY_PEOPLE:,} people"
    if harm.floor >= worth:
        return harm.floor, f"at least {harm.floor}, by the catalogue"
    return min(worth, 4), because


# The adversary -------------------------------------------------------------------------------------------------------


def adversary_for(system: System, principal: str, component: str, *, goal: str = "integrity") -> Adversary:
    """The adversary that a principal is to a component: its access rows decide, nothing else.

    What it sees is what is shown: a row that claims scores of an endpoint that answers with labels grants labels,
    and `derived_from` says so. The rate limit of the endpoint is no part of the budget (see `rate_limit`).
    """
    because: list[str] = []
    may = _sends(system, principal, component, because)
    may |= _reads(system, principal, component, because)
    grant = can_contribute(system, principal, component)
    if grant.truth is YES:
        may |= Need.CONTRIBUTE
        because += [row for row in grant.because if row.rpartition(": ")[2] in WRITES]
    budget = _budget(_rows(system, principal, component), because)
    return Adversary(
        name=f"{principal}@{component}",
        principal=principal,
        may=may,
        budget=budget,
        goal=goal,
        knowledge=_knows(may),
        derived_from=tuple(dict.fromkeys(because)),
    )


def _sends(system: System, principal: str, component: str, because: list[str]) -> Need:
    grant = can_submit(system, principal, component)
    if grant.truth is not YES:
        return Need.NONE  # seeing an output is worth nothing to one who cannot ask
    because += grant.because
    seen: Seen = effective_output(system, principal, component)
    may = Need.SUBMIT | _SEEN[seen.level]
    because += seen.because
    if seen.capped:
        because.append(f"{seen.capped}.model.output: shows {seen.level} only, whatever the access row says")
    upstream = system.closure((component,), back=True, past_trainers=False)
    sensor = holds(system, principal, ("control_sensor",), upstream)
    return may | Need.SENSOR if sensor.truth is YES else may


def _reads(system: System, principal: str, component: str, because: list[str]) -> Need:
    may = Need.NONE
    copy = holds(system, principal, ("read_weights", "read_binary"), model_places(system, component))
    if copy.truth is YES:
        may |= _COPY
        because += copy.because
    data = holds(system, principal, ("read_data",), (component, *training_inputs(system, component)))
    if data.truth is YES:
        may |= Need.DATA
        because += data.because
    provenance = system.component(component).provenance
    if provenance and isinstance(provenance.parent, Parent) and provenance.parent.public is YES:
        may |= Need.PARENT
        because.append(f"{component}.provenance.parent.public")
    if documented(system, component) is YES:
        may |= Need.RECIPE
        because.append("training.documented")
    return may


def _knows(may: Need) -> tuple[str, ...]:
    words = {"weights": Need.ARTIFACT, "parent": Need.PARENT, "data": Need.DATA, "recipe": Need.RECIPE}
    return tuple(word for word, need in words.items() if need in may)


def _rows(system: System, principal: str, component: str) -> tuple[Access, ...]:
    """The rows that bear on the component: where it gets inputs, records or weights from, and where it answers."""
    near = {component, *system.closure((component,)), *system.closure((component,), back=True)}
    near |= set(training_inputs(system, component))
    return tuple(
        row for row in rows_of(system, principal) if row.on in near or getattr(system.element(row.on), "to", "") in near
    )


def _budget(rows: tuple[Access, ...], because: list[str]) -> Budget:
    """The sum of what the rows would spend; what none of them states stays unlimited."""
    budgets = [row.budget for row in rows if row.budget]
    timed = any(b.days or b.hours for b in budgets)
    daily = [b.queries_per_day for b in budgets if b.queries_per_day is not None]
    if daily and not timed:
        because.append(f"length of the campaign not stated: {CAMPAIGN_DAYS:g} days assumed")
    days = campaign(rows) if timed or daily else None
    records = [b.samples for b in budgets if b.samples is not None]
    return Budget(
        queries=int(sum(daily) * days) if daily and days is not None else None,
        records=sum(records) if records else None,
        accounts=max((b.accounts for b in budgets if b.accounts), default=1),
        days=days,
    )


def _outsider(rule: Rule, element: str) -> Adversary:
    """Those whom no description lists: who supplies the artifact, and who happens upon the endpoint."""
    may = Need.ARTIFACT if rule.adversary == "supplier" else Need.SUBMIT | Need.LABEL
    because = (
        "whoever can put a model file in its place" if rule.adversary == "supplier" else "whoever finds the endpoint"
    )
    return Adversary(name=f"{rule.adversary}@{element}", may=may, goal=rule.cell["goal"], derived_from=(because,))
