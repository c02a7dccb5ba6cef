"""An OpenAPI 3 or Swagger 2 description: who may call, what an answer gives away, what else the service offers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from casemate.imports import tables
from casemate.imports.documents import Document, at, entries, number, rows, word, words
from casemate.imports.found import Import
from casemate.imports.gather import MODEL, Gathered, quoted
from casemate.threats.nodes import Node

NAME = "OpenAPI"
_METHODS = ("get", "post", "put", "patch", "delete")
_PREDICTS = re.compile(r"predict|infer|score|classif|detect|invocation|invoke|rank|embed|recogni|estimate|explain", re.I)
_ADMIN = re.compile(r"(^|/)(admin|debug|actuator|management|internal|reload|unload|shutdown|repository)(/|$)|/load$", re.I)
_METADATA = re.compile(r"/(metadata|labels|classes|version|model[-_]?info)/?$|/v[12]/models/\{[^/]+\}/?$", re.I)
_TRACE = re.compile(r"^(stack_?trace|trace_?back|stack|exc_info|exception)$", re.I)
_FEEDBACK = re.compile(
    r"feed[_-]?back|(?<![a-z])(((re)?label(led|l?ing)?s?)|report(ed|s|ing)?|correct(ed|ions?)?)(?![a-z])", re.I
)
_LIMITED = re.compile(r"rate-?limit|retry-after", re.I)
_STRENGTH = ("none", "key", "oauth", "mtls")
_DEPTH = 8  # levels of a schema that are looked at


@dataclass(frozen=True, slots=True)
class _Call:
    path: str
    method: str
    node: Node

    @property
    def shown(self) -> str:
        return f"{self.method.upper()} {self.path}"


def matches(document: Document) -> bool:
    root = document.root
    return bool(word(root, "openapi") or word(root, "swagger")) and root.get("paths") is not None


def read_document(document: Document) -> Import:
    root = document.root
    version = word(root, "openapi") or word(root, "swagger")
    found = Gathered(f"{'Swagger' if root.get('swagger') else NAME} {version}", document.file)
    if not re.match(r"(3\.[01]|2\.0)", version):
        found.note(f"version {quoted(version)} is not known; what could be read was")
    if word(root, "info", "title"):
        found.note(f"describes {quoted(word(root, 'info', 'title'))}")
    calls = tuple(_calls(root))
    asked = [call for call in calls if _PREDICTS.search(call.path)] or [call for call in calls if call.method == "post"]
    if not asked:
        found.note("no path looks like asking a model")
    _servers(found, root)
    _auth(found, root, asked)
    _outputs(found, root, asked)
    _inputs(found, root, asked)
    _limits(found, root, asked)
    _errors(found, root, asked)
    _other_paths(found, root, calls)
    return found.done()


def _calls(root: Node) -> Iterator[_Call]:
    for path, item in entries(root, "paths").items():
        for method, node in (item.entries or {}).items():
            if method.lower() in _METHODS and node.entries is not None:
                yield _Call(path[:200], method.lower(), node)


def _servers(found: Gathered, root: Node) -> None:
    schemes = words(root, "schemes")
    host = word(root, "host")
    urls = [url for row in rows(root, "servers") if (url := word(row, "url"))]
    urls += [f"{scheme}://{host}{word(root, 'basePath')}" for scheme in schemes if host]
    for url in urls:
        found.note(f"served at {quoted(url)}" + (", in the clear" if url.startswith("http://") else ""))


# Who may call --------------------------------------------------------------------------------------------------------


def _auth(found: Gathered, root: Node, asked: list[_Call]) -> None:
    schemes = entries(root, "components", "securitySchemes") or entries(root, "securityDefinitions")
    told: dict[str, tuple[_Call, Node]] = {}
    for call in asked:
        node = call.node.get("security") or root.get("security")
        strength = _strength(node, schemes, root) if node is not None else ""
        if node is not None and strength:
            told.setdefault(strength, (call, node))
    if not told:
        if asked:
            found.note("states no security for its predictions; something in front of it may still ask for a key")
        return
    weakest = min(told, key=_STRENGTH.index)
    call, node = told[weakest]
    found.fact(f"{MODEL}.endpoint.auth", weakest, f"security of {call.shown}", node)
    if len(told) > 1:
        found.note(f"predictions differ in their security ({', '.join(sorted(told))}); the weakest counts")


def _strength(node: Node, schemes: dict[str, Node] | object, root: Node) -> str:
    """Of a list of alternatives the weakest, of what one alternative asks for together the strongest."""
    if node.items is None:
        return ""
    alternatives = []
    for row in node.items:
        if row.entries is None:
            continue
        kinds = [_kind(_resolved(root, schemes.get(name) if isinstance(schemes, dict) else None)) for name in row.entries]
        if not all(kinds):
            return ""  # it names a scheme that the document does not define
        alternatives.append(max((k for k in kinds), key=_STRENGTH.index, default="none"))
    return min(alternatives, key=_STRENGTH.index, default="none")


def _kind(scheme: Node | None) -> str:
    kind = word(scheme, "type").lower()
    return {"apikey": "key", "http": "key", "basic": "key", "oauth2": "oauth", "openidconnect": "oauth", "mutualtls": "mtls"}.get(
        kind, ""
    )


# What comes back -----------------------------------------------------------------------------------------------------


def _resolved(root: Node, node: Node | None) -> Node | None:
    """Behind references inside the document; others lead nowhere."""
    for _ in range(_DEPTH):
        target = word(node, "$ref")
        if not target:
            return node
        if not target.startswith("#/"):
            return None
        node = at(root, *(key.replace("~1", "/").replace("~0", "~") for key in target[2:].split("/")))
    return None


def _schemas(root: Node, response: Node | None) -> list[Node]:
    """The schemas of an answer or a body, one for each media type."""
    response = _resolved(root, response)
    listed = [node.get("schema") for node in entries(response, "content").values()]
    listed.append(at(response, "schema"))
    return [node for node in listed if node is not None]


def _fields(root: Node, schema: Node, depth: int = 0, seen: frozenset[int] = frozenset()) -> Iterator[tuple[str, Node]]:
    """Every property with its resolved schema, through arrays, combinations and references, each reference once."""
    node = _resolved(root, schema)
    if node is None or id(node) in seen or depth > _DEPTH:
        return
    seen = seen | {id(node)}
    for name, inner in entries(node, "properties").items():
        resolved = _resolved(root, inner)
        if resolved is not None:
            yield name, resolved
        yield from _fields(root, inner, depth + 1, seen)
    for key in ("items", "additionalProperties"):
        inner_node = node.get(key)
        if inner_node is not None:
            yield from _fields(root, inner_node, depth + 1, seen)
    for key in ("allOf", "anyOf", "oneOf", "prefixItems"):
        for part in rows(node, key):
            yield from _fields(root, part, depth + 1, seen)


def _answers(call: _Call, good: bool) -> Iterator[tuple[str, Node]]:
    for code, node in entries(call.node, "responses").items():
        if code.startswith("2") == good and (good or code[:1] in "45d"):
            yield code, node


def _outputs(found: Gathered, root: Node, asked: list[_Call]) -> None:
    told: dict[str, tuple[str, str, Node]] = {}
    for call in asked:
        for _, answer in _answers(call, good=True):
            for schema in _schemas(root, answer):
                for name, node in _bounded(_fields(root, schema)):
                    level = tables.output_of(name) or _plain_label(name, node)
                    if level:
                        told.setdefault(level, (call.shown, name[:80], node))
    most = next((level for level in reversed(tables.OUTPUTS) if level in told), "")
    if not most:
        if asked:
            found.note("no field of an answer has a telling name; what a caller sees stays open")
        return
    shown, name, node = told[most]
    found.fact(f"{MODEL}.model.output", most, f"the field {name} in the answer of {shown}", node)
    step = number(node, "multipleOf")
    if most == "score" and step and 0 < step <= 1:
        digits = len(f"{step:.12f}".rstrip("0").partition(".")[2])
        found.fact(f"{MODEL}.model.precision_digits", digits, f"multipleOf of {name}", at(node, "multipleOf"))


def _bounded(fields: Iterator[tuple[str, Node]], most: int = 5_000) -> Iterator[tuple[str, Node]]:
    """Schemas that refer to each other crosswise have more ways through them than anybody reads."""
    for _, field in zip(range(most), fields, strict=False):
        yield field


def _plain_label(name: str, node: Node) -> str:
    """`prediction` alone says nothing of its kind; its type may."""
    types = words(node, "type")
    return "label" if name.lower() == "prediction" and {"string", "integer", "boolean"} & set(types) else ""


def _inputs(found: Gathered, root: Node, asked: list[_Call]) -> None:
    told: dict[str, tuple[str, Node]] = {}
    for call in asked:
        body = _resolved(root, call.node.get("requestBody"))
        media = {**entries(body, "content"), **dict.fromkeys(words(call.node, "consumes"), call.node)}
        for name, node in media.items():
            kind = name.split("/")[0].lower()
            if kind in ("image", "audio"):
                told.setdefault(kind, (f"{call.shown} takes {name[:60]}", node))
    if len(told) == 1:
        [(kind, (because, node))] = told.items()
        found.fact("system.modality", kind, because, node)


def _limits(found: Gathered, root: Node, asked: list[_Call]) -> None:
    for call in asked:
        codes = entries(call.node, "responses")
        headers = [name for _, node in _bounded(iter(codes.items())) for name in entries(_resolved(root, node), "headers")]
        for key in ("x-ratelimit", "x-rate-limit", "x-rateLimit"):
            node = call.node.get(key) or root.get(key)
            count = next((n for k in ("limit", "requests", "n") if (n := number(node, k)) is not None), None)
            per = next((p for k in ("per", "period", "window") if (p := word(node, k).lower())), "")
            if count is not None and count >= 0 and count == int(count) and per in ("second", "minute", "hour", "day"):
                found.fact(f"{MODEL}.endpoint.rate_limit.n", int(count), f"{key} of {call.shown}", node)
                found.fact(f"{MODEL}.endpoint.rate_limit.per", per, f"{key} of {call.shown}", node)
                return
        if "429" in codes or any(_LIMITED.search(name) for name in headers):
            found.note(f"{call.shown} answers that a rate limit was reached (429 or its headers); how many calls, and per what?")
            return


def _errors(found: Gathered, root: Node, asked: list[_Call]) -> None:
    for call in asked:
        for code, answer in _answers(call, good=False):
            for schema in _schemas(root, answer):
                for name, node in _bounded(_fields(root, schema)):
                    if _TRACE.match(name):
                        because = f"the field {name[:80]} in the answer {code[:8]} of {call.shown}"
                        found.fact(f"{MODEL}.endpoint.verbose_errors", True, because, node)
                        return


def _other_paths(found: Gathered, root: Node, calls: tuple[_Call, ...]) -> None:
    admin = [call for call in calls if _ADMIN.search(call.path)]
    schemes = entries(root, "components", "securitySchemes") or entries(root, "securityDefinitions")
    for call in admin:
        node = call.node.get("security") or root.get("security")
        if node is not None and _strength(node, schemes, root) == "none":
            found.fact(f"{MODEL}.endpoint.admin_exposed", True, f"{call.shown} asks for no key", call.node)
            break
    if admin:
        listed = ", ".join(quoted(call.shown) for call in admin[:5])
        found.note(f"paths that look like administration: {listed}; who can reach them?")
    for call in calls:
        if call.method == "get" and _METADATA.search(call.path):
            found.fact(f"{MODEL}.endpoint.metadata_exposed", True, f"{call.shown} tells about the model", call.node)
            break
    _feedback(found, root, calls)


def _feedback(found: Gathered, root: Node, calls: tuple[_Call, ...]) -> None:
    """Paths by which callers may tell what is true. Whether anything learns from it is in no such file."""
    told = []
    for call in calls:
        if call.method not in ("post", "put", "patch"):
            continue
        body = [at(call.node, "requestBody"), *(row for row in rows(call.node, "parameters") if word(row, "in") == "body")]
        names = [name for part in body for schema in _schemas(root, part) for name, _ in _bounded(_fields(root, schema))]
        if _FEEDBACK.search(call.path) or any(map(_FEEDBACK.search, names)):
            told.append(quoted(call.shown))
    if told:
        listed = ", ".join(told[:5])
        found.note(f"callers can report or correct something by {listed}; if it reaches the training, describe the feedback")
