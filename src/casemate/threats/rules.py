"""The catalogue: one file per threat, read into Rules, each a condition with its words, tests and references.

A rule answers for one component (and one principal): fired, silent, or a question. Anything wrong with a rule file
is fatal when the catalogue is read, with file and line.
"""

from __future__ import annotations

import difflib
import functools
import re
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Literal

from casemate.core.entities import AssetKind, Can, Component, ComponentKind, Principal, Worth
from casemate.core.errors import BadSystem, Problem
from casemate.core.shape import field_key
from casemate.core.surface import kept
from casemate.core.system import NO, YES, System
from casemate.threats.expressions import BadRule, Expression
from casemate.threats.nodes import Node, read
from casemate.threats.reader import Reader, fill
from casemate.threats.scene import Scene, Used

CATALOGUE = Path(__file__).parent / "catalogue"
GROUP = "casemate.threats"  # entry points: each names a folder of rules, or a function that returns one
Outcome = Literal["fired", "silent", "question"]
TAXONOMIES = ("atlas", "nist", "owasp_ml", "cwe", "aiexchange")
EFFECTS = ("prevents", "raises_cost", "detects", "limits_impact")
_RECORDS = ("storage", "workspace", "dependencies")
_PLACES = ("model", "endpoint", "artifact", *_RECORDS, *typing.get_args(ComponentKind))
_AROUND = ("here", "artifact", "training", "upstream", "downstream", "zone")
_CHOICES = {
    "stride": ("spoofing", "tampering", "repudiation", "information disclosure", "denial of service", "elevation"),
    "maturity": ("feasible", "demonstrated", "realized"),
    "adversary": ("principal", "supplier", "anyone"),
}
_CELL = {"phase": "inference", "surface": "digital", "goal": "integrity", "capability": "any"}
_MUST = ("id", "title", "each", "applies_when", "explain")
_MAY = (
    "adversary", "cell", "stride", "maturity", "questions", "harm", "prior", "gives", "dominated_by", "mappings", "tests",
    "checks", "mitigations", "advice", "deprecated_ids", "fixtures",
)  # fmt: skip
_HARM = ("text", "asset", "property", "floor")
_RULE_ID = re.compile(r"[A-Z][A-Z0-9]*-\d\d\Z")
_CODE_ID = re.compile(r"[a-z_]+\.[a-z_0-9]+\Z")


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
    """What an attacker pays where nobody has measured it, in units of money of 2026: an assumption, said wherever shown."""

    low: float
    high: float


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
        return f"Can {who} {capability.replace('_', ' ')} on {on}? No access row settles it."


def instances(rule: Rule, system: System) -> Iterable[tuple[str, str]]:
    """The (component, principal) pairs a rule is asked of; the principal is "" for a rule without one."""
    principals = [p.id for p in system.principals] if rule.adversary == "principal" else [""]
    for component in system.components:
        if any(_is(each, component, system) for each in rule.each):
            yield from ((component.id, principal) for principal in principals)


def _is(each: str, component: Component, system: System) -> bool:
    serves = component.kind in ("server", "edge_runtime")
    if each == "model":
        return serves or (component.model is not None and component.kind != "model_artifact")
    if each == "endpoint":
        # On the user's own device there is a runtime, but nobody else to keep from it.
        return component.kind == "server" or (component.endpoint is not None and component.kind != "edge_runtime")
    if each in _RECORDS:
        return getattr(component, each) is not None
    if each != "artifact":
        return component.kind == each
    if component.artifact is not None or component.kind == "model_artifact":
        return True
    # A server whose model file is described upstream is not asked for it again.
    return serves and not system.around((component.id,), back=True, past_trainers=False) & kept(system)


@functools.cache
def common_questions() -> Mapping[str, str]:
    """The questions by fact, for every rule that does not word its own. They speak of `{c}`, the component, only."""
    node = read(CATALOGUE / "questions.yaml", "questions.yaml")
    return {key: inner.text for key, inner in (node.entries or {}).items()}


@functools.cache
def catalogue() -> tuple[Rule, ...]:
    """The shipped rules and those of installed packs, by id. Read once per process."""
    files = _files(CATALOGUE)
    for entry in sorted(metadata.entry_points(group=GROUP), key=lambda e: e.name):
        found = entry.load()
        folder = Path(found() if callable(found) else found)
        if not folder.is_dir():
            raise BadRule([Problem(str(folder), 0, entry.name, f"the rule pack {entry.name!r} names no folder")])
        files += _files(folder)
    return read_rules(files)


def rules_for(system: System, more: Iterable[str | Path] = ()) -> tuple[Rule, ...]:
    """The catalogue with the rules that the description names, and more files or folders.

    Raises:
        BadRule: with every problem of every file, a missing one included.
    """
    paths = [Path(system.folder, path) for path in system.rules] + [Path(path) for path in more]
    return catalogue() + read_packs(paths, taken=catalogue()) if paths else catalogue()


def read_packs(paths: Iterable[Path], taken: Iterable[Rule] = ()) -> tuple[Rule, ...]:
    """Rules from files and folders; `taken` are the rules that are there already, whose ids are not free."""
    files: list[Path] = []
    for path in paths:
        if not path.exists():
            raise BadRule([Problem(str(path), 0, "rules", "there is no such file or folder")])
        files += _files(path) if path.is_dir() else [path]
    return read_rules(files, taken)


def _files(folder: Path) -> list[Path]:
    return [file for file in sorted(folder.glob("*.yaml")) if file.name != "questions.yaml"]


def read_rules(files: Iterable[Path], taken: Iterable[Rule] = ()) -> tuple[Rule, ...]:
    """Rules from files.

    Raises:
        BadRule: with every problem of every file. No rule is ever skipped.
    """
    rules: dict[str, Rule] = {}
    known = {rule.id: rule for rule in taken}
    problems: list[Problem] = []
    for file in files:
        try:
            rule = _rule(read(file, file.name if file.parent == CATALOGUE else str(file)))
        except BadSystem as error:
            problems += error.problems
            continue
        if rule.id in rules or rule.id in known:
            other = rules.get(rule.id) or known[rule.id]
            problems.append(Problem(*rule.place, rule.id, f"is also defined in {other.place[0]}", "choose another id"))
        rules[rule.id] = rule
    for rule in rules.values():
        for id in rule.dominated_by:
            if id not in rules and id not in known:
                problems.append(Problem(*rule.place, "dominated_by", f"there is no rule {id}"))
    if problems:
        raise BadRule(problems)
    return tuple(rules[id] for id in sorted(rules))


def _rule(root: Node) -> Rule:
    reader = Reader()
    entries = _mapping(reader, root, "rule", (*_MUST, *_MAY), must=_MUST)
    id, title, explain = (_text(reader, root, key) for key in ("id", "title", "explain"))
    if not _RULE_ID.match(id):
        reader.wrong(entries.get("id", root), "id", f"expected capitals, a dash and two digits, like ACME-01; got {id!r}")
    adversary = _text(reader, root, "adversary", "principal")
    names: dict[str, type] = {"c": Component} | ({"p": Principal} if adversary == "principal" else {})
    condition = reader.expression(entries.get("applies_when", root), names)
    if "explain" in entries:
        reader.template(entries["explain"], names)
    cell = _mapping(reader, entries["cell"], "cell", tuple(_CELL)) if "cell" in entries else {}
    rule = Rule(
        id=id,
        title=title,
        explain=explain,
        stride=_text(reader, root, "stride", "tampering"),
        maturity=_text(reader, root, "maturity", "feasible"),
        each=_each(reader, entries.get("each", root)),
        adversary=adversary,
        cell={key: cell[key].text if key in cell else default for key, default in _CELL.items()},
        applies_when=condition,
        questions=_questions(reader, entries.get("questions"), names),
        harm=_harm(reader, entries.get("harm"), title),
        prior=_prior(reader, entries.get("prior")),
        gives=tuple(_gives(reader, item) for item in _items(entries.get("gives"))),
        dominated_by={key: inner.text for key, inner in _entries(entries.get("dominated_by")).items()},
        mappings=_references(reader, entries.get("mappings")),
        tests=_ids(reader, root, "tests"),
        checks=_ids(reader, root, "checks"),
        mitigations=_ids(reader, root, "mitigations"),
        advice=tuple(_advice(reader, item) for item in _items(entries.get("advice"))),
        deprecated_ids=tuple(item.text for item in _items(entries.get("deprecated_ids"))),
        place=(root.file, root.line),
        fixtures=entries.get("fixtures"),
    )
    if reader.problems:
        raise BadRule(reader.problems)
    return rule


def _items(node: Node | None) -> tuple[Node, ...]:
    return (node.items or ()) if node else ()


def _entries(node: Node | None) -> dict[str, Node]:
    return (node.entries or {}) if node else {}


def _each(reader: Reader, node: Node) -> tuple[str, ...]:
    words = tuple(item.text for item in node.items) if node.items is not None else (node.text,)
    for word in words or ("",):
        if word not in _PLACES:
            reader.wrong(node, "each", f"expected {', '.join(_PLACES)}; got {word!r}")
    return words


def _prior(reader: Reader, node: Node | None) -> Prior:
    """Left out: anything from nothing to a million, which says that nobody knows."""
    if node is None:
        return Prior(low=0.0, high=1_000_000.0)
    ends = [item.word for item in node.items or ()]
    numbers = [float(end) for end in ends if isinstance(end, (int, float)) and not isinstance(end, bool)]
    if len(ends) != 2 or len(numbers) != 2 or not 0 <= numbers[0] <= numbers[1]:
        reader.wrong(node, "prior", f"expected [low, high], the least and the most an attacker pays; got {node.plain()!r}")
        return Prior(low=0.0, high=0.0)
    return Prior(low=numbers[0], high=numbers[1])


def _gives(reader: Reader, node: Node) -> Gives:
    entries = _mapping(reader, node, "gives", ("can", "on", "when"), must=("can",))
    can = tuple(item.text for item in _items(entries.get("can")))
    on = entries["on"].text if "on" in entries else "here"
    for word in can or ("",):
        if word not in typing.get_args(Can):
            reader.wrong(node, "gives.can", f"expected a list of {', '.join(typing.get_args(Can))}; got {word!r}")
    if on not in _AROUND:
        reader.wrong(node, "gives.on", f"expected {', '.join(_AROUND)}; got {on!r}")
    when = reader.expression(entries["when"], {"c": Component}) if "when" in entries else None
    return Gives(can=can, on=on, when=when)


def _advice(reader: Reader, node: Node) -> Advice:
    entries = _mapping(reader, node, "advice", ("do", "effect", "atlas"), must=("do", "effect"))
    words = {key: entries[key].text if key in entries else "" for key in ("do", "effect")}
    if words["effect"] not in EFFECTS:
        reader.wrong(node, "advice.effect", f"expected {', '.join(EFFECTS)}; got {words['effect']!r}")
    cited = _reference(reader, "atlas", entries["atlas"]) if "atlas" in entries else None
    return Advice(**words, reference=cited)


def _mapping(
    reader: Reader, node: Node, key: str, wanted: tuple[str, ...], must: tuple[str, ...] | None = None
) -> dict[str, Node]:
    """The entries of a mapping; what is unknown or missing is reported. `must` left out: all of them."""
    entries = node.entries or {}
    for name in entries.keys() - set(wanted):
        close = difflib.get_close_matches(name, wanted, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(wanted)}"
        reader.wrong(entries[name], f"{key}.{name}", "unknown key", hint)
    for name in wanted if must is None else must:
        if name not in entries:
            reader.wrong(node, f"{key}.{name}", "is missing")
    return entries


def _text(reader: Reader, root: Node, key: str, default: str = "") -> str:
    node, allowed = root.get(key), _CHOICES.get(key, ())
    text = node.text if node and node.scalar else ""
    if node is not None and (not text or (allowed and text not in allowed)):
        reader.wrong(node, key, f"expected {' | '.join(allowed) or 'a text'}; got {node.plain()!r}")
    return text or default


def _ids(reader: Reader, root: Node, key: str) -> tuple[str, ...]:
    node = root.get(key) or root
    found = tuple(item.text for item in node.items or ())
    for id in found:
        if not _CODE_ID.match(id):
            reader.wrong(node, key, f"expected family.name; got {id!r}")
    return found


def _questions(reader: Reader, node: Node | None, names: Mapping[str, type]) -> dict[str, str]:
    """The rule's own wording of a question. One that the condition never asks is a slip."""
    if node is None:
        return {}
    found = {key: reader.template(inner, names) for key, inner in (node.entries or {}).items()}
    for key in sorted(found.keys() - reader.asks):
        reader.wrong(node, f"questions.{key}", "the condition never asks for this", f"it asks: {', '.join(reader.asks)}")
    return found


def _harm(reader: Reader, node: Node | None, title: str) -> Harm:
    if node is None:
        return Harm(text=title, asset="decision", property="I", floor=1)
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


def _references(reader: Reader, node: Node | None) -> tuple[Reference, ...]:
    if node is None:
        return ()
    listed = _mapping(reader, node, "mappings", TAXONOMIES, must=())
    return tuple(_reference(reader, taxonomy, item) for taxonomy, items in listed.items() for item in items.items or ())


def _reference(reader: Reader, taxonomy: str, node: Node) -> Reference:
    entries = _mapping(reader, node, taxonomy, ("id", "name", "release", "fit"), must=("id", "name", "release"))
    words = {key: entries[key].text if key in entries else "" for key in ("id", "name", "release")}
    for key, word in words.items():
        if key in entries and not word:  # a colon in a name that is not quoted makes it a mapping
            reader.wrong(entries[key], f"{taxonomy}.{key}", f"expected a text; got {entries[key].plain()!r}", "quote it")
    fit = entries["fit"].text if "fit" in entries else "exact"
    if fit not in ("exact", "nearest"):
        reader.wrong(entries["fit"], f"{taxonomy}.fit", f"expected exact or nearest; got {fit!r}")
    return Reference(taxonomy, words["id"], words["name"], words["release"], fit == "nearest")
