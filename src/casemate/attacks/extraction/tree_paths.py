"""Path finding: a decision tree is recovered leaf by leaf from the scores that tell its leaves apart."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Copy, Replica
from ...core.errors import BudgetSpent, NotGranted, Refused
from ...core.oracle import Oracle
from ...core.random import RowRandom
from ...core.target import Response, count
from ._axes import draw
from ._boxes import Boxes
from ._columns import Columns, columns_of
from ._faces import Found, no_cuts, repair, search
from ._talk import Talk

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]
_TOGETHER = 32  # leaves searched at a time
_DIGITS = 12  # of a score; what lies beyond is rounding
_TRIES = 20  # rounds of checks, each after the leaves that the one before found


@attack(
    "extraction.tree_paths",
    needs=Need.LABEL | Need.SCORE,
    scope="set",
    papers=("arXiv:1609.02943",),
    aka=("tree path finding", "path-finding"),
    spends="a leaf: 2 d queries, 1 a level, about log2(cuts known) a face; a cut: log2(1 / precision); and `checks`",
    modality=("array", "table"),
)
class TreePaths:
    """Search along each column from a point to the faces of its leaf, and go on in the leaves behind them.

    Where leaves answer differently, what the endpoint shows names the leaf: the scores of a classifier, the number of a
    regression. Behind every face of a leaf lies the other side of one split, so that going on from face to face reaches all
    leaves. The paper asks with inputs left incomplete where an endpoint allows it; here a whole input is asked, and a cut that
    is known from another leaf is tried before an interval is halved, which saves most of the questions.

    Leaves that answer alike cannot be told apart: `ambiguous` counts them, and their boxes may run together. Points inside
    the boxes and `checks` from the pool find where that went wrong; what they find is searched in turn. A budget that ends
    leaves the leaves known so far (``detail["gave_up"]``).

    Args:
        precision: How well a cut is to be known, as a share of the column's range. Data often lie on a lattice, and then some
            input lies within a rounding error of a cut; a cut is paid for once, so that the last digits cost little.
        wider: How far outside the range of the pool is searched, as a share of that range, where no domain is stated.
        inside: Points asked inside every box.
        checks: Inputs of the pool, and points of the domain, asked when all seems known; those that are answered otherwise
            lead on.
    """

    precision: float = 1e-14
    wider: float = 0.5
    inside: int = 2
    checks: int = 256

    def __call__(self, oracle: Oracle, case: Copy, *, rng: RowRandom) -> Generator[Replica, None, Replica]:
        columns = columns_of(case, self.precision, self.wider)
        state = _State(columns, Talk(oracle, case))
        start = columns.read(draw(case, rng, 1, 0))
        state.push(start, state.ask(start))
        yield state.replica("the questions ended before a leaf was known")
        yield from state.explore(rng, self.inside)
        for attempt in range(_TRIES):
            x = columns.read(draw(case, rng, self.checks, 10 + attempt))
            anywhere = columns.sample(rng, self.checks, (50 + attempt,), columns.low, columns.high)
            if not state.check(np.concatenate([x, anywhere])):
                break
            yield from state.explore(rng, self.inside)
        claim = state.replica("", complete=True)
        yield claim
        return claim


class _State:
    """What is known: boxes, cuts, answers, and points that wait."""

    def __init__(self, columns: Columns, talk: Talk) -> None:
        self.columns, self.talk, self.cuts = columns, talk, no_cuts(columns)
        self.names: dict[tuple[Any, ...], int] = {}
        self.shown: list[tuple[Any, Any]] = []
        self.boxes: Boxes | None = None
        self.waiting = np.zeros((0, len(columns.low)))
        self.answers = np.zeros(0, np.int64)

    def ask(self, a: Floats) -> Ids:
        """Which answer each of the points ``(n, d)`` gets ``(n,)``."""
        return self._named(self.talk.ask(self.columns.write(a))) if len(a) else np.zeros(0, np.int64)

    def _named(self, response: Response) -> Ids:
        label, scores = response.label, response.scores
        if scores is None and label.dtype.kind != "f":
            raise NotGranted("scores are granted, but the endpoint shows labels only; extraction.learning works on labels")
        rows = label[:, None].astype(float) if scores is None else np.round(scores.astype(np.float64), _DIGITS) + 0.0
        found = []
        names = label.tolist() if scores is not None else [None] * len(label)
        for i, key in enumerate(zip(map(tuple, rows.tolist()), names, strict=True)):
            if key not in self.names:
                self.names[key] = len(self.shown)
                self.shown.append((label[i], None if scores is None else scores[i]))
            found.append(self.names[key])
        return np.array(found, np.int64)

    def push(self, a: Floats, answers: Ids) -> None:
        """Points that may lie in leaves not yet known."""
        self.waiting, self.answers = np.concatenate([self.waiting, a]), np.concatenate([self.answers, answers])

    def _take(self) -> tuple[Floats, Ids]:
        """The next points to search from: none that its box explains, and no two with one answer."""
        while self.boxes is not None and len(self.waiting):
            place, inside = self.boxes.place(self.columns, self.waiting)
            right = self.boxes.answer[place] == self.answers
            wrong = np.flatnonzero(inside & ~right)
            which, first = np.unique(place[wrong], return_index=True)
            witness = self.waiting[wrong[first]]
            self.waiting, self.answers = self.waiting[~(inside & right)], self.answers[~(inside & right)]
            if not len(which):
                break
            self.boxes, behind, answers = repair(self.columns, self.boxes, which, witness, self.cuts, self.ask)
            self.push(behind, answers)
        _, first = np.unique(self.answers, return_index=True)
        chosen = np.sort(first)[:_TOGETHER]
        points, answers = self.waiting[chosen], self.answers[chosen]
        self.waiting, self.answers = np.delete(self.waiting, chosen, 0), np.delete(self.answers, chosen)
        return points, answers

    def explore(self, rng: RowRandom, inside: int) -> Generator[Replica, None, None]:
        """Search until no point waits. Raises what ends the questions, after a last copy."""
        while True:
            try:
                points, answers = self._take()
                if not len(points):
                    return
                found = search(self.columns, points, answers, self.cuts, self.ask)
                self.boxes = found.boxes if self.boxes is None else self.boxes.and_(found.boxes)
                self.push(found.next, found.answer)
                if found.ended is not None:
                    raise found.ended
                self._look_inside(found, rng, inside)
            except (BudgetSpent, Refused) as ended:
                yield self.replica(str(ended))
                raise
            yield self.replica("the search goes on")

    def _look_inside(self, found: Found, rng: RowRandom, inside: int) -> None:
        """Ask at a few points of new boxes: where two leaves that answer alike ran together, another may lie between them."""
        low, high = (np.repeat(part, inside, axis=0) for part in (found.boxes.low, found.boxes.high))
        low, high = np.maximum(low, self.columns.low), np.minimum(high, self.columns.high)
        a = self.columns.sample(rng, len(low), (20, self.talk.asked), low, high)
        self.push(a, self.ask(a))

    def check(self, x: Floats) -> bool:
        """Whether any of the inputs is answered otherwise than the copy says; those then wait. Asks what is affordable."""
        x = x[: self.talk.left]
        if not len(x) or self.boxes is None:
            return False
        seen = self.ask(x)
        wrong = seen != self.boxes.answer[self.boxes.place(self.columns, x)[0]]
        self.push(x[wrong], seen[wrong])
        return bool(wrong.any())

    def replica(self, gave_up: str, complete: bool = False) -> Replica:
        """The copy as it stands; answers are looked up in boxes."""
        columns, boxes, shown = self.columns, self.boxes, list(self.shown)
        first = int(self.answers[0]) if boxes is None else 0
        label = np.array([name for name, _ in shown])
        scores = None if shown[0][1] is None else np.stack([s for _, s in shown])

        def answer(x: Any) -> Ids:
            a = columns.read(x)
            return np.full(count(x), first) if boxes is None else boxes.answer[boxes.place(columns, a)[0]]

        detail = {
            "leaves": 0 if boxes is None else len(boxes), "ambiguous": 0 if boxes is None else boxes.ambiguous(),
            "cuts": sum(len(pairs) for pairs in self.cuts.pairs), "waiting": len(self.waiting), "complete": complete,
            "gave_up": gave_up or None, "answers": self.talk.asked,
        }  # fmt: skip
        show = None if scores is None else lambda x: scores[answer(x)]
        return Replica(labels=lambda x: label[answer(x)], scores=show, detail=detail)


