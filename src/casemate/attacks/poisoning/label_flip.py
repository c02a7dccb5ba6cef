"""Label flips: the simplest poison, and the one that anyone who labels can write."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Poison, Records
from ...core.errors import BadInput, NotGranted
from ...core.oracle import Oracle
from ...core.random import RowRandom
from ...core.target import Recipe, count, take, to_numpy
from .._features import Features
from ._records import affordable, labels_there, rows_known


@attack(
    "poisoning.label_flip",
    needs=Need.CONTRIBUTE,
    scope="set",
    papers=("doi:10.3233/978-1-61499-098-7-870",),
    aka=("label flip", "ALFA", "furthest-first"),
    spends="floor(fraction x n) records",
    modality=("array", "table", "bytes", "text"),
)
class LabelFlip:
    """Give training records a wrong label, and the records themselves leave as they are.

    Whoever reads the training data chooses the records; who does not can flip only the records they happen to contribute,
    a random share. Yields after each declared fraction, with as many records as are paid for by then.

    Args:
        order: ``margin`` flips first what a surrogate decides most clearly (furthest-first), to the class it likes least;
            ``random`` flips records and chooses classes at random.
    """

    order: Literal["margin", "random"] = "margin"

    def __call__(self, oracle: Oracle, case: Poison, *, rng: RowRandom) -> Generator[Records, None, Records]:
        if self.order not in ("margin", "random"):
            raise BadInput(f"order={self.order!r} is not known; allowed: 'margin', 'random'")
        most = affordable(oracle, case)
        own = rows_known(oracle, case, rng, most)
        own = own if oracle.granted(Need.DATA) else own[:most]
        n, y = count(case.recipe.x), np.asarray(to_numpy(take(case.recipe.y, own)))
        # Of one class only there is no margin to order by.
        if self.order == "random" or len(np.unique(y)) < 2:
            index, flipped = own, _other(y, labels_there(case), rng, own)
        else:
            index, flipped = _furthest(oracle, case.recipe, own, rng)
        claim = Records(index=index[:0], x=take(case.recipe.x, index[:0]), y=flipped[:0])
        written = 0
        for stop in sorted({int(f * n) for f in case.fractions} | {most}):
            if not written < stop <= most:
                continue
            oracle.contribute(stop - written)
            written = stop
            claim = Records(index=index[:stop], x=take(case.recipe.x, index[:stop]), y=flipped[:stop])
            yield claim
        return claim


def _other(y: NDArray[Any], classes: NDArray[Any], rng: RowRandom, rows: NDArray[np.int64]) -> NDArray[Any]:
    """A random other class for each label."""
    if len(classes) < 2:
        raise BadInput("the training labels have one class; a flip needs two")
    step = 1 + rng.integers(rows, 1, len(classes) - 1)
    return np.asarray(classes[(np.searchsorted(classes, y) + step) % len(classes)])


def _furthest(oracle: Oracle, recipe: Recipe, own: NDArray[np.int64], rng: RowRandom) -> tuple[Any, Any]:
    """The attacker's records, clearest first, and the class a surrogate trained on them likes least."""
    own = np.sort(own)
    x, y = take(recipe.x, own), np.asarray(to_numpy(take(recipe.y, own)))
    classes = np.unique(y)
    if len(classes) < 2:
        raise BadInput("the labels the attacker can flip have one class; a flip needs two")
    score = _surrogate(oracle, x, y, classes, rng)
    seat, rows = np.searchsorted(classes, y), np.arange(len(y))
    others = score.copy()
    others[rows, seat] = -np.inf
    margin = score[rows, seat] - others.max(1)
    others[rows, seat] = np.inf
    order = np.argsort(-margin, kind="stable")
    return own[order], classes[others.argmin(1)][order]


def _surrogate(oracle: Oracle, x: Any, y: NDArray[Any], classes: NDArray[Any], rng: RowRandom) -> NDArray[np.float64]:
    """How strongly each record is decided for each class ``(n, k)``: by the recipe if it is known, else by ridge."""
    try:
        fitted = oracle.recipe.fit(x, y, rng.seed & 0x7FFFFFFF).respond(x)
        shown = fitted.logits if fitted.logits is not None else fitted.scores
        if shown is not None and np.shape(to_numpy(shown)) == (len(y), len(classes)):
            return np.asarray(to_numpy(shown), np.float64)
    except NotGranted:
        pass  # the recipe is not theirs to know
    a = Features.of(x)(x)
    a = np.concatenate([a, np.ones((len(a), 1))], axis=1)
    goals = (y[:, None] == classes[None, :]) * 2.0 - 1.0
    weights = np.linalg.solve(a.T @ a + np.eye(a.shape[1]) * max(1.0, 1e-3 * count(x)), a.T @ goals)
    return np.asarray(a @ weights)
