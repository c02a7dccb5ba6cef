"""Cryptanalytic extraction: a small ReLU network is recovered from where its raw scores bend."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Copy, Replica
from ...core.errors import BadInput, BudgetSpent, Refused
from ...core.oracle import Oracle
from ...core.random import RowRandom
from ...core.target import Response, count
from ._axes import draw
from ._kinks import Plane, kinks, planes_at
from ._relu import Relu, solve
from ._talk import Talk, numbers

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]


@attack(
    "extraction.cryptanalytic",
    needs=Need.LABEL | Need.LOGIT,
    scope="set",
    papers=("arXiv:2003.04884",),
    aka=("Carlini", "functionally equivalent extraction", "ReLU cryptanalysis"),
    spends="about 10 log2(1 / gap) queries a bend of a line, 4 d + 2 for a hidden unit; never more than the case plans",
)
class Cryptanalytic:
    """Walk along lines to the points where a network with one hidden layer of ReLUs bends: each lies on the plane of one unit.

    Bends of a line are found by the meeting points of straight pieces. The slopes on both sides of a bend differ by the weights
    of its unit, signs included. On which side a unit is active follows from all planes at once: what is linear in the rest is
    a sum of units on the wrong side. The last layer is a least-squares problem. What is found is the network up to order and
    length of its units (``parameters["planes"]``, each of length one, with its bias as last entry) and up to the shift of all
    scores that no decision shows. With more units than inputs times scores (less one) there may be many ways to turn units
    that give the same function: then the copy keeps the linear part beside them (``detail["turned"]`` is false), and agrees
    all the same.

    Every loop is bounded, and by the plan of the case first: an attack that cannot go on hands in what it has, and says in
    ``detail["gave_up"]`` what stopped it. A network of two hidden layers bends along broken planes, and is given up as such,
    however small: the paper peels layers off one by one, which needs the planes of the first to be told from the rest.

    Args:
        quiet: Lines in a row without a new unit after which all are taken to be found.
        lines: Most lines walked.
        most: Most bends of a line; more, and the function counts as curved.
        reach: How far beyond the middle of the inputs lines go, in standard deviations of theirs.
        checks: Answers kept out, to test the copy with.
    """

    quiet: int = 8
    lines: int = 400
    most: int = 400
    reach: float = 6.0
    checks: int = 32

    def __call__(self, oracle: Oracle, case: Copy, *, rng: RowRandom) -> Generator[Replica, None, Replica]:
        numbers(case, "extraction.cryptanalytic")
        book = _Book(Talk(oracle, case), np.asarray(draw(case, rng, 256, 0)))
        try:
            first = min(4 * (book.width + 1), max(1, book.talk.left // 4))
            book.ask(book.spread(rng, first, 1.0))
            yield book.replica([], "no line was walked yet")
            reason = yield from self._walk(book, rng)
            if not reason:
                last = 2 * (book.width + 1 + len(book.planes))
                book.ask(book.spread(rng, last, self.reach / 2, 2))
            claim = book.replica(book.planes, reason)
            yield claim
            claim = book.replica(book.planes, reason, book.error(book.spread(rng, self.checks, 1.0, 3)))
        except (BudgetSpent, Refused) as ended:
            if book.values is not None:
                yield book.replica(book.planes, str(ended))
            raise
        yield claim
        return claim

    def _walk(self, book: _Book, rng: RowRandom) -> Generator[Replica, None, str]:
        """Walk lines until none shows a unit that is not known; returns why it gave up, or nothing."""
        quiet, line, broken, shown, dearest = 0, 0, 0, 0, 0
        while line < self.lines:
            # At least so many more lines are walked in any case: together they take fewer calls and the same questions. The
            # first goes alone, because a function that bends everywhere shows it there; and none that may not be paid for.
            few = book.talk.left // (2 * dearest) if line else 1
            together = max(1, min(self.quiet - quiet, self.lines - line, few))
            before = book.talk.asked
            ends = np.stack([book.spread(rng, 2, self.reach, 100 + line + i) for i in range(together)])
            starts, alongs = ends[:, 0], ends[:, 1] - ends[:, 0]
            walked = kinks(book.ask, starts, alongs, self.most)
            dearest = max(dearest, (book.talk.asked - before) // together)
            for start, along, at in zip(starts, alongs, walked, strict=True):
                if at is None:
                    return "the scores bend everywhere: no network of a few ReLUs, or one that answers with few digits"
                known = len(book.planes)
                broken += book.look(start, along, np.array(at))
                if broken > 8 + len(book.planes):
                    return f"{broken} bends lie on no plane: more than one hidden layer, or too few digits"
                quiet = quiet + 1 if len(book.planes) == known else 0
            line += together
            if quiet >= self.quiet:
                return ""
            if book.talk.asked >= 2 * shown:
                shown = book.talk.asked
                yield book.replica(book.planes, "the walk goes on")
        return f"{self.lines} lines were walked, and the last ones still showed new units"


class _Book:
    """All points asked with their answers, and the planes found."""

    def __init__(self, talk: Talk, sample: Any) -> None:
        self.talk, self.planes = talk, list[Plane]()
        self._table = np.zeros((0, int(np.prod(sample.shape[1:])) + 1))  # the planes as rows (m, d + 1), the bias last
        self._shape, self._dtype = sample.shape[1:], sample.dtype
        flat = sample.reshape(len(sample), -1).astype(np.float64)
        spread = flat.std(0)
        self.centre, self.width = flat.mean(0), flat.shape[1]
        self.scale = np.where(spread > 0, spread, np.median(spread[spread > 0]) if (spread > 0).any() else 1.0)
        self._asked, self._told = list[Floats](), list[Floats]()
        self.values: Floats | None = None
        self.names: dict[int, Any] = {}
        self.net: Relu | None = None

    def spread(self, rng: RowRandom, size: int, reach: float, word: int = 1) -> Floats:
        """Points ``(size, d)`` about the middle, as far as `reach` standard deviations."""
        drawn = rng.normal(np.arange(size), (word, 0), (self.width,))
        return np.asarray(self.centre + reach * self.scale * drawn)

    def ask(self, a: Floats, keep: Ids | None = None) -> Floats:
        """The raw scores of points ``(n, d)``, each less that of the first class ``(n, c)``; one output stays as it is.

        Those at `keep` (all, by default) are kept for the fit of the last layer: of a bunch of neighbours one says all.
        """
        found = self.talk.ask(a.reshape(len(a), *self._shape).astype(self._dtype))
        value = self._read(found)
        self._asked.append(a if keep is None else a[keep])
        self._told.append(value if keep is None else value[keep])
        self.values = value
        return value

    def _read(self, response: Response) -> Floats:
        raw = response.logits if response.logits is not None else response.label
        if raw.dtype.kind != "f":
            raise BadInput("extraction.cryptanalytic reads raw scores, and the endpoint shows none; extraction.learning can do")
        if raw.dtype.itemsize < 8:
            raise BadInput(f"extraction.cryptanalytic needs raw scores in float64; in {raw.dtype} the bends drown in rounding")
        if raw.ndim == 1 or raw.shape[1] == 1:
            return np.asarray(raw.reshape(len(raw), 1))
        if len(self.names) < raw.shape[1]:
            for place, label in zip(raw.argmax(1).tolist(), response.label.tolist(), strict=True):
                self.names.setdefault(place, label)
        return np.asarray(raw[:, 1:] - raw[:, :1])

    def look(self, start: Floats, along: Floats, at: Floats) -> int:
        """Find the planes behind the bends at ``start + at * along`` that no known one explains; how many lie on none."""
        gap = np.diff(np.concatenate([[0.0], at, [1.0]]))
        gap = np.minimum(gap[:-1], gap[1:])
        x, broken = start + at[:, None] * along, 0
        near = np.abs(x @ self._table[:, :-1].T + self._table[:, -1])
        new = near.min(1, initial=np.inf) >= 1e-6 * (np.abs(x).max(1, initial=0.0) + 1)
        x, gap = x[new], gap[new]
        while len(x):
            # A line meets a plane once, so that these are planes of as many units; and as many as can be paid for.
            part = max(1, min(len(x), self.talk.left // (4 * self.width + 2)))
            for seen in planes_at(self.ask, x[:part], np.repeat(along[None], part, axis=0), gap[:part], self.scale):
                broken += seen.count("several")
                for plane in seen:
                    if isinstance(plane, Plane):
                        self._add(plane)
            x, gap = x[part:], gap[part:]
        return broken

    def _add(self, plane: Plane) -> None:
        """Remember a plane, if it is new."""
        row = np.append(plane.weights, plane.bias)
        off = np.minimum(np.abs(self._table - row).max(1), np.abs(self._table + row).max(1))
        if not (off < 1e-5 * max(1.0, abs(plane.bias))).any():
            self.planes.append(plane)
            self._table = np.concatenate([self._table, row[None]])

    def error(self, a: Floats) -> float:
        """How far the copy is from fresh answers, as a share of their spread."""
        value = self.ask(a)
        assert self.net is not None  # a copy was made before
        return float(np.abs(self.net(a) - value).max() / max(float(value.std()), 1e-300))

    def replica(self, planes: list[Plane], gave_up: str, error: float | None = None) -> Replica:
        """The copy: planes turned the right way round, and the last layer by least squares on everything asked."""
        a, value = np.concatenate(self._asked), np.concatenate(self._told)
        net = self.net = solve(a, value, planes, self.centre, self.scale)
        names, alone, width = dict(self.names), value.shape[1] == 1 and not self.names, value.shape[1] + 1

        def linear(x: Any) -> Floats:
            return net(np.asarray(x, np.float64).reshape(count(x), -1))

        def scores(x: Any) -> Floats:
            found = linear(x)
            return np.asarray(softmax(np.concatenate([np.zeros((len(found), 1)), found], axis=1), axis=1))

        def labels(x: Any) -> NDArray[Any]:
            if alone:
                return np.asarray(linear(x)[:, 0])
            return np.asarray(np.array([names.get(i, i) for i in range(width)])[scores(x).argmax(1)])

        detail = {
            "units": len(planes), "turned": net.turned, "answers": self.talk.asked, "gave_up": gave_up or None, "error": error,
        }  # fmt: skip
        return Replica(labels=labels, scores=None if alone else scores, parameters=net.parameters(), detail=detail)
