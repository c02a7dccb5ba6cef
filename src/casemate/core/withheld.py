"""Training data that an adversary may not read: a recipe without its rows, and a case that holds only what is granted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from .adversary import Adversary, Need
from .errors import NotGranted
from .poison import Poison, numeric
from .random import RowRandom
from .target import Recipe, count, take, to_numpy

if TYPE_CHECKING:
    from .oracle import Known

# What code asks of a value to learn its kind (`hasattr`): the answer is no, and no error of access.
_KINDS = ("shape", "iloc", "detach", "itertuples", "clone", "new_tensor", "tocsr", "dtype", "columns")


def refusal(adversary: Adversary, need: Need) -> str:
    """What an adversary is told that asks for what it does not hold."""
    held = ", ".join(adversary.may.names) or "nothing"
    missing = ", ".join((need & ~adversary.may).names)
    return f"{adversary.name} does not hold {missing!r}; this adversary may use: {held}"


class Withheld:
    """A column of training data of which only the attacker's own rows can be read, by their places in the whole.

    It holds those rows and no others. `len` is the size of the whole; anything else raises `NotGranted`.

    Args:
        values: The whole: an array, a frame or a list.
        own: Places of the rows that can be read ``(m,)``.
        why: What the refusal says.
    """

    __slots__ = ("_own", "_rows", "_size", "_why")

    def __init__(self, values: Any, own: NDArray[np.int64], why: str) -> None:
        self._own, self._size, self._why = np.sort(own), count(values), why
        self._rows = take(values, self._own)

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, places: Any) -> Any:
        """The rows at `places` (indices, booleans or a slice), of the kind the whole is."""
        wanted = np.atleast_1d(np.arange(self._size)[places])
        if not np.isin(wanted, self._own).all():
            raise NotGranted(self._why)
        return take(self._rows, np.searchsorted(self._own, wanted))

    def __iter__(self) -> Iterator[Any]:
        raise NotGranted(self._why)

    def __array__(self, *_: Any, **__: Any) -> NoReturn:
        raise NotGranted(self._why)

    def __getattr__(self, name: str) -> NoReturn:
        if name in self.__slots__:  # of a copy that is not filled in yet: its refusal cannot be read either
            raise AttributeError(name)
        if name in _KINDS or name.startswith("__"):
            raise AttributeError(self._why)
        raise NotGranted(self._why)

    def __repr__(self) -> str:
        return f"<{len(self._own)} of {self._size} rows can be read>"


def sealed(recipe: Recipe, adversary: Adversary, own: NDArray[np.int64] | None = None) -> Recipe:
    """The recipe as the adversary knows it: it trains the adversary's own data; the owner's are not in it without `Need.DATA`.

    Args:
        own: Places of training rows that the adversary wrote itself and can read; None: no row.
    """
    if Need.DATA in adversary.may or isinstance(recipe.x, Withheld):
        return recipe
    own, why = np.zeros(0, np.int64) if own is None else own, refusal(adversary, Need.DATA)
    # A recipe may hold no rows at all: then there is nothing to withhold.
    x = None if recipe.x is None else Withheld(recipe.x, own, why)
    return replace(recipe, x=x, y=None if recipe.y is None else Withheld(np.asarray(to_numpy(recipe.y)), own, why))


def held(known: Known, adversary: Adversary) -> Known:
    """What is known, less the training data where the adversary may not read them."""
    if Need.DATA in adversary.may:
        return known
    return replace(known, data=None, recipe=None if known.recipe is None else sealed(known.recipe, adversary))


def given(case: Any, adversary: Adversary, rng: RowRandom) -> Any:
    """A blind case as the adversary gets it: what its recipe holds of the owner's data is withheld without `Need.DATA`.

    Who writes training records without reading the data still knows its own: of a `Poison` a random share of the rows, as many
    as it may write and up to `beside` more, whose places stand in `own`, and the classes that labels are of.
    """
    if not hasattr(case, "recipe") or Need.DATA in adversary.may:
        return case
    if not isinstance(case, Poison):
        return replace(case, recipe=sealed(case.recipe, adversary))
    n, cap = count(case.recipe.x), adversary.budget.records
    goal = int(max(case.fractions) * n)
    most = goal if cap is None else min(goal, cap)
    own = np.argsort(rng.uniform(np.arange(n), 0), kind="stable")[: most + min(case.beside, most)]
    y = np.asarray(to_numpy(case.recipe.y))
    # Of numbers to be met each is a fact about somebody; names of classes are known to everybody who labels.
    classes = np.unique(y[own] if numeric(y) else y)
    return replace(case, recipe=sealed(case.recipe, adversary, own), own=own, classes=classes)
