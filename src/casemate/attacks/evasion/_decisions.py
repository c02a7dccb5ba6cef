"""What attacks that see decisions alone share: asking and claiming, a first success, the way back to the boundary.

All of them walk in the box of a Ball. The radius only decides when a success may be claimed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.adversary import Need
from ...core.attack import Answer, Ask, AttackInfo, Claim
from ...core.case import Evade
from ...core.constraint import Ball
from ...core.errors import BadInput, NotGranted
from ...core.goal import Wrong, reached
from ...core.oracle import Oracle
from ...core.target import to_numpy
from ._own import ball_of
from ._subspace import frequencies, low_frequency

Talk = Generator[Ask | Claim, Answer, Any]
Place = Callable[[NDArray[Any]], NDArray[Any]]
Draw = Callable[[int], NDArray[Any]]  # k -> k directions (k, d) of the walk's own, of any length
NEAR = 8.0  # times the published tolerance: three queries less in every fall
CHUNK = 1 << 17  # most numbers in one question: many rows ask at once, and all their questions are in memory
STILL, WIDER = 0.97, 1.3  # a step that leaves more of the way than this is the last at its share of the frequencies
AIM = 1.4  # what the reach of probes is multiplied with or divided by
ODD = 1.0003  # halved lengths are whole multiples of each other: a tie would be decided by rounding, and so by the units
KNOWN = 500  # most known inputs that are looked through for a start


def enter(oracle: Oracle, case: Evade, rng: np.random.Generator, info: AttackInfo, plain: bool = False) -> Walk:
    """The walk of the case's one row.

    Raises:
        BadInput: The constraint is no Ball, or one of a norm that the attack does not know.
    """
    ball = ball_of(case, info.id, info.norms, "how near a point is, and the way to the input, are those of a norm", "walks in")
    walk = Walk(ball, start_of(case, info.id), rng, min(float(oracle.left(case.row)[0]), oracle.affordable))
    walk.plain = plain
    begun(walk, oracle, case)
    return walk


def start_of(case: Evade, name: str) -> NDArray[Any]:
    """The one input of a case ``(*shape)``: numbers, or refused."""
    origin = np.asarray(to_numpy(case.x))[0]
    if origin.dtype.kind not in "fiub":
        raise BadInput(f"{name} changes numbers; got inputs of {origin.dtype}")
    return np.asarray(origin)


def begun(walk: Walk, oracle: Oracle, case: Evade) -> None:
    """Give a walk the points that the case and the adversary's data offer for a start."""
    given = () if case.start is None else walk.points([np.asarray(to_numpy(case.start))[0]])
    known = _known(oracle, case, walk)
    # Noise of one class only is rare where any other will do, and the rule where one class is wanted.
    if isinstance(case.goal, Wrong):
        walk.firsts, walk.lasts = given, known
    else:
        walk.firsts = (*given, *known)


def _known(oracle: Oracle, case: Evade, walk: Walk) -> tuple[NDArray[Any], ...]:
    """Inputs of the adversary's own that should meet the goal, the nearest first: a few of them."""
    if not oracle.granted(Need.DATA):
        return ()
    with suppress(NotGranted):  # granted, and none is bound
        x, y = (np.asarray(to_numpy(part)) for part in oracle.data)
        if x.shape[1:] != walk.shape or x.dtype.kind not in "fiub":
            return ()
        fit = np.flatnonzero(reached(case.goal, y, np.broadcast_to(case.y, y.shape)))[:KNOWN]
        return tuple(sorted(walk.points(x[fit]), key=walk.distance)[:3])
    return ()


def _wide(shape: tuple[int, ...]) -> bool:
    """Whether inputs of this shape have frequencies worth the name."""
    return len(shape) > 1 and min(shape[-2:]) >= 16


class Walk:
    """Questions about one row, flat: every method stops asking when the budget does, and claims what it gained.

    Args:
        ball: The constraint.
        origin: The unchanged input ``(*shape)``.
        rng: The row's own generator.
        left: Queries left to the row.

    `firsts` and `lasts` are points to try as a start before noise and after it. `draw` makes the directions of probes;
    where it is None they are uniform in the whole space. A `plain` walk is as published in two things
    that were bettered for the others: it begins from noise alone, and takes what the box left of a probe for the probe.
    """

    def __init__(self, ball: Ball, origin: NDArray[Any], rng: np.random.Generator, left: float) -> None:
        self.shape = origin.shape
        self.origin = origin.reshape(-1).astype(origin.dtype if origin.dtype.kind == "f" else np.float64, copy=False)
        self.ball, self.left, self.nearest = ball, left, math.inf
        self.firsts: tuple[NDArray[Any], ...] = ()
        self.lasts: tuple[NDArray[Any], ...] = ()
        self.draw: Draw | None = None
        self.share, self.plain = 1.0, False
        self._asked, self._most = 0, math.inf
        # Philox is the row's stream; SFC64 seeded from it draws normals in half the time.
        self.rng = np.random.Generator(np.random.SFC64(rng.integers(2**63, size=2)))
        # The outermost numbers of the input's own precision that lie in the domain.
        self.low, self.high = ball.box(np.array([-np.inf, np.inf], self.origin.dtype))
        d = self.origin.size
        self.linf = ball.norm == "linf"
        # How near the boundary a fall ends, as a share of the way; probes reach as much further as falls end earlier.
        # In few dimensions the published value is a third of the way, too coarse to get anywhere.
        self.theta = min(1e-3, NEAR * (d**-2.0 if self.linf else d**-1.5))
        self.probe = self.theta * (d if self.linf else math.sqrt(d))
        self.least = 1e-7 * (ball.high - ball.low)  # no distance worth another question
        self.inside = ball.inside(origin[None])

    # points ---------------------------------------------------------------------------------------------------------

    def distance(self, x: NDArray[Any]) -> float:
        """How far `x` ``(d,)`` is from the input."""
        change = x - self.origin
        return float(np.abs(change).max()) if self.linf else math.sqrt(float(change @ change))

    def boxed(self, x: NDArray[Any]) -> NDArray[Any]:
        """`x` in the domain and in the precision of the input, ``(..., d)``."""
        # Two steps are half the price of `clip` on one row, and the most asked-for line of all label attacks is this one.
        found = np.maximum(x if x.dtype == self.origin.dtype else x.astype(self.origin.dtype), self.low)
        return np.asarray(np.minimum(found, self.high, out=found))

    def points(self, x: Any) -> tuple[NDArray[Any], ...]:
        """Inputs ``(*shape)`` each, flat and in the domain; without those that are the input itself or no numbers."""
        found = [self.boxed(np.asarray(row).reshape(-1)) for row in x]
        return tuple(row for row in found if np.isfinite(row).all() and (row != self.origin).any())

    def towards(self, x: NDArray[Any], size: float, whole: float) -> NDArray[Any]:
        """`x`, at distance `whole` of the input, brought to distance `size`."""
        if self.linf:
            return np.asarray(x.clip(self.origin - size, self.origin + size))
        return np.asarray((self.origin + (x - self.origin) * (size / whole)).astype(x.dtype, copy=False))

    def arc(self, x: NDArray[Any], side: NDArray[Any]) -> Callable[[float], NDArray[Any]]:
        """The half circle from `x` to the input on the way of `side`: its point at an angle from `x`, as the input sees it.

        0 is `x` itself, a right angle the input. Every point is nearer than `x`, by the cosine.

        Args:
            side: A unit vector at right angles to ``x - origin`` (`beside`).
        """
        change, size = x - self.origin, self.distance(x)

        def at(angle: float) -> NDArray[Any]:
            near = math.cos(angle)
            return self.boxed(self.origin + near * (near * change + (math.sin(angle) * size) * side))

        return at

    def beside(self, x: NDArray[Any], way: NDArray[Any]) -> NDArray[Any] | None:
        """The part of `way` at right angles to ``x - origin``, of length 1; None where there is none."""
        change = x - self.origin
        side = way - (float(way @ change) / max(float(change @ change), 1e-300)) * change
        size, whole = math.sqrt(float(side @ side)), math.sqrt(float(way @ way))
        return side / size if size > 1e-6 * whole and math.isfinite(whole) else None

    def turned(self, x: NDArray[Any], turn: NDArray[Any], size: float) -> NDArray[Any]:
        """Rays to `x` turned by `turn` ``(..., d)``, at distance `size` of the input: in l2 on a sphere, in linf on a cube.

        Probes on the sphere only tell what a turn is worth. Near the nearest point that is all there is to learn: the
        boundary is at right angles to the ray, and a probe off the sphere is decided by how long it is.
        """
        ray, whole = x - self.origin + turn, self.distance(x)
        if self.linf:
            return self.boxed(self.origin + (size / whole) * ray.clip(-whole, whole))
        return self.boxed(self.origin + (size / np.sqrt((ray * ray).sum(-1, keepdims=True))) * ray)

    def angle(self, x: NDArray[Any], way: NDArray[Any]) -> float:
        """Between ``x - origin`` and `way`, at most a right angle: beyond it the half circle has no points."""
        whole = self.distance(x) * float(np.linalg.norm(way))
        return math.acos(min(1.0, max(0.0, float(way @ (x - self.origin)) / max(whole, 1e-300))))

    # directions -----------------------------------------------------------------------------------------------------

    def narrow(self, share: float) -> None:
        """Draw directions from the lowest `share` of an image's frequencies along each axis, until `widen` takes more.

        Vectors have no frequencies, and images of fewer than 16 values a side too few: there the whole space stays.
        """
        kept = frequencies(self.shape, share)  # refuses a share that is none
        wide = share >= 1 or not _wide(self.shape)
        kind, shape = self.origin.dtype, self.shape
        self.share = 1.0 if wide else share
        self.draw = None
        if not wide:
            self.draw = lambda k: low_frequency(self.rng.standard_normal((k, *kept), dtype=kind), shape).reshape(k, -1)

    def widen(self, before: float, x: NDArray[Any]) -> None:
        """Take more frequencies once a step that began at distance `before` and ended at `x` has gained little."""
        if self.share < 1 and self.distance(x) > STILL * before:
            self.narrow(min(1.0, self.share * WIDER))

    def directions(self, k: int) -> NDArray[Any]:
        """`k` random directions ``(k, d)``, of any length."""
        return self.draw(k) if self.draw else self.rng.standard_normal((k, self.origin.size), dtype=self.origin.dtype)

    def _probes(self, size: float, k: int) -> NDArray[Any]:
        """`k` random directions ``(k, d)`` of length `size`."""
        if self.linf and self.draw is None:
            noise = self.rng.random((k, self.origin.size), dtype=self.origin.dtype)
            noise -= 0.5
        else:
            noise = self.directions(k)
        noise *= (size / np.sqrt(np.einsum("ij,ij->i", noise, noise)))[:, None].astype(noise.dtype)
        return noise

    # questions ------------------------------------------------------------------------------------------------------

    def limit(self, queries: int) -> None:
        """Ask at most so many questions."""
        self._most = queries
        self.left = min(self.left, queries - self._asked)

    def ask(self, x: NDArray[Any], note: float | None = None) -> Talk:
        """Whether the goal is met at each point ``(k, d)``. The nearest so far is claimed, whatever it was asked for."""
        answer = yield Ask(x.reshape(-1, *self.shape), note=note)
        met = answer.met
        self._asked += len(met)
        self.left = min(answer.left, self._most - self._asked)
        wins = np.count_nonzero(met)
        if wins:
            won = x.reshape(-1, self.origin.size)
            found = self._nearest(won if wins == len(won) else won[met])
            if found is not None:
                yield Claim(found.reshape(1, *self.shape), True)
        return met

    def _nearest(self, won: NDArray[Any]) -> NDArray[Any] | None:
        """The nearest of `won` ``(k, d)`` when it is nearer than all before and within the radius: outside it is no claim."""
        # Probes on a sphere are all as near as each other: which of them is nearest is for rounding alone to say.
        slack, best = 0.0 if self.plain else 1e-6, 0
        if len(won) == 1:
            size = self.distance(won[0])
        else:
            change = won - self.origin
            sizes = np.abs(change).max(1) if self.linf else np.sqrt(np.einsum("ij,ij->i", change, change))
            best = int(np.argmax(sizes <= sizes.min() * (1 + slack)))
            size = float(sizes[best])
        if not size < self.nearest * (1 - slack):
            return None
        self.nearest = size
        return won[best] if self._allowed(won[best], size) else None

    def _allowed(self, x: NDArray[Any], size: float) -> bool:
        """Whether `x` ``(d,)`` passes the constraint. Well within it, its size as known here and the domain say so already."""
        if size < 0.999 * self.ball.radius and self.low <= np.minimum.reduce(x) and np.maximum.reduce(x) <= self.high:
            return True
        return bool(self.ball.check(x[None], self.origin[None])[0])

    def start(self, tries: int) -> Talk:
        """A point that meets the goal; None when there is none. Points given first, then uniform noise as published."""
        for x in self._candidates(tries):
            if self.left < 1:
                return None
            met = yield from self.ask(x)
            if met[0]:
                return x
        return None

    def _candidates(self, tries: int) -> Iterator[NDArray[Any]]:
        """Where all noise is one class, the rows of that class need something else: their own negative, or themselves
        with a random share of the values replaced by noise or by ends of the domain."""
        yield from self.firsts
        low, high = self.ball.low, self.ball.high
        for trial in range(tries):
            noise, lot = self.rng.random((2, self.origin.size))
            point = low + (high - low) * (np.round(noise) if trial % 2 else noise)
            if trial == 1:
                point = low + high - self.origin
            elif trial % 3 == 0 and _wide(self.shape) and not self.plain:
                point = self._blots()
            elif trial % 3:
                point = np.where(lot < self.rng.random(), point, self.origin)
            yield self.boxed(point)
        yield from self.lasts

    def _blots(self) -> NDArray[Any]:
        """An image of the two ends of the domain in large blots: what is sure of its class among noise is not among these."""
        kept = frequencies(self.shape, 0.05 + 0.2 * self.rng.random())
        wave = low_frequency(self.rng.standard_normal((1, *kept)), self.shape).reshape(-1)
        return np.where(wave > np.quantile(wave, self.rng.random()), self.ball.high, self.ball.low)

    def fall(self, x: NDArray[Any]) -> Talk:
        """From `x`, which meets the goal, straight to the boundary on the way to the input; still meets it there."""
        high = size = self.distance(x)
        low, best = 0.0, x
        at = self.inside  # the first look is at the radius, where a success ends the attack
        # A share of the way that is left, not of the way there was: the first fall begins far outside.
        while high - low > self.theta * (size if self.plain else ODD * high) and self.left >= 1 and high > self.least:
            at = at if low < at < high else (low + high) / 2
            point = self.towards(x, at, size)
            met = yield from self.ask(point)
            if met[0]:
                high, best = at, point
            else:
                low = at
            at = (low + high) / 2
        return best

    def slope(self, x: NDArray[Any], delta: float, evals: int, place: Place | None = None) -> Talk:
        """Which way more of the neighbours meet the goal, ``(d,)``: their mean, weighted by success.

        Args:
            delta: How far the neighbours are.
            place: The points ``(k, d)`` to ask for steps ``(k, d)`` from `x`; left out, the steps' ends.
        """
        total, won = np.zeros_like(x), np.zeros_like(x)
        wins = asked = 0
        while asked < evals:
            k = min(evals - asked, max(16, CHUNK // x.size))
            step = self._probes(delta, k)
            near = self.boxed(x + step if place is None else place(step))
            met = yield from self.ask(near, None if asked else self.nearest)  # once a jump: between them nothing falls
            # What the box left of a step has frequencies that were not drawn; the step itself has not.
            step = near - x if self.plain else step
            total += step.sum(0)
            won += met.astype(step.dtype) @ step
            wins, asked = wins + int(met.sum()), asked + k
        if not self.plain:
            self._aim(wins / asked)
        if wins in (0, asked):  # all alike: away from all of them, or with all of them
            return (total if wins else -total) / delta
        return (won - (wins / asked) * total) / delta

    def _aim(self, share: float) -> None:
        """Probe further out where nearly all neighbours meet the goal, as `x` itself does, and nearer where few do."""
        self.probe = min(0.1, max(self.theta, self.probe * (AIM if share > 0.75 else 1 / AIM if share < 0.25 else 1.0)))

    def jump(self, x: NDArray[Any], slope: NDArray[Any], size: float) -> Talk:
        """As far along `slope` as still meets the goal, halving from `size`; None where no length does."""
        for _ in range(30):
            if self.left < 1:
                return None
            ahead = self.boxed(x + size * slope)
            met = yield from self.ask(ahead)
            if met[0]:
                return ahead
            size /= 2
        return None

    def swing(self, x: NDArray[Any], side: NDArray[Any], angle: float) -> Talk:
        """The point of the half circle at `angle`, its half, its quarter, ... that first meets the goal; None where none does."""
        arc = self.arc(x, side)
        while angle > self.theta and self.left >= 1:
            ahead = arc(angle)
            met = yield from self.ask(ahead)
            if met[0]:
                return ahead
            angle /= 2
        return None

    def circle(self, x: NDArray[Any], side: NDArray[Any]) -> Talk:
        """Along the half circle from `x` to where it leaves the region of the goal; a point that meets it there."""
        low, high, best, arc = 0.0, math.pi / 2, x, self.arc(x, side)
        while high - low > self.theta and self.left >= 1:
            at = (low + high) / 2
            ahead = arc(at)
            met = yield from self.ask(ahead)
            if met[0]:
                low, best = at, ahead
            else:
                high = at
        return best
