"""An MLflow `MLmodel` file: the format its flavour saves in, where it lies, what goes in and comes out."""

from __future__ import annotations

from casemate.core.errors import BadSystem
from casemate.imports import tables
from casemate.imports.documents import Document, at, entries, parse, word
from casemate.imports.found import Import
from casemate.imports.gather import MODEL, Gathered, quoted
from casemate.threats.nodes import Node

NAME = "MLflow MLmodel"
# Flavours in the order in which they are asked: (the key that names the file, format, family, differentiable).
# "" is settled below by the flavour's own settings, or not at all.
_FLAVOURS = {
    "sklearn": ("pickled_model", "", "", ""),
    "pytorch": ("model_data", "torch", "nn", "yes"),
    "onnx": ("data", "onnx", "", ""),
    "keras": ("data", "", "nn", "yes"),
    "tensorflow": ("data", "", "nn", "yes"),
    "transformers": ("", "", "nn", "yes"),
    "sentence_transformers": ("data", "", "nn", "yes"),
    "fastai": ("data", "torch", "nn", "yes"),
    "xgboost": ("data", "native", "", ""),
    "lightgbm": ("data", "native", "trees", "no"),
    "catboost": ("data", "native", "trees", "no"),
    "statsmodels": ("data", "pickle", "", ""),
    "h2o": ("data", "native", "", ""),
    "prophet": ("data", "native", "", ""),
}
_SKLEARN = {"pickle": "pickle", "cloudpickle": "pickle", "skops": "skops"}
_LABELS = ("string", "integer", "long", "boolean", "int32", "int64", "str", "bool")


def matches(document: Document) -> bool:
    root = document.root
    known = any(root.get(key) is not None for key in ("model_uuid", "mlflow_version", "artifact_path", "run_id", "model_id"))
    return bool(entries(root, "flavors")) and (known or "python_function" in entries(root, "flavors"))


def read_document(document: Document) -> Import:
    root = document.root
    version = word(root, "mlflow_version")
    found = Gathered(f"{NAME} {version}".strip(), document.file)
    flavours = entries(root, "flavors")
    name = next((name for name in _FLAVOURS if name in flavours), "")
    if name:
        _flavour(found, flavours[name], name)
    elif "python_function" in flavours:
        _python(found, flavours["python_function"])
    else:
        found.note(f"flavors {quoted(', '.join(flavours))}: no known one, so the format stays open")
    _signature(found, document)
    for key in ("model_uuid", "model_id", "run_id"):
        if word(root, key):
            found.note(f"{key}: {word(root, key)}")
    environment = word(flavours.get("python_function"), "env") or word(flavours.get("python_function"), "env", "virtualenv")
    if environment:
        found.note(f"its environment is in {environment}: a check of the dependencies can start there")
    return found.done()


def _flavour(found: Gathered, node: Node, name: str) -> None:
    key, format, family, differentiable = _FLAVOURS[name]
    because, where = f"flavors.{name}", node
    path = word(node, key) if key else ""
    if name == "sklearn":
        how = word(node, "serialization_format")
        where = at(node, "serialization_format") or node
        # Older MLflow wrote no serialization_format, and pickled.
        format = _SKLEARN.get(how, "") if how else "pickle"
        because = f"flavors.sklearn.serialization_format: {how}" if how else f"{because}, which pickles by default"
        if how and not format:
            found.note(f"serialization_format {quoted(how)} is not known")
    elif name == "pytorch" and word(node, "serialization_format") == "pt2":
        format = ""
    elif name in ("keras", "tensorflow"):
        format = {"h5": "keras_h5", "keras": "keras_v3"}.get(word(node, "save_format"), "") or tables.format_of(path)
    elif tables.format_of(path) in ("pickle", "joblib"):  # a scikit-learn wrapper of a booster is pickled
        format = tables.format_of(path)
    found.fact(f"{MODEL}.artifact.format", format, because, where)
    found.fact(f"{MODEL}.artifact.path", path, f"flavors.{name}.{key}", at(node, key) if key else None)
    found.fact(f"{MODEL}.model.family", family, f"flavors.{name}", node)
    found.fact(f"{MODEL}.model.differentiable", differentiable, f"flavors.{name}", node)
    if not format:
        found.note(f"flavour {name} does not settle the format of its file")


def _python(found: Gathered, node: Node) -> None:
    """A model that is Python code: a pickled object, or a script."""
    pickled = word(node, "python_model")
    if pickled and tables.format_of(pickled) == "pickle":
        found.fact(f"{MODEL}.artifact.format", "pickle", "flavors.python_function.python_model", at(node, "python_model"))
        found.fact(f"{MODEL}.artifact.path", pickled, "flavors.python_function.python_model", at(node, "python_model"))
    elif word(node, "model_code_path"):
        found.note("the model is a Python script (model_code_path): whoever loads it runs it")
    else:
        found.note(f"loaded by {quoted(word(node, 'loader_module'))}: the format of its file stays open")


def _signature(found: Gathered, document: Document) -> None:
    node, told = (at(document.root, "signature", side) for side in ("inputs", "outputs"))
    inputs, outputs = (_schema(found, document, side) for side in ("inputs", "outputs"))
    shape = _shape(inputs[0]) if len(inputs) == 1 else ()
    because = "signature.inputs"
    if len(inputs) > 1 and all(word(row, "name") for row in inputs):
        found.fact("system.modality", "tabular", f"{because}: {len(inputs)} named columns", node)
    elif len(shape) == 4 and (shape[1] in ("1", "3", "4") or shape[3] in ("1", "3", "4")):
        found.fact("system.modality", "image", f"{because}: a tensor of shape {', '.join(shape)}", node)
    elif len(inputs) == 1 and word(inputs[0], "type") == "string":
        found.fact("system.modality", "text", f"{because}: one string", node)
    levels = {tables.output_of(word(row, "name")) for row in outputs}
    most = next((level for level in reversed(tables.OUTPUTS) if level in levels), "")
    if not most and len(outputs) == 1 and _type(outputs[0]) in _LABELS and len(_shape(outputs[0])) < 2:
        most = "label"
    found.fact(f"{MODEL}.model.output", most, "signature.outputs", told)
    if outputs and not most:
        found.note("signature.outputs are numbers without a telling name: scores, logits or a regression?")
    if inputs:
        found.note("MLflow checks inputs against the signature where it serves the model; other servers may not")


def _schema(found: Gathered, document: Document, side: str) -> tuple[Node, ...]:
    """Inputs or outputs, which stand as JSON in a string."""
    node = at(document.root, "signature", side)
    if node is None or not node.scalar or not node.text.strip().startswith("["):
        return ()
    try:
        listed = parse(node.text.encode(errors="replace"), document.file)
    except BadSystem:
        found.note(f"signature.{side} (line {node.line}) is no JSON")
        return ()
    return tuple(item for item in listed.root.items or () if item.entries is not None)


def _type(row: Node) -> str:
    return word(row, "type") if word(row, "type") != "tensor" else word(row, "tensor-spec", "dtype")


def _shape(row: Node) -> tuple[str, ...]:
    shape = at(row, "tensor-spec", "shape")
    return tuple(word(item) for item in shape.items or ()) if shape is not None else ()


