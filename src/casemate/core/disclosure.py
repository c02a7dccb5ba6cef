"""What a model gives away about the data it was trained on: one small pair for each question an attacker asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import BadInput
from .target import Recipe, to_numpy

if TYPE_CHECKING:
    from .case import Holdout


@dataclass(frozen=True, slots=True, kw_only=True)
class Infer:
    """Tell members of the training set from others.

    Take both at random from the same pool: where they differ in themselves, whatever looks at them tells them apart, and the
    judge, who guesses without the model too, can conclude nothing.

    Args:
        x, y: Candidates and their true labels.
        truth: ``(n,)`` booleans, True for members; the judge's alone.
        population: Records of the same distribution that the attacker holds beside the candidates; None where it has none.
        group: ``(n,)`` a group of people for each candidate, by which success is reported too; the judge's alone.
    """

    x: Any
    y: Any
    truth: Any = None
    population: Holdout | None = None
    group: Any = None
    kind = "infer"

    def blind(self) -> Infer:
        return replace(self, truth=None, group=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guesses:
    """A membership score for each candidate (larger: more likely a member) and the yes or no the attacker commits to."""

    score: Any
    member: Any
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """Tell which of the canaries went into training, so that a claimed epsilon can be held against it.

    Each canary went in by a fair coin of its own: that is what the bound rests on.

    Args:
        x, y: Canaries and the labels they carry.
        truth: ``(m,)`` booleans, True for those that went in; the judge's alone.
        epsilon, delta: What the training claims; None where it claims nothing.
        population: Records of the same distribution, never trained on, that the attacker holds.
    """

    x: Any
    y: Any
    truth: Any = None
    epsilon: float | None = None
    delta: float = 1e-5
    population: Holdout | None = None
    kind = "audit"

    def blind(self) -> Audit:
        return replace(self, truth=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """Tell a hidden column of records from the rest of each and from the model.

    Args:
        x: Records ``(n, d)`` or a frame, in which the column is blank: it holds ``values[0]`` everywhere.
        y: The true label of each, which the attacker knows.
        column: Name (frame) or index (array) of the hidden column.
        values: What it can hold.
        truth: ``(n,)`` the true values; the judge's alone.
        member: ``(n,)`` whether each record was trained on; the judge's alone.
        population: Records with the column filled in that the attacker holds: ``x`` and ``y``.
    """

    x: Any
    y: Any
    column: Any
    values: tuple[Any, ...]
    truth: Any = None
    member: Any = None
    population: Holdout | None = None
    kind = "attribute"

    def blind(self) -> Attribute:
        return replace(self, truth=None, member=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """A value for each record, ``(n,)``, and where the attack has one how sure it is of it, ``(n,)``, larger for surer."""

    value: Any
    sure: Any = None
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Property:
    """Tell which of two shares of a group the training set had.

    Args:
        recipe: How victims are trained.
        pool: Records of the attacker's own, ``x`` and ``y``.
        flag: ``(n,)`` booleans: who of the pool belongs to the group.
        shares: The two shares the training set may have had, as ``(first, second)``.
        size: Rows of a victim's training set.
        victims: Models of each world that the judge trains.
        truth: Records the judge trains victims from, ``x`` and ``y``, and `truth_flag` for them; the judge's alone.
    """

    recipe: Recipe
    pool: Holdout
    flag: Any
    shares: tuple[float, float] = (0.3, 0.7)
    size: int = 500
    victims: int = 20
    truth: Holdout | None = None
    truth_flag: Any = None
    kind = "property"

    def blind(self) -> Property:
        return replace(self, truth=None, truth_flag=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Distinguisher:
    """How to tell the worlds apart: inputs to ask a victim about, and what its answers say.

    Args:
        ask: Inputs ``(q, *shape)`` or a frame.
        decide: ``Response -> float``; above 0 says the second share.
    """

    ask: Any
    decide: Callable[[Any], float]
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Invert:
    """Reconstruct what a class looks like to the model.

    Args:
        classes: Which classes to reconstruct, one input for each.
        shape: Of one input.
        low, high: Bounds of every input value.
        truth: Members of the training set, and `others` of the same distribution that were not trained on; the judge's alone.
    """

    classes: tuple[int, ...]
    shape: tuple[int, ...]
    low: float = 0.0
    high: float = 1.0
    truth: Holdout | None = None
    others: Holdout | None = None
    kind = "invert"

    def blind(self) -> Invert:
        return replace(self, truth=None, others=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """Reconstruct the inputs behind gradients that a client sent.

    Args:
        model: The torch module the gradients were taken of, in the mode it was in.
        gradients: One tuple of arrays for each update, in the order of ``model.parameters()``: of the mean cross-entropy
            over that update's rows.
        rows: Rows in each update.
        shape: Of one input.
        labels: Labels of each update, where the attacker knows them; None where it must find them.
        low, high: Bounds of every input value.
        truth: The inputs ``(updates * rows, *shape)`` and their labels; the judge's alone.
    """

    model: Any
    gradients: tuple[Any, ...]
    rows: int
    shape: tuple[int, ...]
    labels: Any = None
    low: float = 0.0
    high: float = 1.0
    truth: Holdout | None = None
    others: Holdout | None = None
    kind = "leak"

    def blind(self) -> Leak:
        return replace(self, truth=None, others=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """Reconstructed inputs ``(m, *shape)``, and the label each is thought to have ``(m,)``."""

    x: Any
    y: Any
    detail: dict[str, Any] = field(default_factory=dict)


def filled(x: Any, column: Any, value: Any) -> Any:
    """A copy of `x` (array or frame) with `column` set to `value`: one for all rows, or ``(n,)``."""
    if hasattr(x, "iloc"):
        if column not in x.columns:
            raise BadInput(f"there is no column {column!r}; the frame has {', '.join(map(str, x.columns))}")
        return x.assign(**{column: value}).astype({column: x[column].dtype})
    changed = np.array(to_numpy(x))
    changed[:, column] = value
    return changed
