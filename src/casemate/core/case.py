"""What is attempted, and what the attacker hands in: one small pair per family.

    Evade / Inputs      Poison / Records      Infer, Audit / Guesses      Attribute / Values
    Copy / Replica      Stall / Load          Property / Distinguisher    Invert, Leak / Recovered
    Smuggle / Artifact  Federated / Update

A Case carries hidden truth (membership, held-out data) only for the judge: `blind` removes it before an attack sees the
case. The labels of its own inputs are the attacker's knowledge and stay.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol, Self

import numpy as np

from .availability import Bill, Drill, Drilled, Harvest, Heavy, Sponge
from .constraint import Constraint
from .disclosure import Attribute, Audit, Distinguisher, Guesses, Infer, Invert, Leak, Property, Recovered, Values
from .errors import BadInput
from .federated import Federated, Update
from .fetch import Fetch
from .goal import Becomes, Goal, Loss, Routed, Vanish, Wrong
from .poison import Adopt, Aim, Backdoor, Degrade, Misread, Poison, Published, Records
from .target import Target, count, take, to_numpy

Array = Any


class Case(Protocol):
    """What every case can do."""

    @property
    def kind(self) -> str: ...
    def blind(self) -> Self:
        """This case without what only the judge may know."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdout:
    """Data the judge keeps to itself."""

    x: Any
    y: Any


@dataclass(frozen=True, slots=True)
class Evade:
    """Change inputs so that the decision meets the goal.

    Args:
        x: Inputs ``(n, *shape)`` as the deployed system takes them; a frame or a list of bytes or strings too.
        y: What is true of each, ``(n,)``; for `Routed`, the route of the unchanged input.
        within: The constraint every claim must satisfy.
        goal: What counts as success.
        loss: What to climb, ``(logits, y) -> (n,)``; by default the attack's own.
        seek: ``any`` finishes a row when its goal is met; ``nearest`` goes on for the smallest change.
        row: Stable row ids, the keys of randomness and of the ledger. Left out, 0..n-1.
        start: Where to begin, ``(n, *shape)``: what an earlier attack, or one on a surrogate, arrived at. Attacks that can
            use it do, after bringing it inside the constraint; the others begin where they always do.
    """

    x: Any
    y: Any
    within: Constraint
    goal: Goal = field(default_factory=Wrong)
    loss: Loss | None = None
    seek: Literal["any", "nearest"] = "any"
    row: Any = None
    start: Any = None
    kind = "evade"

    def __post_init__(self) -> None:
        # Lists of numbers are arrays that were not told so; lists of strings and bytes are inputs of their own kind.
        if isinstance(self.x, list | tuple) and len(self.x) and not isinstance(self.x[0], str | bytes):
            object.__setattr__(self, "x", np.asarray([to_numpy(x) for x in self.x]))
        for part in ("met", "loss"):
            if not callable(getattr(self.goal, part, None)):
                raise BadInput(f"goal={self.goal!r} has no {part}; a goal has met(decision, y) and loss(logits, y)")
        y = np.asarray(to_numpy(self.y))
        if y.dtype.kind in "OUS":
            raise BadInput("y holds words; give indices of classes (of an estimator: target.model.label(y))")
        object.__setattr__(self, "y", _classes(y, self.goal))
        if self.y.shape != (count(self.x),):
            raise BadInput(f"x has {count(self.x)} rows and y has shape {self.y.shape}; give one label for each input")
        row = np.arange(count(self.x)) if self.row is None else np.asarray(to_numpy(self.row))
        bad = row.shape != self.y.shape or (len(row) and (row.dtype.kind not in "iu" or row.min() < 0))
        if bad or len(np.unique(row)) < len(row):
            raise BadInput("row ids are whole numbers from 0, one for each input, none of them twice")
        object.__setattr__(self, "row", row.astype(np.int64))
        if self.start is not None and count(self.start) != count(self.x):
            raise BadInput(f"start has {count(self.start)} rows and x has {count(self.x)}; give one start for each input")

    def __len__(self) -> int:
        return count(self.x)

    def only(self, keep: Any) -> Evade:
        """The case on the rows `keep` (booleans or indices) selects; they keep their ids."""
        start = None if self.start is None else take(self.start, keep)
        return replace(self, x=take(self.x, keep), y=take(self.y, keep), row=take(self.row, keep), start=start)

    def blind(self) -> Evade:
        return self


def _classes(y: Array, goal: Goal) -> Array:
    """Truth as int64 where it counts classes: whole numbers do, whatever their type, under a goal about classes."""
    if y.dtype.kind == "f":
        if not np.isfinite(y).all():
            bad = np.argwhere(~np.isfinite(y))
            raise BadInput(f"y is not finite in {len(bad)} places (first: {bad[0].tolist()}); give the truth of each input")
        if not isinstance(goal, Wrong | Becomes | Routed | Vanish) or (y != np.floor(y)).any():
            return y
    return y.astype(np.int64) if y.dtype.kind in "iubf" else y


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Changed inputs, row for row, and which of them the attacker believes to succeed."""

    x: Any
    broken: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """Build a model that decides like the target.

    Args:
        pool: Unlabelled inputs of the attacker's own that it may query with; None where it must invent them.
        low, high: The domain to invent queries from, ``(d,)`` each; beside a pool one number for every column will do.
        queries: How many rows it plans to ask.
        truth: Inputs on which the judge compares the two.
    """

    pool: Any = None
    low: Any = None
    high: Any = None
    queries: int = 1000
    truth: Holdout | None = None
    kind = "copy"

    def __post_init__(self) -> None:
        if self.low is None and self.high is None:
            return
        if self.low is None or self.high is None:
            raise BadInput(f"low={self.low!r}, high={self.high!r}: give both ends of the domain, or neither")
        low, high = (_end(name, value) for name, value in (("low", self.low), ("high", self.high)))
        alike = self.pool if self.pool is not None else None if self.truth is None else self.truth.x
        shape = getattr(alike, "shape", None)
        width = max(low.size, high.size) if shape is None else int(np.prod(shape[1:]))
        allowed = {width} if self.pool is None else {width, 1}
        if not {low.size, high.size} <= allowed:
            raise BadInput(f"low has {low.size} numbers and high has {high.size}; give {width} of each, one for each column")
        wrong = np.flatnonzero(low > high)
        if len(wrong) or not (low < high).any():
            first = f" (first in column {wrong[0]})" if len(wrong) else ""
            raise BadInput(f"low={low[:9]}, high={high[:9]}{first}: give a domain, low below high")

    def blind(self) -> Copy:
        return replace(self, truth=None)


def _end(name: str, value: Any) -> Array:
    """One end of a domain as numbers ``(d,)``."""
    try:
        end = np.asarray(to_numpy(value), float).reshape(-1)
    except (TypeError, ValueError):
        raise BadInput(f"{name}={value!r}: give one number for each column") from None
    if not end.size or not np.isfinite(end).all():
        raise BadInput(f"{name}={end[:9]}: give one finite number for each column")
    return end


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """The copy: ``labels(x) -> (n,)``, and, where it has them, its parameters by name. `detail` is JSON-ready."""

    labels: Callable[[Any], Any]
    scores: Callable[[Any], Any] | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stall:
    """Keep honest users from being served.

    Args:
        x: Honest requests, which the attacker repeats.
        rows: How many rows the attacker sends, at most.
        within_s: The stretch of the endpoint's (virtual) clock over which they are sent.
    """

    x: Any
    rows: int = 2000
    within_s: float = 60.0
    kind = "stall"

    def blind(self) -> Stall:
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a flood met: rows sent and rows the endpoint worked for."""

    sent: int
    admitted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Smuggle:
    """Get something into the system by way of its artifact.

    Args:
        artifact: The model file or folder as deployed. Read, never loaded.
        pinned: The digest the deployed loader insists on (sha256 hex), or None where it takes any file.
        facts: Facts of the description the check rests on, by name.
    """

    artifact: Path | None = None
    pinned: str | None = None
    facts: dict[str, str] = field(default_factory=dict)
    kind = "smuggle"

    def blind(self) -> Smuggle:
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """What was done with the artifact, and what came of it: checks by name, each passed (True) or broken (False)."""

    checks: dict[str, bool]
    detail: dict[str, Any] = field(default_factory=dict)


AnyCase = (
    Evade | Poison | Adopt | Infer | Audit | Attribute | Property | Invert | Leak | Copy | Stall | Smuggle | Fetch
    | Drill | Sponge | Harvest | Federated
)  # fmt: skip
AnyClaim = (
    Inputs | Records | Published | Guesses | Values | Distinguisher | Recovered | Replica | Load | Artifact
    | Drilled | Heavy | Bill | Update
)  # fmt: skip

__all__ = ["Aim", "AnyCase", "AnyClaim", "Artifact", "Attribute", "Audit", "Backdoor", "Case", "Copy", "Degrade"]
__all__ += ["Distinguisher", "Evade", "Guesses", "Holdout", "Infer", "Inputs", "Invert", "Leak", "Load", "Misread", "Poison"]
__all__ += ["Property", "Records", "Recovered", "Replica", "Smuggle", "Stall", "Target", "Values"]
