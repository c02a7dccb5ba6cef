"""What every backdoor by poisoning has in common: which records are the attacker's, and writing them as they are paid for."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.case import Backdoor, Poison, Records
from ...core.errors import BadInput, BudgetSpent
from ...core.oracle import Oracle
from ...core.random import RowRandom
from ...core.target import take, to_numpy
from ._records import affordable, cut, handed_in, labels_there, rows_known


@dataclass(frozen=True, slots=True)
class Ground:
    """What the attacker has to work with.

    Args:
        own: Training rows it can write, in random order: all where it reads the data, else a random share.
        most: Records it can pay for, and the largest fraction asks for.
        y: Training labels ``(n,)``; only those of `own` can be read.
        classes: The different labels there are.
        label: What `to` is among them.
    """

    own: NDArray[np.int64]
    most: int
    y: Any
    classes: NDArray[Any]
    label: Any

    def victims(self, aim: Backdoor) -> NDArray[np.int64]:
        """Own rows whose label the trigger is to turn."""
        own = self.y[self.own]
        return np.asarray(self.own[own != self.label if aim.source is None else own == of(self.classes, aim.source)])

    def wanted(self) -> NDArray[np.int64]:
        """Own rows that are labelled as the attacker wants already."""
        return np.asarray(self.own[self.y[self.own] == self.label])

    def labels(self, size: int) -> NDArray[Any]:
        """As many labels `to`."""
        return np.full(size, self.label, self.classes.dtype)


def ground(oracle: Oracle, case: Poison, rng: RowRandom, id: str) -> Ground:
    """Read the case. Raises `BudgetSpent` where not one record is paid for, `BadInput` for what is no backdoor."""
    if not isinstance(case.aim, Backdoor):
        raise BadInput(f"{id} plants a backdoor; got aim={type(case.aim).__name__}, give aim=Backdoor(to=...)")
    most, classes = affordable(oracle, case), labels_there(case)
    own = rows_known(oracle, case, rng, most)
    y: Any = np.asarray(to_numpy(case.recipe.y)) if case.own is None else case.recipe.y
    return Ground(own if case.own is None else own[:most], most, y, classes, of(classes, case.aim.to))


def of(y: NDArray[Any], to: int) -> Any:
    """A class, as models answer it, among labels: a number as it is, a name by its place in sorted order."""
    if y.dtype.kind in "iufb":
        if not (y == to).any():
            raise BadInput(f"class {to} is none of the training labels; they are {np.unique(y)[:12].tolist()}")
        return y.dtype.type(to)
    names = np.unique(y.astype(str))
    if not 0 <= to < len(names):
        raise BadInput(f"class {to} is none of the {len(names)} training labels; give 0 to {len(names) - 1}")
    return names[to]


def first(index: NDArray[np.int64], at: Ground, id: str) -> NDArray[np.int64]:
    """The rows that will be written, at least one. `BudgetSpent` where a few contributed records hold none that serves."""
    if len(index):
        return index[: at.most]
    if len(at.own) < len(at.y):
        raise BudgetSpent(f"none of the {len(at.own)} records this attacker contributes is of a class that {id} can use")
    raise BadInput(f"{id}: no training record is of a class it can use; check to= and source= of the aim")


def write(
    oracle: Oracle, case: Poison, at: Ground, index: NDArray[np.int64], x: Any, y: NDArray[Any], trigger: Any
) -> Generator[Records, None, Records]:
    """Pay for and claim ever more of the records, at each declared fraction."""
    x, index, y = _allowed(case, index, x, y)
    most = min(at.most, len(index))
    return (yield from handed_in(oracle, case, cut(Records(index=index, x=x, y=y, trigger=trigger), most)))


def _allowed(case: Poison, index: NDArray[np.int64], x: Any, y: NDArray[Any]) -> tuple[Any, NDArray[np.int64], NDArray[Any]]:
    """Only records the case allows: labels kept where it asks for that, inputs brought inside the constraint if there is one."""
    keep = np.ones(len(index), bool)
    if not case.labels:
        keep &= np.asarray(to_numpy(take(case.recipe.y, index))) == y
    if case.within is not None:
        origin = take(case.recipe.x, index)
        if hasattr(case.within, "project"):
            x = case.within.project(x, origin)
        keep &= np.asarray(case.within.check(x, origin))
    if not keep.any():
        raise BadInput(
            "not one of the records keeps to what the case allows: "
            + ("labels stay as they are (labels=False); take poisoning.clean_label" if not case.labels else f"{case.within!r}")
        )
    return (x, index, y) if keep.all() else (take(x, np.flatnonzero(keep)), index[keep], y[keep])


def seen(case: Poison, at: Ground) -> Any:
    """The inputs the attacker has looked at: those of its own rows, in row order."""
    return take(case.recipe.x, np.sort(at.own))
