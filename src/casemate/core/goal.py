"""Success as a value: a predicate on the *decision*, never on an internal score.

`met` is what the judge applies. `loss` is what an attack climbs when the user gives nothing better: the margin, so
that it is positive exactly where a plain argmax decision would meet the goal. Both take numpy arrays or torch tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from .errors import BadInput
from .target import REJECT, to_numpy

Array = Any
Loss = Callable[[Array, Array], Array]  # (logits (n, k), y (n,)) -> (n,), larger is better for the attacker


class Goal(Protocol):
    """What the adversary wants of the decision."""

    def met(self, decision: Array, y: Array) -> Array:
        """Which rows reached the goal: ``(n,)`` booleans. `y` is the truth, or the decision at the start."""
        ...

    def loss(self, logits: Array, y: Array) -> Array:
        """How near each row is, ``(n,)``; at least zero where an argmax decision meets the goal."""
        ...


OUT = -1e9  # added to a logit that is out of the question: no infinity, for a row may have none that is in it


def best_other(logits: Array, y: Array) -> tuple[Array, Array]:
    """The score of class `y`, and the best of the others. Masked with minus infinity, never by multiplying."""
    size = logits.shape[-1]
    if size < 2:
        raise BadInput(f"the target shows {size} number a row, and this goal compares classes; give Shift, or a goal of your own")
    if getattr(y, "ndim", 0) == 0:  # one class for all rows
        if not 0 <= int(y) < size:
            raise BadInput(f"the goal's class {int(y)} is not one of the target's {size}; give 0 to {size - 1}")
        y = logits.argmax(-1) * 0 + int(y)
    index = y.reshape(-1, 1)
    if hasattr(logits, "gather"):  # torch, which takes no other type for an index
        index = index.long()
        own = logits.gather(1, index)[:, 0]
        return own, logits.scatter(1, index, float("-inf")).max(1).values
    index = np.asarray(index, dtype=np.int64)
    own = np.take_along_axis(logits, index, 1)[:, 0]
    others = np.array(logits, dtype=float)
    np.put_along_axis(others, index, -np.inf, 1)
    return own, others.max(1)


def reached(goal: Goal, decision: Array, y: Array) -> Any:
    """`goal.met` on numpy arrays, checked: ``(n,)`` booleans. Attacks, driver and judge all ask here.

    Raises:
        BadInput: The goal answers something else, as one of the user's own may.
    """
    decision, y = to_numpy(decision), to_numpy(y)
    met = np.asarray(goal.met(decision, y))
    if met.shape != np.shape(decision) or met.dtype != bool:
        raise BadInput(
            f"{goal!r}.met gave {met.dtype} of shape {met.shape} for {len(decision)} decisions; "
            "give one boolean for each row, by arithmetic on the arrays it gets"
        )
    return met


def _negative(answer: Array) -> Array:
    return answer == REJECT


def _whole(field: str, value: Any) -> None:
    """Refuse what no decision is ever equal to: every row would seem to stand."""
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not number or not float(value).is_integer():
        raise BadInput(f"{field}={value!r} is no decision; give a whole number, of classes with names the place among them")


@dataclass(frozen=True, slots=True)
class Wrong:
    """Any decision but the true one.

    Args:
        reject_counts: Whether being rejected (sent to a human, say) is a success. Usually it is not.
    """

    reject_counts: bool = False

    def met(self, decision: Array, y: Array) -> Array:
        """Which decisions ``(n,)`` differ from the truth `y` ``(n,)``: ``(n,)`` booleans, of the arrays' own library."""
        wrong = decision != y
        return wrong if self.reject_counts else wrong & ~_negative(decision)

    def loss(self, logits: Array, y: Array) -> Array:
        """The best other class's logit less that of the true one, ``(n,)``: climbed, and positive where an argmax is wrong."""
        own, other = best_other(logits, y)
        return other - own


@dataclass(frozen=True, slots=True)
class Becomes:
    """One named decision: ``Becomes(3)``. A row that is there already is not a success of anybody.

    Args:
        target: The decision as the target answers it, a whole number; of classes with names the place among them.
    """

    target: int

    def __post_init__(self) -> None:
        _whole("Becomes.target", self.target)

    def met(self, decision: Array, y: Array) -> Array:
        return decision == self.target

    def loss(self, logits: Array, y: Array) -> Array:
        own, other = best_other(logits, self.target)
        return own - other


@dataclass(frozen=True, slots=True)
class Routed:
    """A decision out of a set, or (with no set) any route but the one of the unchanged input.

    A reject is no route, unless `to` names it: it sends the input to somebody who looks.
    """

    to: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.to, tuple | list):
            raise BadInput(f"Routed.to={self.to!r} is no tuple; give the decisions wanted, as (1, 2)")
        for route in self.to:
            _whole("Routed.to", route)

    def met(self, decision: Array, y: Array) -> Array:
        if not self.to:
            return (decision != y) & ~_negative(decision)
        met = decision == self.to[0]
        for route in self.to[1:]:
            met = met | (decision == route)
        return met & (decision != y)

    def loss(self, logits: Array, y: Array) -> Array:
        own, other = best_other(logits, y)
        if not self.to:
            return other - own
        # The best route that is asked for and is not the row's own, less the best of all that would not do.
        inside, outside = (self._best(logits, y, wanted) for wanted in (True, False))
        return inside - outside

    def _best(self, logits: Array, y: Array, wanted: bool) -> Array:
        size = logits.shape[-1]
        if any(not -1 <= route < size for route in self.to):
            raise BadInput(f"{self!r} names a route that is not one of the target's {size}; give 0 to {size - 1}")
        own = np.asarray(to_numpy(y), np.int64)
        serves = np.isin(np.arange(size), self.to) & (np.arange(size) != own[:, None])  # its own route never does
        shift = np.where(serves == wanted, 0.0, OUT)
        if hasattr(logits, "new_tensor"):
            return (logits + logits.new_tensor(shift)).max(-1).values
        return (np.asarray(logits, float) + shift).max(-1)


@dataclass(frozen=True, slots=True)
class Shift:
    """Move a regression by at least `delta` (its sign says in which direction)."""

    delta: float

    def met(self, decision: Array, y: Array) -> Array:
        return (decision - y) >= self.delta if self.delta >= 0 else (decision - y) <= self.delta

    def loss(self, logits: Array, y: Array) -> Array:
        moved = logits.reshape(len(y)) - y
        return moved - self.delta if self.delta >= 0 else self.delta - moved


@dataclass(frozen=True, slots=True)
class Vanish:
    """Make the detector see nothing: the decision becomes `nothing`."""

    nothing: int = 0

    def __post_init__(self) -> None:
        _whole("Vanish.nothing", self.nothing)

    def met(self, decision: Array, y: Array) -> Array:
        return decision == self.nothing

    def loss(self, logits: Array, y: Array) -> Array:
        own, other = best_other(logits, self.nothing)
        return own - other
