"""A system as it would be for somebody who has gained something: where gains lie, and who else there could be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from casemate.core.entities import Access, Flow, Principal
from casemate.core.surface import model_places, rows_of, training_inputs
from casemate.core.system import Component, System
from casemate.threats.reacts import Gain
from casemate.threats.rules import Gives

OUTSIDERS = ("anyone", "supplier")


def places(system: System, give: Gives, component: str) -> tuple[str, ...]:
    """The components on which a rule that fired at this one gives its capabilities."""
    if give.on == "artifact":
        found: Iterable[str] = model_places(system, component)
    elif give.on == "training":
        found = training_inputs(system, component)
    elif give.on == "records":
        # Knowing what the records say opens no file: keys that lie in a notebook or a job are not among them.
        found = (id for id in training_inputs(system, component) if not _workspace(system.element(id)))
    elif give.on == "upstream":
        found = system.closure((component,), back=True)[1:]
    elif give.on == "downstream":
        found = system.closure((component,))[1:]
    elif give.on == "zone":
        zone = system.component(component).zone
        found = (c.id for c in system.components if c.id == component or (zone and c.zone == zone))
    else:
        found = (component,)
    return tuple(id for id in found if isinstance(system.element(id), Component))


def _workspace(element: object) -> bool:
    return isinstance(element, Component) and (element.kind in ("notebook", "ci") or element.workspace is not None)


def with_outsiders(system: System) -> tuple[System, dict[str, str]]:
    """The system with a principal for each outsider; a principal of that name is that outsider."""
    taken = {e.id for kind in (system.zones, system.assets, system.components, system.flows, system.controls) for e in kind}
    named = {}
    for word in OUTSIDERS:
        id = word
        while id in taken:
            id += "_outside"
        named[word] = id
    known = {p.id for p in system.principals}
    more = [Principal(id=id, kind="anonymous") for id in named.values() if id not in known]
    return (replace(system, principals=(*system.principals, *more)) if more else system), named


def as_if(system: System, hands: Sequence[tuple[str, frozenset[Gain]]]) -> tuple[System, list[str]]:
    """The system as it would be for these attackers and their gains: each pair a principal of its own (names returned).

    Nobody else has access in it: no rule that reacts looks at any principal but its own.
    """
    word = "-as-if-"
    while any(word in id for id in (e.id for kind in (system.principals, system.components) for e in kind)):
        word = f"-{word}"
    names = [f"{attacker}{word}{n}" for n, (attacker, _) in enumerate(hands)]
    principals: list[Principal] = []
    access: list[Access] = []
    flows: list[Flow] = []
    onward: dict[str, list[Flow]] = {}
    for flow in system.flows:
        onward.setdefault(flow.from_, []).append(flow)
    for (attacker, gains), name in zip(hands, names, strict=True):
        principals.append(replace(system.element(attacker), id=name))
        access += _rows(system, attacker, gains, name)
        own = {flow.id: replace(flow, id="", from_=name) for flow in onward.get(attacker, ())}
        flows += own.values()
    made = replace(system, principals=(*system.principals, *principals), access=tuple(access), flows=(*system.flows, *flows))
    return made, names


def _rows(system: System, attacker: str, gains: frozenset[Gain], name: str) -> Iterator[Access]:
    more: dict[str, set[str]] = {}
    for can, place in gains:
        more.setdefault(place, set()).add(can)
    for row in rows_of(system, attacker):
        held: set[str] = {*row.can, *more.pop(row.on, ())}
        unsure = tuple(can for can in row.unsure if can not in held)
        yield replace(row, principal=name, can=tuple(sorted(held)), unsure=unsure)  # type: ignore[arg-type]
    for place in sorted(more):
        yield Access(principal=name, on=place, can=tuple(sorted(more[place])))  # type: ignore[arg-type]
