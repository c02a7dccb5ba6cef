"""The described system as CycloneDX 2.0 has it: components, a data-flow blueprint, parties and controls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..core.entities import Flow
from ..core.fact import Truth
from ..core.finding import Assessment
from .words import clean

Bag = dict[str, Any]
_TYPES = {
    "model_artifact": "machine-learning-model", "data_source": "data", "feature_store": "data", "label_source": "data",
    "log_store": "data", "feedback": "data", "sensor": "device", "actuator": "device", "server": "service",
    "edge_runtime": "platform", "registry": "service", "dependency_set": "library",
}  # fmt: skip
_ARCHETYPES = {
    "anonymous": "anonymous", "customer": "customer", "paid_account": "customer", "partner": "partner",
    "data_provider": "supplier", "ml_engineer": "developer", "ops": "operator", "insider": "insider-threat",
    "cloud_provider": "vendor", "mlaas_provider": "vendor", "supplier": "supplier", "anyone": "public",
}  # fmt: skip
_STATES = {"planned": "planned", "active": "implemented", "retired": "decommissioned"}


@dataclass(frozen=True, slots=True)
class Drawn:
    """The parts of one system. `known` has the reference of each component by its id."""

    components: list[Bag]
    blueprint: Bag
    parties: dict[str, Bag]
    controls: list[Bag]
    known: Mapping[str, str]


def ref(kind: str, id: Any) -> str:
    """A reference that is one of ours whatever the id is."""
    return f"{kind}/{clean(id) or 'unnamed'}"


def short_name(text: Any) -> str:
    """A name: on one line, never empty."""
    return " ".join(clean(text).split()) or "unnamed"


def properties(held: Mapping[str, Any]) -> list[Bag]:
    """What the format has no field for, as text. What is not known is left out."""
    return [
        {"name": f"casemate:{clean(name)}", "value": f"{value:g}" if isinstance(value, float) else clean(value)}
        for name, value in held.items()
        if value not in (None, "", ())
    ]


def party(id: str, kind: str, prefix: str) -> Bag:
    """Somebody who may attack, as an archetype; a supplier or an outsider is named after what he stands beside."""
    archetype: Any = _ARCHETYPES.get(kind or id.split("@")[0]) or {"name": short_name(kind or id)}
    persona = {"description": short_name(id), "archetype": archetype}
    return {"bom-ref": f"{prefix}/{ref('party', id)}", "roles": [{"role": "attacker"}], "persona": persona}


def drawn(a: Assessment, prefix: str) -> Drawn:
    """The system of an assessment. One without a description has a blueprint with nothing in it."""
    system = a.system
    parts = getattr(system, "components", ())
    known = {c.id: f"{prefix}/{ref('component', c.id)}" for c in parts}
    people = {p.id: party(p.id, p.kind or "", prefix) for p in getattr(system, "principals", ())}
    zones = {z.id: f"{prefix}/{ref('zone', z.id)}" for z in getattr(system, "zones", ())}
    assets = {id: f"{prefix}/{ref('asset', id)}" for id in known} | {id: f"{prefix}/{ref('actor', id)}" for id in people}
    blueprint = {
        "bom-ref": f"{prefix}/blueprint",
        "name": short_name(a.name),
        "modelTypes": ["data-flow"],
        "assets": [_asset(c, known[c.id], assets[c.id], zones) for c in parts],
        "actors": [{"bom-ref": assets[id], "party": one["bom-ref"]} for id, one in people.items()],
        "zones": [_zone(z, zones[z.id]) for z in getattr(system, "zones", ())],
        "flows": [
            _flow(f, f"{prefix}/{ref('flow', f.id)}", assets) for f in getattr(system, "flows", ()) if _drawable(f, assets)
        ],
    }
    return Drawn(
        components=[_component(c, known[c.id]) for c in parts],
        blueprint=blueprint,
        parties={one["bom-ref"]: one for one in people.values()},
        controls=[_control(c, prefix, i, known) for i, c in enumerate(getattr(system, "controls", ()))],
        known=known,
    )


def _component(c: Any, id: str) -> Bag:
    return {
        "type": _TYPES.get(c.kind or "", "application"),
        "bom-ref": id,
        "name": short_name(c.id),
        "properties": properties({"kind": c.kind or "", "zone": c.zone}),
    }


def _asset(c: Any, component: str, id: str, zones: Mapping[str, str]) -> Bag:
    return {"bom-ref": id, "componentRef": component, **({"zone": zones[c.zone]} if c.zone in zones else {})}


def _zone(zone: Any, id: str) -> Bag:
    trust = {"characteristics": [zone.trust]} if zone.trust else {}
    return {"bom-ref": id, "name": short_name(zone.id), "type": "trust", **trust}


def _drawable(flow: Flow, assets: Mapping[str, str]) -> bool:
    return flow.from_ in assets and flow.to in assets


def _flow(flow: Flow, id: str, assets: Mapping[str, str]) -> Bag:
    known = flow.confidentiality is not Truth.UNKNOWN
    return {
        "bom-ref": id,
        "name": short_name(flow.id),
        "type": "physical" if flow.channel == "physical" else "data",
        "source": assets[flow.from_],
        "destination": assets[flow.to],
        **({"encrypted": flow.confidentiality is Truth.YES} if known else {}),
        **({"protocols": [flow.channel]} if flow.channel in ("https", "grpc") else {}),
        "properties": properties({"channel": flow.channel or "", "auth": flow.auth or "", "data": ", ".join(flow.data or ())}),
    }


def _control(c: Any, prefix: str, number: int, known: Mapping[str, str]) -> Bag:
    """A control that the description declares: as it is claimed, not as it was measured."""
    return {
        "bom-ref": f"{prefix}/declared/{number + 1}",
        "name": short_name(c.id or c.type),
        "status": _STATES[c.state],
        **({"appliesTo": [known[c.on]]} if c.on in known else {}),
        "properties": properties({"type": c.type, "claim": c.claim or "", "verified": "no: as the description claims it"}),
    }
