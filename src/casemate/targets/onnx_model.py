"""An ONNX file as a model, run by ONNX Runtime. No gradient.

The file is read once: what is hashed is what runs. Weights kept outside the file must lie in its folder and are hashed
too.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..core.adversary import Need
from ..core.errors import BadInput, TargetFailed, need
from ..core.target import Response, count, to_numpy
from . import _onnx_graph as graph
from .answers import Output, brief, class_values, indices, same_length, scored

_TYPES = {
    "tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16, "tensor(int64)": np.int64,
    "tensor(int32)": np.int32, "tensor(uint8)": np.uint8, "tensor(int8)": np.int8, "tensor(bool)": np.bool_,
    "tensor(string)": np.object_,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxModel:
    """An ONNX model from inputs ``(n, *shape)`` to logits, scores or labels. Made by `OnnxModel.open`.

    Inputs take the model's own precision: float64 where it speaks it. A batch dimension that is fixed is looped over.
    """

    session: Any = field(repr=False)
    name: str
    facts: graph.Facts = field(repr=False)
    input: str | None
    output: Output
    label_output: str | None
    score_output: str | None
    classes: int | None
    values: tuple[Any, ...] = ()
    version: str = ""

    @staticmethod
    def open(
        path: str | os.PathLike[str],
        *,
        name: str | None = None,
        providers: Sequence[str] = ("CPUExecutionProvider",),
        input: str | None = None,
        output: Literal["auto", "logits", "scores", "labels"] = "auto",
        output_name: str | None = None,
        classes: int | Sequence[Any] | None = None,
        threads: int = 1,
        version: str = "",
    ) -> OnnxModel:
        """Open a model file.

        Args:
            path: The file, and the name unless `name` is given. Custom operators are not loaded.
            providers: ONNX Runtime execution providers, in order of preference.
            input: The input that takes the rows. A frame feeds several inputs by column name.
            output: What it returns. ``auto`` looks at how the graph ends: a softmax, a sigmoid or a list of classes
                means scores, anything else logits. ``labels`` shows no more than the label.
            output_name: The output to read, where the first numeric one is not meant.
            classes: How many, or their values in index order, where the file does not say.
            threads: Threads within one operator; one repeats exactly.
            version: The user's own version, part of its identity.

        Raises:
            BadInput: No such file, not ONNX, unknown operators, external data outside its folder, or inputs and
                outputs that cannot be told apart. MissingExtra: onnxruntime or onnx is not installed."""
        path = Path(path)
        name = name or path.stem
        facts = graph.read(path)
        label_output, score_output = _outputs(name, facts, output, output_name)
        size, values = class_values(classes if classes is not None else facts.classes)
        size = size or (facts.width(score_output) if score_output is not None else None)
        kind: Output = "labels" if score_output is None else facts.kind(score_output) if output == "auto" else output
        return OnnxModel(
            session=_session(path, facts, providers, threads), name=name, facts=dataclasses.replace(facts, content=b""),
            input=_input(name, facts, input), output=kind, label_output=label_output, score_output=score_output,
            classes=size, values=values, version=version,
        )  # fmt: skip

    @property
    def offers(self) -> Need:
        shown = {"labels": Need.NONE, "scores": Need.SCORE, "logits": Need.SCORE | Need.LOGIT}[self.output]
        return Need.LABEL | Need.ARTIFACT | shown

    @property
    def random(self) -> bool:
        """Whether the graph draws random numbers, which nothing outside can key."""
        return self.facts.random

    def prepare(self, x: Any) -> Any:
        """Tensors as arrays that share their memory."""
        return to_numpy(x)

    def forward(self, x: Any) -> Response:
        rows = count(x)
        feeds = self._feeds(to_numpy(x))
        wanted = [out for out in (self.label_output, self.score_output) if out is not None]
        found = dict(zip(wanted, self._run(wanted, feeds, rows), strict=True))
        label = None
        if self.label_output is not None:
            label = indices(self.name, found[self.label_output], self.classes, self.values)
        if self.score_output is None:
            response = Response(label)
        else:
            kind: Output = "scores" if self.output == "scores" else "logits"
            response = scored(self.name, self._dense(found[self.score_output]), kind, self.classes, label)
            response = Response(response.label) if self.output == "labels" else response
        same_length(self.name, rows, response.label, response.scores)
        return response

    def fingerprint(self) -> str:
        """The bytes of the file and of its external data, and how they are read."""
        read_as = (self.input, self.output, self.label_output, self.score_output, self.values, self.version)
        return hashlib.sha256(repr((self.facts.digest, *read_as)).encode()).hexdigest()

    def state(self) -> str:
        return self.fingerprint()  # a session keeps nothing between calls

    def __reduce__(self) -> str | tuple[Any, ...]:
        raise BadInput(f"{self.name}: a session cannot be copied to another process; open the file there")

    # -- in and out ---------------------------------------------------------------------------------------------------
    def _feeds(self, x: Any) -> dict[str, NDArray[Any]]:
        if self.input is None or (hasattr(x, "iloc") and len(self.facts.inputs) > 1):
            columns = x.columns if hasattr(x, "iloc") else ()
            missing = [name for name in self.facts.inputs if name not in columns]
            if missing:
                raise BadInput(
                    f"{self.name} takes one input for each column; give a frame with: {', '.join(missing[:8])}"
                )
            return {n: _typed(self, n, x[n].to_numpy().reshape(-1, 1)) for n in self.facts.inputs}
        return {self.input: _typed(self, self.input, x.to_numpy() if hasattr(x, "iloc") else np.asarray(x))}

    def _run(self, wanted: list[str], feeds: dict[str, NDArray[Any]], rows: int) -> list[Any]:
        batch = self.facts.inputs[next(iter(feeds))].shape[:1]
        step = batch[0] if batch and isinstance(batch[0], int) and batch[0] > 0 else max(1, rows)
        parts = []
        for start in range(0, rows, step):
            part = {name: _padded(x[start : start + step], step) for name, x in feeds.items()}
            try:
                found = self.session.run(wanted, part)
            except Exception as error:
                raise TargetFailed(f"{self.name} failed on rows {start}..{start + step - 1}: {brief(error)}") from error
            parts.append([out[: rows - start] for out in found])
        return [_joined([part[i] for part in parts]) for i in range(len(wanted))]

    def _dense(self, found: Any) -> Any:
        """Scores given as one mapping a row (what sklearn-onnx does unless told not to) as an array."""
        if not isinstance(found, list):
            return found
        keys = self.values or tuple(range(self.classes or len(found[0])))
        return np.array([[row[key] for key in keys] for row in found], np.float32)


def _typed(model: OnnxModel, name: str, x: NDArray[Any]) -> NDArray[Any]:
    entry = model.facts.inputs[name]
    kind = _TYPES.get(entry.type)
    if kind is None:
        raise BadInput(f"{model.name}: input {name!r} is a {entry.type}, which cannot be fed from here")
    fits = len(entry.shape) == x.ndim and all(
        not isinstance(want, int) or want == got for want, got in zip(entry.shape[1:], x.shape[1:], strict=True)
    )
    if entry.shape and not fits:
        want = ", ".join(str(size) if isinstance(size, int) else "?" for size in entry.shape[1:])
        raise BadInput(f"{model.name}: input {name!r} takes shape (n, {want}); got {x.shape}")
    try:
        return np.ascontiguousarray(x, dtype=kind)
    except (ValueError, TypeError):
        raise BadInput(f"{model.name}: input {name!r} takes {entry.type}; got {x.dtype}") from None


def _session(path: Path, facts: graph.Facts, providers: Sequence[str], threads: int) -> Any:
    runtime = need("onnxruntime", "onnx", "an ONNX target")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    unknown = [p for p in providers if p not in runtime.get_available_providers()]
    if unknown:
        raise BadInput(
            f"providers={unknown} are not available; this onnxruntime has: {runtime.get_available_providers()}"
        )
    try:
        # External data is found relative to the path; without any, the very bytes that were hashed are run.
        return runtime.InferenceSession(
            str(path) if facts.external else facts.content, options, providers=list(providers)
        )
    except Exception as error:  # noqa: BLE001 - the runtime has an error class for each status, none public
        raise BadInput(f"{path}: ONNX Runtime cannot run this model: {brief(error)}") from None


def _input(name: str, facts: graph.Facts, wanted: str | None) -> str | None:
    if wanted is not None and wanted not in facts.inputs:
        raise BadInput(f"{name} has no input {wanted!r}; it has: {', '.join(facts.inputs)}")
    if wanted is not None and len(facts.inputs) > 1:
        raise BadInput(
            f"{name} also needs {', '.join(i for i in facts.inputs if i != wanted)}; give a frame with all of them"
        )
    return next(iter(facts.inputs)) if len(facts.inputs) == 1 else None


def _outputs(name: str, facts: graph.Facts, output: str, wanted: str | None) -> tuple[str | None, str | None]:
    """Which output is the label and which the numbers."""
    if wanted is not None and wanted not in facts.outputs:
        raise BadInput(f"{name} has no output {wanted!r}; it has: {', '.join(facts.outputs)}")
    labels = [
        n for n, entry in facts.outputs.items() if entry.type in ("tensor(int64)", "tensor(int32)", "tensor(string)")
    ]
    numeric = [n for n in facts.outputs if n not in labels]
    if wanted is not None:
        labels = [n for n in labels if n == wanted] if wanted in labels else labels if len(labels) == 1 else []
        numeric = [wanted] if wanted in numeric else []
    if output == "labels" and labels:
        numeric = []
    if output in ("logits", "scores") and not numeric:
        raise BadInput(f"{name} has no numeric output to read {output} from; it has: {', '.join(facts.outputs)}")
    return (labels[0] if labels else None), (numeric[0] if numeric else None)


def _padded(x: NDArray[Any], size: int) -> NDArray[Any]:
    return x if len(x) == size else np.concatenate([x, np.repeat(x[-1:], size - len(x), 0)])


def _joined(parts: list[Any]) -> Any:
    if not parts or isinstance(parts[0], list):
        return [row for part in parts for row in part]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
