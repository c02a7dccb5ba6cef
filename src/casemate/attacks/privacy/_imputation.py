"""What can be told of a hidden column without asking the model: from the rest of the record, its label, and other people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.case import Attribute
from ...core.errors import BadInput, need
from ...core.target import count, take, to_numpy
from .._features import Features

Floats = NDArray[np.float64]
LEAST = 20  # records: from fewer nothing but the commonest value is learned
FOLDS = 3
KINDS = ("logistic", "boosting")
FAINT = 1e-6  # the smallest chance: nothing is impossible because nobody was seen with it


def codes(column: Any, values: tuple[Any, ...]) -> NDArray[np.int64]:
    """Which of `values` each entry is ``(n,)``; numbers go to the nearest, anything else that is not among them is -1."""
    seen, wanted = np.asarray(to_numpy(column)), np.asarray(values)
    if seen.dtype.kind in "iuf" and wanted.dtype.kind in "iuf":
        return np.asarray(np.abs(seen.astype(float)[:, None] - wanted.astype(float)).argmin(1))
    places = {str(value): i for i, value in enumerate(values)}
    return np.array([places.get(str(value), -1) for value in seen.tolist()], np.int64)


def column_of(x: Any, column: Any) -> Any:
    """One column of a frame or an array ``(n,)``."""
    return x[column].to_numpy() if hasattr(x, "iloc") else np.asarray(to_numpy(x))[:, column]


def without(x: Any, column: Any) -> Any:
    """The records without the column."""
    return x.drop(columns=[column]) if hasattr(x, "iloc") else np.delete(np.asarray(to_numpy(x)), column, axis=1)


def joined(a: Any, b: Any) -> Any:
    """The rows of `a`, then those of `b`."""
    if hasattr(a, "iloc"):
        import pandas

        return pandas.concat([a, b], ignore_index=True)
    return np.concatenate([np.asarray(to_numpy(a)), np.asarray(to_numpy(b))])


@dataclass(frozen=True, slots=True)
class Reading:
    """Population and candidates as matrices of numbers, without the hidden column.

    Args:
        known, asked: Features of the population ``(p, d)`` and of the candidates ``(n, d)``.
        code: ``(p,)`` which value each of the population has.
        values: How many values there are.
    """

    known: Floats
    asked: Floats
    code: NDArray[np.int64]
    values: int

    @staticmethod
    def of(case: Attribute, *, label: bool) -> Reading | None:
        """Read a case, with the label of each record as a feature or without; None where there is no population."""
        held = case.population
        if held is None or not count(held.x):
            return None
        code = codes(column_of(held.x, case.column), case.values)
        usable = np.flatnonzero(code >= 0)
        rest = without(take(held.x, usable), case.column), without(case.x, case.column)
        read = Features.of(rest[0] if not hasattr(rest[0], "iloc") else joined(*rest))
        known, asked = (np.nan_to_num(read(part)) if count(part) else np.zeros((0, len(read.centre))) for part in rest)
        if label:
            own = _labels(np.asarray(to_numpy(held.y))[usable], np.asarray(to_numpy(case.y)))
            known, asked = np.concatenate([known, own[0]], 1), np.concatenate([asked, own[1]], 1)
        return Reading(known, asked, code[usable], len(case.values))


def _labels(a: NDArray[Any], b: NDArray[Any]) -> tuple[Floats, Floats]:
    """Labels as features: one column for each class, or one number."""
    if a.dtype.kind == "f" and len(np.unique(a)) > 20:
        spread = float(a.std()) or 1.0
        return ((a - a.mean()) / spread)[:, None], ((b - a.mean()) / spread)[:, None]
    classes = np.unique(a)
    return np.equal.outer(a, classes).astype(float), np.equal.outer(b, classes).astype(float)


def chances(kind: str, known: Floats, code: NDArray[np.int64], asked: Floats, values: int) -> Floats:
    """How likely each value is ``(n, values)``, learned from ``known`` by a method of `KINDS`, or ``commonest``."""
    shares = (np.bincount(code, minlength=values) + FAINT) / (len(code) + values * FAINT)
    found = np.tile(shares, (len(asked), 1))
    if kind == "commonest" or len(code) < LEAST or len(np.unique(code)) < 2 or not len(asked):
        return found
    need("sklearn", "sklearn", "imputing a column")
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression

    made: Any
    if kind == "logistic":
        made = LogisticRegression(max_iter=2000)
    elif kind == "boosting":
        made = HistGradientBoostingClassifier(
            max_iter=40, max_leaf_nodes=12, max_bins=64, early_stopping=False, min_samples_leaf=5, random_state=0
        )
    else:
        raise BadInput(f"imputation by {kind!r} is not known; give one of {', '.join((*KINDS, 'commonest'))}")
    made.fit(known, code)
    found = np.full((len(asked), values), FAINT)
    found[:, made.classes_] = np.maximum(made.predict_proba(asked), FAINT)
    return np.asarray(found / found.sum(1, keepdims=True))


def left_out(kind: str, at: Reading) -> Floats:
    """The same for the population itself ``(p, values)``, each third from the other two."""
    found = np.zeros((len(at.code), at.values))
    fold = np.arange(len(at.code)) % FOLDS
    for i in range(FOLDS):
        own = fold == i
        found[own] = chances(kind, at.known[~own], at.code[~own], at.known[own], at.values)
    return found


def best_kind(at: Reading) -> str:
    """Which method gives the true values of the population most chance, by records left out: none may be too sure."""
    if len(at.code) < LEAST:
        return "commonest"
    own = np.arange(len(at.code))
    worth = {kind: float(np.log(left_out(kind, at)[own, at.code]).mean()) for kind in ("commonest", *KINDS)}
    return max(worth, key=lambda kind: worth[kind])


def imputed(case: Attribute) -> dict[str, NDArray[np.int64]]:
    """What each method would say of every candidate with no model to ask: which of ``case.values``, ``(n,)``, by method.

    Without a population there is only the first value, for everybody: nothing is known.
    """
    at = Reading.of(case, label=True)
    if at is None:
        return {"first value": np.zeros(count(case.x), np.int64)}
    return {
        kind: np.asarray(chances(kind, at.known, at.code, at.asked, at.values).argmax(1)) for kind in (*KINDS, "commonest")
    }
