"""skops: the schema of a zip, which names every type that loading would build."""

from __future__ import annotations

from typing import Any

from casemate.attacks.supply._documents import check_skops
from casemate.attacks.supply._finding import Data, Notebook, printable
from casemate.attacks.supply._values import default_allowed
from casemate.imports._families import judge
from casemate.imports._json import nodes, parsed
from casemate.imports._reading import MOST_JSON, Reading, refuse
from casemate.imports._zip import Members


def read_skops(r: Reading, data: Data) -> None:
    """The types in schema.json, judged as the classes of a pickle are."""
    r.format = "skops file"
    contents = [content for _, content in Members(data, r).read("schema.json", MOST_JSON)]
    content = contents[-1] if contents else b"{}"  # of two with one name, zipfile and so skops takes the last
    schema = parsed(r, content, "schema.json")
    if not isinstance(schema, dict) or "__class__" not in schema:
        raise refuse(r.file, "schema.json is not that of skops: it names no class")
    r.model("artifact.format", "skops", "a zip with schema.json")
    book = Notebook(r.file, "skops")
    check_skops(content, book, default_allowed())
    r.objections(book.found)
    names = {(node["__module__"], node["__class__"]) for node in nodes(schema) if _named(node)}
    root = (schema["__module__"], schema["__class__"]) if _named(schema) else None
    judge(r, names, root, "schema.json", whole=True)
    if isinstance(version := schema.get("_skops_version"), str):
        r.note(f"written by skops {printable(version, 40)}")


def _named(node: dict[str, Any]) -> bool:
    return isinstance(node.get("__module__"), str) and isinstance(node.get("__class__"), str)
