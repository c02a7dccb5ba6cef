"""A rule file, read into a Rule. Whatever is wrong with it is told with file and line, all at once."""

from __future__ import annotations

import difflib
import re
import typing
from collections.abc import Mapping

from casemate.core.entities import AssetKind, Can, Component, ComponentKind, Principal, Worth
from casemate.core.errors import Problem
from casemate.core.shape import field_key
from casemate.threats.expressions import BadRule
from casemate.threats.nodes import CLIPPED, Node, told
from casemate.threats.reader import Reader
from casemate.threats.rule import RECORDS, Advice, Gives, Harm, Prior, Reference, Rule

TAXONOMIES = ("atlas", "nist", "owasp_ml", "cwe", "aiexchange")
EFFECTS = ("prevents", "raises_cost", "detects", "limits_impact")
_PLACES = ("model", "endpoint", "artifact", *RECORDS, *typing.get_args(ComponentKind))
_AROUND = ("here", "artifact", "training", "records", "upstream", "downstream", "zone")
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


def read_rule(root: Node) -> Rule:
    """A rule from the top of its file.

    Raises:
        BadRule: with every problem. Of a file that is something else nothing is repeated: it may be anybody's.
    """
    if len((root.entries or {}).keys() & set(_MUST)) < 2:
        expected = f"expected a mapping with {', '.join(_MUST)}"
        raise BadRule([Problem(root.file, root.line, "rule", f"is no rule file: {expected}")])
    reader = Reader()
    entries = _mapping(reader, root, "rule", (*_MUST, *_MAY), must=_MUST)
    id, title, explain = (_text(reader, root, key) for key in ("id", "title", "explain"))
    if not _RULE_ID.match(id):
        reader.wrong(entries.get("id", root), "id", f"expected capitals, a dash and two digits, like ACME-01; got {told(id)}")
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
        unmapped=frozenset(key for key, inner in _entries(entries.get("mappings")).items() if inner.items == ()),
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
            reader.wrong(node, "each", f"expected {', '.join(_PLACES)}; got {told(word)}")
    return words


def _prior(reader: Reader, node: Node | None) -> Prior:
    """Left out: anything from nothing to a million, which says that nobody knows."""
    if node is None:
        return Prior(low=0.0, high=1_000_000.0, stated=False)
    ends = [item.word for item in node.items or ()]
    numbers = [float(end) for end in ends if isinstance(end, (int, float)) and not isinstance(end, bool)]
    if len(ends) != 2 or len(numbers) != 2 or not 0 <= numbers[0] <= numbers[1]:
        reader.wrong(node, "prior", f"expected [low, high], the least and the most an attacker pays; got {node.said}")
        return Prior(low=0.0, high=0.0)
    return Prior(low=numbers[0], high=numbers[1])


def _gives(reader: Reader, node: Node) -> Gives:
    entries = _mapping(reader, node, "gives", ("can", "on", "when"), must=("can",))
    can = tuple(item.text for item in _items(entries.get("can")))
    on = entries["on"].text if "on" in entries else "here"
    for word in can or ("",):
        if word not in typing.get_args(Can):
            reader.wrong(node, "gives.can", f"expected a list of {', '.join(typing.get_args(Can))}; got {told(word)}")
    if on not in _AROUND:
        reader.wrong(node, "gives.on", f"expected {', '.join(_AROUND)}; got {told(on)}")
    when = reader.expression(entries["when"], {"c": Component}) if "when" in entries else None
    return Gives(can=can, on=on, when=when)


def _advice(reader: Reader, node: Node) -> Advice:
    entries = _mapping(reader, node, "advice", ("do", "effect", "atlas"), must=("do", "effect"))
    words = {key: entries[key].text if key in entries else "" for key in ("do", "effect")}
    if words["effect"] not in EFFECTS:
        reader.wrong(node, "advice.effect", f"expected {', '.join(EFFECTS)}; got {told(words['effect'])}")
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
        reader.wrong(entries[name], f"{key}.{name[:CLIPPED]}", "unknown key", hint)
    for name in wanted if must is None else must:
        if name not in entries:
            reader.wrong(node, f"{key}.{name}", "is missing")
    return entries


def _text(reader: Reader, root: Node, key: str, default: str = "") -> str:
    node, allowed = root.get(key), _CHOICES.get(key, ())
    text = node.text if node and node.scalar else ""
    if node is not None and (not text or (allowed and text not in allowed)):
        reader.wrong(node, key, f"expected {' | '.join(allowed) or 'a text'}; got {node.said}")
    return text or default


def _ids(reader: Reader, root: Node, key: str) -> tuple[str, ...]:
    node = root.get(key) or root
    found = tuple(item.text for item in node.items or ())
    for id in found:
        if not _CODE_ID.match(id):
            reader.wrong(node, key, f"expected family.name; got {told(id)}")
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
            entries.get("property", node), "harm.property", f"expected {', '.join(worth)}; got {told(words['property'])}"
        )
    if words["asset"] not in typing.get_args(AssetKind):
        reader.wrong(entries.get("asset", node), "harm.asset", f"there is no kind of asset {told(words['asset'])}")
    floor = int(words["floor"]) if words["floor"] in ("0", "1", "2", "3", "4") else -1
    if floor < 0:
        reader.wrong(entries.get("floor", node), "harm.floor", f"expected 0 to 4; got {told(words['floor'])}")
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
            reader.wrong(entries[key], f"{taxonomy}.{key}", f"expected a text; got {entries[key].said}", "quote it")
    fit = entries["fit"].text if "fit" in entries else "exact"
    if fit not in ("exact", "nearest"):
        reader.wrong(entries["fit"], f"{taxonomy}.fit", f"expected exact or nearest; got {told(fit)}")
    return Reference(taxonomy, words["id"], words["name"], words["release"], fit == "nearest")
