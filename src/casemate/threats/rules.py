"""The catalogue: one file per threat, read into Rules, each a condition with its words, tests and references.

A rule answers for one component (and one principal): fired, silent, or a question. Anything wrong with a rule file
is fatal when the catalogue is read, with file and line.
"""

from __future__ import annotations

import functools
import re
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from casemate.core.entities import AssetKind, Component, Principal, Worth
from casemate.core.errors import BadSystem, Problem
from casemate.core.shape import field_key
from casemate.core.system import NO, YES, System
from casemate.threats.expressions import BadRule, Expression
from casemate.threats.nodes import Node, read
from casemate.threats.reader import Reader, fill
from casemate.threats.scene import Scene, Used

CATALOGUE = Path(__file__).parent / "catalogue"
Outcome = Literal["fired", "silent", "question"]
TAXONOMIES = ("atlas", "nist", "owasp_ml", "cwe", "aiexchange")
_TEXTS = ("id", "title", "stride", "each", "maturity", "explain")
_CHOICES = {
    "stride": ("spoofing", "tampering", "repudiation", "information disclosure", "denial of service", "elevation"),
    "each": ("model", "endpoint", "artifact"),
    "maturity": ("feasible", "demonstrated", "realized"),
    "adversary": ("principal", "supplier", "anyone"),
}
_CELL = ("phase", "surface", "goal", "capability")
_KEYS = (*_TEXTS, "adversary", "cell", "applies_when", "questions", "harm", "mappings", "tests", "mitigations")
_HARM = ("text", "asset", "property", "floor")
_RULE_ID = re.compile(r"[A-Z]{2}-\d\d\Z")
_CODE_ID = re.compile(r"[a-z_]+\.[a-z_0-9]+\Z")


@dataclass(frozen=True, slots=True)
class Reference:
    """An entry of someone else's taxonomy, with the release it was checked against."""

    taxonomy: str
    id: str
    name: str
    release: str


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
        each: What it is asked of: every `model`, `endpoint` or `artifact` of the system.
        adversary: `principal`: asked of every principal too. Otherwise the name of an adversary outside the
            description: a `supplier` of the artifact, or `anyone` who finds the endpoint.
    """

    id: str
    title: str
    stride: str
    each: str
    adversary: str
    maturity: str
    cell: Mapping[str, str]
    applies_when: Expression
    explain: str
    questions: Mapping[str, str]
    harm: Harm
    mappings: tuple[Reference, ...]
    tests: tuple[str, ...]
    mitigations: tuple[str, ...]
    place: tuple[str, int]

    def judge(self, scene: Scene) -> Ruling:
        """Fired, silent or a question, for the component and principal named in the scene."""
        verdict = self.applies_when.judge(scene)
        if verdict.truth is YES:
            return Ruling("fired", fill(self.explain, scene), verdict.used)
        if verdict.truth is NO:
            return Ruling("silent", "; ".join(str(used.fact) for used in verdict.used[:3]), verdict.used)
        return Ruling("question", fill(self.explain, scene), verdict.used)

    def question(self, used: Used, scene: Scene) -> str:
        """The text that asks for an unknown fact."""
        if used.ask in self.questions:
            return fill(self.questions[used.ask], scene)
        row, _, capability = used.fact.path.rpartition(": ")
        who, _, on = row.removeprefix("access(").removesuffix(")").partition(", ")
        return f"Can {who} {capability.replace('_', ' ')} on {on}? No access row settles it."


def instances(rule: Rule, system: System) -> Iterable[tuple[str, str]]:
    """The (component, principal) pairs a rule is asked of; the principal is "" for a rule without one."""
    principals = [p.id for p in system.principals] if rule.adversary == "principal" else [""]
    for component in system.components:
        if _is(rule.each, component, system):
            yield from ((component.id, principal) for principal in principals)


def _is(each: str, component: Component, system: System) -> bool:
    serves = component.kind in ("server", "edge_runtime")
    if each == "model":
        return serves or (component.model is not None and component.kind != "model_artifact")
    if each == "endpoint":
        # On the user's own device there is a runtime, but nobody else to keep from it.
        return component.kind == "server" or (component.endpoint is not None and component.kind != "edge_runtime")
    if component.artifact is not None or component.kind == "model_artifact":
        return True
    # A server whose model file is described upstream is not asked for it again.
    before = system.closure((component.id,), back=True, past_trainers=False)[1:]
    described = any(getattr(system.element(id), "kind", "") in ("model_artifact", "registry") for id in before)
    return serves and not described


@functools.cache
def catalogue() -> tuple[Rule, ...]:
    """The shipped rules, by id. Read once per process."""
    return read_rules(sorted(CATALOGUE.glob("*.yaml")))


def read_rules(files: Iterable[Path]) -> tuple[Rule, ...]:
    """Rules from files.

    Raises:
        BadRule: with every problem of every file. No rule is ever skipped.
    """
    rules: dict[str, Rule] = {}
    problems: list[Problem] = []
    for file in files:
        try:
            rule = _rule(read(file, file.name))
        except BadSystem as error:
            problems += error.problems
            continue
        if rule.id in rules:
            problems.append(Problem(*rule.place, rule.id, f"is also defined in {rules[rule.id].place[0]}"))
        rules[rule.id] = rule
    if problems:
        raise BadRule(problems)
    return tuple(rules[id] for id in sorted(rules))


def _rule(root: Node) -> Rule:
    reader = Reader()
    entries = _mapping(reader, root, "rule", _KEYS)
    texts = {key: _text(reader, root, key, _CHOICES.get(key, ())) for key in _TEXTS}
    if not _RULE_ID.match(texts["id"]):
        reader.wrong(
            entries.get("id", root), "id", f"expected two capitals, a dash and two digits; got {texts['id']!r}"
        )
    adversary = _text(reader, root, "adversary", _CHOICES["adversary"]) if "adversary" in entries else "principal"
    names: dict[str, type] = {"c": Component} | ({"p": Principal} if adversary == "principal" else {})
    condition = reader.expression(entries.get("applies_when", root), names)
    if "explain" in entries:
        reader.template(entries["explain"], names)
    cell = _mapping(reader, entries.get("cell", root), "cell", _CELL)
    questions = _questions(reader, entries.get("questions", root), names)
    rule = Rule(
        **texts,
        adversary=adversary,
        cell={key: cell[key].text if key in cell else "" for key in _CELL},
        applies_when=condition,
        questions=questions,
        harm=_harm(reader, entries.get("harm", root)),
        mappings=_references(reader, entries.get("mappings", root)),
        tests=_ids(reader, root, "tests"),
        mitigations=_ids(reader, root, "mitigations"),
        place=(root.file, root.line),
    )
    if reader.problems:
        raise BadRule(reader.problems)
    return rule


def _mapping(reader: Reader, node: Node, key: str, wanted: tuple[str, ...], optional: bool = False) -> dict[str, Node]:
    entries = node.entries or {}
    for name in entries.keys() - set(wanted):
        reader.wrong(entries[name], f"{key}.{name}", "unknown key", f"known: {', '.join(wanted)}")
    for name in () if optional else wanted:
        if name not in entries and name != "adversary":
            reader.wrong(node, f"{key}.{name}", "is missing")
    return entries


def _text(reader: Reader, root: Node, key: str, allowed: tuple[str, ...]) -> str:
    node = root.get(key)
    text = node.text if node and node.scalar else ""
    if node is not None and (not text or (allowed and text not in allowed)):
        reader.wrong(node, key, f"expected {' | '.join(allowed) or 'a text'}; got {node.plain()!r}")
    return text


def _ids(reader: Reader, root: Node, key: str) -> tuple[str, ...]:
    node = root.get(key) or root
    found = tuple(item.text for item in node.items or ())
    for id in found:
        if not _CODE_ID.match(id):
            reader.wrong(node, key, f"expected family.name; got {id!r}")
    return found


def _questions(reader: Reader, node: Node, names: Mapping[str, type]) -> dict[str, str]:
    """Every fact the condition may find unknown must have its question, and no question may be idle."""
    found = {key: reader.template(inner, names) for key, inner in (node.entries or {}).items()}
    for key in sorted(reader.asks - found.keys()):
        reader.wrong(node, f"questions.{key}", "the condition can find this unknown, so it needs a question")
    for key in sorted(found.keys() - reader.asks):
        reader.wrong(node, f"questions.{key}", "the condition never asks for this")
    return found


def _harm(reader: Reader, node: Node) -> Harm:
    entries = _mapping(reader, node, "harm", _HARM)
    words = {key: entries[key].text if key in entries else "" for key in _HARM}
    worth = [field_key(f) for f in Worth.__dataclass_fields__.values()]
    if words["property"] not in worth:
        reader.wrong(
            entries.get("property", node), "harm.property", f"expected {', '.join(worth)}; got {words['property']!r}"
        )
    if words["asset"] not in typing.get_args(AssetKind):
        reader.wrong(entries.get("asset", node), "harm.asset", f"there is no kind of asset {words['asset']!r}")
    floor = int(words["floor"]) if words["floor"] in ("0", "1", "2", "3", "4") else -1
    if floor < 0:
        reader.wrong(entries.get("floor", node), "harm.floor", f"expected 0 to 4; got {words['floor']!r}")
    return Harm(text=words["text"], asset=words["asset"], property=words["property"], floor=floor)


def _references(reader: Reader, node: Node) -> tuple[Reference, ...]:
    found = []
    for taxonomy, listed in _mapping(reader, node, "mappings", TAXONOMIES, optional=True).items():
        for item in listed.items or ():
            fields = {
                key: inner.text for key, inner in _mapping(reader, item, taxonomy, ("id", "name", "release")).items()
            }
            found.append(Reference(taxonomy, fields.get("id", ""), fields.get("name", ""), fields.get("release", "")))
    return tuple(found)
