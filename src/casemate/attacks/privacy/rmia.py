"""Robust membership inference: does the record gain more by training than others of its kind do?"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Guesses, Infer
from ...core.errors import BadInput
from ...core.oracle import Oracle
from ...core.random import RowRandom
from ...core.target import count
from .._shadows import Shadows, shadows
from ._answers import Floats, Told, chances, guesses, interview, neighbours

GRID = tuple(round(0.1 * step, 1) for step in range(11))
STANDINS = 4  # shadows that play the deployed model while `a` is chosen
TINY = 1e-300


@attack(
    "privacy.rmia",
    needs=Need.LABEL | Need.SCORE,
    scope="set",
    papers=("arXiv:2312.03262",),
    aka=("RMIA", "robust membership inference"),
    spends="1 query per candidate, at most `reference` more for the population; `shadows` trainings of the attacker's own",
    modality=("array", "table", "bytes", "text"),
    static_cost=lambda a: 2,
)
class RMIA:
    """Compare how much likelier training made a record with how much likelier it made others.

    A record's gain is the deployed model's probability of its label over what a model that may or may not have seen it gives:
    ``((1 + a) * out + 1 - a) / 2``, where `out` is the mean over shadows trained without it. The score is the share of the
    population whose gain it exceeds `gamma` times. That is a count with many ties, so each step of it is filled by the
    record's rank by gain. Without a population the other candidates take its place; some of them are members, which costs
    nothing in the order of the candidates but makes the share that is called members too small.

    Args:
        shadows: Models to train, an even number; each record is out of half of them.
        a: How the mean with the record follows from that without, from 0 (it is always 1) to 1 (it is the same). None: the
            value of a grid that tells members best when some of the shadows play the deployed model.
        gamma: How many times larger a gain must be.
        beta: The score above which a record is called a member: ``1 - beta`` is about the share of others called so.
        reference: Most records of the population asked about.
        seed: Of the shadows; attacks with the same seed share them.
    """

    shadows: int = 64
    a: float | None = None
    gamma: float = 1.0
    beta: float = 0.9
    reference: int = 2500
    seed: int = 0

    def __call__(self, oracle: Oracle, case: Infer, *, rng: RowRandom) -> Generator[Guesses, None, Guesses]:
        if not (self.gamma > 0 and 0 <= self.beta < 1 and (self.a is None or 0 <= self.a <= 1) and self.reference >= 1):
            raise BadInput(
                "privacy.rmia: gamma is above 0, beta from 0 up to below 1, a from 0 to 1 or None, reference from 1 up; got "
                f"gamma={self.gamma}, beta={self.beta}, a={self.a}, reference={self.reference}"
            )
        claim, models, beside = None, None, None
        for told in interview(oracle, case, rng, "privacy.rmia"):
            if models is None:
                classes = told.logits.shape[1]
                models = shadows(oracle, case, classes=classes, many=self.shadows, seed=self.seed, who="privacy.rmia")
                a = self.a if self.a is not None else tuned(models, told.y)
                out = _out(models.logits, models.inside, told.y)
            claim = self._decide(gain(true(told.logits, told.y), out, a), told, None, a, models)
            yield claim
        assert claim is not None and models is not None  # replies raise where nothing at all comes back
        if case.population is not None and count(case.population.x):
            for beside in neighbours(oracle, case, count(case.x), self.reference, "privacy.rmia"):
                claim = self._decide(gain(true(told.logits, told.y), out, a), told, beside, a, models)
                yield claim
        return claim

    def _decide(self, own: Floats, told: Told, beside: Told | None, a: float, models: Shadows) -> Guesses:
        if beside is None:
            other = own[told.asked]
        else:
            rest = _out(models.beside, models.beside_inside, beside.y)
            other = gain(true(beside.logits, beside.y), rest, a)[beside.asked]
        score = dominance(own, other, self.gamma)
        detail = {"a": a, "compared_with": "the population" if beside is not None else "the candidates", "others": len(other)}
        return guesses(score, told, score >= self.beta, detail | models.detail)


def true(logits: Any, y: NDArray[np.int64]) -> Floats:
    """The probability of the label of each record, ``(..., n, k) -> (..., n)``."""
    return np.asarray(chances(logits)[..., np.arange(len(y)), y])


def _out(logits: Any, inside: NDArray[np.bool_], y: NDArray[np.int64]) -> Floats:
    """The mean probability over the shadows trained without the record ``(n,)``."""
    return np.asarray(np.nanmean(np.where(inside, np.nan, true(logits, y)), axis=0))


def gain(seen: Floats, out: Floats, a: float) -> Floats:
    """The log of how much likelier the record is under the deployed model than under any model ``(n,)``."""
    return np.asarray(np.log(np.maximum(seen, TINY)) - np.log(np.maximum(((1 + a) * out + 1 - a) / 2, TINY)))


def dominance(own: Floats, other: Floats, gamma: float) -> Floats:
    """The share of `other` that each of `own` exceeds `gamma` times, each step filled by the rank of `own` ``(n,)`` in [0, 1)."""
    ordered = np.sort(other)
    below = np.searchsorted(ordered, own - np.log(gamma), side="right")
    return np.asarray((below + (rankdata(own) - 0.5) / len(own)) / (len(other) + 1))


def tuned(models: Shadows, y: NDArray[np.int64]) -> float:
    """The `a` that tells members best, where shadows whose members are known play the deployed model."""
    standins = [_Standin.of(models, i, y) for i in range(min(STANDINS, len(models) - 2))]
    return max(GRID, key=lambda a: (sum(standin.area(a) for standin in standins), -abs(a - 0.3)))


@dataclass(frozen=True, slots=True)
class _Standin:
    """A shadow in place of the deployed model: its probabilities, the mean of the others without each record, its members."""

    seen: Floats
    out: Floats
    inside: NDArray[np.bool_]

    @staticmethod
    def of(models: Shadows, place: int, y: NDArray[np.int64]) -> _Standin:
        rest = np.arange(len(models)) != place
        return _Standin(true(models.logits[place], y), _out(models.logits[rest], models.inside[rest], y), models.inside[place])

    def area(self, a: float) -> float:
        """How often a member's gain is larger than another's."""
        ranks, members = rankdata(gain(self.seen, self.out, a)), int(self.inside.sum())
        return float((ranks[self.inside].sum() - members * (members + 1) / 2) / max(1, members * (len(ranks) - members)))
