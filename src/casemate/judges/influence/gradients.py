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


def tracin(checkpoints: Any, x_train: Any, y_train: Any, x: Any, y: Any, *, rates: Sequence[float] = (1.0,)) -> Floats:
    """How far a step on each training row lowers the loss at each question ``(m, n)``, over the checkpoints of a training.

    Args:
        checkpoints: A torch module, or several states of it in order: every parameter in `nn.Linear` layers, each used once on
            a matrix of rows. Copies are put into evaluation mode; dropout draws nothing, and batch norm is refused.
        x_train, x: ``(n, d)`` and ``(m, d)``, finite.
        y_train, y: Classes from 0 to k - 1, of `x` those whose loss is traced; of a decision, the class decided.
        rates: The step size at each checkpoint.

    Raises:
        BadInput: The network is none of these, gives one number or probabilities instead of logits, or cannot read the rows; rows
            are not finite; labels are no classes of it.
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


def answers(module: Any, x: Any) -> Floats:
    """The logits ``(n, k)`` of a dense network, as `tracin` reads it."""
    found: Floats = _forward(_copied(module), x).detach().double().numpy()
    return found


def _copied(module: Any) -> Any:
    import copy

    return copy.deepcopy(module).eval().cpu()


def _forward(own: Any, x: Any) -> Any:
    """The logits with their graph; refused where they are none."""
    import torch

    weight = next(part.weight for part in own.modules() if isinstance(part, torch.nn.Linear))
    last: list[tuple[str, Any]] = []
    hooks = [
        part.register_forward_hook(lambda layer, given, out: last.append((type(layer).__name__, out)))
        for part in own.modules() if type(part).__name__ in _SQUASHED
    ]  # fmt: skip
    try:
        inputs = torch.as_tensor(np.asarray(x), dtype=weight.dtype)
        if not inputs.isfinite().all():
            raise BadInput("rows hold NaN or infinity; leave those rows out")
        out = own(inputs)
    except (RuntimeError, TypeError, ValueError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(f"the network cannot read rows of shape {np.shape(x)}: {error}") from error
    finally:
        for hook in hooks:
            hook.remove()
    if not isinstance(out, torch.Tensor) or out.ndim != 2 or out.shape[1] < 2 or len(out) != len(inputs):
        shape = tuple(getattr(out, "shape", ())) or type(out).__name__
        raise BadInput(f"the network gives {shape} for {len(inputs)} rows; TracIn needs (n, k) logits of two classes or more")
    ends = [name for name, each in last if each is out]
    if ends or (len(out) and (out >= 0).all() and ((out.sum(1) - 1).abs() < 1e-5).all()):
        what = ends[0] if ends else "probabilities"
        raise BadInput(f"the network ends in {what}, and TracIn takes logits; give it without that layer")
    return out


_SQUASHED = ("Softmax", "Softmin", "Softmax2d", "Sigmoid", "Hardsigmoid", "LogSigmoid")  # no logits come out of these


def _classes(y: Any, rows: int, k: int) -> Any:
    """The labels as a tensor ``(n,)``, int64."""
    import torch

    labels = np.asarray(y.detach().cpu() if hasattr(y, "detach") else y)
    if labels.shape != (rows,):
        raise BadInput(f"{rows} inputs and labels of shape {labels.shape}; give one for each")
    if labels.dtype.kind not in "iub" or (rows and not 0 <= int(labels.min()) <= int(labels.max()) < k):
        some = sorted(set(labels.tolist()), key=repr)
        raise BadInput(f"labels of {labels.dtype} such as {some[:5]} are not allowed; give whole numbers from 0 to {k - 1}")
    return torch.as_tensor(labels.astype(np.int64))


def _layers(module: Any, x: Any, y: Any) -> list[tuple[Floats, Floats, float]]:
    """For each dense layer its inputs ``(n, d)``, the slopes of its outputs ``(n, h)``, and 1 where it has a bias."""
    import torch
    from torch import nn

    if reason := why_not(module):
        raise BadInput(f"TracIn by products needs a dense network: {reason}")
    own = _copied(module)
    dense = [part for part in own.modules() if isinstance(part, nn.Linear)]
    seen: dict[int, list[tuple[Any, Any]]] = {i: [] for i in range(len(dense))}

    def keep(i: int, given: Any, out: Any) -> Any:
        seen[i].append((given.detach().clone(), out))
        return out.clone()  # an activation that works in place would change what is differentiated

    for i, part in enumerate(dense):
        part.requires_grad_(True)  # often switched off in a network that is deployed
        part.register_forward_hook(lambda layer, given, out, i=i: keep(i, given[0], out))
    out = _forward(own, x)
    if any(len(each) != 1 or each[0][0].ndim != 2 for each in seen.values()):
        raise BadInput("TracIn by products needs each dense layer used once, on a matrix of rows")
    loss = nn.functional.cross_entropy(out, _classes(y, len(out), out.shape[1]), reduction="sum")
    slopes = torch.autograd.grad(loss, [seen[i][0][1] for i in range(len(dense))])
    return [
        (seen[i][0][0].double().numpy(), slopes[i].double().numpy(), float(part.bias is not None)) for i, part in enumerate(dense)
    ]
