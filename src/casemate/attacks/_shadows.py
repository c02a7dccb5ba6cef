"""Shadow models: how the deployed model would answer, had it been trained with a record or without it.

Every attack that asks for shadows of the same candidates gets the same ones: splits and seeds depend on nothing else, and the
last few sets trained in this process are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.adversary import Need
from ..core.case import Audit, Infer
from ..core.errors import BadInput, NotGranted
from ..core.identity import hash_data, hash_of
from ..core.oracle import Oracle
from ..core.random import RowRandom
from ..core.target import Recipe, count, to_numpy
from ..trainers import MLP, Fits, Learner, train_many
from ._features import Features

Array = NDArray[Any]
LEAST = 20  # candidates: a shadow is then trained on ten
KEEP = 4  # sets of shadows kept in memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadows:
    """What N models answer about the candidates, and which of them each was trained on.

    Args:
        logits: ``(N, n, k)`` of the candidates.
        inside: ``(N, n)`` booleans: whether model i was trained on candidate j.
        beside: ``(N, p, k)`` logits of the population; p is 0 where there is none.
        beside_inside: ``(N, p)`` booleans for the population.
        detail: What to say of them in evidence.
    """

    logits: Array
    inside: NDArray[np.bool_]
    beside: Array
    beside_inside: NDArray[np.bool_]
    detail: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.logits)

    def only(self, keep: Any) -> Shadows:
        """Some of the models."""
        return Shadows(
            logits=self.logits[keep], inside=self.inside[keep], beside=self.beside[keep],
            beside_inside=self.beside_inside[keep], detail=self.detail,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Extra:
    """Records that go into the training of every shadow: ``x``, ``y``. An attacker's own poison, say."""

    x: Any
    y: Any


_kept: dict[str, tuple[Any, Shadows]] = {}  # with what trained them: while it lives, no other function has its address


def labels_of(case: Infer | Audit, who: str, least: int = LEAST) -> NDArray[np.int64]:
    """The labels of the candidates as indices of classes, or why nothing can be learned from them."""
    n = count(case.x)
    y = classes_in(case.y, n, f"{who}: the candidates")
    if n < least:
        raise BadInput(f"{who}: {n} candidates are too few to learn from; {least} are enough, members and others together")
    if len(np.unique(y)) < 2:
        raise BadInput(f"{who}: every candidate has the label {int(y[0])}; with one class nothing is learned, give at least two")
    return y


def classes_in(values: Any, n: int, whose: str) -> NDArray[np.int64]:
    """Labels ``(n,)`` as indices of classes.

    Raises:
        BadInput: They are words, parts of numbers, below 0, or not one for each record.
    """
    y = np.asarray(to_numpy(values))
    if y.shape != (n,):
        raise BadInput(f"{whose} are {n} with labels of shape {y.shape}; give one label for each")
    whole = y.dtype.kind in "iub" or (y.dtype.kind == "f" and bool(np.isfinite(y).all() and (y == np.floor(y)).all()))
    if not whole or (n and y.min() < 0):
        raise BadInput(f"{whose} need classes, and the labels are {y.dtype}; give indices of classes from 0 up")
    return y.astype(np.int64)


def beside(case: Infer | Audit, who: str) -> NDArray[np.int64]:
    """The labels of the population as indices of classes; none where there is none."""
    if case.population is None:
        return np.zeros(0, np.int64)
    return classes_in(case.population.y, count(case.population.x), f"{who}: the population's records")


def shadows(
    oracle: Oracle, case: Infer | Audit, *, classes: int, many: int = 64, seed: int = 0, extra: Extra | None = None,
    who: str = "shadows",
) -> Shadows:  # fmt: skip
    """Train shadows of the deployed model, each on a random half of the candidates and of the population.

    They are trained by the recipe where the adversary knows it (its `stack` if it has one, its `fit` else), and as small
    networks on scaled features where it does not. The recipe's own data are not looked at. A shadow that fails is left out.

    Args:
        classes: Outputs of the deployed model.
        many: Models, an even number: each candidate is in exactly half of them.
        seed: Of splits and training. Attacks that use the same seed share their shadows.
        extra: Records that every shadow is trained on beside its half.
        who: Who asks, for error messages.

    Raises:
        BadInput: Too few candidates, one class, or so many shadows failed that some candidate has fewer than two on a side.
    """
    if many < 4 or many % 2:
        raise BadInput(f"{who}: shadows={many} is not allowed; give an even number from 4 up")
    own, others = labels_of(case, who), beside(case, who)
    n, y = len(own), np.concatenate([own, others])
    x = joined(case.x, case.population.x) if case.population is not None and len(others) else case.x
    if y.max() >= classes:
        raise BadInput(f"{who}: a label is {y.max()}, and the model has {classes} classes, counted from 0")
    inside = halves(groups(x, y), y, many, seed)
    learner, read, name = _learner(oracle, x)
    weights, labels, rows = inside, y, x
    if extra is not None:
        rows, labels = joined(x, extra.x), np.concatenate([y, extra.y])
        weights = np.concatenate([inside, np.ones((many, count(extra.x)), bool)], axis=1)
    # A run wraps the recipe's function anew; what it wraps is the same in every run.
    trainer = getattr(learner.fit, "__wrapped__", learner.fit) if isinstance(learner, Fits) else learner
    key = hash_of(hash_data(x), hash_data(rows), hash_data(labels), repr(trainer), n, many, seed, classes)
    if key not in _kept:
        seeds = [RowRandom(seed).fork(0x5AD0, i).seed & 0x7FFFFFFF for i in range(many)]
        out = train_many(learner, read(rows), labels, weights.astype(np.int64), seeds=seeds, ask=[read(x)], classes=classes)
        _keep(key, trainer, _usable(out, inside, n, name, who))
    return _kept[key][1]


def _keep(key: str, trainer: Any, made: Shadows) -> None:
    """Remember the last few sets."""
    while len(_kept) >= KEEP:
        del _kept[next(iter(_kept))]
    _kept[key] = (trainer, made)


def _usable(out: Any, inside: NDArray[np.bool_], n: int, name: str, who: str) -> Shadows:
    """The models that trained, and what to say of the others."""
    good = ~np.asarray(out.failed, bool)
    detail: dict[str, Any] = {"shadows": int(good.sum()), "shadows_trained_by": name, "shadows_failed": int((~good).sum())}
    why = sorted({reason for reason in out.why if reason})
    if why:
        detail["shadows_failed_because"] = why[:3]
    left = inside[good][:, :n]
    fewest = int(min(left.sum(0).min(), (~left).sum(0).min())) if good.any() else 0
    if fewest < 2:
        raise BadInput(
            f"{who}: {int((~good).sum())} of {len(good)} shadow models failed ({'; '.join(why[:3])}), and some candidate has "
            f"{fewest} left that were trained with it or without it; 2 of each are needed"
        )
    if good.any():
        detail["shadows_train_accuracy"] = float(np.asarray(out.accuracy)[good].mean())
    logits = np.asarray(out.logits[0])[good]
    return Shadows(
        logits=logits[:, :n], inside=left, beside=logits[:, n:], beside_inside=inside[good][:, n:], detail=detail
    )


def _learner(oracle: Oracle, x: Any) -> tuple[Learner, Callable[[Any], Any], str]:
    """What trains the shadows, how it is shown inputs, and its name."""
    recipe = _recipe(oracle)
    stack = getattr(recipe, "stack", None)
    if recipe is not None and stack is None:
        return Fits(recipe.fit), lambda rows: rows, "the recipe"
    read: Callable[[Any], Any] = Features.of(x)
    if stack is None:
        return MLP(hidden=(64,), epochs=60), read, "a small network of the attacker's own"
    as_is = not hasattr(x, "iloc") and np.asarray(to_numpy(x)).dtype.kind in "fiub"
    return stack, (_as_is if as_is else read), "the recipe's stack"


def _as_is(x: Any) -> Any:
    return np.asarray(to_numpy(x))


def _recipe(oracle: Oracle) -> Recipe | None:
    if not oracle.granted(Need.RECIPE):
        return None
    try:
        return oracle.recipe
    except NotGranted:  # granted by the description, but nothing is bound
        return None


def forget() -> None:
    """Drop the shadows kept in memory; the next attack trains its own."""
    _kept.clear()


def halves(group: NDArray[np.int64], y: NDArray[np.int64], many: int, seed: int) -> NDArray[np.bool_]:
    """Which records each model is trained on ``(many, n)``: half of each class, and every record in exactly half of the models.

    Models 2j and 2j+1 split the records between them. Records of one group share their coin, so that no twin of a record is
    in where the record is out.

    Args:
        group: ``(n,)`` the index of the first record equal to each.
        y: ``(n,)`` classes.
    """
    one = np.unique(group)
    inside = np.zeros((many, len(y)), bool)
    rng = RowRandom(seed).fork(0x5E1F)
    for j in range(many // 2):
        coin, chosen = rng.uniform(one, (j, 0)), np.zeros(len(y), bool)
        tie = rng.uniform(np.arange(int(y.max()) + 1), (j, 1)) < 0.5  # who gets the odd one of a class
        for c in np.unique(y[one]):
            own = one[y[one] == c]
            half = len(own) // 2 + (len(own) % 2 and int(tie[c]))
            chosen[own[np.argsort(coin[y[one] == c], kind="stable")[:half]]] = True
        inside[2 * j] = chosen[group]
        inside[2 * j + 1] = ~inside[2 * j]
    return inside


def groups(x: Any, y: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each record the index of the first one equal to it, label included ``(n,)``."""
    if hasattr(x, "itertuples"):
        keys: list[Any] = [repr(row) for row in x.itertuples(index=False, name=None)]
    else:
        array = np.asarray(to_numpy(x)) if hasattr(x, "shape") else None
        flat = None if array is None or array.dtype.kind not in "biuf" else array.reshape(len(array), -1) + array.dtype.type(0)
        keys = [repr(row) for row in x] if flat is None else [row.tobytes() for row in np.ascontiguousarray(flat)]
    first: dict[Any, int] = {}
    return np.array([first.setdefault((key, int(c)), i) for i, (key, c) in enumerate(zip(keys, y, strict=True))], np.int64)


def joined(a: Any, b: Any) -> Any:
    """The rows of `a`, then those of `b`, of whatever kind they are."""
    if hasattr(a, "iloc"):
        import pandas

        return pandas.concat([a, b], ignore_index=True)
    if isinstance(a, list | tuple):
        return [*a, *b]
    return np.concatenate([np.asarray(to_numpy(a)), np.asarray(to_numpy(b))])
