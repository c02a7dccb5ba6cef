"""What an ONNX file says of itself, read without running it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.errors import BadInput, need
from .answers import Output, brief

_RANDOM = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"}
_SQUASH = {"Softmax", "Sigmoid", "Normalizer", "ZipMap", "TreeEnsembleClassifier", "LinearClassifier", "SVMClassifier"}
_PASS = {"Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Flatten"}  # they change the form, not the numbers
_CLASSES = ("classlabels_int64s", "classlabels_ints", "classlabels_strings")


@dataclass(frozen=True, slots=True)
class Entry:
    """One input or output: ``tensor(float)`` and the like, and its shape (numbers, or None where it is free)."""

    type: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """A file's inputs, outputs, classes and randomness; `content` is its bytes, unless weights lie outside."""

    content: bytes
    digest: str
    inputs: dict[str, Entry]
    outputs: dict[str, Entry]
    squashed: frozenset[str]
    classes: tuple[Any, ...] | None
    random: bool
    external: tuple[str, ...]

    def kind(self, output: str) -> Output:
        """What an output holds, by how the graph ends."""
        return "scores" if output in self.squashed or self.outputs[output].type.startswith("seq(") else "logits"

    def width(self, output: str) -> int | None:
        """How many numbers a row an output has, where the file fixes it and they are two or more."""
        shape = self.outputs[output].shape
        return shape[1] if len(shape) == 2 and shape[1] is not None and shape[1] > 1 else None


def read(path: Path) -> Facts:
    """Read and check a file.

    Raises:
        BadInput: There is none, it is not ONNX, or its external data lies outside its folder or is missing.
    """
    onnx = need("onnx", "onnx", "an ONNX target")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path}: cannot read the model file: {error.strerror}") from None
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except Exception as error:  # noqa: BLE001 - protobuf has one error class for each of its builds
        raise BadInput(f"{path} is not an ONNX model: {brief(error, 80)}") from None
    if not model.graph.node or not model.graph.output:
        raise BadInput(f"{path} is not an ONNX model: it has no graph")
    digest = hashlib.sha256(content)
    external = tuple(sorted({place for tensor in _tensors(model) if (place := _place(tensor))}))
    for place in external:
        digest.update(_outside(path, place))
    weights = {tensor.name for tensor in model.graph.initializer}
    nodes = list(_nodes(model.graph))
    return Facts(
        content=b"" if external else content, digest=digest.hexdigest(),
        inputs={i.name: _entry(i.type) for i in model.graph.input if i.name not in weights},
        outputs={o.name: _entry(o.type) for o in model.graph.output},
        squashed=frozenset(o.name for o in model.graph.output if _squashed(model.graph, o.name)),
        classes=_classes(nodes), random=any(node.op_type in _RANDOM for node in nodes), external=external,
    )  # fmt: skip


def _outside(path: Path, place: str) -> bytes:
    """The hash of a file of weights beside the model. A path that leaves the folder is an attack or a mistake."""
    folder = path.parent.resolve()
    file = (folder / place).resolve()
    if Path(place).is_absolute() or not file.is_relative_to(folder):
        raise BadInput(f"{path} keeps weights at {place!r}, outside its own folder; that is refused")
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").digest()
    except OSError as error:
        raise BadInput(f"{path} keeps weights in {place!r}, which cannot be read: {error.strerror}") from None


def _entry(type: Any) -> Entry:
    onnx = need("onnx", "onnx", "an ONNX target")
    if type.WhichOneof("value") != "tensor_type":
        return Entry(f"{type.WhichOneof('value').removesuffix('uence_type')}(...)", ())
    code = onnx.TensorProto.DataType.Name(type.tensor_type.elem_type).lower()
    shape = tuple(d.dim_value if d.WhichOneof("value") == "dim_value" else None for d in type.tensor_type.shape.dim)
    return Entry(f"tensor({code})", tuple(size or None for size in shape))


def _nodes(graph: Any) -> Iterator[Any]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)


def _tensors(model: Any) -> Iterator[Any]:
    """Every tensor a file can hold: weights, constants, those of inner graphs and of functions."""
    yield from _held(model.graph)
    for function in model.functions:
        yield from _held(function)
    for training in model.training_info:
        yield from _held(training.initialization)
        yield from _held(training.algorithm)


def _held(graph: Any) -> Iterator[Any]:
    yield from getattr(graph, "initializer", ())
    for sparse in getattr(graph, "sparse_initializer", ()):
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
            for inner in (attribute.g, *attribute.graphs):
                yield from _held(inner)


def _place(tensor: Any) -> str:
    return next((entry.value for entry in tensor.external_data if entry.key == "location"), "")


def _squashed(graph: Any, output: str) -> bool:
    made_by = {name: node for node in graph.node for name in node.output}
    node = made_by.get(output)
    while node is not None and node.op_type in _PASS:
        node = made_by.get(node.input[0])
    if node is None or node.op_type not in _SQUASH:
        return False
    if node.op_type == "SVMClassifier":  # without these it shows distances
        return any(a.name == "prob_a" and a.floats for a in node.attribute)
    if node.op_type == "LinearClassifier":
        return any(a.name == "post_transform" and a.s not in (b"", b"NONE") for a in node.attribute)
    return True


def _classes(nodes: list[Any]) -> tuple[Any, ...] | None:
    """The class values the last node that lists them gives, in index order."""
    for node in reversed(nodes):
        for attribute in node.attribute:
            if attribute.name in _CLASSES and len(found := attribute.ints or attribute.strings) > 1:
                return tuple(value.decode() if isinstance(value, bytes) else int(value) for value in found)
    return None
