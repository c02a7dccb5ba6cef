"""A population of allowed changes that mates and mutates: needs no slope, takes any constraint that proposes changes."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.adversary import Need
from ...core.attack import Answer, Ask, Claim, attack
from ...core.case import Evade
from ...core.errors import BadInput
from ...core.oracle import Oracle
from ...core.table import Table
from ...core.target import Response, take
from ._scores import climb

Talk = Generator[Ask | Claim, Answer, Any]
DUDS = 10  # rounds of proposals after which places in the population stay empty


@attack(
    "evasion.genetic",
    needs=Need.LABEL,
    scope="dialogue",
    modality=("table", "array", "bytes", "text"),
    within=("Table",),
    papers=("arXiv:2112.01156", "arXiv:2003.13526"),
    aka=("genetic", "MOEVA", "GAMMA", "evolutionary search"),
    spends="population + generations x (population - elite) queries per row, or what the budget leaves",
    static_cost=lambda a: a.population * (a.generations + 1),
)
class Genetic:
    """Mate the fittest, mutate, mend, ask; the fittest survive as they are.

    Fitness is how near the goal the scores are, less a little for what the change costs; among changes that meet the goal the
    cheapest is fittest, so a search under `nearest` goes on for a smaller one. Where only labels are shown, all that do not
    meet the goal are alike and the cheap ones survive. Rows of tables mate column by column; strings only mutate.

    Args:
        population: Changes alive at a time, at least 2.
        generations: Times they mate.
        elite: How many survive a generation as they are.
        mutations: Most random edits of a child; how many is drawn.
        thrift: What the dearest change of a generation loses in fitness, as a share of the spread of the scores.
    """

    population: int = 20
    generations: int = 30
    elite: int = 4
    mutations: int = 3
    thrift: float = 0.1

    def __call__(self, oracle: Oracle, case: Evade, *, rng: np.random.Generator) -> Talk:
        if not hasattr(case.within, "propose"):
            raise BadInput(f"evasion.genetic needs a constraint that proposes changes; {type(case.within).__name__} does not")
        if not isinstance(case.within, Table) and hasattr(case.x, "dtype"):
            raise BadInput("evasion.genetic mates rows of a Table, bytes and texts; other arrays go to evasion.edits")
        pool = (_TableRows if isinstance(case.within, Table) else _Strings)(case, rng, self.mutations)
        alive, fit = [pool.origin], np.array([-np.inf])
        left = float(oracle.left(case.row)[0])
        for generation in range(self.generations + 1):
            room = self.population - (min(self.elite, len(alive)) if generation else 0)
            young = pool.children(alive, fit, int(min(room, left)))
            if not young:
                return
            cost = pool.cost(young)
            answer = yield Ask(pool.joined(young), note=pool.nearest)
            left = answer.left
            for i in np.flatnonzero(answer.met):
                if cost[i] < pool.nearest:
                    pool.nearest = float(cost[i])
                    yield Claim(pool.joined([young[i]]), True)
            new = self._fitness(case, cost, answer)
            order = np.argsort(-fit, kind="stable")[: self.elite] if generation else np.zeros(0, int)
            alive, fit = [alive[i] for i in order] + young, np.concatenate([fit[order], new])

    def _fitness(self, case: Evade, cost: NDArray[np.float64], answer: Answer) -> NDArray[np.float64]:
        dear = cost / max(float(cost.max()), 1e-30)
        shown = climb(case, Response(answer.label, answer.scores), np.repeat(np.asarray(case.y), len(cost)))
        loss = np.zeros(len(cost)) if shown is None else np.nan_to_num(np.asarray(shown, np.float64), nan=-1e30)
        spread = float(loss.max() - loss.min()) or 1.0
        return np.asarray(np.where(answer.met, 1e9 - cost, loss - self.thrift * spread * dear))


class _Strings:
    """One row's changes: how they are made, told apart, priced. Here of a row that only its constraint knows how to edit."""

    def __init__(self, case: Evade, rng: np.random.Generator, mutations: int) -> None:
        self._within: Any = case.within
        self._case, self._rng, self._mutations = case, rng, mutations
        self.origin: Any = self._first()
        self._seen = {self.key(self.origin)}
        self.nearest = np.inf

    def _first(self) -> Any:
        return self._case.x[0]

    def key(self, one: Any) -> Any:
        return one

    def joined(self, rows: list[Any]) -> Any:
        return rows

    def cost(self, rows: list[Any]) -> NDArray[np.float64]:
        return np.asarray(self._within.measure(rows, [self.origin] * len(rows)), np.float64)

    def allowed(self, rows: list[Any]) -> Any:
        return self._within.check(rows, [self.origin] * len(rows))

    def children(self, alive: list[Any], fit: NDArray[np.float64], wanted: int) -> list[Any]:
        """Up to `wanted` allowed changes that were not asked before."""
        found: list[Any] = []
        for _ in range(DUDS):
            if len(found) >= wanted:
                break
            new = self.mended([self.child(alive, fit) for _ in range(wanted - len(found))])
            for one, ok in zip(new, self.allowed(new), strict=True):
                key = self.key(one)
                if ok and key not in self._seen:
                    self._seen.add(key)
                    found.append(one)
        return found

    def mended(self, rows: list[Any]) -> list[Any]:
        return rows

    def child(self, alive: list[Any], fit: NDArray[np.float64]) -> Any:
        one = self.chosen(alive, fit)
        for _ in range(int(self._rng.integers(1, self._mutations + 1))):
            one = self._within.propose(one, self.origin, self._rng)
        return one

    def chosen(self, alive: list[Any], fit: NDArray[np.float64]) -> Any:
        """The fitter of two drawn."""
        pair = self._rng.integers(len(alive), size=2)
        return alive[int(pair[0] if fit[pair[0]] >= fit[pair[1]] else pair[1])]


class _TableRows(_Strings):
    """Rows of a table, kept as columns by name ``(1,)``: they mate column by column, and are mended and checked together."""

    def _first(self) -> Any:
        return self._within.open(take(self._case.x, [0]))

    def key(self, one: Any) -> Any:
        return tuple(value.item() if hasattr(value, "item") else value for value in (column[0] for column in one.values()))

    def _stacked(self, rows: list[Any]) -> dict[str, NDArray[Any]]:
        return {name: np.concatenate([row[name] for row in rows]) for name in self.origin}

    def _start(self, count: int) -> dict[str, NDArray[Any]]:
        return {name: np.repeat(column, count) for name, column in self.origin.items()}

    def joined(self, rows: list[Any]) -> Any:
        return self._within.close(self._stacked(rows), take(self._case.x, [0]))

    def cost(self, rows: list[Any]) -> NDArray[np.float64]:
        return np.asarray(self._within.cost(self._stacked(rows), self._start(len(rows))), np.float64)

    def allowed(self, rows: list[Any]) -> Any:
        return self._within.allowed(self._stacked(rows), self._start(len(rows)), take(self._case.x, [0]))

    def child(self, alive: list[Any], fit: NDArray[np.float64]) -> Any:
        a, b = (self.chosen(alive, fit) for _ in range(2))
        lot = self._rng.random(len(a)) < 0.5
        one = {name: (a if first else b)[name] for name, first in zip(a, lot, strict=True)}
        for _ in range(int(self._rng.integers(1, self._mutations + 1))):
            one = self._within.mutate(one, self.origin, self._rng)
        return one

    def mended(self, rows: list[Any]) -> list[Any]:
        whole = self._within.mend(self._stacked(rows), self._start(len(rows)))
        return [{name: column[i : i + 1] for name, column in whole.items()} for i in range(len(rows))]
