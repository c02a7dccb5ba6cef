"""TensorFlow SavedModel: a folder with the graph in saved_model.pb. The variables are not read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from casemate.attacks.supply._finding import Data, printable
from casemate.imports._keras import read_metadata_pb
from casemate.imports._protobuf import Message, Steps
from casemate.imports._reading import Reading, listed, refuse

GRAPH, TEXT_GRAPH, KERAS = "saved_model.pb", "saved_model.pbtxt", "keras_metadata.pb"
_REACH_OUT = {
    "ReadFile", "WriteFile", "MatchingFiles", "PyFunc", "PyFuncStateless", "EagerPyFunc", "ImmutableConst", "LoadLibrary",
    "PrintV2", "DebugIdentity", "DebugNumericSummaryV2", "RpcCall", "TPUExecute",
}  # fmt: skip
_TREES = ("BoostedTreesPredict", "SimpleMLInferenceOp", "SimpleMLLoadModel", "TreeEnsemble", "TensorForestTree")
_DEEP = ("Conv", "DepthwiseConv2d", "CudnnRNN", "LSTM", "GRU", "TensorListFromTensor", "FusedBatchNorm")
_PRODUCTS = {"MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "Einsum"}
_BENT = {"Relu", "Relu6", "LeakyRelu", "Elu", "Selu", "Tanh", "Sigmoid", "Erf", "Softplus"}
_SCORES = {"Softmax", "Sigmoid", "LogSoftmax"}
_CALLS = {"StatefulPartitionedCall", "PartitionedCall"}
_PASS = {"Identity", "Reshape", "Squeeze", "Cast", "IdentityN"}
_SIZES = {1: "float", 7: "string"}
_HOPS = 64
_MOST_FIELDS = 4_000_000


@dataclass(frozen=True, slots=True)
class Node:
    """One node of a graph: its operator, what goes in, and the function it calls, if it calls one."""

    op: str
    inputs: tuple[str, ...]
    calls: str


Nodes = dict[str, Node]
Functions = dict[str, tuple[Nodes, dict[str, str]]]


def read_savedmodel(r: Reading, folder: Path, data: Data | None, keras: Data | None) -> None:
    """The graph in `data` (None: the folder has it as text only), and what Keras 2 lays beside it."""
    r.format = "TensorFlow SavedModel"
    if data is None:
        r.model("artifact.format", "savedmodel", f"the folder holds {TEXT_GRAPH}")
        r.note(f"{TEXT_GRAPH} is not read here: save the model again in the binary form to learn more")
        return
    try:
        steps = Steps(_MOST_FIELDS)
        graphs = list(Message(data, 0, len(data), steps).inner(2))
        if not graphs:
            raise ValueError("no graph in it")
        r.model("artifact.format", "savedmodel", f"the folder holds {GRAPH}")
        _graph(r, graphs[0])
    except ValueError as error:
        raise refuse(r.file, f"{GRAPH} cannot be read to its end ({error}): cut short or crafted") from error
    if len(graphs) > 1:
        r.note(f"holds {len(graphs)} graphs; the first was read")
    if any(path.suffix == ".py" for path in folder.iterdir()):
        r.note("Python source lies beside the model: a loader may be told to run it")
    if keras is not None:
        read_metadata_pb(r, keras)


def _graph(r: Reading, graph: Message) -> None:
    about = graph.one(1)
    if about and about.text(5):
        r.note(f"written by TensorFlow {printable(about.text(5), 40)}, tags {listed(about.texts(4))}")
    definition = graph.one(2)
    if definition is None:
        r.note("the graph has no operators: nothing is known of the model")
        return
    nodes, functions = _nodes(definition, 1), _functions(definition)
    serving = _serving(graph)
    reached = _reached(nodes, functions, list(serving[1].values()) if serving else [])
    _judge(r, [node.op for node in reached], serving is not None)
    everything = {node.op for part in (nodes, *(inner for inner, _ in functions.values())) for node in part.values()}
    if everything & _REACH_OUT:
        r.note(f"operators that reach outside the model when it runs: {listed(everything & _REACH_OUT)}")
    if serving is None:
        r.note("no signature for serving: inputs and outputs are left open")
        return
    inputs, outputs = serving
    for name, kind, shape in inputs:
        if kind == 7:
            r.note(f"the signature's input {printable(name, 60)} takes strings: text, categories, or records packed into one")
        elif len(shape) == 4 and shape[-1] in (1, 3, 4):
            r.note(f"input {printable(name, 60)} of the signature has the shape {shape}, which looks like images, no more")
    for name, tensor in outputs.items():
        if op := _origin(nodes, functions, tensor):
            r.model("model.output", "score", f"signature_def: output {printable(name, 60)} comes from {op}")


def _nodes(holder: Message, number: int) -> Nodes:
    found = {}
    for node in holder.inner(number):
        calls = ""
        for entry in node.inner(5):
            if entry.text(1) == "f" and (value := entry.one(2)) and (func := value.one(10)):
                calls = func.text(1)
        found[node.text(1)] = Node(node.text(2), tuple(node.texts(3)), calls)
    return found


def _functions(definition: Message) -> Functions:
    library = definition.one(2)
    found: Functions = {}
    for function in library.inner(1) if library else ():
        signature = function.one(1)
        if signature is not None:
            returned = {entry.text(1): entry.text(2) for entry in function.inner(4)}
            order = [argument.text(1) for argument in signature.inner(3)]
            found[signature.text(1)] = _nodes(function, 3), {name: returned.get(name, "") for name in order}
    return found


def _serving(graph: Message) -> tuple[list[tuple[str, int, list[int]]], dict[str, str]] | None:
    """Inputs (name, type, sizes) and outputs (name to tensor) of the signature that is served."""
    signatures = {entry.text(1): entry.one(2) for entry in graph.inner(5)}
    chosen = signatures.get("serving_default") or next((s for n, s in signatures.items() if s and not n.startswith("__")), None)
    if chosen is None:
        return None
    inputs = []
    for entry in chosen.inner(1):
        info = entry.one(2)
        shape = info.one(3) if info else None
        sizes = [size if (size := dim.number(1) or 0) < 1 << 62 else -1 for dim in shape.inner(2)] if shape else []
        inputs.append((entry.text(1), (info.number(2) or 0) if info else 0, sizes))
    outputs = {entry.text(1): info.text(1) for entry in chosen.inner(2) if (info := entry.one(2))}
    return inputs, outputs


def _reached(nodes: Nodes, functions: Functions, tensors: list[str]) -> list[Node]:
    """The nodes that make these tensors: saving and restoring the variables is left out."""
    todo = [("", tensor) for tensor in tensors]
    seen: dict[tuple[str, str], Node] = {}
    entered: set[str] = set()  # a function is followed once, however often it is called
    while todo:
        scope, tensor = todo.pop()
        name = tensor.lstrip("^").split(":")[0]
        graph = functions[scope][0] if scope else nodes
        if (scope, name) in seen or name not in graph or tensor.startswith("^"):
            continue
        node = seen[scope, name] = graph[name]
        todo += [(scope, source) for source in node.inputs]
        if node.calls in functions and node.calls not in entered:
            entered.add(node.calls)
            todo += [(node.calls, inner) for inner in functions[node.calls][1].values()]
    return list(seen.values())


def _judge(r: Reading, ops: list[str], served: bool) -> None:
    because = f"graph_def: operators of the served signature: {listed(_telling(ops))}"
    products = sum(op in _PRODUCTS for op in ops)
    if any(op.startswith(_TREES) for op in ops):
        r.model("model.family", "tree_ensemble", because)
        r.model("model.differentiable", "no", because)
    elif any(op.startswith(_DEEP) for op in ops) or (products > 1 and set(ops) & _BENT):
        r.model("model.family", "nn", because)
        r.note("a graph may hold steps without a gradient: differentiable is left open")
    elif served:
        r.note("the operators of the served signature show no family that is known here")


def _telling(ops: list[str]) -> set[str]:
    return {op for op in ops if op.startswith((*_TREES, *_DEEP)) or op in _PRODUCTS | _BENT | _SCORES} or set(ops)


def _origin(nodes: Nodes, functions: Functions, tensor: str) -> str:
    """The operator of scores that an output comes from, through calls and reshapes."""
    scope = ""
    for _ in range(_HOPS):
        name, _, index = tensor.partition(":")
        node = (functions[scope][0] if scope else nodes).get(name)
        if node is None:
            return ""
        if node.op in _SCORES:
            return node.op
        if node.op in _CALLS and node.calls in functions:
            returned = list(functions[node.calls][1].values())
            number = int(last) if (last := index.rpartition(":")[2]).isdigit() else 0
            if number >= len(returned):
                return ""
            scope, tensor = node.calls, returned[number]
        elif node.op in _PASS and node.inputs:
            tensor = node.inputs[0]
        else:
            return ""
    return ""
