"""What a rig is: a small target, a case and a counter, made afresh for every trial."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from ..core.adversary import Budget
from ..core.case import AnyCase, Evade
from ..core.oracle import Known
from ..core.poison import Records
from ..core.target import Target

ROWS = np.array([4, 17, 2, 9, 0, 23, 11])  # ids out of order and with gaps: nothing may take them for positions


class Tally:
    """Rows a model was asked about. Hidden from every hash, because counting is no change of the model."""

    def __init__(self) -> None:
        self.rows = 0

    def __getstate__(self) -> None:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """The same problem, told differently.

    Args:
        shift: Added to every logit.
        low, scale: Inputs in ``[low, low + scale]`` instead of [0, 1], radius in proportion.
        radius: Factor on the radius; 0 makes success impossible.
        single: Inputs in float32.
    """

    shift: float = 0.0
    low: float = 0.0
    scale: float = 1.0
    radius: float = 1.0
    single: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What one trial works with; nothing in it was used before.

    Args:
        tally: Counts the rows of the deployed model; `parent` those of the public parent.
        hold: Kept alive as long as the setup (a temporary folder, say).
        retrain: How the owner trains the target again with an attacker's records; its answers are counted too.
    """

    case: AnyCase
    target: Target | None
    known: Known = field(default_factory=Known)
    tally: Tally = field(default_factory=Tally)
    parent: Tally = field(default_factory=Tally)
    hold: Any = None
    retrain: Callable[[Records], Target] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rig:
    """A maker of setups.

    Args:
        make: A fresh setup for a variant.
        variants: Which variants have a meaning here: ``shift`` of logits, ``scale`` of the domain, ``radius``, ``single``.
        budget: What an adversary may spend in a trial; left out, what the toys are tried with.
    """

    name: str
    make: Callable[[Variant], Setup]
    variants: frozenset[Literal["shift", "scale", "radius", "single"]] = frozenset()
    budget: Budget | None = None


def counted(tally: Tally, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A function that counts the rows it is given."""

    def ask(x: Any) -> Any:
        tally.rows += len(x)
        return function(x)

    return ask


def arrays_of(value: Any, name: str = "case") -> Iterator[tuple[str, Any]]:
    """Every array, frame or list in a case or in what the adversary knows, by name."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        for part in dataclasses.fields(value):
            if not part.name.startswith("_"):
                yield from arrays_of(getattr(value, part.name), f"{name}.{part.name}")
    elif isinstance(value, np.ndarray | list) or hasattr(value, "iloc") or hasattr(value, "detach"):
        yield name, value
    elif isinstance(value, tuple):
        for i, item in enumerate(value):
            yield from arrays_of(item, f"{name}[{i}]")


def nearest(case: AnyCase) -> AnyCase:
    """An evasion case in which no row is ever finished."""
    return replace(case, seek="nearest") if isinstance(case, Evade) else case
