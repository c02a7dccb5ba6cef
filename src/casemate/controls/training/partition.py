"""Train many models on parts of the data, and vote: what few records can change is known beforehand."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...core.control import control
from ...core.errors import UsageError
from ...core.identity import hash_data
from ...core.target import Recipe, Target, count, take, to_numpy
from ...trainers import Fits, train_many
from ._sift import seats

NAME = "training.partition"


@control(
    "training.partition",
    knows=("poisoning.adaptive",),
    threats=("PO-01", "PO-02", "PO-03", "PO-06"),
    side_effects="each model sees one part of the data only, so the vote is less accurate; every decision asks all of them",
    trains=True,
)
class Partition:
    """Deep partition aggregation (Levine and Feizi 2021, arXiv:2006.14768): a hash of each record decides its part.

    A record that is added, taken away or relabelled changes one part, so one vote. With n1 votes for the class that wins and
    n2 for the next, ``floor((n1 - n2 - [c2 < c1]) / 2)`` such changes cannot change the decision (ties go to the smaller
    class). A record replaced by another is two changes. The hash is of the input alone, so that a label cannot move it; within
    a part rows are sorted by their hash, so that a part is trained the same whatever happens to the others.

    Args:
        parts: How many models vote. More parts certify more and are each trained on less.
    """

    modality: ClassVar[tuple[str, ...]] = ("array", "table", "bytes", "text")
    parts: int = 50

    def __post_init__(self) -> None:
        if isinstance(self.parts, bool) or not isinstance(self.parts, int) or self.parts < 2:
            raise UsageError(f"parts={self.parts!r} is not allowed; give a whole number from 2")

    def harden_recipe(self, recipe: Recipe) -> Recipe:
        """A recipe whose model is the vote.

        Raises:
            UsageError: It is no recipe, or its labels are numbers, about which nobody votes.
        """
        self._checked(recipe)
        fit = Voting(recipe.fit, recipe.stack, self.parts)
        return replace(recipe, fit=fit, version=f"{recipe.version}+{self!r}", stack=None)

    def electorate(self, recipe: Recipe, seed: int = 0) -> Electorate:
        """The voters trained on the recipe's own data: votes, decisions, and how many changes each decision withstands."""
        self._checked(recipe)
        return Voting(recipe.fit, recipe.stack, self.parts).electorate(recipe.x, recipe.y, seed)

    def _checked(self, recipe: Recipe) -> None:
        if not callable(getattr(recipe, "fit", None)):
            raise UsageError(f"cannot harden a {type(recipe).__name__}; give a Recipe")
        y = np.asarray(to_numpy(recipe.y))
        if y.dtype.kind == "f" and (y != np.floor(y)).any():
            raise UsageError(f"{NAME} counts votes for classes, and the labels are numbers")


def part_of(x: Any, parts: int) -> tuple[NDArray[np.int64], list[bytes]]:
    """The part of each record ``(n,)``, and its hash, from its values alone."""
    marks = [hashlib.blake2b(row, digest_size=16).digest() for row in _rows(x)]
    return np.array([int.from_bytes(mark[:8], "big") % parts for mark in marks], np.int64), marks


def _rows(x: Any) -> list[bytes]:
    """Each record as bytes that are the same in every batch and precision of the same values."""
    if hasattr(x, "iloc"):
        return [repr(row).encode() for row in x.itertuples(index=False, name=None)]
    if isinstance(x, list | tuple):
        return [item if isinstance(item, bytes) else repr(item).encode() for item in x]
    array = np.asarray(to_numpy(x))
    if array.dtype.kind in "fiub":
        array = array.astype(np.float64) + 0.0  # so that -0 is 0
        return [row.tobytes() for row in array]
    return [repr(row.tolist()).encode() for row in array]


@dataclass(frozen=True, slots=True)
class Voting:
    """A `fit` that trains one model for each part and lets them vote. A value, so that worker processes can be handed it."""

    fit: Callable[..., Target]
    stack: Any
    parts: int

    def __call__(self, x: Any, y: Any, seed: int) -> Target:
        from ...targets.wrap import wrap

        voters = self.electorate(x, y, seed)
        return wrap(voters, output="scores", classes=voters.classes, version=voters.version, name=f"vote of {self.parts}")

    def electorate(self, x: Any, y: Any, seed: int) -> Electorate:
        labels = np.asarray(to_numpy(y))
        seat, part, marks = seats(labels), *part_of(x, self.parts)
        k = int(seat.max(initial=0)) + 1 if labels.dtype.kind not in "iu" else max(2, int(labels.max(initial=0)) + 1)
        place = seat if labels.dtype.kind not in "iu" else labels.astype(np.int64)
        order = sorted(range(len(marks)), key=lambda i: (marks[i], int(place[i])))
        rows = tuple(np.array([i for i in order if part[i] == p], np.int64) for p in range(self.parts))
        common = np.array([np.bincount(place[own], minlength=k).argmax() if len(own) else 0 for own in rows])
        several = np.array([len(own) > 0 and len(np.unique(place[own])) > 1 for own in rows])
        version = hash_data([hash_data(take(x, np.array(order))), hash_data(place[order]), str((seed, self.parts))])
        found = Electorate(x, y, rows, common, several, k, seed, version, self.fit, self.stack)
        return found if self.stack is not None else replace(found, models=found.trained())


@dataclass(frozen=True)
class Electorate:
    """The voters: ``(x) -> shares of votes (n, k)``.

    A part with one class only votes for that class, an empty one for the first, and one whose training fails for its
    commonest: what a part does depends on that part alone, which is what the certificate rests on.

    Args:
        rows: Training rows of each part, in the order of their hashes.
        common: The commonest class of each part ``(parts,)``.
        several: Which parts have more than one class.
        classes: How many.
        models: One of each part, None where there is none to train; empty where a stack is asked.
    """

    x: Any
    y: Any
    rows: tuple[NDArray[np.int64], ...]
    common: NDArray[np.int64]
    several: NDArray[np.bool_]
    classes: int
    seed: int
    version: str
    fit: Callable[..., Target]
    stack: Any
    models: tuple[Target | None, ...] = field(default=(), repr=False)

    def trained(self) -> tuple[Target | None, ...]:
        """The model of each part."""
        return tuple(self._fitted(part) if self.several[part] else None for part in range(len(self.rows)))

    def _fitted(self, part: int) -> Target | None:
        own = self.rows[part]
        try:
            return self.fit(take(self.x, own), take(self.y, own), self.seed + part)
        except (ArithmeticError, ValueError, RuntimeError):
            return None

    def ballots(self, x: Any) -> NDArray[np.int64]:
        """The vote of each part ``(parts, n)``."""
        votes = np.repeat(self.common[:, None], count(x), axis=1)
        if self.stack is not None and not isinstance(self.stack, Fits):
            return self._stacked(x, votes)
        for part, model in enumerate(self.models or self.trained()):
            if model is not None:
                votes[part] = self._told(model, part, np.asarray(to_numpy(model.respond(x).label)).astype(np.int64))
        return np.asarray(votes.clip(0, self.classes - 1))

    def _told(self, model: Target, part: int, own: NDArray[np.int64]) -> NDArray[np.int64]:
        """Answers as classes of all the data: a model that knows the values of its classes counts those of its part alone."""
        y = np.asarray(to_numpy(self.y))
        if y.dtype.kind in "iu" and not len(getattr(getattr(model, "model", None), "values", ())):
            return own
        classes = np.unique((y if y.dtype.kind in "iu" else seats(y))[self.rows[part]]).astype(np.int64)
        return np.asarray(classes[own.clip(0, len(classes) - 1)])

    def _stacked(self, x: Any, votes: NDArray[np.int64]) -> NDArray[np.int64]:
        """All parts in one stack; the trainer remembers the models, so that asking again costs a forward pass."""
        parts = np.flatnonzero(self.several)
        order = np.concatenate([self.rows[part] for part in parts]) if len(parts) else np.zeros(0, np.int64)
        if not len(order):
            return votes
        y = np.asarray(to_numpy(self.y))
        place = (y if y.dtype.kind in "iu" else seats(y))[order].astype(np.int64)
        weights = np.repeat(np.eye(len(parts), dtype=np.int64), [len(self.rows[part]) for part in parts], axis=1)
        seeds = [self.seed + int(part) for part in parts]
        out = train_many(
            self.stack, take(self.x, order), place, weights, seeds=seeds, ask=x, classes=self.classes
        )
        sound = np.isfinite(out.logits[0]).all((1, 2))
        votes[parts[sound]] = out.logits[0][sound].argmax(2)
        return votes

    def counts(self, x: Any) -> NDArray[np.int64]:
        """Votes for each class ``(n, k)``."""
        ballots = self.ballots(x)
        return np.stack([(ballots == c).sum(0) for c in range(self.classes)], axis=1)

    def __call__(self, x: Any) -> NDArray[np.float64]:
        return np.asarray(self.counts(x) / len(self.rows))

    def certify(self, x: Any) -> NDArray[np.int64]:
        """How many records may be added, taken away or relabelled without changing each decision ``(n,)``."""
        return radius(self.counts(x))

    def certified(self, x: Any, y: Any, changes: Any) -> NDArray[np.float64]:
        """Share of rows decided as `y` says, and so even after each of `changes` records ``(c,)``: the certificate's curve."""
        counts = self.counts(x)
        right, held = counts.argmax(1) == np.asarray(to_numpy(y)), radius(counts)
        return np.array([float((right & (held >= c)).mean()) for c in np.asarray(changes)])


def radius(counts: Any) -> NDArray[np.int64]:
    """``floor((n1 - n2 - [c2 < c1]) / 2)`` of votes ``(n, k)``, the least over all other classes c2."""
    counts = np.asarray(counts, np.int64)
    first = counts.argmax(1)
    rows = np.arange(len(counts))
    gap = counts[rows, first][:, None] - counts - (np.arange(counts.shape[1]) < first[:, None])
    gap[rows, first] = np.iinfo(np.int64).max
    return np.asarray(gap.min(1) // 2)
