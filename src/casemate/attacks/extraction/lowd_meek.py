"""A linear model from decisions alone: where its boundary crosses parallel lines tells the ratios of its weights."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Copy, Replica
from ...core.errors import BadInput, BudgetSpent, Refused
from ...core.oracle import Oracle
from ...core.random import RowRandom
from ...core.target import count, take
from ._axes import draw
from ._talk import Talk, numbers

Floats = NDArray[np.float64]
_PACK = 16  # inputs asked at a time in search of the second decision
_STEPS = 60  # halvings after which a float64 interval has nothing left to give
_SHOWN = 8  # rounds of halving from one claim to the next
_COARSE = 1e-3  # width of the crossings above which a wrong copy says nothing of the model
_AGREE = 0.95  # share of answers kept aside from which the model counts as linear


@attack(
    "extraction.lowd_meek",
    needs=Need.LABEL,
    scope="set",
    papers=("10.1145/1081870.1081950",),
    aka=("Lowd-Meek", "ACRE", "boundary line search"),
    spends="(d + 1) log2(range / precision) queries, `seek` at most to find one input of each decision, `checks` more",
)
class LowdMeek:
    """Find where the boundary of a two-way linear decision crosses d + 1 parallel lines; the shifts are its weight ratios.

    One input of each decision spans the first line. The line moved by a step along feature i is crossed earlier or later by
    (weight i) / (weight along the line) steps. The paper walks from one input to the other feature by feature and searches
    along the one feature that turns the decision; a line between the two needs no walk, and no feature that turns it alone.
    All lines are halved together, so that a budget that ends leaves every ratio equally well known.

    What is found is ``parameters["direction"]`` and ``["offset"]``: the weights at length one, and the bias in their scale;
    towards the greater of the two decisions.
    A model that is not linear is told by `checks` further answers; the copy is handed in all the same.

    Args:
        seek: Most inputs asked in search of the second decision.
        precision: How well a crossing is to be known, as a share of the distance between the two inputs.
        checks: Answers kept out, to test the copy with.
    """

    seek: int = 256
    precision: float = 1e-12
    checks: int = 16

    def __call__(self, oracle: Oracle, case: Copy, *, rng: RowRandom) -> Generator[Replica, None, Replica]:
        numbers(case, "extraction.lowd_meek")
        talk = Talk(oracle, case)
        found = yield from self._both(talk, case, rng)
        if isinstance(found, Replica):
            return found
        claim = None
        for lines in _halved(talk, found, self.precision, max(0, talk.left - self.checks)):
            claim = lines.replica(talk.asked, None)
            yield claim
        if claim is None:
            raise BudgetSpent(f"{talk.left} questions are too few for {found.size + 1} lines")
        x = draw(case, rng, min(self.checks, talk.left), 7)
        if count(x):
            wrong = float((np.asarray(claim.labels(x)) != talk.ask(x).label).mean())
            claim = lines.replica(talk.asked, wrong)
            yield claim
        return claim

    def _both(self, talk: Talk, case: Copy, rng: RowRandom) -> Generator[Replica, None, _Pair | Replica]:
        """One input of each decision, as near to each other as they were drawn; a constant copy where there is but one."""
        x, seen, labels = draw(case, rng, self.seek, 0), list[Floats](), list[Any]()
        constant = None
        for start in range(0, count(x), _PACK):
            part = take(x, np.arange(start, min(start + _PACK, count(x), start + max(1, talk.left))))
            labels += talk.ask(part).label.tolist()
            seen += list(np.asarray(part))
            names = list(dict.fromkeys(labels))
            if len(names) > 2:
                found = ", ".join(sorted(map(str, names)))
                raise BadInput(f"extraction.lowd_meek works on two decisions, and the endpoint gives {found}")
            if len(names) == 2:
                return _nearest(np.stack(seen), labels, sorted(names), case)
            constant = _constant(names[0], len(labels))
            yield constant
        assert constant is not None  # ask raises where nothing comes back
        return constant


def _constant(name: Any, asked: int) -> Replica:
    reason = f"all {asked} inputs were decided alike; the method needs one of each decision"
    return Replica(labels=lambda x: np.repeat(np.asarray([name]), count(x)), detail={"gave_up": reason, "answers": asked})


@dataclass(frozen=True, slots=True)
class _Pair:
    """The two inputs that span the lines, flattened in float64, and all that is needed to ask along them."""

    start: Floats
    along: Floats
    step: Floats
    names: tuple[Any, Any]
    shape: tuple[int, ...]
    dtype: Any

    @property
    def size(self) -> int:
        return len(self.start)

    def points(self, lines: NDArray[np.int64], at: Floats) -> Any:
        """The inputs at `at` ``(m,)`` of the `lines` ``(m,)``: line 0 is the first, line i + 1 moved along feature i."""
        flat = self.start + at[:, None] * self.along
        moved = np.flatnonzero(lines)
        flat[moved, lines[moved] - 1] += self.step[lines[moved] - 1]
        return flat.reshape(len(lines), *self.shape).astype(self.dtype)


def _nearest(x: Any, labels: list[Any], names: list[Any], case: Copy) -> _Pair:
    flat = x.reshape(len(x), -1).astype(np.float64)
    scale = flat.std(0)
    scale = np.where(scale > 0, scale, np.median(scale[scale > 0]) if (scale > 0).any() else 1.0)
    first = np.array([label == names[0] for label in labels])
    gap = (((flat[first][:, None] - flat[~first][None]) / scale) ** 2).sum(2)
    a, b = np.unravel_index(int(gap.argmin()), gap.shape)
    start, along = flat[first][a], flat[~first][b] - flat[first][a]
    # Short of the other input's distance, so that the moved lines are crossed not far from where the first one is.
    step = scale * np.sqrt(gap[a, b] / flat.shape[1])
    if case.low is not None and case.high is not None:
        high = np.broadcast_to(np.asarray(case.high, float).reshape(-1), start.shape)
        step = np.where(np.maximum(start, start + along) + step > high, -step, step)
    return _Pair(start, along, step, (names[0], names[1]), x.shape[1:], x.dtype)


@dataclass(frozen=True, slots=True)
class _Lines:
    """Between which two places each line is crossed, ``(d + 1,)``; those of line 0 count from its start."""

    pair: _Pair
    low: Floats
    high: Floats

    def replica(self, asked: int, wrong: float | None) -> Replica:
        pair, middle = self.pair, (self.low + self.high) / 2
        # Along the line the decision value grows from below zero to above: the weight along it is 1 by choice of scale.
        weights = -(middle[1:] - middle[0]) / pair.step
        length = float(np.linalg.norm(weights)) or 1.0
        direction = weights / length
        offset = -float((pair.start + middle[0] * pair.along) @ direction)

        def labels(x: Any) -> NDArray[Any]:
            flat = np.asarray(x, np.float64).reshape(count(x), -1)
            up = flat @ direction + offset > 0
            return np.where(up, np.asarray([pair.names[1]]), np.asarray([pair.names[0]]))

        width = float((self.high - self.low).max())
        detail = {
            "answers": asked, "width": width, "largest_error": wrong,
            "linear": None if wrong is None or width > _COARSE else wrong <= 1 - _AGREE,  # a coarse copy errs on its own
        }  # fmt: skip
        return Replica(labels=labels, parameters={"direction": direction, "offset": offset}, detail=detail)


def _halved(talk: Talk, pair: _Pair, precision: float, most: int) -> Generator[_Lines, None, None]:
    """Ever narrower crossings. Ends at `precision`, or where `most` questions are asked, or with what ends the questions."""
    low, high = np.zeros(pair.size + 1), np.ones(pair.size + 1)
    last = talk.asked + most
    try:
        low, high = yield from _bracketed(talk, pair, low, high, last)
    except _Unbounded:
        return
    for step in range(1, _STEPS + 1):
        open_ = np.flatnonzero(high - low > precision * np.maximum(1.0, np.abs(high)))
        if not len(open_) or talk.asked + len(open_) > last:
            break
        middle = (low[open_] + high[open_]) / 2
        try:
            up = talk.ask(pair.points(open_, middle)).label == pair.names[1]
        except (BudgetSpent, Refused):
            yield _Lines(pair, low.copy(), high.copy())
            raise
        high[open_], low[open_] = np.where(up, middle, high[open_]), np.where(up, low[open_], middle)
        if step % _SHOWN == 0:
            yield _Lines(pair, low.copy(), high.copy())
    yield _Lines(pair, low.copy(), high.copy())


class _Unbounded(Exception):
    """The questions ended before every line was known to be crossed."""


def _bracketed(
    talk: Talk, pair: _Pair, low: Floats, high: Floats, last: int
) -> Generator[_Lines, None, tuple[Floats, Floats]]:  # fmt: skip
    """Places before and after the crossing of every line, the interval doubled until it holds one.

    A line that is not crossed within 2**12 of the distance between the inputs runs beside the boundary as far as anybody can
    tell: it keeps the widest interval.
    """
    for ends, names, sign in ((low, pair.names[0], -1.0), (high, pair.names[1], 1.0)):
        todo, width = np.arange(1, pair.size + 1), 1.0
        for _ in range(12):
            if talk.asked + len(todo) > last:
                raise _Unbounded
            good = talk.ask(pair.points(todo, ends[todo])).label == names
            todo = todo[~good]
            if not len(todo):
                break
            ends[todo] += sign * width
            width *= 2
    yield _Lines(pair, low.copy(), high.copy())
    return low, high

