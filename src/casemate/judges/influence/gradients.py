"""TracIn (arXiv:2002.08484) for dense networks, without a gradient ever being made.

The gradient of a dense layer on one row is ``g a^T`` with the layer's input a and the slope g of its output. So the product
of two rows' gradients is ``(a_i . a_j + 1)(g_i . g_j)``, the 1 for the bias: n d numbers in memory, not n times the parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import BadInput, need

Floats = NDArray[np.float64]


def tracin(
    checkpoints: Any, x_train: Any, y_train: Any, x: Any, y: Any, *, rates: Sequence[float] = (1.0,)
) -> Floats:
    """How far a step on each training row lowers the loss at each question ``(m, n)``, over the checkpoints of a training.

    Args:
        checkpoints: A torch module, or several states of it in order: every parameter in `nn.Linear` layers, each used once on
            a matrix of rows. Copies are put into evaluation mode; dropout draws nothing, and batch norm is refused.
        y: The labels whose loss is traced; of a decision, the class decided.
        rates: The step size at each checkpoint.
    """
    states = list(checkpoints) if isinstance(checkpoints, list | tuple) else [checkpoints]
    if len(rates) != len(states):
        raise BadInput(f"{len(states)} checkpoints and {len(rates)} rates; give one rate for each")
    found: Any = 0.0
    for module, rate in zip(states, rates, strict=True):
        ours, theirs = _layers(module, x, y), _layers(module, x_train, y_train)
        for (a, g, bias), (b, h, _) in zip(ours, theirs, strict=True):
            found = found + rate * (a @ b.T + bias) * (g @ h.T)
    return np.asarray(found)


def why_not(module: Any) -> str:
    """Why a module is no dense network; empty where it is one."""
    torch: Any = need("torch", "torch", "tracing gradients")
    odd = sorted({
        type(part).__name__ for part in module.modules()
        if next(part.parameters(recurse=False), None) is not None and not isinstance(part, torch.nn.Linear)
    })  # fmt: skip
    if odd:
        return f"its parameters are in {', '.join(odd)} too, and only dense layers have the product"
    return "" if any(isinstance(part, torch.nn.Linear) for part in module.modules()) else "it has no dense layer"


def _layers(module: Any, x: Any, y: Any) -> list[tuple[Floats, Floats, float]]:
    """For each dense layer its inputs ``(n, d)``, the slopes of its outputs ``(n, h)``, and 1 where it has a bias."""
    import copy

    import torch
    from torch import nn

    if reason := why_not(module):
        raise BadInput(f"TracIn by products needs a dense network: {reason}")
    own = copy.deepcopy(module).eval()
    dense = [part for part in own.modules() if isinstance(part, nn.Linear)]
    seen: dict[int, list[tuple[Any, Any]]] = {i: [] for i in range(len(dense))}
    for i, part in enumerate(dense):
        part.register_forward_hook(lambda layer, given, out, i=i: seen[i].append((given[0], out)))
    inputs = torch.as_tensor(np.asarray(x), dtype=dense[0].weight.dtype)
    labels = torch.as_tensor(np.asarray(y))
    if labels.shape != (len(inputs),):
        raise BadInput(f"{len(inputs)} inputs and labels of shape {tuple(labels.shape)}; give one for each")
    out = own(inputs)
    if any(len(each) != 1 or each[0][0].ndim != 2 for each in seen.values()):
        raise BadInput("TracIn by products needs each dense layer used once, on a matrix of rows")
    loss = nn.functional.cross_entropy(out, labels.long(), reduction="sum")
    slopes = torch.autograd.grad(loss, [seen[i][0][1] for i in range(len(dense))])
    return [
        (seen[i][0][0].detach().double().numpy(), slopes[i].double().numpy(), float(part.bias is not None))
        for i, part in enumerate(dense)
    ]
