"""Model inversion: the input that a model is surest of, class by class."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Invert, Recovered
from ...core.errors import BadInput
from ...core.oracle import Oracle
from ...core.random import RowRandom
from ...core.target import to_numpy

Floats = NDArray[np.float64]
FAINT = 1e-12  # a score of 0 was rounded: its logarithm stays finite
NUDGE = 0.01  # of a difference of scores, as a share of the domain


@attack(
    "privacy.inversion",
    needs=Need.LABEL | Need.SCORE,
    scope="set",
    case="invert",
    papers=("doi:10.1145/2810103.2813677",),
    aka=("MI-FACE", "model inversion"),
    spends="`restarts * steps` gradients a class; with scores only up to `queries` queries a class",
)
class ModelInversion:
    """Climb the confidence of a class from the middle of the domain.

    By slopes where the adversary holds them; by differences of scores else, along every coordinate of a small input and along
    `samples` random directions of a large one (NES). Differs from the paper: steps find their own length (Barzilai and Borwein),
    and the best input seen stands. What comes out is what the class means to the model, not a record: only the judge's
    comparison with members and with others says whether it is more.

    Args:
        steps: At most, of each climb. The paper takes 5,000.
        restarts: Climbs; the first begins in the middle, the others anywhere.
        rate: Longest step of any one value, as a share of the domain.
        threshold: The confidence that is enough; not looked at under a penalty.
        penalty: Half of it times the squared distance from the middle, in domains, is taken off the log-confidence.
        samples: Pairs of directions where only scores are seen.
        queries: Most of a class where only scores are seen.
    """

    steps: int = 200
    restarts: int = 1
    rate: float = 0.1
    threshold: float = 0.99
    penalty: float = 0.0
    samples: int = 20
    queries: int = 2000

    def __post_init__(self) -> None:
        if self.steps < 1 or not self.rate > 0 or not 0 < self.threshold <= 1 or not self.penalty >= 0 or self.queries < 1:
            raise BadInput(
                f"privacy.inversion: steps={self.steps}, rate={self.rate}, threshold={self.threshold}, penalty={self.penalty}, "
                f"queries={self.queries}; give counts from 1 up, a rate above 0, a threshold in (0, 1], a penalty from 0 up"
            )

    def __call__(self, oracle: Oracle, case: Invert, *, rng: RowRandom) -> Generator[Recovered, None, Recovered]:
        inside = oracle.works(Need.GRADIENT)
        at = _Climb(self, oracle, case, inside)
        for restart in range(self.restarts):
            at.begin(restart, rng)
            for step in range(self.steps):
                if not at.step(rng.fork(restart, step)):
                    break
                yield at.claim()
        return at.claim()


class _Climb:
    """All classes at once, one row each; a class that is done, or out of its queries, is asked no more."""

    def __init__(self, of: ModelInversion, oracle: Oracle, case: Invert, inside: bool) -> None:
        self.of, self.oracle, self.case, self.inside = of, oracle, case, inside
        self.label = np.asarray(case.classes, np.int64)
        self.span, self.size = case.high - case.low, int(np.prod(case.shape))
        k = len(self.label)
        self.best = np.full((k, self.size), (case.low + case.high) / 2)
        self.value, self.sure = np.full(k, -np.inf), np.zeros(k)
        self.asked = np.zeros(k, np.int64)

    def begin(self, restart: int, rng: RowRandom) -> None:
        k, middle = len(self.label), (self.case.low + self.case.high) / 2
        self.x = np.full((k, self.size), middle)
        if restart:
            self.x = rng.fork(0x1A7, restart).uniform(np.arange(k), 0, (self.size,)) * self.span + self.case.low
        self.before: tuple[Floats, Floats] | None = None
        self.open = np.ones(k, bool)

    def step(self, rng: RowRandom) -> bool:
        """Look at the points, note the best, and move on. False where nothing was left to do."""
        pairs = min(self.size, self.of.samples)
        if not self.inside:
            self.open &= self.asked + 2 * pairs + 1 <= self.of.queries
        rows = np.flatnonzero(self.open)
        if not len(rows):
            return False
        chance, slope = self._by_slope(rows) if self.inside else self._by_scores(rows, pairs, rng)
        away = (self.x[rows] - (self.case.low + self.case.high) / 2) / self.span
        value = np.log(np.maximum(chance, FAINT)) - self.of.penalty / 2 * (away**2).sum(1)
        better = value > self.value[rows]
        won = rows[better]
        self.value[won], self.sure[won], self.best[won] = value[better], chance[better], self.x[won]
        self._move(rows, np.nan_to_num(slope) - self.of.penalty * away / self.span)
        if self.of.penalty == 0:
            self.open[rows[chance >= self.of.threshold]] = False
        return True

    def _move(self, rows: NDArray[np.int64], slope: Floats) -> None:
        """One step up; its length from how the slope changed over the last one."""
        top = np.abs(slope).max(1, keepdims=True)
        length = np.divide(self.of.rate * self.span, top, out=np.zeros_like(top), where=top > 0)
        if self.before is not None:
            went, bent = self.x[rows] - self.before[0][rows], slope - self.before[1][rows]
            curve = -(went * bent).sum(1, keepdims=True)
            own = np.divide((went**2).sum(1, keepdims=True), curve, out=length.copy(), where=curve > 0)
            length = np.minimum(length, own)
        held = self.before or (self.x.copy(), np.zeros_like(self.x))
        held[0][rows], held[1][rows] = self.x[rows], slope
        self.before = held
        self.x[rows] = np.clip(self.x[rows] + length * slope, self.case.low, self.case.high)
        self.open[rows[(np.abs(self.x[rows] - held[0][rows]).max(1) <= 1e-9 * self.span)]] = False

    def _by_slope(self, rows: NDArray[np.int64]) -> tuple[Floats, Floats]:
        from torch.nn.functional import cross_entropy

        def loss(logits: Any, y: Any) -> Any:
            return cross_entropy(logits, y, reduction="none")

        found = self.oracle.gradient(self._shaped(self.x[rows]), y=self.label[rows], rows=rows, loss=loss)
        chance = np.exp(-np.asarray(to_numpy(found.loss), np.float64))
        return chance, -np.asarray(to_numpy(found.slope), np.float64).reshape(len(rows), -1)

    def _by_scores(self, rows: NDArray[np.int64], pairs: int, rng: RowRandom) -> tuple[Floats, Floats]:
        """Confidence, and its slope by differences: every question of a class is charged to it."""
        if pairs == self.size:
            along = np.tile(np.eye(self.size), (len(rows), 1, 1))
        else:
            along = rng.normal(rows, 0, (pairs, self.size))
        nudge = NUDGE * self.span
        here = self.x[rows][:, None]
        points = np.concatenate([here, here + nudge * along, here - nudge * along], 1)
        points = np.clip(points, self.case.low, self.case.high)
        each = 2 * pairs + 1
        scores = np.asarray(to_numpy(self.oracle.scores(self._shaped(points.reshape(-1, self.size)), rows=np.repeat(rows, each))))
        if scores.ndim != 2 or scores.shape[1] <= self.label.max():
            raise BadInput(f"privacy.inversion: scores of shape {scores.shape} for class {int(self.label.max())}; one for each")
        self.asked[rows] += each
        chance = scores.reshape(len(rows), each, -1)[np.arange(len(rows)), :, self.label[rows]].astype(np.float64)
        worth = np.log(np.maximum(chance, FAINT))
        up, down = worth[:, 1 : pairs + 1], worth[:, pairs + 1 :]
        # Points at the edge were clipped: the difference is over what was really gone.
        gone = np.abs(points[:, 1 : pairs + 1] - points[:, pairs + 1 :]).max(2) / np.abs(along).max(2)
        rise = np.divide(up - down, gone, out=np.zeros_like(up), where=gone > 0)
        return chance[:, 0], np.asarray((rise[:, :, None] * along).sum(1) / (1 if pairs == self.size else pairs))

    def _shaped(self, x: Floats) -> Floats:
        return x.reshape(len(x), *self.case.shape)

    def claim(self) -> Recovered:
        detail = {"by": "slopes" if self.inside else "scores", "confidence": self.sure.tolist()}
        return Recovered(x=self._shaped(self.best.copy()), y=self.label.copy(), detail=detail)
