"""A target as ordered stages: what happens to an input between the attacker's hand and the decision.

Preprocessing is part of the target. A stage declares its backward pass, so that an attack goes through it as an
adaptive adversary would: differentiable as it is, straight-through, or by a stand-in.
"""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

from ..core.adversary import Need
from ..core.errors import BadInput, CasemateError, NotGranted, TargetFailed
from ..core.goal import best_other
from ..core.target import REJECT, Jacobian, Response, Slope, count, to_numpy
from .answers import brief

Array = Any
StageKind = Literal["sensor", "resize", "normalise", "quantise", "other"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One step before the model.

    Args:
        name: Shown in pictures and messages.
        kind: ``sensor``, ``resize``, ``normalise``, ``quantise`` or ``other``.
        forward: ``x -> x``; with ``random=True``, ``(x, rows, draw) -> x`` with all randomness keyed by the two.
        backward: ``auto`` (differentiate it), ``straight_through`` (pretend it is the identity), or a differentiable
            stand-in ``x -> x`` used for the backward pass only.
        random: Whether it draws randomness.
        params: Its parameters: part of the identity of the target.
    """

    name: str
    kind: StageKind = "other"
    forward: Callable[..., Array]
    backward: Literal["auto", "straight_through"] | Callable[[Array], Array] = "auto"
    random: bool = False
    params: dict[str, Any] = field(default_factory=dict)

    def run(self, x: Array, rows: Array | None, draw: int) -> Array:
        """The deployed step."""
        try:
            if not self.random:
                return self.forward(x)
            return self.forward(x, np.arange(count(x)) if rows is None else rows, draw)
        except CasemateError:
            raise
        except Exception as error:
            raise TargetFailed(f"stage {self.name} raised on {count(x)} rows: {brief(error)}") from error

    def run_backward(self, x: Array, rows: Array | None, draw: int) -> Array:
        """The same values, with the declared backward pass."""
        if self.backward == "auto":
            return self.run(x, rows, draw)
        stand_in = x if self.backward == "straight_through" else self.backward(x)
        return stand_in + (self.run(x.detach(), rows, draw) - stand_in).detach()


class Model(Protocol):
    """What an adapter promises of the model itself."""

    @property
    def name(self) -> str: ...
    @property
    def offers(self) -> Need: ...
    @property
    def classes(self) -> int | None: ...

    def forward(self, x: Any) -> Response: ...
    def fingerprint(self) -> str | None: ...
    def state(self) -> str: ...


class Decision(Protocol):
    """From the model's response to the decision."""

    def __call__(self, response: Response) -> Response: ...


@dataclass(frozen=True, slots=True)
class Argmax:
    """The class with the best score."""

    def __call__(self, response: Response) -> Response:
        return response


@dataclass(frozen=True, slots=True)
class Threshold:
    """Decide only where the best score reaches `at`; reject the rest (label -1)."""

    at: float

    def __call__(self, response: Response) -> Response:
        if response.scores is None:
            raise BadInput("a threshold needs scores, and the model shows labels only")
        best = response.scores.max(1)
        best = best.values if hasattr(best, "values") else best
        label = response.label * 1
        label[best < self.at] = REJECT
        return dataclasses.replace(response, label=label)

    def doubt(self, logits: Array, y: Array) -> Array:
        """How far, in nats, the best class but `y` is from being sure enough, ``(n,)``; zero where it is."""
        log = logits - logits.logsumexp(1, keepdim=True)
        _, other = best_other(log, y)
        return (math.log(max(self.at, 1e-30)) - other).clip(0, None)


@dataclass(frozen=True, slots=True)
class Cut:
    """Two classes, decided positive where the score of class 1 reaches `at`."""

    at: float

    def __call__(self, response: Response) -> Response:
        if response.scores is None:
            raise BadInput("a cut-off needs scores, and the model shows labels only")
        positive = response.scores[:, 1] >= self.at
        label = positive.long() if hasattr(positive, "long") else positive.astype(np.int64)
        return dataclasses.replace(response, label=label)


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Stages, a model, a decision. The one `Target` of casemate; adapters differ in the model only.

    Args:
        model: An adapter around the model.
        stages: What happens before it, in order.
        decision: What happens after it.
    """

    model: Model
    stages: tuple[Stage, ...] = ()
    decision: Decision = Argmax()

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def offers(self) -> Need:
        return self.model.offers

    @property
    def random(self) -> bool:
        return any(stage.random for stage in self.stages) or bool(getattr(self.model, "random", False))

    @property
    def classes(self) -> int | None:
        return self.model.classes

    def replace(self, **changes: Any) -> Pipeline:
        """A copy with some parts changed."""
        return dataclasses.replace(self, **changes)

    def respond(self, x: Any, *, rows: Array | None = None, draw: int = 0) -> Response:
        prepare = getattr(self.model, "prepare", None)
        x = x if prepare is None else prepare(x)
        for stage in self.stages:
            x = stage.run(x, rows, draw)
        response = self.decision(self.model.forward(x))
        if len(response.label) != count(x):
            raise TargetFailed(f"{self.name}: {count(x)} rows went in and {len(response.label)} decisions came out")
        return response

    def gradient(
        self, x: Array, y: Array, loss: Callable[[Array, Array], Array], *, rows: Array | None = None, draw: int = 0
    ) -> Slope:
        differentiate = getattr(self.model, "differentiate", None)
        if differentiate is None or Need.GRADIENT not in self.offers:
            raise NotGranted(
                f"white box granted, but the adapter of {self.name} has no gradient; take an attack that needs none "
                "(suite.standard chooses; trees: evasion.leaf_tuple)"
            )

        slope: Slope = differentiate(self._before(rows, draw), x, y, self._adaptive(loss))
        if tuple(slope.loss.shape) != (count(x),):
            raise BadInput(
                f"the loss gave shape {tuple(slope.loss.shape)} for {count(x)} rows; give one number for each row, with no mean "
                "over the batch"
            )
        return dataclasses.replace(slope, response=self.decision(slope.response))

    def _adaptive(self, loss: Callable[[Array, Array], Array]) -> Callable[[Array, Array], Array]:
        """The loss less what the decision takes for a doubtful answer: who knows of a reject climbs past it."""
        doubt = getattr(self.decision, "doubt", None)
        return loss if doubt is None else lambda logits, y: loss(logits, y) - doubt(logits, y)

    def jacobian(self, x: Array, classes: Array, *, rows: Array | None = None, draw: int = 0) -> Jacobian:
        """Slopes of the logits of `classes` ``(n, k)`` in the input, through every stage."""
        differentiate = getattr(self.model, "jacobian", None)
        if differentiate is None or Need.GRADIENT not in self.offers:
            raise NotGranted(f"white box granted, but the adapter of {self.name} has no jacobian")
        found: Jacobian = differentiate(self._before(rows, draw), x, classes)
        return dataclasses.replace(found, response=self.decision(found.response))

    def structure(self) -> Any:
        """How the model decides, as a value. `NotGranted` where the adapter cannot tell, or stages hide it."""
        reveal = getattr(self.model, "structure", None)
        if reveal is None or Need.STRUCTURE not in self.offers:
            raise NotGranted(f"white box granted, but the adapter of {self.name} shows no structure")
        if self.stages:
            raise NotGranted(f"{self.name}: its structure speaks of what its {len(self.stages)} stages make of the input")
        return reveal()

    @property
    def plain(self) -> bool:
        """Whether it can pass a slope on inside another target, and decides by nothing but its logits."""
        return hasattr(self.model, "raw") and isinstance(self.decision, Argmax)

    def raw(self, x: Array) -> Array:
        """The logits of a differentiable model, through every stage; the graph is kept."""
        return self.model.raw(self._before(None, 0)(x))  # type: ignore[attr-defined]

    def _before(self, rows: Array | None, draw: int) -> Callable[[Array], Array]:
        """All stages, with the backward pass that each declares."""

        def before(x: Array) -> Array:
            for stage in self.stages:
                x = stage.run_backward(x, rows, draw)
            return x

        return before

    def fingerprint(self) -> str | None:
        model = self.model.fingerprint()
        if model is None:
            return None
        parts = [model, repr(self.decision), *map(_identity, self.stages)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def state(self) -> str:
        return self.model.state()


def _identity(stage: Stage) -> str:
    backward = stage.backward if isinstance(stage.backward, str) else source_of(stage.backward)
    head = f"{stage.name}|{stage.kind}|{sorted(stage.params.items())}|{stage.random}"
    return f"{head}|{source_of(stage.forward)}|{backward}"


def source_of(function: Any) -> str:
    """The source text of a callable and what it closes over, or its qualified name where there is none."""
    try:
        text = inspect.getsource(function)
    except (OSError, TypeError):
        text = getattr(function, "__qualname__", type(function).__qualname__)
    cells = getattr(function, "__closure__", None) or ()
    return text + "".join(_content(cell.cell_contents) for cell in cells)


def _content(value: Any) -> str:
    if hasattr(value, "shape"):
        return hashlib.sha256(np.ascontiguousarray(to_numpy(value)).tobytes()).hexdigest()
    return repr(value) if isinstance(value, str | int | float | bool | tuple | type(None)) else type(value).__qualname__
