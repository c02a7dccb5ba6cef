"""Where a piecewise linear function bends along lines, and which planes it bends at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]
Bools = NDArray[np.bool_]
Ask = Callable[[Floats, Ids], Floats]  # points (n, d), and one of each bunch of neighbours -> values (n, c)
_NEAR = 1e-4  # share of an interval over which its slope is measured
_SAME = 1e-7  # relative difference below which two slopes are one
_CLEAR = 1e-9  # rounding, as a share of the turn of the slopes, that a plane may still be read through
_DEEP = 40  # halvings of an interval before the function counts as curved
_EPS = float(np.finfo(float).eps)


@dataclass(frozen=True, slots=True)
class Plane:
    """One hidden unit: it is at zero where ``x @ weights + bias == 0``. `weights` ``(d,)`` of length 1, up to one sign."""

    weights: Floats
    bias: float


def kinks(ask: Ask, start: Floats, along: Floats, most: int) -> list[list[float] | None]:
    """Where the function bends on each of the lines ``start + t * along`` ``(l, d)``, t in [0, 1]. Ascending.

    Where the two ends of an interval go on in straight lines that meet inside it, and the function has the value of their
    meeting point there, it bends there and nowhere else. Otherwise the interval is halved. All intervals of all lines are
    halved together: few calls, each of a fair size.

    Returns:
        The bends of each line; None where an interval was halved `_DEEP` times or to nothing, or where there are more than
        `most` bends. There the function bends everywhere: it is not piecewise linear, or not known precisely enough.
    """
    found: list[list[float]] = [[] for _ in start]
    curved, scale = np.zeros(len(start), bool), np.zeros(len(start))
    line, low, high = np.arange(len(start)), np.zeros(len(start)), np.ones(len(start))
    for _ in range(_DEEP):
        pieces = _pieces(ask, start, along, line, low, high, scale)
        even = pieces.even()
        bent, meets = ~pieces.straight(even), pieces.meets(even)
        there = np.flatnonzero(bent & ~np.isnan(meets))
        bent[there] = ~_met(ask, start, along, pieces, there, meets[there])
        for place in there[~bent[there]].tolist():
            found[line[place]].append(float(meets[place]))
        middle = low + 0.5137 * (high - low)  # off the middle, where symmetric functions like to bend
        line = np.repeat(line[bent], 2)
        low, high = (np.stack(ends, axis=1).reshape(-1) for ends in ((low[bent], middle[bent]), (middle[bent], high[bent])))
        bends = np.array([len(one) for one in found]) + np.bincount(line, minlength=len(start))
        curved[line[(bends[line] > 2 * most) | (high - low < 1e-9)]] = True
        on = ~curved[line]
        line, low, high = line[on], low[on], high[on]
        if not len(line):
            break
    curved[line] = True
    return [None if none else sorted(one) for none, one in zip(curved.tolist(), found, strict=True)]


@dataclass(frozen=True, slots=True)
class _Pieces:
    """Intervals of lines ``(p,)``, with the values ``(p, 4, c)`` at their ends and a `step` inside them."""

    line: Ids
    low: Floats
    high: Floats
    step: Floats
    value: Floats
    scale: Floats  # the largest value of its line so far

    @property
    def _slopes(self) -> tuple[Floats, Floats]:
        left, right = self.value[:, 1] - self.value[:, 0], self.value[:, 3] - self.value[:, 2]
        return left / self.step[:, None], right / self.step[:, None]

    @property
    def _noise(self) -> Floats:
        """About how well slopes over such a step are known, of values of this size."""
        return np.asarray(64 * _EPS * np.maximum(self.scale, 1e-300) / self.step)

    def even(self) -> Bools:
        """Whether both ends have the same slope."""
        left, right = self._slopes
        steep = np.maximum(np.abs(left), np.abs(right)).max(1)
        return np.asarray(np.abs(right - left).max(1) <= np.maximum(self._noise, _SAME * steep))

    def straight(self, even: Bools) -> Bools:
        """Whether both ends lie on one straight line."""
        width = self.high - self.low
        there = self.value[:, 0] + self._slopes[0] * width[:, None]
        known = 8 * self._noise * width + _SAME * self.scale * width
        return np.asarray(even & (np.abs(there - self.value[:, 3]).max(1) <= known))

    def meets(self, even: Bools) -> Floats:
        """Where the straight lines of both ends meet, if well inside; NaN elsewhere."""
        left, right = self._slopes
        every, c = np.arange(len(self.low)), np.abs(right - left).argmax(1)
        a, b, first, last = (part[every, c] for part in (left, right, self.value[:, 0], self.value[:, 3]))
        turn = np.where(even, 1.0, a - b)
        found = self.low + (last - b * (self.high - self.low) - first) / turn
        inside = ~even & (self.low + self.step < found) & (found < self.high - self.step)
        return np.where(inside, found, np.nan)

    def explain(self, which: Ids, beside: Floats, seen: Floats) -> Bools:
        """Whether values ``(w, 3, c)`` before, at and behind the meeting points are those of the two lines.

        The lines can also meet where the function is still straight, with two bends farther on: so both sides count.
        """
        left, right = (part[which, None] for part in self._slopes)
        low, high, first, last = self.low[which], self.high[which], self.value[which, :1], self.value[which, 3:]
        before = first + left * (beside[:, :2] - low[:, None])[:, :, None]
        behind = last - right * (high[:, None] - beside[:, 2:])[:, :, None]
        near = 8 * self._noise[which] * (high - low) + 1e-9 * self.scale[which] * (high - low)
        return np.asarray(np.abs(seen - np.concatenate([before, behind], axis=1)).max((1, 2)) <= near)


def _pieces(ask: Ask, start: Floats, along: Floats, line: Ids, low: Floats, high: Floats, scale: Floats) -> _Pieces:
    """The intervals with the values at their ends. Raises the `scale` ``(l,)`` of lines with larger values than before."""
    step = _NEAR * (high - low)
    at = np.stack([low, low + step, high - step, high], axis=1)
    value = _values(ask, start, along, line, at)
    np.maximum.at(scale, line, np.abs(value).max((1, 2)))
    return _Pieces(line, low, high, step, value, scale[line])


def _met(ask: Ask, start: Floats, along: Floats, pieces: _Pieces, which: Ids, meets: Floats) -> Bools:
    """Whether the function bends where its straight ends meet, of the pieces `which`."""
    if not len(which):
        return np.zeros(0, bool)
    step = pieces.step[which]
    beside = np.stack([meets - step, meets, meets + step], axis=1)
    return pieces.explain(which, beside, _values(ask, start, along, pieces.line[which], beside))


def _values(ask: Ask, start: Floats, along: Floats, line: Ids, at: Floats) -> Floats:
    """The values ``(p, q, c)`` at the places ``(p, q)`` of lines ``(p,)``, which ascend."""
    points = start[line][:, None] + at[:, :, None] * along[line][:, None]
    first = np.flatnonzero(np.diff(line, prepend=-1)) * at.shape[1]
    return ask(points.reshape(-1, start.shape[1]), first).reshape(*at.shape, -1)


Seen = Plane | Literal["unclear", "several"]


def planes_at(ask: Ask, x: Floats, along: Floats, gap: Floats, size: Floats) -> Iterator[list[Seen]]:
    """The planes the function bends at in `x` ``(b, d)``, in parts, each as soon as it is known.

    ``unclear`` where rounding hides it, ``several`` where it is no plane of one unit. On either side of the plane the
    function is linear. The slopes of all outputs differ across it by the outer product of what the unit adds to each output
    and its weights: one matrix of rank 1, which holds the weights with their signs.

    Args:
        along: The directions they were found in ``(b, d)``.
        gap: Distance to the next bend along it, in units of `along` ``(b,)``.
        size: How far each feature is moved at most ``(d,)``.
    """
    d = x.shape[1]
    words: tuple[Seen, ...] = ("unclear", "several")  # of what rounding hides: what was clear once is not one plane
    unit = np.concatenate([np.zeros((1, d)), np.eye(d), -np.eye(d)])
    for shrink, word in zip((0.3, 0.03), words, strict=True):
        away = (gap * shrink)[:, None] * along
        sides = np.stack([x - away, x + away], axis=1)
        # Short of the plane on both sides, as far as one can tell before knowing it.
        steep = np.minimum(gap * np.abs(along / size).max(1), 1.0)
        reach = np.maximum(size * (shrink * 0.1 * steep)[:, None], 1e-12)
        points = sides[:, :, None] + unit * reach[:, None, None]
        value = ask(points.reshape(-1, d), np.arange(len(x)) * 2 * len(unit)).reshape(*points.shape[:3], -1)
        seen, open_ = _read(value, reach, x)
        yield [one or word for one, more in zip(seen, open_.tolist(), strict=True) if not more]
        x, along, gap = x[open_], along[open_], gap[open_]
        if not len(x):
            return
    yield ["several"] * len(x)


def _read(value: Floats, reach: Floats, x: Floats) -> tuple[list[Plane | None], Bools]:
    """Planes out of values ``(b, 2, 2 d + 1, c)`` on their two sides, and where to look again closer by ``(b,)``.

    A place with neither is hidden by rounding.
    """
    d = x.shape[1]
    up, down = value[:, :, 1 : d + 1], value[:, :, d + 1 :]
    bend = np.abs(up + down - 2 * value[:, :, :1]).max((1, 2, 3))
    slopes = (up - down) / 2  # over one reach
    turn = slopes[:, 1] - slopes[:, 0]
    most, noise = np.abs(turn).max((1, 2)), 8 * _EPS * np.abs(value).max((1, 2, 3))
    clear = ~(noise > _CLEAR * most)
    smooth = clear & ~(bend > np.maximum(4 * noise, 1e-9 * most))
    seen: list[Plane | None] = [None] * len(x)
    u, s, _ = np.linalg.svd(turn[smooth] / reach[smooth][:, :, None], full_matrices=False)
    alone = s[:, 1:].sum(1) <= 100 * _CLEAR * s[:, 0]
    for place, weights in zip(np.flatnonzero(smooth)[alone].tolist(), u[alone, :, 0], strict=True):
        seen[place] = Plane(weights, -float(x[place] @ weights))
    smooth[smooth] = alone
    return seen, clear & ~smooth
