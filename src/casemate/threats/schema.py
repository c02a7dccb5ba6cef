"""The JSON Schema of a description, generated from the records, so that editors complete what the reader accepts.

It checks one file. Dangling ids and missing parts show only when the overlays are merged, so nothing is required
here that an overlay may leave out. `python -m casemate.threats.schema` writes the shipped copy
and prints the reference page.
"""

from __future__ import annotations

import functools
import inspect
import json
import re
import sys
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

from casemate.core.fact import Truth
from casemate.core.shape import HEAD, choices, field_key, hints
from casemate.core.system import System
from casemate.threats.load import SECTIONS, VERSION
from casemate.threats.rules import common_questions

SHIPPED = Path(__file__).parent / "system.schema.json"
_FACT = {"enum": [True, False, "yes", "no", "unknown"]}
_SOURCE = {"enum": ["asserted", "imported", "measured"]}


def schema() -> dict[str, Any]:
    """The schema as plain data."""
    defs: dict[str, Any] = {}
    head = {key: {"description": _comments(System).get(key, ""), **_of(hints(System)[key], defs)} for key in HEAD}
    binding = {key: value for key, value in head["target"].items() if key != "description"}
    head["target"] = {"description": head["target"]["description"], "anyOf": [binding["items"], binding]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "casemate system description",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "casemate": {"const": VERSION, "description": "version of the description language"},
            "extends": {"type": "string", "description": "a description beside this one, which this one changes"},
            "includes": {
                "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
                "description": "files beside this one with parts that several descriptions share",
            },
            "system": {"type": "object", "additionalProperties": False, "properties": head},
            **{key: _of(hints(System)[key], defs) for key in SECTIONS},
        },
        "$defs": dict(sorted(defs.items())),
    }


def _of(hint: Any, defs: dict[str, Any]) -> dict[str, Any]:
    """A field: its value, null or `unknown` for "not known", and for a single value also {value, source}."""
    return _field([_part(part, defs) for part in choices(hint)])


def _field(parts: list[dict[str, Any]]) -> dict[str, Any]:
    if any("$ref" in part for part in parts) and len(parts) > 1:
        parts += [{"const": False}, {"const": "no"}]  # `parent: no` is `parent: none`; an editor reads YAML 1.2, where no is text
    values = [part for part in parts if "$ref" not in part and part.get("type") != "object" and not _of_records(part)]
    if all("$ref" in part or part.get("type") in ("integer", "number") for part in parts):
        parts.append({"const": "unknown"})  # words and facts have it among their own
        values += [parts[-1]] if values else []
    if values:
        value = values[0] if len(values) == 1 else {"anyOf": values}
        sourced = {"value": value, "source": _SOURCE}
        parts.append({"type": "object", "properties": sourced, "additionalProperties": False, "required": ["value"]})
    if len(parts) == 1 and parts[0].get("type") in ("array", "object"):
        return parts[0]
    return {"anyOf": [*parts, {"type": "null"}]}


def _of_records(part: dict[str, Any]) -> bool:
    return part.get("type") == "array" and "$ref" in part["items"]


def _part(part: Any, defs: dict[str, Any]) -> dict[str, Any]:
    origin, args = typing.get_origin(part), typing.get_args(part)
    if part is Truth:
        return dict(_FACT)
    if origin is Literal:
        return {"enum": [*args, "unknown", *([True, False] if {"yes", "no"} <= set(args) else [])]}
    if origin is tuple:
        return {"type": "array", "items": _part(args[0], defs)}
    if origin is Mapping:
        return {"type": "object"}
    if is_dataclass(part):
        return _record(typing.cast(type, part), defs)
    return {"type": {str: ["string", "number"], int: "integer", float: "number"}[part]} | (
        {} if part is str else {"minimum": 0}
    )


def _record(kind: type, defs: dict[str, Any]) -> dict[str, Any]:
    name = kind.__name__
    if name not in defs:
        defs[name] = {}  # set first: a record may be met again below itself
        properties = {}
        for f in fields(kind):
            found = _field([{"type": "number"}]) if f.metadata.get("signed") else _of(hints(kind)[f.name], defs)
            told = (_said(kind, f.name, field_key(f)), _names(f.metadata.get("refs", ())))
            said = "; ".join(filter(None, told))
            properties[field_key(f)] = {"description": said, **found} if said else found
        if "id" in properties or name in ("Access", "Binding"):
            properties["remove"] = {"enum": [True, "yes"], "description": "in an overlay: take this out"}
        defs[name] = {"type": "object", "additionalProperties": False, "properties": properties}
    return {"$ref": f"#/$defs/{name}"}


@functools.cache
def _comments(kind: type) -> dict[str, str]:
    """What the source says beside each field of a record: the one place where fields are explained."""
    lines = inspect.getsource(kind).splitlines()
    found = (re.match(r"    (\w+): .*?  # (.+)", line) for line in lines)
    return {match[1]: match[2].removesuffix("  # noqa") for match in found if match}


def _said(kind: type, name: str, key: str) -> str:
    """What an editor shows for a key: its comment, or the question that asks for it."""
    part = {"Parent": "provenance.parent", "DecisionRule": "decision", "Principal": "", "DeclaredControl": ""}
    path = f"{part.get(kind.__name__, kind.__name__.lower())}.{key}".removeprefix(".")
    question = common_questions().get(path, "").replace("{c}", "the component")
    return _comments(kind).get(name, question)


def _names(kinds: tuple[str, ...]) -> str:
    return f"ids of {' or '.join(kinds)}" if kinds else ""


def text() -> str:
    """The shipped file, byte for byte."""
    return json.dumps(schema(), indent=1) + "\n"


def page() -> str:
    """The reference page of all keys, as Markdown."""
    known = schema()
    lines = [_PAGE]
    lines += ["## system", "", *_rows(known["properties"]["system"]["properties"])]
    for name, record in known["$defs"].items():
        lines += ["", f"## {name}", "", *_rows(record["properties"])]
    return "\n".join(lines) + "\n"


_PAGE = """# Every key of a description

Generated from the types by `python -m casemate.threats.schema`; do not edit. What they mean together is in
[the description language](description.md). Anything may be left out: then it is unknown. A single value, or a list of words, may
be written `{value: .., source: asserted | imported | measured}`.
"""


def _rows(properties: Mapping[str, Any]) -> list[str]:
    rows = ["| key | values | meaning |", "|---|---|---|"]
    return rows + [
        f"| `{key}` | {_values(part)} | {part.get('description', '').replace('|', '/')} |"
        for key, part in properties.items()
        if key != "remove"
    ]


def _values(part: Mapping[str, Any]) -> str:
    """The values of a field in words."""
    if "anyOf" in part:
        single = [p for p in part["anyOf"] if p.get("type") not in ("null", "object") and "const" not in p]
        return " or ".join(dict.fromkeys(word for word in map(_values, single) if word))
    if "$ref" in part:
        name = part["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "enum" in part:
        words = [str(word) for word in part["enum"] if not isinstance(word, bool) and word != "unknown"]
        return ", ".join(f"`{word}`" for word in words)
    if part.get("type") == "array":
        return f"list of {_values(part['items'])}"
    kind = part.get("type")
    return {"integer": "whole number", "number": "number", "object": "mapping"}.get(kind, "text") if isinstance(kind, str) else (
        "text" if kind and "string" in kind else "number")  # fmt: skip


if __name__ == "__main__":
    SHIPPED.write_text(text(), encoding="utf-8")
    sys.stdout.write(page())
