"""A torch module as a model: the adapter that has gradients."""

from __future__ import annotations

import copy
import hashlib
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from ..core.adversary import Need
from ..core.errors import BadInput, CasemateError, TargetFailed
from ..core.target import Jacobian, Response, Slope
from .answers import brief
from .identity import digest as content

SLICE = 256  # rows of one pass on a CPU: the activations of more no longer fit its cache, and a row costs twice as much


# What torch keeps in a module besides its weights: the parameters again, weak references to them, and hooks.
_TORCH = frozenset({
    "_parameters", "_buffers", "_modules", "_non_persistent_buffers_set", "_is_full_backward_hook", "training",
    "_flat_weights", "_flat_weight_refs", "_compiled_call_impl",
})  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchModule:
    """An `nn.Module` from inputs ``(n, *shape)`` to logits ``(n, k)``.

    A module in training mode is copied and the copy put into evaluation mode: the user's own is never touched.

    Args:
        module: The network.
        output: What it returns: ``logits``, or ``scores`` where it ends in a softmax or sigmoid of its own.
        device: Where to run; inputs move there.
        version: The user's own version, part of its identity.
    """

    module: nn.Module
    output: Literal["logits", "scores"] = "logits"
    device: str = "cpu"
    version: str = ""
    name: str = "torch module"
    classes: int | None = None
    offers: Need = Need.LABEL | Need.SCORE | Need.LOGIT | Need.GRADIENT | Need.ARTIFACT
    dtype: Any = field(init=False, default=torch.float32)
    channels_last: bool = field(init=False, default=False)  # hand images over with the channels of a pixel side by side

    def __post_init__(self) -> None:
        module = self.module
        if any(part.training for part in module.modules()):
            module = copy.deepcopy(module).eval()
        floats = [p.dtype for p in module.parameters() if p.is_floating_point()]
        object.__setattr__(self, "dtype", floats[0] if floats else torch.get_default_dtype())
        object.__setattr__(self, "module", module.to(self.device) if self.device != "cpu" else module)
        # Convolution and pooling on a CPU take up to half the time in this layout. The values are the same; sums are made
        # in another order.
        images = any(isinstance(part, nn.Conv2d) for part in module.modules())
        object.__setattr__(self, "channels_last", images and self.device == "cpu" and self.dtype == torch.float32)

    def prepare(self, x: Any) -> torch.Tensor:
        """Inputs as a tensor of the module's own precision and device, without a copy where there need be none."""
        try:
            return torch.as_tensor(x, dtype=self.dtype, device=self.device)
        except (TypeError, ValueError, RuntimeError) as error:
            raise BadInput(f"{self.name} takes arrays or tensors of numbers; got {type(x).__name__}: {brief(error)}") from None

    def forward(self, x: torch.Tensor) -> Response:
        with torch.no_grad():
            if len(x) <= SLICE or self.device != "cpu":
                return self._response(self._call(x))
            return self._response(torch.cat([self._call(part) for part in torch.split(x, SLICE)]))

    def raw(self, x: torch.Tensor) -> torch.Tensor:
        """What the module returns, with its graph: for a model that is part of another."""
        return self._call(self.prepare(x))

    def differentiate(
        self,
        before: Callable[[torch.Tensor], torch.Tensor],
        x: torch.Tensor,
        y: Any,
        loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    ) -> Slope:
        """One forward and one backward pass; only the input's gradient is computed."""
        x = self._laid(self.prepare(x).detach()).requires_grad_(True)
        logits = self._call(before(x))
        value = self._valued(loss, logits, torch.as_tensor(y, device=logits.device))
        (slope,) = torch.autograd.grad(value.sum(), x)
        return Slope(value.detach(), slope.contiguous(), self._response(logits.detach()))

    def _valued(self, loss: Callable[[Any, Any], torch.Tensor], logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """The loss. One that cannot be had of these outputs is the caller's to mend, and no failure of the module."""
        try:
            value = loss(logits, y)
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            if isinstance(error, CasemateError):
                raise
            numbers = y.is_floating_point()
            raise BadInput(
                f"the loss cannot be had of what {self.name} returns, shape {tuple(logits.shape)}, and of y, {y.dtype} such as "
                f"{y[:3].tolist()}: {brief(error).rstrip('.')}. "
                + ("For a regression give goal=Shift(by)" if numbers else "Labels and the goal's class must be among the classes")
            ) from error
        if logits.requires_grad and not getattr(value, "requires_grad", False):
            raise BadInput(f"the loss of {self.name} keeps no graph; make it of the logits it gets, without .detach()")
        return value

    def jacobian(self, before: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, classes: Any) -> Jacobian:
        """One forward pass, and a backward pass for each column of `classes` ``(n, k)``."""
        x = self.prepare(x).detach().requires_grad_(True)
        logits = self._call(before(x))
        chosen = logits.gather(1, torch.as_tensor(classes, device=logits.device).long())
        last = chosen.shape[1] - 1
        slopes = [torch.autograd.grad(chosen[:, k].sum(), x, retain_graph=k < last)[0] for k in range(last + 1)]
        return Jacobian(torch.stack(slopes, 1), self._response(logits.detach()))

    def _call(self, x: torch.Tensor) -> torch.Tensor:
        try:
            out: torch.Tensor = self._through(x)
        except CasemateError:
            raise
        except Exception as error:
            raise TargetFailed(f"{self.name} raised on inputs of shape {tuple(x.shape)}: {brief(error)}") from error
        if not isinstance(out, torch.Tensor):
            raise TargetFailed(f"{self.name} returned a {type(out).__name__}; expected a tensor (n, classes) or (n,)")
        return out

    def _laid(self, x: torch.Tensor) -> torch.Tensor:
        return x.to(memory_format=torch.channels_last) if self.channels_last and x.ndim == 4 else x

    def _through(self, x: torch.Tensor) -> Any:
        """The module's own answer. One that cannot read the faster layout (it uses `view`) is asked again in the plain one,
        and so from then on."""
        laid = self._laid(x)
        try:
            return self.module(laid)
        except RuntimeError:
            if not self.channels_last or x.ndim != 4:
                raise
        object.__setattr__(self, "channels_last", False)
        return self.module(x.contiguous())

    def _response(self, out: torch.Tensor) -> Response:
        if out.numel() and math.isnan(out.amax().item()):  # the largest of several is NaN where any of them is
            raise TargetFailed(
                f"{self.name} returned NaN for {int(out.isnan().reshape(len(out), -1).any(1).sum())} of {len(out)} inputs: "
                "that is no decision; mend the network, or let it reject such inputs"
            )
        if out.ndim == 2 and out.shape[1] > 1:
            scores = out.softmax(1) if self.output == "logits" else out
            return Response(out.argmax(1), scores, out)
        if out.ndim == 1 or out.shape[1] == 1:  # one number a row: a regression
            return Response(out.reshape(-1), None, out.reshape(-1, 1))
        raise TargetFailed(f"{self.name} returned shape {tuple(out.shape)}; expected (n, classes) or (n,)")

    def fingerprint(self) -> str | None:
        """Weights, buffers, plain attributes and the source of every class; None where an attribute hides its state."""
        held = self._attributes(strict=True)
        if held is None:
            return None
        digest = hashlib.sha256(self.version.encode() + held.encode())
        for kind in sorted({type(part) for part in self.module.modules()}, key=lambda k: k.__qualname__):
            digest.update(_source(kind).encode())
        digest.update(repr(self.module).encode())
        digest.update(self._weights())
        return digest.hexdigest()

    def state(self) -> str:
        digest = hashlib.sha256(self._weights())
        for name, part in self.module.named_modules():
            digest.update(f"{name}:{part.training};".encode())
        digest.update(str(self._attributes(strict=False)).encode())
        return digest.hexdigest()

    def _attributes(self, strict: bool) -> str | None:
        """What every submodule holds as plain Python: a temperature, a threshold, a list, a function."""
        if isinstance(self.module, torch.jit.ScriptModule):  # keeps its attributes and its program in C
            return None
        held = [
            (name, {k: v for k, v in vars(part).items() if k not in _TORCH and "_hooks" not in k})
            for name, part in self.module.named_modules()
        ]
        try:
            return content(held, strict=strict)
        except Exception:  # noqa: BLE001  an attribute may raise whatever it likes when it is looked at
            return None

    def _weights(self) -> bytes:
        digest = hashlib.sha256()
        tensors = [*self.module.named_parameters(), *self.module.named_buffers()]
        for name, tensor in sorted(tensors, key=lambda item: item[0]):
            array = np.ascontiguousarray(tensor.detach().cpu().numpy())
            digest.update(f"{name}:{array.dtype}:{array.shape}".encode() + array.tobytes())
        return digest.digest()


def _source(kind: type) -> str:
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):  # defined in a notebook or by exec: its name is all there is
        return kind.__qualname__
