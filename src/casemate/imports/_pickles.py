"""Pickle, joblib, torch (zip and legacy): read by a machine that follows the opcodes and builds nothing."""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Iterable

from casemate.attacks.supply._finding import Data, Limits
from casemate.attacks.supply._values import Kind, Name, Sym
from casemate.attacks.supply.sniff import Format, compression, decompress
from casemate.attacks.supply.walk import Loader, Walk, walk
from casemate.imports._families import class_of, judge, judge_root
from casemate.imports._reading import Reading, listed, refuse
from casemate.imports._weights import judge_tensors
from casemate.imports._zip import Members

_LIMITS = Limits(opcodes=2_000_000)
_MOST_UNPACKED = 256 << 20
_MOST_PICKLE = 256 << 20  # of data.pkl in a torch zip; the tensors lie beside it

# What torch.load(weights_only=True) lets a stream name. More is refused there, so that the file needs the full unpickler.
_WEIGHTS: set[Name] = {
    ("collections", "OrderedDict"), ("collections", "Counter"), ("collections", "defaultdict"), ("_codecs", "encode"),
    ("builtins", "set"), ("builtins", "dict"), ("builtins", "list"), ("builtins", "bytearray"), ("builtins", "int"),
    ("torch", "Size"), ("torch", "device"), ("torch", "Tensor"), ("torch.nn.parameter", "Parameter"), ("torch", "Generator"),
    ("torch.serialization", "_get_layout"), ("torch.storage", "UntypedStorage"), ("torch.storage", "TypedStorage"),
}  # fmt: skip
_REBUILDS = {
    "_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3", "_rebuild_parameter", "_rebuild_parameter_with_state",
    "_rebuild_sparse_tensor", "_rebuild_meta_tensor_no_storage", "_rebuild_nested_tensor", "_rebuild_qtensor",
    "_rebuild_wrapper_subclass",
}  # fmt: skip
_DTYPES = ("float", "int", "uint", "bfloat", "complex", "half", "bool", "double", "long", "short", "q")
_INSIDE = ("state_dict", "model_state_dict", "model", "module", "net", "weights")


def read_pickle(r: Reading, data: Data, found: Format) -> None:
    """A pickle or a joblib file, compressed or not."""
    name, packed = "joblib" if found is Format.JOBLIB else "pickle", compression(data)
    r.format = f"{name} file"
    because = f"{packed} stream with a pickle inside, which joblib reads" if packed else "opcodes of a pickle"
    if found is Format.JOBLIB and not packed:
        because = "opcodes of a pickle that names joblib.numpy_pickle"
    r.model("artifact.format", name, because)
    whole = True
    if packed:
        data, whole = _unpacked(r, data)
    seen = walk(data, loader=Loader.JOBLIB if found is Format.JOBLIB else Loader.PICKLE, limits=_LIMITS, most=1)
    root = seen.roots[-1] if seen.roots else None
    _explain(r, seen, whole)
    _judge(r, seen, root, "classes named by the opcodes", whole and seen.broken is None)
    _boosted(r, data, seen.globals)


def read_torch(r: Reading, data: Data, found: Format) -> None:
    """A torch file. Full pickle or weights only: told by what the opcodes name."""
    r.format = "torch file" if found is Format.TORCH_ZIP else "torch file (legacy)"
    seen: list[tuple[str, Walk]] = []
    if found is Format.TORCH_ZIP:
        for name, content in Members(data, r).read("data.pkl", _MOST_PICKLE):
            seen.append((listed([name]), walk(content, loader=Loader.TORCH, limits=_LIMITS, most=1)))
    else:
        seen.append(("pickle streams", walk(data, loader=Loader.TORCH, limits=_LIMITS, most=5)))
    if not seen:
        raise refuse(r.file, "a torch zip without data.pkl; save the model again")
    names = {name for _, one in seen for name in one.globals}
    complete = all(one.broken is None for _, one in seen)
    other = sorted(".".join(name) for name in names if not _of_weights(name))
    if complete and not other:
        r.model("artifact.format", "torch_weights_only", f"{seen[0][0]}: the opcodes name tensors and plain containers only")
        r.note("the file can be loaded with weights_only=True; whether the loader does so, it cannot show")
    else:
        why = f"names {listed(other)}" if other else "cannot be followed to its end"
        r.model("artifact.format", "torch", f"{seen[0][0]}: {why}, so that it takes the full unpickler")
    for where, one in seen:
        _explain(r, one, True)
        _modules(r, one, where, complete, other)


def _modules(r: Reading, seen: Walk, where: str, complete: bool, other: list[str]) -> None:
    root = seen.roots[3] if len(seen.roots) == 5 else seen.roots[-1] if seen.roots else None
    modules = [name for name in other if name.startswith("torch.nn.modules.")]
    if modules:
        short = [name.rsplit(".", 1)[-1] for name in modules]
        r.model("model.family", "nn", f"{where}: modules {listed(short)}")
        if complete and len(modules) == len(other):
            r.model("model.differentiable", "yes", f"{where}: every module is one of torch.nn")
            r.model("model.stores_training_examples", "no", f"{where}: modules of torch.nn keep parameters only")
        return
    if root is not None and (shapes := _tensors(root)):
        judge_tensors(r, shapes, where)
    elif other:
        r.note("no module of torch.nn is named: the family is left open")
    else:
        r.note("no named tensors at the top of the file: the family is left open")


def _tensors(root: Sym) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a state dict, at the top or under one of the usual keys."""
    fields = root.fields or {}
    for key in _INSIDE:
        if key in fields and fields[key].fields:
            fields = fields[key].fields or {}
            break
    found = {}
    for name, value in fields.items():
        made = class_of(value)
        if made is None or made[0] != "torch._utils":
            continue
        if made[1].startswith("_rebuild_parameter") and value.items:
            value = value.items[0]
        if len(value.items) > 2 and value.items[2].kind is Kind.TUPLE:
            found[name] = tuple(size.whole() or 0 for size in value.items[2].items)
    return found


def _of_weights(name: Name) -> bool:
    module, attribute = name
    if module == "torch._utils":
        return attribute in _REBUILDS
    if module == "torch":
        plain = attribute.startswith(_DTYPES) and attribute.replace("_", "").isalnum() and attribute.islower()
        return plain or attribute.endswith("Storage") or name in _WEIGHTS
    return name in _WEIGHTS


def _unpacked(r: Reading, data: Data) -> tuple[bytes, bool]:
    """The content of a compressed file, up to the limit, and whether that is all."""
    try:
        content, whole, _ = decompress(data[:_MOST_UNPACKED], _MOST_UNPACKED)
    except (ValueError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        why = f"a compressed file that cannot be unpacked ({type(error).__name__}): damaged or cut short"
        raise refuse(r.file, why) from error
    if not whole:
        r.note(f"the compressed stream is cut, or holds more than {_MOST_UNPACKED:,} bytes: what comes later was not seen")
    return content, whole


def _explain(r: Reading, seen: Walk, whole: bool) -> None:
    # That a full torch file names modules of torch.nn is what makes it one, and said already.
    r.objections(found for found in seen.findings if not found.what.startswith("torch.nn.modules."))
    if seen.broken is not None and whole:
        r.note(f"the pickle stream breaks off at byte {seen.broken[0]} ({seen.broken[1][:120]}): what comes later was not seen")


def _judge(r: Reading, seen: Walk, root: Sym | None, where: str, whole: bool) -> None:
    judge(r, seen.globals, class_of(root), where, whole=whole)
    if root is not None:
        judge_root(r, root, where)
    if not r.states("model.family") and not any(name[0].startswith(("sklearn", "xgboost")) for name in seen.globals):
        named = listed(".".join(name) for name in seen.globals) or "nothing"
        r.note(f"no model of a library known here; the stream names {named}")


def _boosted(r: Reading, data: Data, names: Iterable[Name]) -> None:
    """XGBoost keeps what it boosts inside a buffer of its own, in words."""
    if not any(module.split(".")[0] == "xgboost" for module, _ in names):
        return
    # With a start: without one, a memory map searches from where it stands.
    if data.find(b"gbtree", 0) >= 0 and data.find(b"gblinear", 0) < 0:
        r.model("model.family", "tree_ensemble", "an xgboost class, and the word gbtree in its buffer")
        r.model("model.differentiable", "no", "an xgboost class, and the word gbtree in its buffer")
    else:
        r.note("an xgboost class; what it boosts is not told by its buffer")
