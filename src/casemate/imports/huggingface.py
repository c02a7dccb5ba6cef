"""The front matter of a Hugging Face model card: parent, data, modality. The same lines tell an outsider the parent."""

from __future__ import annotations

import re

from casemate.imports import tables
from casemate.imports.documents import Document, parse, word, words
from casemate.imports.found import Import
from casemate.imports.gather import MODEL, Gathered, quoted

NAME = "Hugging Face model card"
_FRONT = re.compile(rb"\A(?:\xef\xbb\xbf)?---[ \t]*\r?\n(.*?)\r?\n(?:---|\.\.\.)[ \t]*(?:\r?\n|\Z)", re.S)
_HUB = re.compile(r"(https://huggingface\.co/)?[\w-][\w.-]*(/[\w][\w.-]*)?\Z", re.ASCII)
_KEYS = ("base_model", "datasets", "library_name", "license", "pipeline_tag", "model-index", "tags", "language", "model_name")


def front_matter(data: bytes, shown: str) -> Document | None:
    """The YAML between the first two `---` of a Markdown file, with the file's line numbers; None where there is none."""
    found = _FRONT.match(data)
    if not found:
        return None
    return parse(b"\n" + found.group(1), shown)  # the blank line keeps the numbers


def matches(document: Document) -> bool:
    """Whether this front matter is a model card's, and not that of any other page."""
    root = document.root
    other = any(root.get(key) is not None for key in ("apiVersion", "openapi", "services", "flavors"))
    return any(root.get(key) is not None for key in _KEYS) and not other


def read_document(document: Document) -> Import:
    found, root = Gathered(NAME, document.file), document.root
    _parent(found, document)
    datasets = words(root, "datasets")
    found.fact(f"{MODEL}.provenance.datasets", datasets, "datasets", root.get("datasets"))
    task = word(root, "pipeline_tag")
    modality, kind = tables.TASKS.get(task, ("", ""))
    found.fact("system.modality", modality, f"pipeline_tag: {task}", root.get("pipeline_tag"))
    found.fact("system.task", kind, f"pipeline_tag: {task}", root.get("pipeline_tag"))
    if task and not modality:
        found.note(f"pipeline_tag {quoted(task)} says neither modality nor task of a description")
    library = word(root, "library_name")
    family, differentiable = tables.LIBRARIES.get(library.lower(), ("", ""))
    because = f"library_name: {library}"
    found.fact(f"{MODEL}.model.family", family, because, root.get("library_name"))
    found.fact(f"{MODEL}.model.differentiable", differentiable, because, root.get("library_name"))
    if library and not family:
        found.note(f"library_name {quoted(library)} does not settle the model's family")
    for key in ("license", "license_name"):
        if word(root, key):
            found.note(f"{key}: {word(root, key)}; a description has no place for it")
    return found.done()


def _parent(found: Gathered, document: Document) -> None:
    root = document.root
    parents, node = words(root, "base_model"), root.get("base_model")
    if not parents:
        if node is None:
            found.note("names no base_model; that does not mean that it was trained from scratch")
        return
    found.fact(f"{MODEL}.provenance.parent.ref", ", ".join(parents), "base_model", node)
    if all(_HUB.match(parent) for parent in parents):
        found.fact(f"{MODEL}.provenance.parent.public", True, "base_model names a repository of the Hub", node)
        found.fact(f"{MODEL}.provenance.parent.source", "huggingface.co", "base_model names a repository of the Hub", node)
        found.note(f"whoever reads the published card learns the parent too (line {node.line if node else 0})")
    else:
        found.note("base_model is no name on the Hub, so whether it is public stays open")
    if len(parents) > 1:
        found.note(f"{len(parents)} base models: a merge; a description has one parent, so they stand together")
    relation = word(root, "base_model_relation")
    if relation:
        found.note(f"base_model_relation: {relation}")
