"""What a model makes of inputs before it decides: the representation in which defences look for poison."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...attacks._features import Features
from ...core.errors import BadInput, UsageError
from ...core.target import Target, count, take, to_numpy

_BATCH = 1024


@dataclass(frozen=True, slots=True)
class Representation:
    """Representations ``(n, f)`` of inputs, and in words where they come from."""

    values: NDArray[np.float64]
    source: str


def representation(target: Target, x: Any, layer: str = "") -> Representation:
    """The activations of a layer of a torch module; of any other model the inputs themselves, as scaled features.

    Args:
        layer: Name of a module, as `named_modules` gives it: what it returns, which must be flat ``(n, f)``. Empty: what
            goes into the last dense layer.

    Raises:
        BadInput: No such layer, or its output is not flat.
    """
    module = getattr(getattr(target, "model", None), "module", None)
    if module is None or not hasattr(module, "named_modules"):
        if layer:
            raise BadInput(f"layer={layer!r}: {target.name} is no torch module and has no layers; leave layer empty")
        return Representation(Features.of(x)(x), "the inputs: the model has no activations to look at")
    name, part, before = _chosen(module, layer)
    values = np.concatenate([_caught(target, part, take(x, rows), before) for rows in _batches(count(x))])
    if values.ndim != 2:
        raise BadInput(f"layer {name!r} gives shape {values.shape[1:]} for an input; name one that gives a flat (n, f)")
    return Representation(values, f"what goes into {name}" if before else f"what {name} gives")


def _chosen(module: Any, layer: str) -> tuple[str, Any, bool]:
    import torch

    parts = dict(module.named_modules())
    if layer:
        if layer not in parts:
            raise BadInput(f"layer={layer!r} is not in the model; it has {', '.join(name for name in parts if name)}")
        return layer, parts[layer], False
    dense = [name for name, part in parts.items() if isinstance(part, torch.nn.Linear)]
    if not dense:
        raise BadInput("the model has no dense layer to look in front of; name a layer")
    return dense[-1], parts[dense[-1]], True


def _caught(target: Target, part: Any, x: Any, before: bool) -> NDArray[np.float64]:
    held: list[Any] = []

    def hook(_: Any, inputs: Any, output: Any) -> None:
        held.append((inputs[0] if before else output).detach())

    handle = part.register_forward_hook(hook)
    try:
        target.respond(x)
    finally:
        handle.remove()
    if not held:
        raise BadInput("the layer is not used when the model decides; name another")
    return np.concatenate([np.asarray(to_numpy(one), np.float64) for one in held])


def _batches(size: int) -> list[NDArray[np.int64]]:
    return [np.arange(start, min(start + _BATCH, size)) for start in range(0, size, _BATCH)]


def module_of(target: Target, id: str) -> Any:
    """A copy of the torch module of a target, for controls that change weights.

    Raises:
        UsageError: The target is no torch module.
    """
    module = getattr(getattr(target, "model", None), "module", None)
    if module is None or not hasattr(module, "named_modules") or not hasattr(target, "replace"):
        raise UsageError(f"{id} works on the weights of a torch module; the recipe makes {target.name}, which is none")
    return copy.deepcopy(module).eval()


def with_module(target: Any, module: Any) -> Target:
    """The target with another module in place of its own."""
    made: Target = target.replace(model=replace(target.model, module=module))
    return made


def prune(module: Any, neurons: NDArray[np.int64]) -> None:
    """Cut neurons in front of the last dense layer off, in place: it no longer listens to them."""
    import torch

    dense = [part for part in module.modules() if isinstance(part, torch.nn.Linear)][-1]
    with torch.no_grad():
        dense.weight[:, torch.as_tensor(neurons, device=dense.weight.device)] = 0.0


def right(target: Target, x: Any, y: NDArray[Any]) -> float:
    """Share of rows decided as `y` says."""
    return float((np.asarray(to_numpy(target.respond(x).label)) == y).mean())
