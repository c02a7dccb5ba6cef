"""A threat model in the JSON of the OWASP Threat Model Library (schema 1.0): zones, actors, parts, data, flows.

Its threats, risks and personas are another person's conclusions, so they are counted in a note and not taken over: a
description states facts, and threats are derived from them.
"""

from __future__ import annotations

import re
from typing import Any

from casemate.imports.documents import Document, at, rows, truth, word, words
from casemate.imports.found import Import
from casemate.imports.gather import Gathered, quoted
from casemate.threats.nodes import Node

NAME = "OWASP Threat Model Library"
_TRUST = (
    (r"\bpublic\b|internet", "public"), (r"\bprod", "prod"), (r"experiment|research|\bdev", "research"),
    (r"partner|third.?part|vendor", "partner"), (r"corp|office|intranet", "corp"), (r"(user|client).?device", "user_device"),
)  # fmt: skip
_KINDS = (
    (r"notebook|jupyter", "notebook"), (r"model.*(stor|registr|blob|repositor)", "registry"),
    (r"feature.?store", "feature_store"),
    (r"\blogs?\b", "log_store"), (r"label|annotat", "label_source"), (r"train.*(image|data|stor|blob)", "data_source"),
    (r"\bci\b|pipeline|deployment service", "ci"), (r"\btrainer\b|training (job|service)", "trainer"),
    (r"(model|inference|prediction).*(server|service|api)", "server"),
)  # fmt: skip
_ACTORS = {"administrator": "ops", "third_party": "partner"}
_ASSETS = ((r"train", "training_data"), (r"\bmodels?\b", "model"), (r"label", "labels"), (r"upload|input", "input_data"))
_STATES = {"active": "active", "retired": "retired", "wont_do": "retired"}
_DATA = ("pii", "phi")
_NOT_TAKEN = ("threats", "risks", "threat_personas", "mitigation_plans", "diagrams", "trust_boundaries")
_MOST = 2_000  # elements of a kind


def matches(document: Document) -> bool:
    root = document.root
    return root.get("trust_zones") is not None and root.get("scope") is not None and root.get("data_flows") is not None


class _Model:
    """The file while it is read: what each of its names became here."""

    def __init__(self, document: Document) -> None:
        self.found = Gathered(f"{NAME} JSON", document.file)
        self.root = document.root
        self.ids: dict[str, dict[str, str]] = {"actor": {}, "component": {}, "data_store": {}, "zone": {}}
        self.flows: dict[str, tuple[Node, str]] = {}

    def listed(self, key: str) -> tuple[Node, ...]:
        return rows(self.root, key)[:_MOST]

    def named(self, node: Node, group: str) -> str:
        name = word(node, "symbolic_name")
        return self.ids[group].setdefault(name, self.found.id(name, group))

    def zone_of(self, node: Node) -> str:
        return self.ids["zone"].get(word(node, "trust_zone"), "")

    def meant(self, end: Node | None) -> tuple[str, str]:
        """(group, id) of what one end of a flow names; ("", "") where the file does not have it.

        The type stands as `actor` or `#/$defs/actor`, and is wrong often enough that the name decides.
        """
        name, group = word(end, "object"), word(end, "type").rsplit("/", 1)[-1].replace("-", "_")
        for candidate in (group, "component", "data_store", "actor"):
            if name in self.ids.get(candidate, {}) and candidate != "zone":
                return candidate, self.ids[candidate][name]
        return "", ""


def read_document(document: Document) -> Import:
    model = _Model(document)
    found, root = model.found, model.root
    found.fact("system.description", word(root, "scope", "title"), "scope.title", at(root, "scope", "title"))
    for key in ("business_criticality", "tier", "exposure"):
        if word(root, "scope", key):
            found.note(f"scope.{key}: {word(root, 'scope', key)}; a description says it of each asset, and who reaches what")
    _zones(model)
    _actors(model)
    _parts(model)
    _flows(model)
    _data_sets(model)
    _controls(model)
    for row in model.listed("assumptions"):
        validity = word(row, "validity")
        stated = {"text": word(row, "description"), "validity": validity if validity in ("confirmed", "rejected") else ""}
        if stated["text"]:
            found.element("assumptions", stated)
    for key in _NOT_TAKEN:
        if rows(root, key):
            found.note(f"{len(rows(root, key))} {key.replace('_', ' ')} are not taken over")
    return found.done()


def _first(table: tuple[tuple[str, str], ...], text: str) -> str:
    return next((value for pattern, value in table if re.search(pattern, text, re.I)), "")


def _said(node: Node) -> str:
    return f"{word(node, 'symbolic_name').replace('-', ' ').replace('_', ' ')} {word(node, 'title')}"


def _zones(model: _Model) -> None:
    for row in model.listed("trust_zones"):
        id = model.named(row, "zone")
        model.found.element("zones", {"id": id})
        model.found.fact(f"{id}.trust", _first(_TRUST, _said(row)), f"trust zone {quoted(word(row, 'title'))}, by its name", row)


def _actors(model: _Model) -> None:
    for row in model.listed("actors"):
        id = model.named(row, "actor")
        model.found.element("principals", {"id": id, "zone": model.zone_of(row)})
        kind = word(row, "type")
        model.found.fact(f"{id}.kind", _ACTORS.get(kind, ""), f"actor of type {kind}", row)
        if kind not in _ACTORS:
            model.found.note(f"{id} is an actor of type {quoted(kind)}; which kind of principal is that?")


def _parts(model: _Model) -> None:
    for key, group in (("components", "component"), ("data_stores", "data_store")):
        for row in model.listed(key):
            id = model.named(row, group)
            model.found.element("components", {"id": id, "zone": model.zone_of(row)})
            kind = _first(_KINDS, _said(row))
            model.found.fact(f"{id}.kind", kind, f"{group.replace('_', ' ')} {quoted(word(row, 'title'))}, by its name", row)
            if not kind:
                model.found.note(f"{id} ({quoted(word(row, 'title'))}): its name does not show its kind")


def _flows(model: _Model) -> None:
    found = model.found
    for row in model.listed("data_flows"):
        ends = [_end(model, row, "source"), _end(model, row, "destination")]
        (_, source), (group, target) = ends
        shown = quoted(word(row, "symbolic_name"))
        if not source or not target:
            found.note(f"line {row.line}: the flow {shown} names an end that the file does not have; not taken over")
        elif group == "actor":
            found.note(f"line {row.line}: the flow {shown} ends at a person; a description shows answers with their requests")
        elif source != target and f"{source}->{target}" not in model.flows:
            flow = f"{source}->{target}"
            model.flows[flow] = (row, shown)
            found.element("flows", {"from": source, "to": target})
            found.fact(f"{flow}.confidentiality", truth(row, "encrypted"), f"data flow {shown}, encrypted", row)


def _end(model: _Model, row: Node, key: str) -> tuple[str, str]:
    group, id = model.meant(at(row, key))
    name = word(row, key, "object")
    if not id and name and word(row, key, "type").endswith("actor"):
        id = model.ids["actor"].setdefault(name, model.found.id(name, "actor"))
        model.found.element("principals", {"id": id})
        model.found.note(f"line {row.line}: the actor {quoted(name)} is used and never described")
        return "actor", id
    return group, id


def _data_sets(model: _Model) -> None:
    found = model.found
    held: dict[str, list[str]] = {}
    for row in model.listed("data_sets"):
        name = word(row, "symbolic_name")
        id = found.id(name, "data_set")
        found.element("assets", {"id": id})
        because = f"data set {quoted(word(row, 'title'))}"
        found.fact(f"{id}.kind", _first(_ASSETS, _said(row)), f"{because}, by its name", row)
        if set(words(row, "data_sensitivity")) & set(_DATA):
            found.fact(f"{id}.personal", True, f"{because}: data_sensitivity", at(row, "data_sensitivity"))
        for place in rows(row, "placements"):
            store = model.ids["data_store"].get(word(place, "data_store"), "")
            if store:
                held.setdefault(store, []).append(id)
            else:
                found.note(f"line {place.line}: {id} lies in a data store that the file does not have")
            if truth(place, "encrypted") is False:
                found.note(f"line {place.line}: {id} lies unencrypted")
    for store, ids in held.items():
        found.fact(f"{store}.holds", list(dict.fromkeys(ids)), "placements of data sets")


def _controls(model: _Model) -> None:
    """A control has a place here where the threats that it answers affect one component."""
    affected = {word(row, "symbolic_name"): words(row, "components_affected") for row in model.listed("threats")}
    nowhere: dict[str, int] = {}
    for row in model.listed("controls"):
        parts = {part for threat in words(row, "threats") for part in affected.get(threat, ())}
        known = [model.ids["component"][part] for part in parts if part in model.ids["component"]]
        state = _STATES.get(word(row, "status"), "planned")
        if len(known) != 1:
            nowhere[state] = nowhere.get(state, 0) + 1
            continue
        id = model.found.id(word(row, "symbolic_name"), "control")
        stated: dict[str, Any] = {"id": id, "type": word(row, "symbolic_name"), "on": known[0], "claim": word(row, "title")}
        model.found.element("controls", stated)
        model.found.fact(f"{id}.state", state, f"control of status {word(row, 'status')}", row)
    for state, count in nowhere.items():
        model.found.note(f"{count} controls ({state}) name no single component, so they have no place; state them by hand")


