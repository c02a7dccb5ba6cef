"""Training without a row: what the model of the others says of one input, in the classes of the model of all."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import BadInput, CasemateError, TargetFailed
from ...core.target import Recipe, count, take, to_numpy

NUMBER, SCORE, ALIKE = (
    "trained without the row: what the number predicted loses",
    "trained without the row: what the score of the decided class loses",
    "trained without the row: 1 where it is decided otherwise then, 0 where alike",
)


@dataclass(frozen=True, slots=True)
class Heard:
    """What one trained model says of one input.

    Args:
        label: Its decision: the index of a class, below 0 for a reject; the number itself of a regression.
        scores: ``(k,)``, or None where it shows none.
        values: The class values in the order of its indices; empty where it names none.
        classes: How many there are, where that is known.
        number: Whether it predicts a number.
    """

    label: Any
    scores: NDArray[Any] | None
    values: tuple[Any, ...]
    classes: int | None
    number: bool

    @property
    def how(self) -> str:
        """What an effect on it is."""
        if self.number:
            return NUMBER
        return ALIKE if self.scores is None or self.label < 0 else SCORE

    def by(self, other: Heard, who: str) -> float:
        """What another model says for this decision: its number, its score of this class, or 1 and 0 for alike and not.

        Raises:
            BadInput: The other model has other classes, and does not say which they are.
        """
        if self.number:
            return float(other.label)
        if not self.values or not other.values:
            self._same_classes(other, who)
        if self.how == ALIKE:
            return float(self._named(self.label) == other._named(other.label))
        if other.scores is None:
            raise BadInput(f"{who} the recipe's model shows no scores, and with all rows it does; show them always, or never")
        if not self.values or not other.values:
            return float(other.scores[int(self.label)])
        value = self._named(self.label)
        return float(other.scores[other.values.index(value)]) if value in other.values else 0.0

    def _named(self, label: Any) -> Any:
        """The class itself; None for a reject."""
        return None if label < 0 else self.values[int(label)] if self.values else int(label)

    def _same_classes(self, other: Heard, who: str) -> None:
        wide = [None if each.scores is None else len(each.scores) for each in (self, other)]
        if wide[0] != wide[1] or self.classes != other.classes or bool(self.values) != bool(other.values):
            raise BadInput(
                f"{who} the recipe's model has other classes ({other.classes}, with all rows {self.classes}) and does not say "
                "which; wrap the estimator itself, or give wrap(..., classes=[...]) their values"
            )


def hear(recipe: Recipe, x: Any, seed: int, row: int | None = None) -> Heard:
    """Train on all rows but `row`, on copies, and ask for `x`, one input.

    Raises:
        TargetFailed: The training or the model failed; says without which row.
        BadInput: No target came out, or one class is left and the recipe cannot be trained on one.
    """
    every = np.arange(count(recipe.x))
    kept = every if row is None else np.delete(every, row)
    who = "with all training rows" if row is None else f"without training row {row}"
    try:
        made = recipe.fit(_own(recipe.x, kept), _own(recipe.y, kept), seed)
        if not hasattr(made, "respond"):
            raise BadInput(f"the recipe returned a {type(made).__name__}, which is no target; let it return casemate.wrap(model)")
        answer = made.respond(x)
    except (TargetFailed, BadInput) as error:
        _one_class(recipe, kept, row, error)
        raise type(error)(f"{who}: {error}") from error
    except CasemateError:
        raise
    except Exception as error:
        _one_class(recipe, kept, row, error)
        raise TargetFailed(f"{who}: the recipe failed: {type(error).__name__}: {error}") from error
    label = np.asarray(to_numpy(answer.label))
    real = np.asarray(to_numpy(recipe.y)).dtype.kind == "f"
    scores = None if answer.scores is None else np.asarray(to_numpy(answer.scores))[0]
    values = tuple(getattr(getattr(made, "model", None), "values", None) or ())
    # Whole numbers come out as if they were indices, also of a regression; the labels it was trained on tell.
    number = label.dtype.kind == "f" or (made.classes is None and scores is None and real)
    return Heard(label[0], scores, values, made.classes, number)


def _one_class(recipe: Recipe, kept: NDArray[np.int64], row: int | None, error: Exception) -> None:
    """Say so where a training failed because one class was left."""
    labels = np.asarray(to_numpy(recipe.y))
    if row is None or labels.ndim != 1 or labels.dtype.kind == "f":
        return
    left = set(labels[kept].tolist())
    if len(left) < 2 and labels[row] not in left:
        what = f"only the class {left.pop()!r}" if left else "nothing"
        raise BadInput(
            f"without training row {row} {what} is left, and the recipe cannot be trained on that: "
            "no effect of that row can be told; leave it out of rows="
        ) from error


def _own(data: Any, kept: NDArray[np.int64]) -> Any:
    """The rows, as a copy: a training that changes them changes nobody else's."""
    found = take(data, kept)
    if hasattr(found, "iloc"):
        return found.copy()
    return copy.deepcopy(found) if isinstance(found, list | tuple) else found


def positions(rows: Any, n: int) -> NDArray[np.int64]:
    """Positions in rising order, each once: of positions, of booleans ``(n,)``, or of all.

    Raises:
        BadInput: Anything else, or positions that are not there.
    """
    if rows is None:
        return np.arange(n)
    found = np.atleast_1d(np.asarray(to_numpy(rows)))
    if found.dtype == bool and found.shape == (n,):
        return np.flatnonzero(found)
    if found.ndim != 1 or not len(found) or found.dtype.kind not in "iu":
        raise BadInput(
            f"rows of {found.dtype}, shape {found.shape}, are not allowed; give positions from 0 to {n - 1}, whole numbers, or "
            f"{n} booleans"
        )
    chosen = np.unique(found.astype(np.int64))
    if chosen[0] < 0 or chosen[-1] >= n:
        raise BadInput(f"rows={chosen[0]}..{chosen[-1]} of {n} training rows; give positions from 0 to {n - 1}")
    return chosen
