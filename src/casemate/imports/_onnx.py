"""ONNX: the operators of the graph, its inputs and outputs, and what the file says about itself."""

from __future__ import annotations

from dataclasses import dataclass, field

from casemate.attacks.supply._finding import Data, printable
from casemate.imports._onnx_judge import judge_graph
from casemate.imports._protobuf import Message, Steps
from casemate.imports._reading import Reading, refuse

_MOST_FIELDS = 4_000_000
_DEEPEST = 16
_HEAD = 4096  # fields of an attribute: its name, a graph, or the first of a list of numbers
_MODALITY = {"IMAGE": "image", "AUDIO": "audio", "TEXT": "text"}
_PARENT = ("base_model", "parent_model")


@dataclass(frozen=True, slots=True)
class Operator:
    """One node of a graph. `attributes` are messages, of which only the head was read."""

    name: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Message]


@dataclass(frozen=True, slots=True)
class Value:
    """An input or output: its element type (ONNX's number), its sizes (a word or 0 where open), what it denotes."""

    name: str
    element: int
    shape: tuple[int | str, ...]
    denotation: str


@dataclass(slots=True)
class Graph:
    """The outermost graph, with the operators of all graphs below it in `below`."""

    operators: list[Operator] = field(default_factory=list)
    below: list[Operator] = field(default_factory=list)
    inputs: list[Value] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)
    constants: set[str] = field(default_factory=set)
    external: int = 0


def read_onnx(r: Reading, data: Data) -> None:
    """The whole file, up to a number of fields."""
    r.format = "ONNX model"
    r.model("artifact.format", "onnx", "a ModelProto: ir_version and graph")
    try:
        model = Message(data, 0, len(data), Steps(_MOST_FIELDS))
        top = model.one(7)
        graph = Graph()
        if top is not None:
            _read(graph, top)
            for function in model.inner(25):
                _operators(graph, function, 7, graph.below, 0)
        _about(r, model)
    except ValueError as error:
        raise refuse(r.file, f"an ONNX file that cannot be read to its end ({error}): cut short or crafted") from error
    if graph.external:
        r.note(f"{graph.external} tensors lie in other files, which the digest does not cover")
    for value in graph.inputs:
        if value.denotation in _MODALITY and value.name not in graph.constants:
            because = f"graph.input {printable(value.name, 60)}: denoted {value.denotation}"
            r.system("modality", _MODALITY[value.denotation], because)
    judge_graph(r, graph)


def _read(graph: Graph, top: Message) -> None:
    _operators(graph, top, 1, graph.operators, 0)
    for tensor in top.inner(5):
        graph.constants.add(tensor.text(8))
        graph.external += tensor.number(14) == 1
    graph.inputs += [_value(inner) for inner in top.inner(11)]
    graph.outputs += [_value(inner) for inner in top.inner(12)]


def _operators(graph: Graph, holder: Message, number: int, into: list[Operator], deep: int) -> None:
    """The nodes of a graph or function, and below them those of the graphs in their attributes."""
    if deep > _DEEPEST:
        raise ValueError("graphs nested too deep")
    for node in holder.inner(number):
        attributes = {inner.text(1): inner for inner in node.inner(5, _HEAD)}
        into.append(Operator(node.text(4), node.text(7), tuple(node.texts(1)), tuple(node.texts(2)), attributes))
        for attribute in attributes.values():
            for inner in (*attribute.inner(6), *attribute.inner(11)):
                _operators(graph, inner, 1, graph.below, deep + 1)


def _value(info: Message) -> Value:
    kind = info.one(2)
    tensor = kind.one(1) if kind else None
    if kind is None or tensor is None:
        return Value(info.text(1), 0, (), "")
    shape = tensor.one(2)
    sizes = [dim.number(1) or dim.text(2) or 0 for dim in shape.inner(1)] if shape else []
    return Value(info.text(1), tensor.number(1) or 0, tuple(sizes), kind.text(6).upper())


def _about(r: Reading, model: Message) -> None:
    """Producer and metadata_props: what the file says about itself, which nobody has checked."""
    producer = " ".join(part for part in (model.text(2), model.text(3)) if part)
    if producer:
        r.note(f"producer: {printable(producer, 80)}")
    for entry in list(model.inner(14))[:50]:
        key, value = entry.text(1), entry.text(2)
        because = f"metadata_props: {printable(key, 60)}"
        if key in _PARENT and value:
            r.model("provenance.parent.ref", printable(value), because)
        elif key == "task" and value in ("detect", "segment", "pose", "obb"):
            r.system("task", "detection", f"{because} = {value}")
        elif key.startswith("Image."):
            r.system("modality", "image", because)
        else:
            r.note(f"{because} = {printable(value, 80)}")
