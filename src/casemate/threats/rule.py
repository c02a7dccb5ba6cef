"""One threat of the catalogue as a value: its condition with its words, tests and references, and where it is asked.

A rule answers for one component (and one principal): fired, silent, or a question.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from casemate.core.entities import Component
from casemate.core.surface import kept
from casemate.core.system import NO, YES, System
from casemate.threats.expressions import Expression
from casemate.threats.nodes import Node, read
from casemate.threats.reader import fill
from casemate.threats.scene import Scene, Used

CATALOGUE = Path(__file__).parent / "catalogue"
Outcome = Literal["fired", "silent", "question"]
# What each verb of an access row means, in a question about it.
_DOING = {
    "query": "send inputs of its own choice to {}",
    "replay": "send an old input to {} again",
    "control_sensor": "change what {} sees",
    "see_decision": "see what follows from a decision of {}",
    "see_label": "see what {} decides",
    "see_score": "see the scores of {}",
    "see_logits": "see the raw outputs of {}",
    "see_explanation": "see why {} decides as it does",
    "read_data": "read the records of {}",
    "inject_data": "put records of its own into {}",
    "modify_data": "change the records of {}",
    "write_labels": "say what is true of the records of {}",
    "write_feedback": "give feedback to {}",
    "read_weights": "read the model file of {}",
    "read_binary": "get hold of the program or device that {} is",
    "write_weights": "replace the model file of {}",
    "write_code": "change the code of {}",
}
RECORDS = ("storage", "workspace", "dependencies")  # places that are whatever has such a record


@dataclass(frozen=True, slots=True)
class Reference:
    """An entry of someone else's taxonomy, with the release it was checked against. `nearest`: it does not quite fit."""

    taxonomy: str
    id: str
    name: str
    release: str
    nearest: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What to do that casemate cannot do itself; with the ATLAS mitigation it is an instance of, if there is one."""

    do: str
    effect: str
    reference: Reference | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gives:
    """What the attacker holds afterwards: capabilities on the component (`here`), or on what stands around it.

    `when`: held only where this is so of the component; of several reasons to fire, not all give the same.
    """

    can: tuple[str, ...]
    on: str = "here"
    when: Expression | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """What an attacker pays where nobody has measured it, in euro of 2026: an assumption, said wherever it is shown.
    `stated`: whether the rule says so, or nobody knows."""

    low: float
    high: float
    stated: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Harm:
    """What the threat does, the asset and property by which its impact is read, and the least it can be."""

    text: str
    asset: str
    property: str
    floor: int


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a rule says of one instance: why, in a sentence, and by which facts."""

    outcome: Outcome
    sentence: str
    used: tuple[Used, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One threat of the catalogue.

    Args:
        each: What it is asked of: every `model`, `endpoint` or `artifact` of the system, every component of a kind, or
            every one with a record of its `storage`, `workspace` or `dependencies`.
        adversary: `principal`: asked of every principal too. Otherwise the name of an adversary outside the
            description: a `supplier` of the artifact, or `anyone` who finds the endpoint.
        gives: What the attacker holds afterwards, from which chains are made.
        dominated_by: Rules whose firing for the same adversary and place makes this one pointless, with the reason.
        tests, checks: Attacks that run it; static checks that settle its facts.
        unmapped: Taxonomies of which the rule says that nothing in them fits, by an empty list.
        mitigations: Controls that can be tried; `advice` is what else there is.
    """

    id: str
    title: str
    stride: str
    each: tuple[str, ...]
    adversary: str
    maturity: str
    cell: Mapping[str, str]
    applies_when: Expression
    explain: str
    questions: Mapping[str, str]
    harm: Harm
    prior: Prior
    gives: tuple[Gives, ...]
    dominated_by: Mapping[str, str]
    mappings: tuple[Reference, ...]
    unmapped: frozenset[str]
    tests: tuple[str, ...]
    checks: tuple[str, ...]
    mitigations: tuple[str, ...]
    advice: tuple[Advice, ...]
    deprecated_ids: tuple[str, ...]
    place: tuple[str, int]
    fixtures: Node | None = field(default=None, compare=False, repr=False)

    def judge(self, scene: Scene) -> Ruling:
        """Fired, silent or a question, for the component and principal named in the scene."""
        verdict = self.applies_when.judge(scene)
        if verdict.truth is YES:
            return Ruling("fired", fill(self.explain, scene), verdict.used)
        if verdict.truth is NO:
            return Ruling("silent", "; ".join(str(used.fact) for used in verdict.used[:3]), verdict.used)
        return Ruling("question", fill(self.explain, scene), verdict.used)

    def gains(self, system: System, component: str) -> tuple[Gives, ...]:
        """What the attacker holds after this rule has fired at the component. Nothing is gained on an unknown fact."""
        scene = Scene(system, {"c": component})
        return tuple(g for g in self.gives if g.when is None or g.when.judge(scene).truth is YES)

    def question(self, used: Used, scene: Scene) -> str:
        """The text that asks for an unknown fact: the rule's own, the catalogue's, or one made of the fact."""
        text = self.questions.get(used.ask) or common_questions().get(used.ask)
        if text:
            return fill(text, scene)
        row, _, capability = used.fact.path.rpartition(": ")
        if not row.startswith("access("):
            return f"What is {used.fact.path}?"
        who, _, on = row.removeprefix("access(").removesuffix(")").partition(", ")
        return f"Can {who} {_DOING.get(capability, capability.replace('_', ' ') + ' on {}').format(on)}?"


def places_of(rule: Rule, system: System) -> tuple[str, ...]:
    """The components that a rule is asked of."""
    return tuple(c.id for c in system.components if any(_is(each, c, system) for each in rule.each))


def instances(rule: Rule, system: System) -> Iterable[tuple[str, str]]:
    """The (component, principal) pairs a rule is asked of; the principal is "" for a rule without one."""
    principals = [p.id for p in system.principals] if rule.adversary == "principal" else [""]
    return ((component, principal) for component in places_of(rule, system) for principal in principals)


def _is(each: str, component: Component, system: System) -> bool:
    serves = component.kind in ("server", "edge_runtime")
    if each == "model":
        return serves or _decides(component)
    if each == "endpoint":
        # On the user's own device there is a runtime, but nobody else to keep from it.
        return component.kind == "server" or (component.endpoint is not None and component.kind != "edge_runtime")
    if each in RECORDS:
        return getattr(component, each) is not None
    if each != "artifact":
        return component.kind == each
    if component.artifact is not None or component.kind == "model_artifact":
        return True
    # A server whose model file is described upstream is not asked for it again.
    return serves and not system.around((component.id,), back=True, past_trainers=False) & kept(system)


def _decides(component: Component) -> bool:
    """Whether there is a model here, and not only a word on what is shown of one that stands before."""
    if component.model is None or component.kind == "model_artifact":
        return False
    return component.kind != "postprocess" or component.model.family is not None


@functools.cache
def common_questions() -> Mapping[str, str]:
    """The questions by fact, for every rule that does not word its own. They speak of `{c}`, the component, only."""
    node = read(CATALOGUE / "questions.yaml", "questions.yaml")
    return {key: inner.text for key, inner in (node.entries or {}).items()}
