"""A walk along the decision boundary towards the input: needs the decision and nothing else."""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.adversary import Need
from ...core.attack import Answer, Ask, Claim, attack
from ...core.case import Evade
from ...core.constraint import Ball
from ...core.errors import BadInput
from ...core.oracle import Oracle

Talk = Generator[Ask | Claim, Answer, Any]
NEAR = 8.0  # times the published tolerance: three queries less in every fall
CHUNK = 1 << 17  # most numbers in one question: many rows ask at once, and all their questions are in memory


@attack(
    "evasion.hopskipjump",
    needs=Need.LABEL,
    scope="dialogue",
    papers=("arXiv:1904.02144",),
    aka=("HopSkipJump", "HSJ", "HSJA", "BoundaryAttack++"),
    spends="sum over t of evals sqrt(t) + 2 log2(size) queries per row, or what the budget leaves",
    static_cost=lambda a: sum(round(min(a.evals * math.sqrt(t), a.most)) + 16 for t in range(1, a.steps + 1)),
)
class HopSkipJump:
    """Estimate the boundary's direction from decisions, jump along it, fall back onto the boundary towards the input.

    A dialogue of one row. Every point on the way is in the ball's box; the radius only decides when a claim counts: a
    row whose nearest point lies within it is broken, and finished unless the case seeks the nearest.

    Args:
        steps: Jumps.
        evals: Queries of the first direction; the t-th takes sqrt(t) times as many.
        most: Most queries of one direction.
        starts: Random points tried for a first success; a row that finds none has failed, alone.
        memory: Weight of the directions of earlier jumps in the next one, in [0, 1). As published it is 0, and `evals` 100.
            The defaults were tuned on the cheque digits; docs/reference/benchmarks.md compares them on others of them.
    """

    steps: int = 64
    evals: int = 50
    most: int = 10_000
    starts: int = 100
    memory: float = 0.5

    def __call__(self, oracle: Oracle, case: Evade, *, rng: np.random.Generator) -> Talk:
        ball = case.within
        if not isinstance(ball, Ball) or ball.norm == "l1":
            raise BadInput(f"evasion.hopskipjump walks in a Ball of linf or l2; got {ball!r}")
        walk = _Walk(ball, np.asarray(case.x)[0], rng, float(oracle.left(case.row)[0]))
        x = yield from walk.start(self.starts)
        if x is None:
            return
        x = yield from walk.fall(x)
        past = np.zeros_like(x)
        for t in range(1, self.steps + 1):
            size = walk.distance(x)
            # The direction, and at least one jump: a direction nobody can follow is wasted.
            evals = int(min(self.evals * math.sqrt(t), self.most, walk.left - 2))
            if size <= 0 or evals < 1:
                return
            delta = 0.1 * (ball.high - ball.low) if t == 1 else size * walk.probe
            slope = yield from walk.slope(x, delta, evals)
            slope = past = slope + self.memory * past
            slope = slope / max(float(np.linalg.norm(slope)), 1e-30)
            ahead = yield from walk.jump(x, np.sign(slope) if ball.norm == "linf" else slope, size / math.sqrt(t))
            if ahead is None:
                continue
            x = yield from walk.fall(ahead)


class _Walk:
    """Questions about one row, flat: every method stops asking when the budget does, and claims what it gained."""

    def __init__(self, ball: Ball, origin: NDArray[Any], rng: np.random.Generator, left: float) -> None:
        self.shape = origin.shape
        self.origin = origin.reshape(-1).astype(origin.dtype if origin.dtype.kind == "f" else np.float64, copy=False)
        self.ball, self.left, self._nearest = ball, left, math.inf
        # Philox is the row's stream; SFC64 seeded from it draws normals in half the time.
        self._rng = np.random.Generator(np.random.SFC64(rng.integers(2**63, size=2)))
        d = self.origin.size
        self._linf = ball.norm == "linf"
        # How near the boundary a fall ends, as a share of the way; probes reach as much further as falls end earlier.
        # In few dimensions the published value is a third of the way, too coarse to get anywhere.
        self.theta = min(1e-3, NEAR * (d**-2.0 if self._linf else d**-1.5))
        self.probe = self.theta * (d if self._linf else math.sqrt(d))
        self._inside = ball.inside(origin[None])

    def distance(self, x: NDArray[Any]) -> float:
        change = x - self.origin
        return float(np.abs(change).max()) if self._linf else math.sqrt(float(change @ change))

    def ask(self, x: NDArray[Any], note: float | None = None) -> Talk:
        """Whether the goal is met at each point ``(k, d)``. The nearest so far is claimed, whatever it was asked for."""
        answer = yield Ask(x.reshape(-1, *self.shape), note=note)
        self.left = answer.left
        if answer.met.any():
            yield from self._claim(x.reshape(-1, self.origin.size)[answer.met])
        return answer.met

    def _claim(self, won: NDArray[Any]) -> Talk:
        """Hand in the nearest of `won` when it is nearer than all before and within the radius: outside it is no claim."""
        change = won - self.origin
        sizes = np.abs(change).max(1) if self._linf else np.sqrt(np.einsum("ij,ij->i", change, change))
        best = int(np.argmin(sizes))
        if sizes[best] < self._nearest:
            self._nearest = float(sizes[best])
            if self.ball.check(won[best][None], self.origin[None])[0]:
                yield Claim(won[best].reshape(1, *self.shape), True)

    def start(self, tries: int) -> Talk:
        """A point that meets the goal; None when there is none. Uniform noise first, as published.

        Where all noise is one class, the rows of that class need something else: their own negative, or themselves
        with a random share of the values replaced by noise or by ends of the domain.
        """
        low, high = self.ball.low, self.ball.high
        for trial in range(tries):
            if self.left < 1:
                return None
            noise, lot = self._rng.random((2, self.origin.size))
            point = low + (high - low) * (np.round(noise) if trial % 2 else noise)
            if trial == 1:
                point = low + high - self.origin
            elif trial % 3:
                point = np.where(lot < self._rng.random(), point, self.origin)
            x = point.astype(self.origin.dtype).clip(low, high)
            met = yield from self.ask(x)
            if met[0]:
                return x
        return None

    def fall(self, x: NDArray[Any]) -> Talk:
        """From `x`, which meets the goal, straight to the boundary on the way to the input; still meets it there."""
        high = size = self.distance(x)
        low, best = 0.0, x
        at = self._inside  # the first look is at the radius, where a success ends the attack
        while high - low > self.theta * size and self.left >= 1:
            at = at if low < at < high else (low + high) / 2
            point = self._towards(x, at, size)
            met = yield from self.ask(point)
            if met[0]:
                high, best = at, point
            else:
                low = at
            at = (low + high) / 2
        return best

    def _towards(self, x: NDArray[Any], size: float, whole: float) -> NDArray[Any]:
        """`x` brought to distance `size` of the input."""
        if self._linf:
            return np.asarray(x.clip(self.origin - size, self.origin + size))
        return np.asarray((self.origin + (x - self.origin) * (size / whole)).astype(x.dtype, copy=False))

    def slope(self, x: NDArray[Any], delta: float, evals: int) -> Talk:
        """Which way more of the neighbours meet the goal, ``(d,)``: their mean, weighted by success."""
        total, won = np.zeros_like(x), np.zeros_like(x)
        wins = asked = 0
        while asked < evals:
            k = min(evals - asked, max(16, CHUNK // x.size))
            near = self._neighbours(x, delta, k)
            met = yield from self.ask(near, None if asked else self._nearest)  # once a jump: between them nothing falls
            near -= x
            total += near.sum(0)
            won += met.astype(near.dtype) @ near
            wins, asked = wins + int(met.sum()), asked + k
        if wins in (0, asked):  # all alike: away from all of them, or with all of them
            return (total if wins else -total) / delta
        return (won - (wins / asked) * total) / delta

    def _neighbours(self, x: NDArray[Any], delta: float, k: int) -> NDArray[Any]:
        if self._linf:
            noise = self._rng.random((k, x.size), dtype=x.dtype)
            noise -= 0.5
        else:
            noise = self._rng.standard_normal((k, x.size), dtype=x.dtype)
        noise *= (delta / np.sqrt(np.einsum("ij,ij->i", noise, noise)))[:, None].astype(x.dtype)
        noise += x
        np.clip(noise, self.ball.low, self.ball.high, out=noise)
        return np.asarray(noise)

    def jump(self, x: NDArray[Any], slope: NDArray[Any], size: float) -> Talk:
        """As far along `slope` as still meets the goal, halving from `size`; None where no length does."""
        for _ in range(30):
            if self.left < 1:
                return None
            ahead = (x + size * slope).clip(self.ball.low, self.ball.high).astype(x.dtype, copy=False)
            met = yield from self.ask(ahead)
            if met[0]:
                return ahead
            size /= 2
        return None
