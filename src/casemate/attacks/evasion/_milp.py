"""The smallest change that reaches an aim, as a mixed-integer program over cells and leaves (Kantchelian et al.)."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from ...core.trees import Floats
from ._aims import Aim
from ._boxes import Ints, View

GUARD = 1e-6  # of the largest leaf: the solver's own tolerance of a constraint
CUTS = 12  # near-ties ruled out one by one before the guard is turned round


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Found:
    """What came of it.

    Args:
        cell: The cell of each axis ``(a,)``; None where nothing was found.
        size: The length of the change in the ball's norm; infinite where nothing was found.
        bound: No change shorter than this reaches the aim; infinite where none does at all.
        optimal: Whether the two are the same.
    """

    cell: Ints | None
    size: float
    bound: float

    @property
    def optimal(self) -> bool:
        return self.bound >= self.size * (1 - 1e-6)


def smallest(view: View, aims: list[Aim], most: float, seconds: float, known: Found | None = None) -> Found:
    """The smallest change of at most `most` that reaches one of the aims, or what is known of it after `seconds`.

    Args:
        known: A change that was found already: only shorter ones are looked for.
    """
    best = known or Found(cell=None, size=np.inf, bound=0.0)
    until = time.monotonic() + seconds
    bounds = []
    for aim in aims:
        for part in _parts(aim):
            found = _one(view, part, min(most, best.size), until)
            bounds.append(found.bound)
            best = found if found.size < best.size else best
    return replace(best, bound=min([best.size, most, *bounds]))


def _parts(aim: Aim) -> Iterator[Aim]:
    """An aim of which one row is enough, row by row: each is a program of its own."""
    if aim.every:
        yield aim
        return
    for i in range(len(aim.offset)):
        yield replace(aim, weight=aim.weight[[i]], offset=aim.offset[[i]], tie=aim.tie[[i]], every=True)


def _one(view: View, aim: Aim, most: float, until: float) -> Found:
    """One program, solved until its answer is true in the library's own arithmetic.

    With the margin a hair below zero allowed, no answer is missed, and what is found may be a near-tie that is decided the
    other way. Those are ruled out one by one; when there are too many, the margin must be a hair above zero, and then only
    the bound of before is certain.
    """
    program = _Program(view, aim, most)
    bound, ruled = 0.0, 0
    while ruled < CUTS:
        cell, low = program.solve(-GUARD, until)
        bound = max(bound, low)
        if cell is None:
            return Found(cell=None, size=np.inf, bound=bound)
        if program.true(cell):
            return Found(cell=cell, size=program.size(cell), bound=bound)
        program.rule_out(cell)
        ruled += 1
    cell, _ = program.solve(GUARD, until)
    if cell is None or not program.true(cell):
        return Found(cell=None, size=np.inf, bound=bound)
    return Found(cell=cell, size=program.size(cell), bound=bound)


class _Program:
    """Variables: ``p`` of each cut within reach, 1 where the value is left of it; ``y`` of each leaf within reach; for linf
    the length itself. Distances are shares of `unit`, so that the solver's tolerances mean the same in all units."""

    def __init__(self, view: View, aim: Aim, most: float) -> None:
        cells = view.cells
        self.view, self.aim, self._most = view, aim, most
        cap = most**2 if view.norm == "l2" else most
        within = (view.cost <= cap) & np.isfinite(view.cost)
        if view.norm == "linf" and np.isfinite(most):
            within &= view.cost < cap  # nothing as long as what is known is of use
        within[view.home] = True
        axes = np.arange(len(cells.column))
        self.first = np.minimum.reduceat(np.where(within, np.arange(len(within)), len(within)), cells.start[:-1])
        self.last = np.maximum.reduceat(np.where(within, np.arange(len(within)), -1), cells.start[:-1])
        self.unit = float(view.cost[within].max(initial=0.0)) or 1.0
        self._cuts = np.concatenate([np.arange(self.first[a], self.last[a]) for a in axes] or [np.zeros(0, int)]).astype(int)
        self._variable = np.full(len(within) + 1, -1)
        self._variable[self._cuts] = np.arange(len(self._cuts))
        self.leaves = self._reachable()
        self._n = len(self._cuts) + len(self.leaves) + (view.norm == "linf")
        self._rows: list[tuple[Ints, Floats, float, float]] = []
        self._order()
        self._trees()
        self._objective = self._length()

    def _reachable(self) -> Ints:
        cells = self.view.cells
        out = (cells.last < self.first[cells.side]) | (cells.first > self.last[cells.side])
        there = np.ones(len(cells.tree), bool)
        there[cells.of[out]] = False
        return np.flatnonzero(there)

    def _add(self, variables: Ints, weights: Floats, low: float, high: float) -> None:
        self._rows.append((variables, weights, low, high))

    def _order(self) -> None:
        """What is left of a cut is left of the next one."""
        follows = np.flatnonzero(np.diff(self.view.cells.axis[self._cuts]) == 0)
        for i in follows:
            self._add(np.array([i, i + 1]), np.array([1.0, -1.0]), -np.inf, 0.0)

    def _trees(self) -> None:
        """One leaf of each tree, and on each axis no leaf on the other side of a cut."""
        cells, offset = self.view.cells, len(self._cuts)
        place = np.full(len(cells.tree), -1)
        place[self.leaves] = offset + np.arange(len(self.leaves))
        for tree in range(len(cells.ensemble)):
            mine = place[self.leaves[cells.tree[self.leaves] == tree]]
            self._add(mine, np.ones(len(mine)), 1.0, 1.0)
        here = np.flatnonzero(place[cells.of] >= 0)
        group = cells.tree[cells.of[here]] * len(cells.column) + cells.side[here]
        order = np.argsort(group, kind="stable")
        for part in np.split(here[order], np.flatnonzero(np.diff(group[order])) + 1):
            if len(part):
                self._sides(place[cells.of[part]], cells.first[part], cells.last[part])

    def _sides(self, leaf: Ints, first: Ints, last: Ints) -> None:
        for cut in np.unique(last[self._variable[last] >= 0]):
            left = leaf[last <= cut]
            self._add(np.append(left, self._variable[cut]), np.append(np.ones(len(left)), -1.0), -np.inf, 0.0)
        before = first[first > 0] - 1
        for cut in np.unique(before[self._variable[before] >= 0]):
            right = leaf[first > cut]
            self._add(np.append(right, self._variable[cut]), np.ones(len(right) + 1), -np.inf, 1.0)

    def _length(self) -> Floats:
        """The objective without its constant (none: at home nothing is paid). Each step away from home adds what it costs."""
        view, found = self.view, np.zeros(self._n)
        cost, cut = view.cost / self.unit, self._cuts
        home = view.home[view.cells.axis[cut]]
        right = cut >= home
        step = np.abs(cost[cut + 1] - cost[cut])
        if view.norm != "linf":
            found[: len(cut)] = np.where(right, -step, step)
            self._constant = float(step[right].sum())
            if np.isfinite(self._most):
                cap = (self._most**2 if view.norm == "l2" else self._most) / self.unit
                self._add(np.arange(len(cut)), found[: len(cut)].copy(), -np.inf, cap * (1 + 1e-9) - self._constant)
            return found
        self._constant = 0.0
        found[-1] = 1.0
        axis = view.cells.axis[cut]
        for a in np.unique(axis):
            for side in (right, ~right):
                mine = np.flatnonzero((axis == a) & side)
                if len(mine):
                    sign = -1.0 if side is right else 1.0
                    paid = float(step[mine].sum()) if side is right else 0.0
                    self._add(np.append(mine, self._n - 1), np.append(sign * step[mine], -1.0), -np.inf, -paid)
        return found

    def rule_out(self, cell: Ints) -> None:
        """Not these leaves again."""
        mine = len(self._cuts) + np.flatnonzero(np.isin(self.leaves, self._hit(cell)))
        self._add(mine, np.ones(len(mine)), -np.inf, len(mine) - 1.0)

    def _hit(self, cell: Ints) -> Ints:
        cells = self.view.cells
        out = (cell[cells.side] < cells.first) | (cell[cells.side] > cells.last)
        there = np.ones(len(cells.tree), bool)
        there[cells.of[out]] = False
        return np.flatnonzero(there)

    def true(self, cell: Ints) -> bool:
        """Whether the aim is reached there in the library's own arithmetic."""
        ensemble = self.view.cells.ensemble
        raw = ensemble.raw(self.view.point(cell)[None])[0]
        margin = self.aim.weight @ raw - self.aim.offset
        return bool(np.where(self.aim.tie, margin >= 0, margin > 0).all())

    def size(self, cell: Ints) -> float:
        """The length of the change to a cell of each axis."""
        return float(self.view.size(self.view.cost[cell]))

    def solve(self, guard: float, until: float) -> tuple[Ints | None, float]:
        """The cells found (None: none), and a bound below which there is nothing."""
        left = until - time.monotonic()
        if left <= 0:
            return None, 0.0
        rows = self._rows + self._margin(guard)
        size = [len(row[0]) for row in rows]
        columns, weights = np.concatenate([row[0] for row in rows]), np.concatenate([row[1] for row in rows])
        matrix = csr_array((weights, columns, np.concatenate([[0], np.cumsum(size)])), shape=(len(rows), self._n))
        low, high = np.array([row[2] for row in rows]), np.array([row[3] for row in rows])
        whole = np.zeros(self._n)
        whole[: len(self._cuts)] = 1
        upper = np.ones(self._n)
        if self.view.norm == "linf":
            upper[-1] = np.inf
        with _aside():
            answer = milp(
                self._objective, integrality=whole, bounds=Bounds(np.zeros(self._n), upper),
                constraints=LinearConstraint(matrix, low, high), options={"time_limit": left, "mip_rel_gap": 1e-7},
            )  # fmt: skip
        return self._read(answer)

    def _margin(self, guard: float) -> list[tuple[Ints, Floats, float, float]]:
        cells, aim = self.view.cells, self.aim
        value = cells.value[self.leaves] @ aim.weight.T
        unit = float(np.abs(value).max()) or 1.0
        need = aim.offset - aim.weight @ cells.ensemble.base / cells.ensemble.divisor
        index = len(self._cuts) + np.arange(len(self.leaves))
        return [(index, value[:, i] / unit, need[i] / unit + guard, np.inf) for i in range(len(need))]

    def _read(self, answer: object) -> tuple[Ints | None, float]:
        status, x = answer.status, answer.x  # type: ignore[attr-defined]
        if status == 2:  # nothing within reach at all
            return None, self._most
        bound = answer.mip_dual_bound  # type: ignore[attr-defined]
        low = self._long(0.0 if bound is None else bound + self._constant)
        if x is None:
            return None, low
        left: NDArray[np.bool_] = x[: len(self._cuts)] > 0.5
        cell = self.last.copy()
        np.minimum.at(cell, self.view.cells.axis[self._cuts[left]], self._cuts[left])
        return cell, low

    def _long(self, share: float) -> float:
        """A length of an objective: what the solver may be off by is taken away."""
        size = max(0.0, share) * self.unit * (1 - 1e-7)
        return float(np.sqrt(size)) if self.view.norm == "l2" else float(np.ceil(size - 1e-6)) if self.view.norm == "l0" else size


@contextlib.contextmanager
def _aside() -> Iterator[None]:
    """The solver prints a line of its own now and then, whatever it is told: among the messages, not among the results."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        yield
    finally:
        with contextlib.suppress(OSError, TypeError, AttributeError):  # where the C library goes by no name
            ctypes.CDLL(None).fflush(None)
        os.dup2(kept, 1)
        os.close(kept)
