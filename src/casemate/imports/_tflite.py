"""TFLite: a FlatBuffer, read with a few lookups of our own; and the metadata that may lie inside it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import islice

from casemate.attacks.supply._finding import Data, printable
from casemate.imports._protobuf import Steps
from casemate.imports._reading import Reading, listed, refuse

_MOST = 200_000  # entries of one list
_MOST_STEPS = 50_000_000  # entries and bytes of all lists
_CUSTOM = 32
_NAMES = {
    1: "AVERAGE_POOL_2D", 3: "CONV_2D", 4: "DEPTHWISE_CONV_2D", 6: "DEQUANTIZE", 9: "FULLY_CONNECTED", 14: "LOGISTIC", 16: "LSTM",
    17: "MAX_POOL_2D", 19: "RELU", 22: "RESHAPE", 25: "SOFTMAX", 28: "TANH", 35: "UNIDIRECTIONAL_SEQUENCE_RNN",
    44: "UNIDIRECTIONAL_SEQUENCE_LSTM", 50: "LOG_SOFTMAX", 56: "ARG_MAX", 67: "TRANSPOSE_CONV", 114: "QUANTIZE",
    126: "BATCH_MATMUL", 132: "CONV_3D",
}  # fmt: skip
_DEEP = {3, 4, 16, 35, 44, 67, 132}
_PRODUCTS = {9, 126}
_PASS = {6, 22, 114}
_SCORES = {14: "LOGISTIC", 25: "SOFTMAX", 50: "LOG_SOFTMAX"}
_FLOATS = {0, 1, 10}
_CONTENT = {2: "image", 4: "audio"}
_TOKENIZERS = {4, 5, 6}
_BOXES = 3


class Table:
    """One table of a FlatBuffer. Every lookup is checked against the end of the data.

    Raises:
        ValueError: An offset leads outside, or more is read than `steps` allow: lists may share their bytes.
    """

    def __init__(self, data: Data, at: int, steps: Steps) -> None:
        self._data, self._at, self._steps = data, at, steps
        self._vtable = at - self._int("<i", at)
        self._size = self._int("<H", self._vtable)

    @classmethod
    def root(cls, data: Data) -> Table:
        """The outermost table."""
        if len(data) < 8:
            raise ValueError("too short")
        return cls(data, struct.unpack_from("<I", data, 0)[0], Steps(_MOST_STEPS))

    def _int(self, code: str, at: int) -> int:
        if at < 0 or at + struct.calcsize(code) > len(self._data):
            raise ValueError("an offset leads outside the file")
        return int(struct.unpack_from(code, self._data, at)[0])

    def _place(self, slot: int) -> int | None:
        entry = 4 + 2 * slot
        offset = self._int("<H", self._vtable + entry) if entry + 2 <= self._size else 0
        return self._at + offset if offset else None

    def _target(self, slot: int) -> int | None:
        place = self._place(slot)
        return None if place is None else place + self._int("<I", place)

    def number(self, slot: int, code: str = "<i") -> int:
        """A scalar, 0 where it is left out."""
        place = self._place(slot)
        return 0 if place is None else self._int(code, place)

    def table(self, slot: int) -> Table | None:
        """A table below this one."""
        target = self._target(slot)
        return None if target is None else Table(self._data, target, self._steps)

    def _list(self, slot: int) -> tuple[int, int]:
        target = self._target(slot)
        if target is None:
            return 0, 0
        count = self._int("<I", target)
        if target + 4 + count > len(self._data):
            raise ValueError("a list reaches past the end")
        self._steps.left -= 1 + min(count, _MOST)
        if self._steps.left < 0:
            raise ValueError("too many entries")
        return target + 4, count

    def numbers(self, slot: int) -> list[int]:
        """A list of 32-bit numbers."""
        start, count = self._list(slot)
        return [self._int("<i", start + 4 * index) for index in range(min(count, _MOST))]

    def tables(self, slot: int) -> Iterator[Table]:
        """A list of tables."""
        start, count = self._list(slot)
        if count > _MOST:
            raise ValueError(f"a list of {count} tables")
        for index in range(count):
            at = start + 4 * index
            yield Table(self._data, at + self._int("<I", at), self._steps)

    def data(self, slot: int) -> bytes:
        """A list of bytes, or a string."""
        start, count = self._list(slot)
        return bytes(self._data[start : start + count])

    def text(self, slot: int) -> str:
        """A string from the file, made fit to show."""
        return printable(self.data(slot)[:400].decode("utf-8", "replace"), 80)


def read_tflite(r: Reading, data: Data) -> None:
    """Operators, types of the tensors, outputs, and the metadata."""
    r.format = "TFLite model"
    r.model("artifact.format", "tflite", "identifier TFL3")
    try:
        model = Table.root(data)
        codes = [_code(entry) for entry in model.tables(1)]
        customs = [entry.text(1) for entry in model.tables(1) if entry.text(1)]
        graphs = list(model.tables(2))
        _metadata(r, model)
        if graphs:
            _graph(r, graphs[0], codes)
        description = model.text(3)
    except (ValueError, struct.error) as error:
        raise refuse(r.file, f"a TFLite file that cannot be read to its end ({error}): cut short or crafted") from error
    if len(graphs) > 1:
        r.note(f"holds {len(graphs)} subgraphs; the first was read")
    if any("Detection_PostProcess" in custom for custom in customs):
        r.system("task", "detection", "operator_codes: TFLite_Detection_PostProcess")
    if customs:
        r.note(f"custom operators: {listed(customs)}; whoever loads the model must have native code for them")
    if description:
        r.note(f"description: {description}")


def _code(entry: Table) -> int:
    """The operator's number: the older of its two fields holds at most 127."""
    return max(entry.number(0, "<b"), entry.number(3))


def _graph(r: Reading, graph: Table, codes: list[int]) -> None:
    operators = list(graph.tables(3))
    kinds = [codes[operator.number(0, "<I")] for operator in operators if operator.number(0, "<I") < len(codes)]
    named = [_NAMES.get(kind, f"operator {kind}") for kind in kinds]
    because = f"subgraph 0: operators {listed(named)}"
    tensors = list(graph.tables(0))
    types = {tensor.number(1, "<b") for tensor in tensors}
    products = sum(kind in _PRODUCTS for kind in kinds)
    family = "nn" if set(kinds) & _DEEP or products > 1 else "linear" if products == 1 and len(kinds) <= 4 else None
    if family:
        r.model("model.family", family, because)
        if types - _FLOATS - {2, 4, 6}:  # 32- and 64-bit integers and truth values are shapes and indices
            r.note("tensors of small integers: the model is quantised and moves in steps; differentiable is left open")
        elif _CUSTOM not in kinds and 56 not in kinds:
            r.model("model.differentiable", "yes", f"{because}, tensors of floats")
    else:
        r.note(f"{because}: they show no family that is known here")
    for index in graph.numbers(1):
        if 0 <= index < len(tensors) and len(shape := tensors[index].numbers(0)) == 4 and shape[-1] in (1, 3, 4):
            if r.states("system.modality"):
                break
            r.note(f"input {tensors[index].text(3)} has the shape {shape}, which looks like images; it may be others")
    _outputs(r, graph, operators, codes)


def _outputs(r: Reading, graph: Table, operators: list[Table], codes: list[int]) -> None:
    makers = {index: operator for operator in operators for index in operator.numbers(2)}
    kinds = {}
    for output in graph.numbers(2):
        index = output
        for _ in range(8):
            maker = makers.get(index)
            if maker is None or maker.number(0, "<I") >= len(codes):
                break
            kind = codes[maker.number(0, "<I")]
            if kind in _SCORES:
                kinds["score"] = f"subgraph 0: output tensor {output} comes from {_SCORES[kind]}"
            elif kind == 56:
                kinds["label"] = f"subgraph 0: output tensor {output} comes from ARG_MAX"
            inputs = maker.numbers(1)
            if kind not in _PASS or not inputs:
                break
            index = inputs[0]
    if "score" in kinds:
        r.model("model.output", "score", kinds["score"])
    elif kinds and len(graph.numbers(2)) == 1:
        r.model("model.output", "label", kinds["label"])


def _metadata(r: Reading, model: Table) -> None:
    """The content that the metadata gives each input and output."""
    buffers = list(model.tables(4))
    for entry in model.tables(6):
        index = entry.number(1, "<I")
        if entry.text(0) != "TFLITE_METADATA" or index >= len(buffers):
            continue
        blob = buffers[index].data(0)
        if blob[4:8] != b"M001":
            continue
        about = Table.root(blob)
        for graph in islice(about.tables(3), 1):
            for tensor in graph.tables(2):
                _content(r, tensor, "input_tensor_metadata")
            for tensor in graph.tables(3):
                content = tensor.table(3)
                if content is not None and content.number(0, "<B") == _BOXES:
                    r.system("task", "detection", "metadata: output_tensor_metadata has bounding boxes")
        for slot, name in ((0, "name"), (4, "author"), (5, "license")):
            if text := about.text(slot):
                r.note(f"metadata: {name} {text}")


def _content(r: Reading, tensor: Table, where: str) -> None:
    content = tensor.table(3)
    modality = _CONTENT.get(content.number(0, "<B")) if content is not None else None
    if any(unit.number(0, "<B") in _TOKENIZERS for unit in tensor.tables(4)):
        modality = "text"
    if modality:
        r.system("modality", modality, f"metadata: {where} {tensor.text(0)}")
