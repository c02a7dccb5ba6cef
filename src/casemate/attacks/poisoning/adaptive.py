"""Poison for a trainer that looks for poison: drafted, tried on that trainer, and drafted again."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Poison, Records
from ...core.errors import BadInput
from ...core.oracle import Oracle
from ...core.poison import numeric
from ...core.random import RowRandom
from ...core.target import Target, count, take, to_numpy
from ._climb import Point, Problem, problem
from ._drafts import Draft, Moves, Rehearsal, outlasting, scores_of, started
from ._records import affordable, handed_in, one_class, shuffled
from .label_flip import _furthest

NAME = "poisoning.adaptive"
SURROGATE = (30, 0.3)  # steps of the climb against a surrogate, and the first stride, as `poisoning.gradient` has them


@attack(
    "poisoning.adaptive",
    needs=Need.CONTRIBUTE | Need.DATA | Need.RECIPE,
    scope="set",
    papers=("arXiv:1811.00741", "arXiv:1804.00308"),
    aka=("adaptive poisoning", "defence-aware poisoning", "data sanitization evasion", "influence attack", "KKT attack"),
    spends="floor(fraction x n) records, and `trainings` trainings of its own (two more for flips)",
    modality=("array", "table"),
    static_cost=lambda a: 0,
)
class AdaptivePoisoning:
    """Poison that was tried on the trainer as it is deployed, its filter included, before it is written.

    It holds the recipe and rehearses: each draft is trained on, and of all drafts the one that hurts most on the rows it reads
    is written. It begins with what is known: flips at random, by margin and at the border of a class; `poisoning.gradient`'s
    records, whole and pulled back towards the honest ones; a climb against a surrogate that leaves out large losses. Then it
    changes the best draft step by step, and keeps what does more harm: records move towards honest ones of their label or away
    from them, gather, shift together, what the model fits worst becomes a copy of what it fits better, so that records
    support each other, and drafts cross. Koh et al. and Jagielski et al. solve for one known filter, by its own formula; here
    the filter is whatever the recipe does, and costs trainings. Without numbers that can be moved it copies and relabels.

    Args:
        trainings: How many drafts it trains on, the first ones (about 12) included. For flips two honest models come on top.
        held: Share of the rows it reads that it never trains on, so that models that learn by heart can be told apart.
    """

    trainings: int = 60
    held: float = 0.2

    def __call__(self, oracle: Oracle, case: Poison, *, rng: RowRandom) -> Generator[Records, None, Records]:
        if self.trainings < 1 or not 0 <= self.held < 1:
            raise BadInput(f"{NAME}: trainings={self.trainings!r}, held={self.held!r}: give at least one, and a share below 1")
        search = _begun(oracle, case, self.held, rng)
        best = search.run(self.trainings, rng.generator(0))
        claim = best.records(case, search.stage.canvas)
        return (yield from handed_in(oracle, case, claim))


def _begun(oracle: Oracle, case: Poison, held: float, rng: RowRandom) -> _Search:
    x, labels = oracle.data
    y, n, most = np.asarray(to_numpy(labels)), count(case.recipe.x), affordable(oracle, case)
    names = np.zeros(0) if numeric(y) else one_class(y, NAME)
    found = _surrogate(oracle, case, names, rng)
    size = max(n, len(y))
    aside = rng.uniform(np.arange(size), 1) < held
    stage = Rehearsal(
        oracle.recipe, case, None if found is None else found.canvas, x, y, aside[: len(y)], aside[:n], len(y) == n,
        rng.seed & 0x7FFFFFFF,
    )  # fmt: skip
    free = case.labels and case.within is None
    return _Search(oracle, stage, found, names, most, free, rng)


def _surrogate(oracle: Oracle, case: Poison, names: NDArray[Any], rng: RowRandom) -> Problem | None:
    """The case as a linear surrogate sees it; None where no number can be moved, and labels still can."""
    family: Any = "logistic" if len(names) == 2 else "ridge"
    try:
        return problem(NAME, oracle, case, rng, family, 1.0, None)
    except BadInput:
        if not len(names) or not case.labels:
            raise
        return None


class _Search:
    """Drafts with their harm, the worst first."""

    def __init__(
        self, oracle: Oracle, stage: Rehearsal, found: Problem | None, names: NDArray[Any], most: int, free: bool, rng: RowRandom
    ) -> None:
        self.oracle, self.stage, self.found, self.names, self.most, self.rng = oracle, stage, found, names, most, rng
        self.moves = Moves(found, names, free)
        self.ranked: list[tuple[float, Draft, Target]] = []

    def run(self, trainings: int, rng: np.random.Generator) -> Draft:
        """First drafts, then changes of the best; a change that hurts more lets the next ones be larger."""
        first = self._first()
        for draft in first[:trainings]:
            self._try(draft)
        size, ways = 1.0, self.moves.all()
        for _ in range(trainings - len(first) if ways else 0):
            harm, best, model = self.ranked[0]
            others = [draft for _, draft, _ in self.ranked[1:6]] or [best]
            way = ways[int(rng.integers(len(ways)))]
            self._try(way(best, rng, self.stage.loudness(model, best), others, size))
            size = min(2.0, 1.3 * size) if self.ranked[0][0] > harm else max(0.1, 0.93 * size)
        return self.ranked[0][1]

    def _try(self, draft: Draft) -> None:
        harm, model = self.stage.tried(draft)
        self.ranked.append((harm, draft, model))
        self.ranked.sort(key=lambda one: -one[0])
        del self.ranked[8:]

    def _first(self) -> list[Draft]:
        return [*self._climbed(), *(self._flips() if len(self.names) and self.stage.case.labels else ())]

    def _climbed(self) -> list[Draft]:
        """What a climb against a surrogate makes, and between there and the honest records."""
        found = self.found
        if found is None:
            return []
        start = found.began()
        end = found.climbed(start, *SURROGATE)
        drafts = [self._draft(found, start.a, start.t), self._draft(found, end.a, end.t)]
        honest = found.canvas(take(found.case.recipe.x, found.own)), self._own(found)
        for share in (0.25, 0.5, 0.75):
            t = start.t if len(self.names) else honest[1] + share * (end.t - honest[1])
            drafts.append(self._draft(found, honest[0] + share * (end.a - honest[0]), t))
        fraction = self.most / count(found.case.recipe.x)
        return drafts + [
            self._draft(found, *outlasting(found, start.a, start.t, min(0.5, share * fraction), 30, 0.15)) for share in (1.0, 2.0)
        ]

    def _own(self, found: Problem) -> NDArray[np.float64]:
        """The numbers that are the honest labels of the records to be replaced; for classes nobody asks."""
        if len(self.names):
            return np.zeros((len(found.own), 1))
        return np.asarray(to_numpy(found.case.recipe.y), float)[found.own][:, None]

    def _draft(self, found: Problem, a: NDArray[np.float64], t: NDArray[np.float64]) -> Draft:
        claim = found.claim(Point(a, t, found.honest, 0.0, 0.0))
        return Draft(found.own, found.own, a, np.asarray(claim.y))

    def _flips(self) -> list[Draft]:
        """Labels turned at random, by margin, and towards each of up to three classes at its border."""
        case, canvas = self.stage.case, self.stage.canvas
        y = np.asarray(to_numpy(case.recipe.y))
        own = shuffled(len(y), self.rng)
        step = 1 + self.rng.integers(own, 1, len(self.names) - 1)
        turned = self.names[(np.searchsorted(self.names, y[own]).clip(0, len(self.names) - 1) + step) % len(self.names)]
        index, flipped = _furthest(self.oracle, case.recipe, own, self.rng)
        some = [(own, turned), (index, flipped), *self._border(y)]
        return [started(case, rows[: self.most], told[: self.most], canvas) for rows, told in some]

    def _border(self, y: NDArray[Any]) -> list[tuple[NDArray[np.int64], NDArray[Any]]]:
        """For each class, the records of others that an honest model most nearly takes for it: wrong labels it half believes."""
        case = self.stage.case
        answer = self.stage.tried(None)[1].respond(case.recipe.x)
        scores = scores_of(answer, self.names, len(y))
        if scores is None:
            return []
        found = []
        for seat, name in enumerate(self.names):
            others = np.flatnonzero(y != name)
            order = others[np.argsort(-scores[others, seat], kind="stable")][: self.most]
            found.append((float(scores[order, seat].mean()), order, np.full(len(order), name, y.dtype)))
        found.sort(key=lambda one: -one[0])
        return [(order, told) for _, order, told in found[:3]]
