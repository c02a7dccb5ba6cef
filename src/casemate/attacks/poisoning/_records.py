"""What poisoning attacks share: which records are the attacker's own, and how an input becomes numbers and back."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.adversary import Need
from ...core.case import Poison, Records
from ...core.errors import BadInput, BudgetSpent
from ...core.oracle import Oracle
from ...core.random import RowRandom
from ...core.target import count, take, to_numpy
from .._features import Features, _matrix

Floats = NDArray[np.float64]


def affordable(oracle: Oracle, case: Poison) -> int:
    """Records the attacker may write: the largest declared share, or what the budget still has.

    Raises:
        BudgetSpent: Not one.
    """
    share, size = max(case.fractions), count(case.recipe.x)
    goal, cap = int(share * size), oracle.adversary.budget.records
    if goal < 1:
        raise BudgetSpent(f"the largest fraction, {share:g} of {size} records, is less than one record: give a larger one")
    if cap is not None and cap < 1:
        raise BudgetSpent(f"this attacker writes no record (records={cap}); the largest fraction asks for {goal:,}")
    return goal if cap is None else min(goal, cap)


def shuffled(n: int, rng: RowRandom) -> NDArray[np.int64]:
    """All rows in random order: the first of them are the ones the attacker happens to contribute."""
    return np.argsort(rng.uniform(np.arange(n), 0), kind="stable")


def rows_known(oracle: Oracle, case: Poison, rng: RowRandom, most: int) -> NDArray[np.int64]:
    """Training rows the attacker knows, in random order: all where it reads the data, else its own.

    Args:
        most: Records it may write: where nobody said which rows are its own, as many at random.
    """
    if oracle.granted(Need.DATA) or case.own is None:
        return shuffled(count(case.recipe.x), rng)[: None if oracle.granted(Need.DATA) else most]
    return np.asarray(case.own, np.int64)


def labels_there(case: Poison) -> NDArray[Any]:
    """The different training labels, sorted: all of them, or of numbers to be met those the attacker knows."""
    return np.unique(np.asarray(to_numpy(case.recipe.y))) if case.classes is None else np.asarray(case.classes)


def handed_in(oracle: Oracle, case: Poison, claim: Records) -> Generator[Records, None, Records]:
    """Write a claim bit by bit: after each declared share, what is paid for by then."""
    n, most = count(case.recipe.x), len(np.asarray(claim.index))
    written, best = 0, cut(claim, 0)
    for stop in sorted({int(f * n) for f in case.fractions} | {most}):
        if not written < stop <= most:
            continue
        oracle.contribute(stop - written)
        written, best = stop, cut(claim, stop)
        yield best
    return best


def cut(claim: Records, stop: int) -> Records:
    """The first records of a claim."""
    first = np.arange(stop)
    trial = None if claim.trial is None else claim.trial[:stop]
    return Records(index=claim.index[:stop], x=take(claim.x, first), y=claim.y[:stop], trigger=claim.trigger, trial=trial)


def joined(a: Any, b: Any) -> Any:
    """The rows of `a`, then those of `b`, of whatever kind they are."""
    if hasattr(a, "iloc"):
        import pandas

        return pandas.concat([a, b], ignore_index=True)
    both = np.concatenate([np.asarray(to_numpy(a)), np.asarray(to_numpy(b))])
    return a.new_tensor(both) if hasattr(a, "new_tensor") else both


@dataclass(frozen=True, slots=True)
class Canvas:
    """Inputs as scaled numbers, some of which may be moved, and back.

    Args:
        features: How inputs are read.
        free: ``(d,)`` which numbers may be moved: all of an array, the numeric columns of a frame.
        low, high: ``(d,)`` the range of the data that was read, in scaled units: an honest record has values like these.
        range: The same in the inputs' own units, which rounding may not leave.
        within: A constraint of the case, in the inputs' own units; None where there is none.
    """

    features: Features
    free: NDArray[np.bool_]
    low: Floats
    high: Floats
    range: tuple[Floats, Floats]
    within: Any

    @staticmethod
    def of(x: Any, case: Poison, who: str) -> Canvas:
        """Read `x`, the records the attacker may look at."""
        features = Features.of(x)
        a = features(x)
        if not np.isfinite(a).all():
            raise BadInput(f"{who} differentiates a surrogate, which needs numbers; got inputs with missing or infinite values")
        if features.columns:
            free = np.concatenate([np.full(max(1, len(known)), not known) for _, known in features.columns])
        else:
            free = np.ones(a.shape[1], bool)
        if not free.any():
            raise BadInput(f"{who} moves numbers, and every column here is a category; poisoning.label_flip needs none")
        if case.within is not None and (features.columns or not hasattr(case.within, "project")):
            raise BadInput(f"{who} stays within what can be projected on, of arrays; got within={case.within!r}")
        raw = _matrix(x, features.columns)
        return Canvas(features, free, a.min(0), a.max(0), (raw.min(0), raw.max(0)), case.within)

    def __call__(self, x: Any) -> Floats:
        """Scaled numbers ``(n, d)``."""
        return self.features(x)

    @property
    def width(self) -> Floats:
        """How far each number may go, ``(d,)``; 0 where it may not be moved."""
        return np.where(self.free, self.high - self.low, 0.0)

    def allowed(self, a: Floats, origin: Any) -> Floats:
        """Scaled numbers brought back into the range of the data, and within the constraint around `origin`."""
        boxed = a.clip(self.low, self.high)
        if self.within is None:
            return boxed
        was = np.asarray(to_numpy(origin), np.float64)
        raw = (boxed * self.features.scale + self.features.centre).reshape(was.shape)
        return self(self.within.project(raw, was))

    def inputs(self, a: Floats, like: Any) -> Any:
        """Inputs of the kind of `like` ``(n, ...)``, with the numbers that may be moved taken from `a`; whole numbers stay so."""
        raw = (a * self.features.scale + self.features.centre).clip(*self.range)
        if self.features.columns:
            return self._frame(raw, like)
        was = np.asarray(to_numpy(like))
        new = raw.reshape(was.shape)
        new = (np.rint(new) if was.dtype.kind in "iub" else new).astype(was.dtype)
        if self.within is not None:
            new = self._safe(new, was)
        return like.new_tensor(new) if hasattr(like, "new_tensor") else new

    def _safe(self, new: NDArray[Any], was: NDArray[Any]) -> NDArray[Any]:
        """Rounded to the input's own kind of numbers and still inside; the record as it was where that cannot be."""
        for tried in (new, np.asarray(self.within.project(new, was)).astype(was.dtype)):
            inside = np.asarray(self.within.check(tried, was))
            if inside.all():
                return tried
        return np.where(inside.reshape(-1, *([1] * (was.ndim - 1))), tried, was)

    def _frame(self, raw: Floats, like: Any) -> Any:
        made, at = like.copy(), 0
        for name, known in self.features.columns:
            if not known:
                kind = like[name].dtype
                made[name] = (np.rint(raw[:, at]) if kind.kind in "iu" else raw[:, at]).astype(kind)
            at += max(1, len(known))
        return made


def one_class(y: NDArray[Any], who: str) -> NDArray[Any]:
    """The classes of labels, or a refusal where there is only one."""
    classes = np.unique(y)
    if len(classes) < 2:
        raise BadInput(f"{who}: the labels that can be read have one class; a poisoned label needs two")
    return classes

