"""What the operators of an ONNX graph show about the model."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from casemate.attacks.supply._finding import printable
from casemate.imports._reading import Reading, listed

if TYPE_CHECKING:
    from casemate.imports._onnx import Graph, Operator

_ML = "ai.onnx.ml"
_TREES = {"TreeEnsembleClassifier", "TreeEnsembleRegressor", "TreeEnsemble"}
_LINEAR = {"LinearClassifier", "LinearRegressor"}
_SVM = {"SVMClassifier", "SVMRegressor"}
_CLASSIFIERS = {"TreeEnsembleClassifier", "LinearClassifier", "SVMClassifier"}
_DEEP = {
    "Conv", "ConvTranspose", "LSTM", "GRU", "RNN", "BatchNormalization", "LayerNormalization", "InstanceNormalization",
    "GroupNormalization", "Attention", "MultiHeadAttention", "SkipLayerNormalization", "QLinearConv", "ConvInteger",
}  # fmt: skip
_PRODUCTS = {"Gemm", "MatMul", "FusedMatMul", "QGemm", "MatMulInteger", "QLinearMatMul"}
_BENT = {
    "Relu", "LeakyRelu", "PRelu", "Elu", "Selu", "Gelu", "Tanh", "Sigmoid", "HardSigmoid", "HardSwish", "Softplus", "Mish",
    "Clip", "Erf", "Swish", "Celu",
}  # fmt: skip
_AROUND = {
    "Cast", "Add", "Sub", "Mul", "Div", "Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Softmax", "Sigmoid",
    "LogSoftmax", "ArgMax", "ZipMap", "ArrayFeatureExtractor", "Scaler", "Constant", "Concat", "Transpose", "Normalizer",
    "LabelEncoder", "Greater", "Less", "Shape", "Gather",
}  # fmt: skip
_TEXT = {"StringNormalizer", "TfIdfVectorizer", "Tokenizer", "StringSplit", "RegexFullMatch"}
_ENCODERS = {"OneHotEncoder", "CategoryMapper", "Binarizer", "DictVectorizer", *_TEXT}
_STEPPED = {
    "Round", "Sign", "Floor", "Ceil", "QuantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger",
    "MatMulInteger", "QGemm",
}  # fmt: skip
_PASS = {
    "Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Normalizer", "ZipMap", "DequantizeLinear", "Transpose",
}  # fmt: skip
_STANDARD = {"", "ai.onnx", _ML}
_HOPS = 32


def judge_graph(r: Reading, graph: Graph) -> None:
    """Family, gradient, what is kept of the data, what comes out, and what the input looks like."""
    everything = graph.operators + graph.below
    seen = Counter(operator.name for operator in everything)
    if not everything:
        r.note("the graph has no operators: nothing is known of the model")
        return
    family = _family(graph, seen)
    because = f"graph.node: {listed(_telling(seen))}"
    if family is not None:
        r.model("model.family", family, because)
        _gradient(r, family, everything, seen, because)
        _storage(r, family, everything, because)
    else:
        r.note(f"the operators ({listed(seen, 12)}) show no family that is known here")
    foreign = {f"{operator.domain}.{operator.name}" for operator in everything if operator.domain not in _STANDARD}
    if foreign:
        r.note(f"operators outside the standard: {listed(foreign)}; whoever loads the model must have code for them")
    if seen.keys() & _TEXT:
        r.system("modality", "text", f"graph.node: {listed(seen.keys() & _TEXT)} reads text")
    _inputs(r, graph)
    _outputs(r, graph)


def _telling(seen: Counter[str]) -> set[str]:
    known = seen.keys() & (_TREES | _LINEAR | _SVM | _DEEP | _PRODUCTS | _BENT | {"CDist", "TopK", "Scan"})
    return set(known or seen)


def _family(graph: Graph, seen: Counter[str]) -> str | None:
    kinds = [kind for kind, names in (("trees", _TREES), ("linear", _LINEAR), ("svm", _SVM)) if seen.keys() & names]
    deep = bool(seen.keys() & _DEEP)
    products = sum(seen[name] for name in _PRODUCTS)
    if kinds:
        several = len(kinds) > 1 or deep
        return None if several else _forest(graph) if kinds == ["trees"] else kinds[0]
    if "TopK" in seen and ("CDist" in seen or "Scan" in seen) and not deep and not products:
        return "knn"
    if deep or (products > 1 and seen.keys() & _BENT and "Scan" not in seen and "CDist" not in seen):
        return "nn"
    return "linear" if products == 1 and set(seen) <= _PRODUCTS | _AROUND else None


def _forest(graph: Graph) -> str:
    """One tree or several, by the highest number of a tree."""
    for operator in graph.operators + graph.below:
        numbers, roots = operator.attributes.get("nodes_treeids"), operator.attributes.get("tree_roots")
        if (numbers and numbers.exceeds(8, 0)) or (roots and len(roots.numbers(8)) > 1):
            return "tree_ensemble"
    trees = sum(operator.name in _TREES for operator in graph.operators + graph.below)
    return "tree_ensemble" if trees > 1 else "tree"


def _gradient(r: Reading, family: str, everything: list[Operator], seen: Counter[str], because: str) -> None:
    if family in ("tree", "tree_ensemble", "knn"):
        r.model("model.differentiable", "no", because)
    elif seen.keys() & (_ENCODERS | _STEPPED):
        steps = listed(seen.keys() & (_ENCODERS | _STEPPED))
        r.note(f"{steps}: the model moves in steps; whether it has a useful gradient is left open")
    elif family == "svm":
        kernels = {a.text(4) for o in everything if (a := o.attributes.get("kernel_type"))}
        if kernels and kernels <= {"RBF", "LINEAR", "POLY", "SIGMOID"}:
            r.model("model.differentiable", "yes", f"{because} with kernel_type {listed(kernels)}")
    elif all(operator.domain in _STANDARD for operator in everything):
        r.model("model.differentiable", "yes", because)


def _storage(r: Reading, family: str, everything: list[Operator], because: str) -> None:
    if family == "knn":
        r.model("model.stores_training_examples", "yes", f"{because}: compares with records in the file")
    elif family == "svm":
        kept = any(o.attributes["support_vectors"].count(7) for o in everything if "support_vectors" in o.attributes)
        if kept:
            r.model("model.stores_training_examples", "yes", "graph.node: support_vectors are records it was fitted on")
    elif family in ("tree", "tree_ensemble", "linear"):
        r.model("model.stores_training_examples", "no", f"{because}: thresholds or coefficients only")


def _inputs(r: Reading, graph: Graph) -> None:
    for value in graph.inputs:
        if value.name in graph.constants:
            continue
        channels = {size for size in value.shape[1:2] + value.shape[-1:] if isinstance(size, int)}
        name, shape = printable(value.name, 60), printable(str(list(value.shape)), 80)
        if len(value.shape) == 4 and channels & {1, 3, 4} and not r.states("system.modality"):
            r.note(f"graph.input {name} has the shape {shape}, which looks like images; it may be something else")
        elif value.element == 8:
            r.note(f"graph.input {name} takes strings: text, or categories")


def _outputs(r: Reading, graph: Graph) -> None:
    """Where each output comes from. A score beside a label is what a caller gets the most of."""
    makers = {name: (operator, index) for operator in graph.operators for index, name in enumerate(operator.outputs)}
    kinds: dict[str, str] = {}
    for value in graph.outputs:
        kind, why = _kind(makers, value.name)
        if kind:
            kinds.setdefault(kind, f"graph.output {printable(value.name, 60)}: from {why}")
    if "score" in kinds:
        r.model("model.output", "score", kinds["score"])
    elif kinds and len(graph.outputs) == 1:
        r.model("model.output", "label", kinds["label"])
    _task(r, graph)


def _kind(makers: dict[str, tuple[Operator, int]], name: str) -> tuple[str, str]:
    for _ in range(_HOPS):
        if name not in makers:
            break
        operator, index = makers[name]
        if operator.name == "ZipMap" or operator.name in ("Softmax", "Sigmoid", "LogSoftmax"):
            return "score", operator.name
        if operator.name in _CLASSIFIERS:
            return ("label" if index == 0 else "score"), f"{operator.name} output {index}"
        if operator.name in ("ArgMax", "ArrayFeatureExtractor", "LabelEncoder"):
            return "label", operator.name
        if operator.name not in _PASS or not operator.inputs:
            break
        name = operator.inputs[0]
    return "", ""


def _task(r: Reading, graph: Graph) -> None:
    """Counts the labels that are given out: of ZipMap, or of the only classifier (several may each know two of many)."""
    told = [operator for operator in graph.operators if operator.domain == _ML and operator.name == "ZipMap"]
    classifiers = [operator for operator in graph.operators if operator.domain == _ML and operator.name in _CLASSIFIERS]
    for operator in told or (classifiers if len(classifiers) == 1 else []):
        for name, field in (("classlabels_int64s", 8), ("classlabels_ints", 8), ("classlabels_strings", 9)):
            attribute = operator.attributes.get(name)
            labels = (attribute.numbers(field) if field == 8 else attribute.texts(field)) if attribute else []
            if len(labels) >= 2:
                task = "binary" if len(labels) == 2 else "multiclass"
                r.system("task", task, f"graph.node {operator.name}: {len(labels)} {name}")
                return
    names = {operator.name for operator in graph.operators if operator.domain == _ML}
    if names & {"LinearRegressor", "SVMRegressor"} and len(graph.outputs) == 1 and not names & _CLASSIFIERS:
        r.system("task", "regression", f"graph.node: {listed(names & {'LinearRegressor', 'SVMRegressor'})}")
