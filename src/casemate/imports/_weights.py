"""Named tensors without the code that uses them: what their names and shapes show."""

from __future__ import annotations

from collections.abc import Mapping

from casemate.imports._reading import Reading

Shapes = Mapping[str, tuple[int, ...]]
_LAYER = (".weight", ".bias")
_ADAPTER = ("lora_A", "lora_B", "lora_up", "lora_down")


def judge_tensors(r: Reading, shapes: Shapes, where: str) -> None:
    """A neural network, if the names are those of several layers; never how it is wired."""
    layers = [name for name in shapes if name.endswith(_LAYER) or name in ("weight", "bias")]
    matrices = [name for name in layers if name.endswith("weight") and len(shapes[name]) >= 2]
    folded = [name for name in matrices if len(shapes[name]) >= 3]
    because = f"{where}: {len(shapes)} tensors, among them {len(matrices)} weight matrices named as layers"
    if folded or len(matrices) > 1:
        r.model("model.family", "nn", because)
    elif matrices:
        r.note("one weight matrix: a linear model, or the only layer that was saved; the family is left open")
    if any(part in name for name in shapes for part in _ADAPTER):
        r.note("holds low-rank adapters: it changes another model, its parent, which is not in this file")
    r.note("the tensors do not show how they are wired: differentiable and output are left open")
