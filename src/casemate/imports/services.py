"""What compose files and Kubernetes manifests share: containers as components, and callers from outside."""

from __future__ import annotations

import re

from casemate.imports import tables
from casemate.imports.gather import Gathered, quoted
from casemate.threats.nodes import Node

_SERVES = ("server", "edge_runtime")
_DIGEST = re.compile(r"@[a-z0-9]+:[0-9a-f]{32,}\Z")
# Ports that are management, not prediction, where the image shows which product it is.
_MANAGES = {"torchserve": ("8081",)}


def component(found: Gathered, id: str, image: str, node: Node | None) -> str:
    """Propose a component for what an image runs; the answer is its kind, "" where the image does not show it."""
    found.element("components", {"id": id})
    kind = tables.kind_of(image)
    found.fact(f"{id}.kind", kind, f"image {image}", node)
    if tables.is_store(image):
        found.note(f"{id} keeps things ({quoted(image)}): is it a feature_store, registry, data_source or log_store?")
    elif not kind:
        found.note(f"{id}: its image does not show what it is; state its kind")
    if kind in _SERVES:
        pinned(found, id, image, node)
    return kind


def pinned(found: Gathered, id: str, image: str, node: Node | None) -> None:
    """Whether what runs can change under its name. A digest holds the image still, and a model only if it is in there."""
    if not image or "${" in image:
        return
    if _DIGEST.search(image):
        found.note(f"the image of {id} is named by its digest; if the model is in the image, it cannot change either")
    else:
        found.fact(f"{id}.artifact.tag_mutable", True, f"image {image}, named by its tag", node)


def called_from_outside(found: Gathered, id: str, kind: str, zone: str, public: bool, because: str, node: Node | None) -> str:
    """A caller that reaches the component. Whether it may ask is not in such files, so the access is `unsure`.

    Returns:
        The id of the flow.
    """
    zone_id, caller = found.id(zone, "zone"), found.id(f"{zone}_caller" if public else "caller", "principal")
    found.element("zones", {"id": zone_id})
    if public:
        found.fact(f"{zone_id}.trust", "public", because, node)
    found.element("principals", {"id": caller, "zone": zone_id})
    found.element("flows", {"from": caller, "to": id})
    if kind in _SERVES:
        found.element("access", {"principal": caller, "on": id, "unsure": ["query"]})
        found.note(f"whether {caller} may query {id}, and with what key, is not in this file")
    return f"{caller}->{id}"


def secret(found: Gathered, id: str, name: str, value: str, node: Node | None) -> None:
    """A setting that is a secret in the clear: its name is told, its value never."""
    if not tables.holds_secret(name, value):
        return
    if not any(fact.path == f"{id}.workspace.secrets_in_plain" for fact in found.facts):
        found.fact(f"{id}.workspace.secrets_in_plain", True, f"the setting {name[:80]} holds a secret in the clear", node)
    line = node.line if node else 0
    found.note(f"line {line}: the setting {quoted(name)} of {id} holds a secret in the clear; it is not copied")


def management(found: Gathered, id: str, image: str, ports: list[str], node: Node | None) -> None:
    for product, known in _MANAGES.items():
        for port in ports:
            if product in image.lower() and port in known:
                because = f"port {port}, the management of {product}, is published"
                found.fact(f"{id}.endpoint.admin_exposed", True, because, node)
                return
