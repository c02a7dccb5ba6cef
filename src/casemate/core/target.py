"""The deployed decision made executable, as the rest of casemate sees it.

The adapters that load real models live in `casemate.targets`; this is only what they promise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from .adversary import Need
from .registry import Registry

Array = Any
REJECT = -1  # the decision "not decided here": below threshold, sent to a human


@dataclass(frozen=True, slots=True)
class Response:
    """What a decision shows. Rows in order; scores and logits ``(n, k)`` or absent."""

    label: Array
    scores: Array | None = None
    logits: Array | None = None

    def only(self, keep: Array) -> Response:
        """The rows `keep` (booleans or indices) selects."""
        return Response(
            self.label[keep],
            None if self.scores is None else self.scores[keep],
            None if self.logits is None else self.logits[keep],
        )


@dataclass(frozen=True, slots=True)
class Slope:
    """A differentiated loss: ``loss (n,)``, ``slope (n, *shape)``, and the response of the same forward pass."""

    loss: Array
    slope: Array
    response: Response


@dataclass(frozen=True, slots=True)
class Jacobian:
    """Slopes of several logits: ``slopes (n, k, *shape)``, in the order asked, and the response of the one forward pass."""

    slopes: Array
    response: Response


@runtime_checkable
class Target(Protocol):
    """Ordered stages from raw input to decision.

    `rows` and `draw` key the randomness of random stages; a deterministic target ignores both.
    """

    @property
    def name(self) -> str: ...
    @property
    def offers(self) -> Need:
        """What the adapter can compute. What an adversary may *use* of it is the Oracle's business."""
        ...

    @property
    def random(self) -> bool:
        """Whether some stage draws randomness, so that one answer is not the answer."""
        ...

    @property
    def classes(self) -> int | None:
        """How many decisions there are, where that is known."""
        ...

    def respond(self, x: Array, *, rows: Array | None = None, draw: int = 0) -> Response:
        """Decide. One model row per input row."""
        ...

    def gradient(
        self, x: Array, y: Array, loss: Callable[[Array, Array], Array], *, rows: Array | None = None, draw: int = 0
    ) -> Slope:
        """Differentiate ``loss(logits, y)`` in the input, through every stage. `NotGranted` where it cannot."""
        ...

    def fingerprint(self) -> str | None:
        """A content hash of weights, stages and their parameters; None where nothing can be verified."""
        ...

    def state(self) -> str:
        """A hash of all that a call might change (parameters, buffers, training flags): health check 2."""
        ...


@dataclass(frozen=True, slots=True)
class Adapter:
    """How `casemate.wrap` takes a kind of model that casemate does not know: ``adapt(model, **options)`` gives a model
    for `Pipeline`, with ``name``, ``offers``, ``classes``, ``forward``, ``fingerprint`` and ``state``."""

    id: str
    matches: Callable[[Any], bool]
    adapt: Callable[..., Any]


adapters: Registry[Adapter] = Registry("target adapter", "casemate.targets")


def adapter(id: str, *, matches: Callable[[Any], bool]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register an adapter. It is asked before the built-in kinds, in the order of ids; the first that matches adapts."""

    def register(adapt: Callable[..., Any]) -> Callable[..., Any]:
        adapters.add(id, Adapter(id, matches, adapt))
        return adapt

    return register


@dataclass(frozen=True, slots=True)
class Recipe:
    """How the model is trained: ``fit(data_x, data_y, seed) -> Target``.

    Poisoning, membership and hardening by training need it; without it they are `untested: no recipe`.

    Args:
        fit: Trains on (x, y) with a seed and returns a Target. Deterministic in its arguments.
        x, y: The training data, in row order.
        version: The user's own version, part of its identity.
        stack: A learner of `casemate.trainers` that trains as `fit` does, so that shadow models need not be fitted one by one.
    """

    fit: Callable[[Any, Any, int], Target]
    x: Any
    y: Any
    version: str = ""
    stack: Any = None


def count(x: Any) -> int:
    """Rows in an array, tensor, frame or sequence."""
    return int(x.shape[0]) if hasattr(x, "shape") else len(x)


def take(x: Any, keep: Any) -> Any:
    """The rows `keep` (booleans or indices) selects, of whatever kind `x` is."""
    if hasattr(x, "iloc"):
        return x.iloc[np.asarray(keep)]
    if isinstance(x, list | tuple):
        keep = np.asarray(keep)
        index = np.flatnonzero(keep) if keep.dtype == bool else keep
        return type(x)(x[int(i)] for i in index)
    return x[keep]


def to_numpy(x: Any) -> Any:
    """An array or tensor as numpy, wherever it lives; anything else as it is."""
    if hasattr(x, "detach"):
        plain = x.detach().cpu()
        return (plain.float() if "bfloat16" in str(plain.dtype) else plain).numpy()
    return np.asarray(x) if hasattr(x, "__array__") and not hasattr(x, "iloc") else x
