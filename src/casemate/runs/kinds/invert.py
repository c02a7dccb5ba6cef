"""Inversion: one input for each class, within the domain of the data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.adversary import Adversary
from ...core.case import Holdout, Invert
from ...core.errors import BadInput
from ...core.target import to_numpy
from ...judges import invert
from ...judges.opinion import Opinion
from .kind import Built, Judging, Kind, needs_recipe

if TYPE_CHECKING:
    from ..bench import Bench
    from ..plan import Cell
    from ..profiles import Profile

MOST = 50  # classes
QUERIES = 2000  # of a class, at most


def check(case: Invert) -> None:
    wrong = [c for c in case.classes if not isinstance(c, int | np.integer) or c < 0]
    if wrong or not case.classes or len(set(case.classes)) < len(case.classes):
        raise BadInput(f"classes={case.classes}: give indices of classes from 0 up, at least one, none of them twice")
    if not case.low < case.high or not np.isfinite([case.low, case.high]).all():
        raise BadInput(f"low={case.low}, high={case.high}: give a domain, low below high")
    if not case.shape or min(case.shape) < 1:
        raise BadInput(f"shape={case.shape}: give the shape of one input")


def judge(at: Judging) -> Opinion:
    return invert.judge(at.case, at.claim, at.meter.total["queries"], at.seed)


def build(bench: Bench, cell: Cell) -> Built:
    assert bench.recipe is not None and bench.data is not None
    x, other = (np.asarray(to_numpy(each)) for each in (bench.recipe.x, bench.data.x))
    return Built(Invert(
        classes=classes_of(bench), shape=tuple(x.shape[1:]), low=float(min(x.min(), other.min())),
        high=float(max(x.max(), other.max())), truth=Holdout(x=x, y=bench.recipe.y), others=bench.data,
    ))  # fmt: skip


def classes_of(bench: Bench) -> tuple[int, ...]:
    """Classes that occur among members and among others."""
    assert bench.recipe is not None and bench.data is not None
    both = np.intersect1d(np.asarray(to_numpy(bench.recipe.y)), np.asarray(to_numpy(bench.data.y)))
    return tuple(int(c) for c in both[:MOST])


def why_not(bench: Bench, adversary: Adversary) -> str | None:
    untrained = needs_recipe(bench, adversary)
    if untrained is not None or bench.recipe is None or bench.data is None:
        return untrained
    if bench.modality != "array":
        return "inputs are reconstructed value by value, and these are no arrays of numbers"
    labels = np.asarray(to_numpy(bench.recipe.y))
    if labels.dtype.kind not in "iu" or not len(classes_of(bench)):
        return "the training labels are no classes"
    x = np.asarray(to_numpy(bench.recipe.x))
    return None if x.ndim > 1 and x.size and x.min() < x.max() else "every value of the training data is the same"


def asks(bench: Bench, chosen: Profile) -> int:
    return QUERIES * len(classes_of(bench)) if bench.recipe is not None and bench.data is not None else 0


def first(case: Invert) -> Any:
    return None if case.truth is None else case.truth.x


INVERT = Kind(
    check=check, judge=judge, build=build, why_not=why_not, size=lambda case: len(case.classes), asks=asks, again=first,
    asking=True,
)  # fmt: skip
