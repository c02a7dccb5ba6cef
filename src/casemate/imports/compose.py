"""A docker-compose file: services as components, published ports and dependencies as flows."""

from __future__ import annotations

import re
from collections.abc import Mapping

from casemate.imports import services
from casemate.imports.documents import Document, at, entries, word, words
from casemate.imports.found import Import
from casemate.imports.gather import Gathered
from casemate.threats.nodes import Node

NAME = "docker-compose"
_LOOPBACK = re.compile(r"127\.|localhost|\[?::1\]?:?")
_MOST = 500  # services


def matches(document: Document) -> bool:
    root = document.root
    services_ = entries(root, "services")
    keys = ("image", "build", "ports", "depends_on", "command", "environment", "extends")
    return any(node.get(key) is not None for node in services_.values() for key in keys)


def read_document(document: Document) -> Import:
    root = document.root
    found = Gathered(NAME, document.file)
    listed = {name: _whole(node) for name, node in entries(root, "services").items() if node.entries is not None}
    if len(listed) > _MOST:
        found.note(f"{len(listed)} services; the first {_MOST} were read")
    listed = dict(list(listed.items())[:_MOST])
    ids = {name: found.id(name, "service") for name in listed}
    for name, service in listed.items():
        _service(found, service, ids[name], entries(root, "services")[name])
    for name, service in listed.items():
        _needs(found, service, ids[name], ids)
    return found.done()


def _whole(node: Node) -> Mapping[str, Node]:
    """The entries of a service with its merge keys (`<<`) laid under them."""
    merged: dict[str, Node] = {}
    under = node.get("<<")
    for part in (under.items or (under,)) if under is not None else ():
        merged = {**(part.entries or {}), **merged}
    return {**merged, **{key: value for key, value in (node.entries or {}).items() if key != "<<"}}


def _service(found: Gathered, service: Mapping[str, Node], id: str, node: Node) -> None:
    image = word(service.get("image"))
    kind = services.component(found, id, image, service.get("image") or node)
    if not image and service.get("build") is not None:
        found.note(f"{id} is built here, so its image shows nothing")
    outside, inside = _ports(service.get("ports"))
    ports = service.get("ports")
    if outside:
        because = f"publishes port {', '.join(outside)}"
        services.called_from_outside(found, id, kind, "outside", False, because, ports)
        found.note(f"{id} publishes port {', '.join(outside)} (line {ports.line if ports else 0}); who reaches that machine?")
        services.management(found, id, image, outside, ports)
    if inside:
        found.note(f"{id} publishes port {', '.join(inside)} to its own machine only")
    for name, value, where in _settings(service):
        services.secret(found, id, name, value, where)


def _ports(node: Node | None) -> tuple[list[str], list[str]]:
    """Ports of the container that are published: to everybody who reaches the machine, and to the machine alone."""
    outside: list[str] = []
    inside: list[str] = []
    for item in (node.items if node is not None else None) or ():
        if item.entries is not None:
            target, address = word(item, "target"), word(item, "host_ip")
        else:
            text = word(item).split("/")[0]
            target, address = text.rsplit(":", 1)[-1], text if text.count(":") > 1 else ""
        if target:
            (inside if _LOOPBACK.match(address) else outside).append(target[:40])
    return outside, inside


def _settings(service: Mapping[str, Node]) -> list[tuple[str, str, Node]]:
    """Environment and build arguments, in both of their forms."""
    found: list[tuple[str, str, Node]] = []
    for node in (service.get("environment"), at(service.get("build"), "args")):
        found += [(name, word(value), value) for name, value in entries(node).items()]
        for item in (node.items if node is not None else None) or ():
            name, equals, text = item.text.partition("=")
            found += [(name, text.strip(), item)] if equals else []
    return found


def _needs(found: Gathered, service: Mapping[str, Node], id: str, ids: Mapping[str, str]) -> None:
    node = service.get("depends_on")
    names = dict.fromkeys([*entries(node), *words(node), *_links(service)])
    for name in names:
        if name in ids and ids[name] != id:
            found.element("flows", {"from": id, "to": ids[name]})
        elif name not in ids:
            found.note(f"{id} depends on a service that the file does not have")
    if names:
        found.note("a service that depends on another is taken to send to it")


def _links(service: Mapping[str, Node]) -> list[str]:
    return [link.split(":")[0] for link in words(service.get("links"))]
