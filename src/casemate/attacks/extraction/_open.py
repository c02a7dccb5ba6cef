"""Opening a stolen model file without running what may be in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import BadInput, MissingExtra, need
from ...core.target import count, to_numpy

_MEANS = "readable by an attacker who unpickles it; casemate does not, because loading it runs what is in it"
_MOST = 4 << 30  # bytes read into memory


@dataclass(frozen=True, slots=True)
class Opened:
    """What a file gave.

    Args:
        format: As its bytes say.
        scores: Scores of inputs ``(n, k)``; None where the file gives labels only, or was not opened.
        labels: Decisions ``(n,)``, in the file's own names; likewise.
        why: Why it was not opened.
        reading: What had to be assumed to read it.
    """

    format: str
    scores: Callable[[Any], NDArray[np.float64]] | None = None
    labels: Callable[[Any], NDArray[Any]] | None = None
    why: str = ""
    reading: str = ""


def opened(path: Path) -> Opened:
    """Open a file by its content, never by its name. What cannot be opened safely is named with the reason."""
    from ..supply.sniff import Format, sniff_bytes

    if not path.is_file():
        return Opened("folder" if path.is_dir() else "missing", why=f"{path.name} is no file")
    if path.stat().st_size > _MOST:
        return Opened("unknown", why=f"{path.name} has more than {_MOST >> 30} GiB; it is not read into memory")
    data = path.read_bytes()
    kind = sniff_bytes(data)
    makers = {Format.ONNX: _onnx, Format.SAFETENSORS: _safetensors, Format.SKOPS: _skops}
    if kind not in makers:
        pickled = kind in (Format.PICKLE, Format.JOBLIB, Format.TORCH_ZIP, Format.TORCH_LEGACY)
        return Opened(kind.value, why=_MEANS if pickled else f"casemate opens ONNX, safetensors and skops; this is {kind.value}")
    try:
        return makers[kind](data)
    except (BadInput, MissingExtra) as error:
        return Opened(kind.value, why=str(error))
    except Exception as error:  # noqa: BLE001 - whatever a broken file makes a reader raise is a file not opened
        return Opened(kind.value, why=f"{type(error).__name__}: {error}")


def _onnx(data: bytes) -> Opened:
    runtime: Any = need("onnxruntime", "onnx", "opening an ONNX file")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    if len(session.get_inputs()) != 1:
        raise BadInput(f"the graph takes {len(session.get_inputs())} inputs, and rows fit into one")
    entry = session.get_inputs()[0]
    kind = {"tensor(double)": np.float64, "tensor(float)": np.float32}.get(entry.type)
    if kind is None:
        raise BadInput(f"the graph takes {entry.type}, and rows are numbers")
    outputs = session.get_outputs()
    tables = [o.name for o in outputs if o.type in ("tensor(float)", "tensor(double)")]
    decided = [o.name for o in outputs if o.type in ("tensor(int64)", "tensor(string)")]
    if not tables and not decided:
        raise BadInput(f"the graph gives {', '.join(o.type for o in outputs)}, and no scores or labels")

    def run(x: Any, name: str) -> Any:
        return np.asarray(session.run([name], {entry.name: np.asarray(to_numpy(x)).astype(kind)})[0])

    scores = (lambda x: run(x, tables[0]).astype(np.float64)) if tables else None
    return Opened("onnx", scores, (lambda x: run(x, decided[0]).reshape(-1)) if decided else None)


def _skops(data: bytes) -> Opened:
    library: Any = need("skops.io", "skops", "opening a skops file")
    strange = library.get_untrusted_types(data=data)
    if strange:
        raise BadInput(f"the file would build {', '.join(strange)}, which skops does not trust; it is not loaded")
    model = library.loads(data)
    if not hasattr(model, "predict"):
        raise BadInput(f"the file holds a {type(model).__name__}, which does not predict")
    scores = (lambda x: np.asarray(model.predict_proba(x), np.float64)) if hasattr(model, "predict_proba") else None
    return Opened("skops", scores, lambda x: np.asarray(model.predict(x)))


def _safetensors(data: bytes) -> Opened:
    load: Any = need("safetensors.numpy", "safetensors", "opening a safetensors file").load
    tensors = {name: np.asarray(value, np.float64) for name, value in load(data).items()}
    layers = _dense(tensors)

    def scores(x: Any) -> NDArray[np.float64]:
        a = np.asarray(to_numpy(x), np.float64).reshape(count(x), -1)
        for place, (weight, bias) in enumerate(layers):
            a = np.maximum(a, 0.0) @ weight.T + bias if place else a @ weight.T + bias
        return a

    reading = f"weights only: read as {len(layers)} dense layer{'s' if len(layers) > 1 else ''}"
    return Opened("safetensors", scores, reading=reading + (" with ReLU between" if len(layers) > 1 else ""))


def _dense(tensors: dict[str, NDArray[np.float64]]) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Dense layers ``(weight (out, in), bias (out,))`` in an order in which they fit one behind the other.

    Raises:
        BadInput: They are no such layers. Weights do not say what is computed with them.
    """
    odd = [name for name, value in tensors.items() if value.ndim not in (1, 2)]
    pairs = []
    for name, value in sorted(tensors.items(), key=lambda item: [int(part) for part in item[0].split(".") if part.isdigit()]):
        if value.ndim == 2:
            bias = tensors.get(name.removesuffix("weight") + "bias", np.zeros(len(value)))
            pairs.append((value, bias))
    fits = all(a.shape[0] == b.shape[1] for (a, _), (b, _) in pairwise(pairs))
    if odd or not pairs or not fits or any(bias.shape != (len(weight),) for weight, bias in pairs):
        raise BadInput("the file holds weights and no way to compute with them; only dense layers in a row are read without one")
    return pairs
