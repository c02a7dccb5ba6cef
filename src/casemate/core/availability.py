"""What is attempted against a service that must stay: a failing model (`Drill`), costly inputs (`Sponge`), a bill (`Harvest`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .constraint import Constraint
from .errors import BadInput
from .goal import Goal, Wrong
from .target import count, take, to_numpy

# a model that fails -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Drill:
    """Make the model fail, and look at what the system decides without it.

    Args:
        x: Inputs that matter: while the model works, the system decides none of them as the attacker wants.
        y: What is true of each, ``(n,)``.
        usual: What the system decides of each while the model works, ``(n,)``.
        fallback: ``fallback(model) -> decide``, and ``decide(x) -> labels (n,)`` or a `Response`: how the system decides
            around a model that may fail. The model it is handed has `respond`, as every target does, and what a library
            calls: ``predict``, ``predict_proba``, ``decision_function``, and a call of itself.
        goal: What the attacker wants of the decision.
        classes: How many decisions there are: the width of the scores that a failing model makes up.
    """

    x: Any
    y: Any
    usual: Any
    fallback: Callable[[Any], Callable[[Any], Any]]
    goal: Goal = field(default_factory=Wrong)
    classes: int = 2
    kind = "drill"

    def __post_init__(self) -> None:
        for name in ("usual", "y"):
            labels = np.asarray(to_numpy(getattr(self, name)))
            if labels.dtype.kind in "US" or any(isinstance(one, str) for one in labels.ravel()[:1].tolist()):
                raise BadInput(
                    f"{name} has words such as {str(labels.ravel()[0])!r}, and a decision is a number; "
                    "give target.respond(x).label, or words as the places of their classes among the target's"
                )

    def blind(self) -> Drill:
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Drilled:
    """What was decided under each fault.

    Args:
        decided: The labels ``(n,)`` by name of the fault; None where the system decided nothing.
        said: In words what came instead of labels: an error handed to the caller, no answer in time, something malformed.
    """

    decided: Mapping[str, Any]
    said: Mapping[str, str] = field(default_factory=dict)

    def malformed(self, case: Drill) -> str:
        """What is wrong with the claim; empty where nothing is."""
        n = count(case.x)
        for name, labels in self.decided.items():
            if labels is None and not self.said.get(name):
                return f"{name}: neither labels nor what came instead"
            if labels is not None and np.shape(to_numpy(labels)) != (n,):
                return f"{name}: labels of shape {np.shape(to_numpy(labels))} for {n} inputs"
        return "" if self.decided else "no fault was tried"


# costly inputs ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What an input makes the system do, counted. No clock: the count of an input is the same on every machine.

    Args:
        count: ``inputs -> (n,)`` numbers, at least 0; 0 for an input that the system refuses unread. It asks a copy, never
            the deployed endpoint.
        name, unit: What is counted, for the report.
        most: The largest count there can be, where that is known.
        beside: Further counts by name, reported and not judged.
        climb: A context in which ``loss(logits, y) -> (n,)`` rises with the work of the forward pass just made on the
            target: what a slope is taken of. None where nothing has one.
    """

    count: Callable[[Any], Any]
    name: str = "work"
    unit: str = ""
    most: float | None = None
    beside: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)
    climb: Callable[[], AbstractContextManager[Callable[[Any, Any], Any]]] | None = None

    def __call__(self, x: Any) -> Any:
        """The work of each input, ``(n,)`` float64."""
        found = np.asarray(to_numpy(self.count(x)), np.float64)
        if found.shape != (count(x),) or not np.isfinite(found).all() or (found < 0).any():
            raise BadInput(f"{self.name} gave {found.shape} for {count(x)} inputs; give one finite number from 0 for each")
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Sponge:
    """Find inputs that cause more work than honest ones do.

    Args:
        x: Honest inputs.
        work: Counts what each input causes. Whoever holds no copy sees it as the time that an answer takes.
        low, high: The domain of arrays: numbers, or one for each value.
        within: What a change of an honest input may be; None where any input of the domain can be sent.
        longest: Most characters or bytes of a text or file; four times the longest honest one when left out.
        inputs: How many costly inputs are handed in, at most.
        asks: Inputs the attacker plans to try.
        factor: From so many times the work of the costliest honest input on, it counts as broken.
    """

    x: Any
    work: Work
    low: Any = None
    high: Any = None
    within: Constraint | None = None
    longest: int | None = None
    inputs: int = 10
    asks: int = 1000
    factor: float = 1.1
    kind = "sponge"

    def blind(self) -> Sponge:
        return self

    @property
    def room(self) -> int:
        """The length that a text or file may have."""
        return self.longest if self.longest is not None else 4 * max((len(one) for one in self.x), default=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heavy:
    """Costly inputs, the costliest first.

    Args:
        x: The inputs, ``(k, *shape)`` or a list of k.
        origin: Of a case with `within`, the honest input each is a change of, ``(k,)`` positions.
        bound: The most work any input can cause, where the attack proved it.
    """

    x: Any
    origin: Any = None
    bound: float | None = None
    detail: dict[str, Any] = field(default_factory=dict)

    def malformed(self, case: Sponge) -> str:
        """What is wrong with the claim; empty where nothing is."""
        k = count(self.x)
        if not 1 <= k <= case.inputs:
            return f"{k} inputs; 1 to {case.inputs} are asked for"
        if not hasattr(case.x, "dtype"):
            problem = self._strings(case) if isinstance(case.x, list | tuple) else ""
        else:
            problem = self._numbers(case)
        return problem or self._changes(case, k)

    def _strings(self, case: Sponge) -> str:
        longest = max(len(one) for one in self.x)
        return "" if longest <= case.room else f"an input of length {longest}; at most {case.room} is allowed"

    def _numbers(self, case: Sponge) -> str:
        x = np.asarray(to_numpy(self.x), np.float64)
        if x.shape[1:] != tuple(case.x.shape[1:]) or not np.isfinite(x).all():
            return f"inputs of shape {x.shape}, finite: {bool(np.isfinite(x).all())}; honest ones have {tuple(case.x.shape)}"
        inside = (case.low is None or (x >= case.low).all()) and (case.high is None or (x <= case.high).all())
        return "" if inside else "an input lies outside the domain"

    def _changes(self, case: Sponge, k: int) -> str:
        if case.within is None:
            return ""
        origin = np.asarray(self.origin)
        if origin.shape != (k,) or not ((origin >= 0) & (origin < count(case.x))).all():
            return "origin must name the honest input that each is a change of"
        bad = int((~case.within.check(self.x, take(case.x, origin))).sum())
        return f"{bad} of {k} inputs are no allowed change of their origin" if bad else ""


# a bill -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Harvest:
    """Run up the bill of whoever owns the service.

    Args:
        x: Honest requests, which the attacker repeats.
        price: What one row costs the owner, above 0.
        rows: How many rows are really sent, at most; what a day would let in is told from the controls.
        within_s: The stretch of the endpoint's (virtual) clock over which they are sent: a day.
        fee: What one row costs the attacker.
        account: What one more account costs the attacker.
        currency: Of all of these.
    """

    x: Any
    price: float
    rows: int = 2000
    within_s: float = 86_400.0
    fee: float = 0.0
    account: float = 0.0
    currency: str = ""
    kind = "harvest"

    def blind(self) -> Harvest:
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """What was sent, and what the owner worked for."""

    sent: int
    admitted: int

    def malformed(self, case: Harvest) -> str:
        """What is wrong with the claim; empty where nothing is."""
        ok = 0 <= self.admitted <= self.sent <= case.rows
        return "" if ok else f"{self.admitted} admitted, {self.sent} sent, {case.rows} planned"
