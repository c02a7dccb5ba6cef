"""A CycloneDX bill of materials, JSON 1.5 to 1.7: the models in it, with parents, data, digests and architecture."""

from __future__ import annotations

from collections.abc import Iterator

from casemate.imports import tables
from casemate.imports.documents import Document, at, entries, rows, word
from casemate.imports.found import Import
from casemate.imports.gather import MODEL, Gathered, quoted
from casemate.threats.nodes import Node

NAME = "CycloneDX ML-BOM"
VERSIONS = ("1.5", "1.6", "1.7")
_SETTLED = ("not_affected", "false_positive", "resolved", "resolved_with_pedigree")
_PUBLIC = ("huggingface.co/", "tfhub.dev/", "kaggle.com/models", "pytorch.org/", "pkg:huggingface/")
_MOST = 500  # models that one bill may add


def matches(document: Document) -> bool:
    return word(document.root, "bomFormat").lower() == "cyclonedx"


def read_document(document: Document) -> Import:
    root = document.root
    version = word(root, "specVersion")
    found = Gathered(f"CycloneDX {version or '(no version)'}", document.file)
    if version not in VERSIONS:
        found.note(f"specVersion {quoted(version)} is none of {', '.join(VERSIONS)}; what could be read was")
    everything = tuple(_components(root))
    models = [node for node in everything if word(node, "type") == "machine-learning-model"][:_MOST]
    known = {ref: node for node in everything if (ref := word(node, "bom-ref"))}
    for node in models:
        owner = MODEL if len(models) == 1 else found.id(word(node, "name"), "model")
        if len(models) > 1:
            found.element("components", {"id": owner})
            found.fact(f"{owner}.kind", "model_artifact", f"component {quoted(word(node, 'name'))}", node)
        _model(found, node, owner, known, alone=len(models) == 1)
    if not models:
        found.note("lists no component of type machine-learning-model")
    elif len(models) > 1:
        found.note(f"lists {len(models)} models; each is a component of its own here")
    _vulnerable(found, root, MODEL)
    return found.done()


def _components(root: Node) -> Iterator[Node]:
    """Every component, nested ones too; not those that are only ancestors of others."""
    queue = [node for node in (at(root, "metadata", "component"),) if node is not None and node.entries is not None]
    queue += rows(root, "components")
    for node in queue:  # grows while it is walked
        yield node
        queue += rows(node, "components")


def _name(node: Node) -> str:
    """group/name@version, as far as stated."""
    group, name, version = (word(node, key) for key in ("group", "name", "version"))
    return f"{group}/{name}".strip("/") + (f"@{version}" if version and name else "")


def _digest(node: Node) -> tuple[str, Node | None]:
    """The strongest hash as `sha256:...`, and where it stands."""
    listed = {word(row, "alg").upper().replace("-", ""): row for row in rows(node, "hashes")}
    for algorithm in ("SHA256", "SHA512", "SHA384", "SHA3256", "SHA3512", "BLAKE3"):
        row = listed.get(algorithm)
        if row is not None and word(row, "content"):
            return f"{algorithm.lower()}:{word(row, 'content').lower()}", row
    return "", None


def _addresses(node: Node) -> list[tuple[str, Node]]:
    found = [(url, row) for row in rows(node, "externalReferences") if (url := word(row, "url"))]
    purl = at(node, "purl")
    return found + ([(word(purl), purl)] if purl is not None and word(purl) else [])


def _model(found: Gathered, node: Node, owner: str, known: dict[str, Node], alone: bool) -> None:
    digest, where = _digest(node)
    found.fact(f"{owner}.artifact.digest", digest, "hashes", where)
    formats = {tables.format_of(url): row for url, row in _addresses(node) if tables.format_of(url)}
    if len(formats) == 1:
        [(format, row)] = formats.items()
        found.fact(f"{owner}.artifact.format", format, "the file that an external reference names", row)
    elif formats:
        found.note(f"{owner}: its references name files of several formats ({', '.join(sorted(formats))})")
    _parent(found, node, owner)
    card = at(node, "modelCard", "modelParameters")
    if card is None:
        return
    for key in ("architectureFamily", "modelArchitecture"):
        family, differentiable = tables.family(word(card, key))
        if family:
            found.fact(f"{owner}.model.family", family, f"{key}: {word(card, key)}", at(card, key))
            found.fact(f"{owner}.model.differentiable", differentiable, f"{key}: {word(card, key)}", at(card, key))
            break
    _datasets(found, card, owner, known)
    task = word(card, "task").lower().replace(" ", "-").replace("_", "-")
    modality, kind = tables.TASKS.get(task, ("", ""))
    if alone:
        found.fact("system.modality", modality, f"modelParameters.task: {task}", at(card, "task"))
        found.fact("system.task", kind, f"modelParameters.task: {task}", at(card, "task"))
    levels = {tables.output_of(word(row, "format")): row for row in rows(card, "outputs")}
    most = next((level for level in reversed(tables.OUTPUTS) if level in levels), "")
    if most:
        found.fact(f"{owner}.model.output", most, "modelParameters.outputs", levels[most])


def _parent(found: Gathered, node: Node, owner: str) -> None:
    ancestors = [row for row in rows(node, "pedigree", "ancestors") if _name(row)]
    if not ancestors:
        return
    parent = ancestors[0]
    because = "pedigree.ancestors[0]"
    found.fact(f"{owner}.provenance.parent.ref", _name(parent), because, parent)
    digest, where = _digest(parent)
    found.fact(f"{owner}.provenance.parent.digest", digest, f"{because}.hashes", where)
    public = [(url, row) for url, row in _addresses(parent) if any(host in url for host in _PUBLIC)]
    if public:
        url, row = public[0]
        found.fact(f"{owner}.provenance.parent.public", True, f"{because} is at a public place", row)
        found.fact(f"{owner}.provenance.parent.source", url, f"{because} is at a public place", row)
    if len(ancestors) > 1:
        found.note(f"{owner}: {len(ancestors)} ancestors; the first is the parent here")


def _datasets(found: Gathered, card: Node, owner: str, known: dict[str, Node]) -> None:
    """Data sets stand inline or as the bom-ref of a component."""
    names = []
    for row in rows(card, "datasets"):
        ref = word(row, "ref")
        name = _name(known[ref]) if ref in known else _name(row) or ref
        names += [name] if name else []
    found.fact(f"{owner}.provenance.datasets", tuple(dict.fromkeys(names)), "modelParameters.datasets", at(card, "datasets"))


def _vulnerable(found: Gathered, root: Node, owner: str) -> None:
    """Known holes that nobody has settled. A bill without a list of them says nothing."""
    open_ones = [row for row in rows(root, "vulnerabilities") if word(row, "analysis", "state") not in _SETTLED]
    if open_ones:
        first = word(open_ones[0], "id")
        because = f"vulnerabilities: {len(open_ones)} not settled, the first {first or 'without an id'}"
        found.fact(f"{owner}.dependencies.known_vulnerable", True, because, open_ones[0])
    libraries = [node for node in _components(root) if word(node, "type") in ("library", "framework")]
    if libraries and not entries(root, "vulnerabilities") and not rows(root, "vulnerabilities"):
        found.note(f"lists {len(libraries)} libraries and no vulnerabilities, which says nothing about whether there are any")
