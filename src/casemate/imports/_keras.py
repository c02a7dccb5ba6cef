"""Keras: the configuration of a model, from a .keras zip or from the attributes of an HDF5 file."""

from __future__ import annotations

import json
from typing import Any

from casemate.attacks.supply._documents import check_keras
from casemate.attacks.supply._finding import Data, Notebook, Severity, printable
from casemate.imports._hdf5 import Hdf5
from casemate.imports._json import nodes, parsed
from casemate.imports._reading import MOST_JSON, Reading, listed, refuse
from casemate.imports._zip import Members

_DEEP = {
    "LSTM", "GRU", "SimpleRNN", "RNN", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", "Bidirectional", "MultiHeadAttention",
    "Attention", "GroupQueryAttention", "BatchNormalization", "LayerNormalization", "GroupNormalization", "Embedding",
}  # fmt: skip
_CONTAINERS = {"Sequential", "Functional", "Model"}
_FLAT = {
    "InputLayer", "Flatten", "Dense", "Dropout", "Activation", "Softmax", "Rescaling", "Normalization", "Reshape", "Concatenate",
}  # fmt: skip
_NO_GRADIENT = {
    "StringLookup", "IntegerLookup", "TextVectorization", "Discretization", "Hashing", "CategoryEncoding", "HashedCrossing",
}  # fmt: skip
_IMAGES = {
    "Resizing", "CenterCrop", "RandomCrop", "RandomFlip", "RandomRotation", "RandomZoom", "RandomTranslation", "RandomContrast",
    "RandomBrightness", "RandomHeight", "RandomWidth", "RandAugment", "MixUp", "CutMix",
}  # fmt: skip
_AUDIO = {"MelSpectrogram", "STFTSpectrogram"}
_CODE = {"Lambda", "TFOpLambda", "SlicingOpLambda"}
_SCORES = {"softmax", "sigmoid"}
_WRAPPED = {"TimeDistributed", "Bidirectional", "Wrapper"}


def read_keras(r: Reading, data: Data) -> None:
    """A .keras file: a zip with config.json, metadata.json and the weights."""
    r.format = "Keras v3 file"
    members = Members(data, r)
    r.model("artifact.format", "keras_v3", "a zip with config.json and metadata.json")
    for _, content in members.read("metadata.json", MOST_JSON):
        about = parsed(r, content, "metadata.json")
        version = about.get("keras_version") if isinstance(about, dict) else None
        if isinstance(version, str):
            r.note(f"written by Keras {printable(version, 40)}")
    for _, content in members.read("config.json", MOST_JSON):
        config = parsed(r, content, "config.json")
        loss = config.get("compile_config") if isinstance(config, dict) else None
        judge_config(r, content, config, loss, "config.json")


def read_hdf5(r: Reading, data: Data, base: int) -> None:
    """An HDF5 file: a Keras model if its attributes say so."""
    r.format = "Keras HDF5 file"
    file = Hdf5(data, base)
    content, training = file.text("model_config"), file.text("training_config")
    if content is None:
        if not file.names(("keras_version", "layer_names")) and not file.names(("layers", "vars")):
            raise refuse(r.file, "an HDF5 file without the attributes that Keras writes; it is not known to be a model")
        r.model("artifact.format", "keras_h5", "an HDF5 file with the names that Keras gives to weights, and no model_config")
        r.note("weights only, or a configuration that could not be found: layers, family and output are left open")
        return
    r.model("artifact.format", "keras_h5", "an HDF5 file with the attribute model_config")
    r.note("HDF5 was searched for Keras's attributes only: groups, links to other files and filters were not looked at")
    loss = parsed(r, training, "training_config") if training is not None else None
    judge_config(r, content, parsed(r, content, "model_config"), loss, "model_config")


def judge_config(r: Reading, content: bytes, config: Any, compiled: Any, where: str) -> None:
    """What the layers show. `compiled`: the part that names the loss, if there is one."""
    if not isinstance(config, dict) or not isinstance(config.get("class_name"), str):
        raise refuse(r.file, f"{where} names no class; it is not what Keras writes")
    layers = _layers(config)
    names = [str(layer["class_name"]) for layer in layers]
    custom = _objections(r, content, where)
    because = f"{where}: layers {listed(names)}"
    if "layers" in names or not layers:
        r.note(f"{where}: no layers are listed (a {listed([config['class_name']])}): the family is left open")
        return
    family = _family(names)
    if family:
        r.model("model.family", family, because)
    if set(names) & _CODE:
        r.note(f"{where}: loading a Lambda layer executes the Python that it carries; Keras 3 refuses unless safe_mode is off")
    if custom or set(names) & (_NO_GRADIENT | _CODE):
        r.note("lookup layers, custom layers or code: whether the model has a gradient is left open")
    elif family:
        r.model("model.differentiable", "yes", because)
        r.model("model.stores_training_examples", "no", f"{because}, which keep parameters only")
    _modality(r, layers, names, where)
    _output(r, layers, compiled, where)


def _layers(config: dict[str, Any]) -> list[dict[str, Any]]:
    """The layers in their order, those of nested models among them."""
    found, todo, steps = [], [config], 0
    while todo and steps < 100_000:
        node, steps = todo.pop(), steps + 1
        inner = node.get("config")
        below = inner.get("layers") if isinstance(inner, dict) else None
        if isinstance(below, list):
            todo.extend(layer for layer in reversed(below) if isinstance(layer, dict))
        elif isinstance(node.get("class_name"), str) and node is not config:
            found.append(node)
            wrapped = inner.get("layer") if isinstance(inner, dict) else None
            if isinstance(wrapped, dict):
                todo.append(wrapped)
    return found


def _objections(r: Reading, content: bytes, where: str) -> bool:
    """Code and foreign classes. Files of Keras 2 name no modules, so that a class unknown here is taken as foreign."""
    book = Notebook(r.file, "keras")
    check_keras(content, book)
    for found in book.found:
        if found.severity in (Severity.HIGH, Severity.MEDIUM):
            r.note(f"{where}: {found.what}: {found.reason}")
    return any(found.severity in (Severity.HIGH, Severity.MEDIUM) for found in book.found)


def _family(names: list[str]) -> str | None:
    dense = sum(name in ("Dense", "EinsumDense") for name in names)
    if dense > 1 or any(name in _DEEP or "Conv" in name for name in names):
        return "nn"
    return "linear" if dense == 1 and set(names) <= _FLAT else None


def _modality(r: Reading, layers: list[dict[str, Any]], names: list[str], where: str) -> None:
    for known, modality in ((_IMAGES, "image"), (_AUDIO, "audio"), ({"TextVectorization"}, "text")):
        if seen := set(names) & known:
            r.system("modality", modality, f"{where}: {listed(seen)} works on {modality} only")
    for layer in layers:
        config = layer.get("config")
        shape = config.get("batch_shape", config.get("batch_input_shape")) if isinstance(config, dict) else None
        if isinstance(shape, list) and len(shape) == 4 and shape[-1] in (1, 3, 4) and not r.states("system.modality"):
            r.note(f"{where}: the input has the shape {shape}, which looks like images; it may be something else")
        if isinstance(shape, list) and isinstance(config, dict) and config.get("dtype") == "string":
            r.note(f"{where}: the input is of strings: text, or categories")


def _output(r: Reading, layers: list[dict[str, Any]], compiled: Any, where: str) -> None:
    """The activation of the last layer, and the loss: together they show the task."""
    last = layers[-1]
    config = last.get("config") if isinstance(last.get("config"), dict) else {}
    activation = config.get("activation") if isinstance(config, dict) else None
    activation = "softmax" if last["class_name"] == "Softmax" else activation
    if isinstance(activation, dict):
        activation = activation.get("config") if isinstance(activation.get("config"), str) else activation.get("class_name")
    loss, logits = _loss(compiled)
    because = f"{where}: the last layer is {printable(str(last['class_name']), 40)}"
    if isinstance(activation, str) and activation.lower() in _SCORES:
        r.model("model.output", "score", f"{because} with {activation.lower()}")
    elif activation in ("linear", None) and logits:
        r.model("model.output", "logits", f"{because} without activation, and the loss has from_logits")
    else:
        return
    units = config.get("units") if isinstance(config, dict) else None
    deep = {"LSTM", "GRU", "TimeDistributed", "MultiHeadAttention"} & {str(layer["class_name"]) for layer in layers}
    if deep or not loss:
        return
    if "binary_crossentropy" in loss and units == 1:
        r.system("task", "binary", f"{where}: one output trained with {printable(loss, 60)}")
    elif "categorical_crossentropy" in loss and isinstance(units, int) and units > 1:
        r.system("task", "multiclass" if units > 2 else "binary", f"{where}: {units} outputs trained with {printable(loss, 60)}")


def _loss(compiled: Any) -> tuple[str, bool]:
    """The loss in snake case, and whether it takes logits."""
    loss = compiled.get("loss") if isinstance(compiled, dict) else None
    if isinstance(loss, str):
        return loss, False
    if isinstance(loss, dict) and isinstance(loss.get("class_name"), str):
        config = loss.get("config")
        name = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in loss["class_name"]).lstrip("_")
        return name, isinstance(config, dict) and config.get("from_logits") is True
    return "", False


def read_metadata_pb(r: Reading, data: Data) -> None:
    """keras_metadata.pb, which Keras 2 lays beside a SavedModel: the configuration of the root as JSON."""
    start = data.find(b'{"name": "', 0)
    if start < 0 or len(data) > MOST_JSON:
        return
    try:
        config, _ = json.JSONDecoder().raw_decode(data[start:].decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return
    if isinstance(config, dict) and isinstance(config.get("class_name"), str) and nodes(config):
        judge_config(r, json.dumps(config).encode(), config, config.get("training_config"), "keras_metadata.pb")
