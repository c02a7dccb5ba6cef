"""Labels that are names: the attack gets them as indices of the target's classes, and its trainings get them back as names."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.adversary import Need
from ..core.case import Attribute, Audit, Holdout, Infer, Property
from ..core.errors import BadInput, NotGranted
from ..core.oracle import Known
from ..core.target import Recipe, Response, Slope, Target, to_numpy

Labelled = Attribute | Audit | Infer | Property  # the others compare labels with nothing, or know names themselves
Names = tuple[str, ...]


def numbered(case: Any, known: Known, target: Target | None) -> tuple[Any, Known]:
    """The case and what is known, with names of classes as indices; both as they are where labels are numbers.

    The order is the target's own where it tells it, else that of the sorted names. The recipe trains on names as before, and
    what it makes answers in that order.

    Raises:
        BadInput: A label the target does not know, or as many names as the target has not classes.
    """
    if not isinstance(case, Labelled):
        return case, known
    every = [part.y for part in _parts(case, known) if part.y is not None]
    labels = [y for y in every if named(y)]
    names = _names(labels, target, alone=len(labels) == len(every)) if labels else ()
    if not names:
        return case, known
    if known.recipe is not None:
        known = replace(known, recipe=recipe_of(known.recipe, names))
    if isinstance(case, Property):
        truth = None if case.truth is None else indexed(case.truth, names)
        return replace(case, pool=indexed(case.pool, names), truth=truth, recipe=recipe_of(case.recipe, names)), known
    people = None if case.population is None else indexed(case.population, names)
    return replace(case, y=indices(case.y, names), population=people), known


def named(y: Any) -> bool:
    """Whether labels are names of classes."""
    array = np.asarray(to_numpy(y))
    return array.dtype.kind == "U" or (array.dtype.kind in "OT" and bool(len(array)) and all(isinstance(v, str) for v in array))


def told_names(target: Target | None) -> Names:
    """The names of a target's classes in its own order; none where it tells none, or has other values."""
    told = tuple(getattr(getattr(target, "model", None), "values", ()))
    return told if all(isinstance(value, str) for value in told) else ()


def _parts(case: Labelled, known: Known) -> list[Any]:
    """Everything with labels."""
    found = [case.pool, case.truth, case.recipe] if isinstance(case, Property) else [case, case.population]
    return [part for part in (*found, known.recipe) if part is not None]


def _names(labels: list[Any], target: Target | None, *, alone: bool) -> Names:
    """The classes in the target's order; none where nobody says which index is which name: attacks refuse such labels."""
    if told := told_names(target):
        return told
    names = tuple(np.unique(np.concatenate([np.asarray(to_numpy(y)).astype(str) for y in labels])).tolist())
    classes = getattr(target, "classes", None)
    if classes is None or not alone:  # numbers beside names may be in any order
        return ()
    if classes != len(names):
        raise BadInput(
            f"the labels are {len(names)} names, {', '.join(names[:10])}, and the target has {classes} classes; say which is "
            "which: wrap the model with classes=[...] in the order of its outputs"
        )
    return names


def indices(y: Any, names: Names) -> Any:
    """Labels ``(n,)`` by their places among `names`; numbers stay as they are.

    Raises:
        BadInput: One that is none of them.
    """
    if not named(y):
        return y
    place = {name: i for i, name in enumerate(names)}
    array = np.asarray(to_numpy(y))
    strange = sorted({str(label) for label in array if str(label) not in place})
    if strange:
        raise BadInput(f"the label {strange[0]!r} is no class of the target; it has {', '.join(names[:10])}")
    return np.array([place[str(label)] for label in array], np.int64)


def spelled(y: Any, names: Names) -> Any:
    """Indices ``(n,)`` as names again, as the model itself was trained on; as they are where there are none."""
    array = np.asarray(to_numpy(y))
    return np.array(names)[array] if names and array.dtype.kind in "iu" else y


def indexed(data: Holdout, names: Names) -> Holdout:
    """Data with its labels as indices; as it is where they are numbers."""
    return replace(data, y=indices(data.y, names))


def recipe_of(recipe: Recipe, names: Names) -> Recipe:
    """The recipe on indices: its function gets names, and its models answer in the order of `names`."""
    if recipe.y is None or not named(recipe.y):
        return recipe
    from ..targets.wrap import wrap

    train, own = recipe.fit, recipe.y
    plain = np.asarray(to_numpy(own))
    word = np.array(names, object if plain.dtype.kind == "O" else str)
    series = {"name": own.name, "dtype": own.dtype} if hasattr(own, "iloc") else None

    @functools.wraps(train)
    def fit(x: Any, y: Any, seed: int, **more: Any) -> Target:
        words: Any = word[np.asarray(to_numpy(y)).astype(np.int64)]
        if series is not None:
            import pandas

            words = pandas.Series(words, index=getattr(x, "index", None), **series)
        made = wrap(train(x, words, seed, **more))
        values = told_names(made)
        return made if values in ((), names) or not set(values) <= set(names) else Ordered(made, values, names)

    fit.__wrapped__ = getattr(train, "__wrapped__", train)  # what a run wraps is the user's function
    return replace(recipe, fit=fit, y=indices(own, names))


@dataclass(frozen=True, slots=True)
class Ordered:
    """A target that answers in another order of its classes, some of which it may not know.

    Args:
        inner: The target.
        values: Its classes in its own order.
        names: Its classes and others, in the order wanted.
    """

    inner: Target
    values: Names
    names: Names

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def offers(self) -> Need:
        """What the target offers but its slopes and splits, which are of its own order."""
        return self.inner.offers & ~(Need.GRADIENT | Need.STRUCTURE)

    @property
    def random(self) -> bool:
        return self.inner.random

    @property
    def classes(self) -> int:
        return len(self.names)

    def fingerprint(self) -> str | None:
        return self.inner.fingerprint()

    def state(self) -> str:
        return self.inner.state()

    def gradient(self, x: Any, y: Any, loss: Any, *, rows: Any = None, draw: int = 0) -> Slope:
        raise NotGranted(f"{self.name} knows its classes in another order, and its slopes are not put in this one")

    def respond(self, x: Any, *, rows: Any = None, draw: int = 0) -> Response:
        """As the target does. A class it does not know has a score of 0; with one unknown there are no logits."""
        found = self.inner.respond(x, rows=rows, draw=draw)
        seat = np.array([self.names.index(value) for value in self.values])
        label = np.asarray(to_numpy(found.label))
        logits = None if found.logits is None or len(seat) < len(self.names) else self._spread(found.logits, seat)
        scores = None if found.scores is None else self._spread(found.scores, seat)
        return Response(np.where(label >= 0, seat[label.clip(0)], label), scores, logits)

    def _spread(self, shown: Any, seat: NDArray[np.int64]) -> NDArray[Any]:
        array = np.asarray(to_numpy(shown))
        wide = np.zeros((len(array), len(self.names)), array.dtype)
        wide[:, seat] = array
        return wide
