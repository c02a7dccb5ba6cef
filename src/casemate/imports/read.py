"""Read one file to import from, whatever it is. What it is is settled by its content; a name only breaks a tie.

    found = read("model/README.md")
    found.format    # "Hugging Face model card"
    found.facts     # each with the line that says it

Nothing is loaded, unpickled, fetched or run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from casemate.core.errors import BadSystem, UsageError
from casemate.imports import compose, cyclonedx, huggingface, kubernetes, mlmodel, openapi, threat_model_library
from casemate.imports.documents import Document, parse, read_bytes
from casemate.imports.found import Import


@dataclass(frozen=True, slots=True)
class _Format:
    name: str
    matches: Callable[[Document], bool]
    read: Callable[[Document], Import]


# In the order in which they are asked: the most particular first.
_DOCUMENTS = (
    _Format("CycloneDX ML-BOM (JSON)", cyclonedx.matches, cyclonedx.read_document),
    _Format("OWASP Threat Model Library (JSON)", threat_model_library.matches, threat_model_library.read_document),
    _Format("OpenAPI 3 or Swagger 2 (JSON, YAML)", openapi.matches, openapi.read_document),
    _Format("MLflow MLmodel", mlmodel.matches, mlmodel.read_document),
    _Format("Kubernetes and KServe manifests (YAML, JSON)", kubernetes.matches, kubernetes.read_document),
    _Format("docker-compose (YAML)", compose.matches, compose.read_document),
)
_MODELS = (
    "model files (pickle, joblib, torch, safetensors, ONNX, Keras, SavedModel, TFLite, skops, GGUF)",
    "Hugging Face README.md with front matter",
)
FORMATS = (*_MODELS, *(form.name for form in _DOCUMENTS))
_IN_A_FOLDER = ("MLmodel", "README.md")  # what speaks for a folder that is no model itself


def read(path: str | Path) -> Import:
    """What a file, or the folder of a model, says about a system.

    Args:
        path: A model file, a document, or a folder: a SavedModel, an MLflow model, a checkout of a model's repository.

    Raises:
        UsageError: The file cannot be read, is too large, or is none of the formats (which the message lists).
        BadSystem: It is one of them and broken: file, line, and what is wrong.
    """
    path = Path(path)
    if not path.exists():
        raise UsageError(f"{path}: there is no such file; give a file to import from: {', '.join(FORMATS)}")
    model = _model_file(path)
    if model is not None:
        return model
    if path.is_dir():
        return _folder(path)
    return read_document(read_bytes(path), str(path))


def read_document(data: bytes, shown: str) -> Import:
    """`read`, for a document that is already in memory."""
    front = huggingface.front_matter(data, shown)
    if front is not None and huggingface.matches(front):
        return huggingface.read_document(front)
    if b"\x00" in data[:4096]:
        raise _unknown(shown, "it is binary")
    try:
        document = parse(data, shown)
    except BadSystem as error:
        if _is_meant_as_document(data, shown):
            raise
        raise _unknown(shown, str(error)) from None
    for form in _DOCUMENTS:
        if form.matches(document):
            found = form.read(document)
            if len(document.roots) > 1 and form.read is not kubernetes.read_document:
                found = replace(found, notes=(f"{len(document.roots)} documents; the first was read", *found.notes))
            return found
    raise _unknown(shown, _looks(document))


def _model_file(path: Path) -> Import | None:
    """The readers of model files; they answer None for what is no model."""
    from casemate.imports.model_files import read_model

    return read_model(path)


def _folder(path: Path) -> Import:
    for name in _IN_A_FOLDER:
        inner = path / name
        if inner.is_file():
            return read_document(read_bytes(inner), str(inner))
    raise _unknown(str(path), f"a folder without {' or '.join(_IN_A_FOLDER)}")


def _is_meant_as_document(data: bytes, shown: str) -> bool:
    """Whether a file that cannot be parsed was meant to be a document, so that its own mistake is worth telling."""
    return shown.lower().endswith((".json", ".yaml", ".yml", "mlmodel")) or data.lstrip()[:1] in (b"{", b"[")


def _looks(document: Document) -> str:
    root = document.root
    if root.get("casemate") is not None or (root.get("system") is not None and root.get("components") is not None):
        return "it is a description itself, which needs no import"
    if root.entries is None:
        return "it is a text or a list"
    return f"it has the keys {', '.join(sorted(key[:40] for key in root.entries)[:8]) or '(none)'}"


def _unknown(shown: str, why: str) -> UsageError:
    return UsageError(f"{shown}: no format that can be imported ({why}); known: {'; '.join(FORMATS)}")
