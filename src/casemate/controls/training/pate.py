"""Let teachers that share no record vote on labels, add noise to the count, and train a student on the outcome: PATE."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from ...core.control import control
from ...core.errors import BadInput, UsageError
from ...core.target import Recipe, Target, count, take, to_numpy
from ...judges.accountant import votes_noise
from ...trainers import MLP, Fits, Learner, Softmax, train_many
from ._network import fitting, labels_of, no_classes, share, whole

LEAST = 10  # rows a teacher learns from


@control(
    "training.pate",
    knows=("privacy.lira",),
    threats=("PR-01", "PR-02"),
    side_effects="as many trainings as there are teachers; the student knows only what was answered, and accuracy falls",
    trains=True,
)
class PATE:
    """Private aggregation of teacher ensembles (Papernot et al. 2017 and 2018, arXiv:1610.05755, arXiv:1802.08908).

    A share of the training rows is set aside as public: their inputs train the student, their labels are never looked at, and
    they are **not** protected. That is why the fact ``training.dp`` stays as it is: of the others, the teachers' rows, each
    record moves one vote, and the student spends at most epsilon on it. The noise is worked out without looking at the votes, so
    epsilon itself gives nothing away.

    Args:
        epsilon, delta: What all answers together may spend on a teacher's record.
        teachers: How many share the private rows.
        answers: Public rows that are labelled for the student.
        public: Share of the training rows set aside.
        kind: Noise of the count: ``gaussian`` (2018) or ``laplace`` (2017).
    """

    modality: ClassVar[tuple[str, ...]] = ("array", "table")
    epsilon: float = 8.0
    delta: float = 1e-5
    teachers: int = 20
    answers: int = 100
    public: float = 0.25
    kind: Literal["gaussian", "laplace"] = "gaussian"

    def __post_init__(self) -> None:
        share("epsilon", self.epsilon, 0, float("inf"))
        share("delta", self.delta, 0, 1)
        share("public", self.public, 0, 1)
        whole("teachers", self.teachers, 2)
        whole("answers", self.answers, 1)
        if self.kind not in ("gaussian", "laplace"):
            raise UsageError(f"kind={self.kind!r} is not allowed; give 'gaussian' or 'laplace'")

    def fits(self, recipe: Recipe) -> str:
        """Why it cannot be used with that recipe; empty where it can."""
        return no_classes(recipe) or self.too_few(count(recipe.x))

    def too_few(self, rows: int) -> str:
        """Why so many rows are not enough; empty where they are."""
        aside = int(rows * self.public)
        if aside < self.answers:
            return f"{aside} of {rows} rows are set aside, and {self.answers} answers need as many"
        if rows - aside < LEAST * self.teachers:
            return f"{rows - aside} rows are left for {self.teachers} teachers, and each needs {LEAST}"
        return ""

    @property
    def noise(self) -> float:
        """Scale or deviation of the noise, in votes."""
        return votes_noise(self.kind, self.epsilon, self.answers, self.delta)

    def harden_recipe(self, recipe: Recipe) -> Recipe:
        """A recipe that trains teachers, and a student from their votes.

        Raises:
            UsageError: The labels are no classes, or there are too few rows.
        """
        fitting(self, recipe)
        labels = labels_of(recipe)
        assert labels is not None
        stack = recipe.stack if isinstance(recipe.stack, MLP | Softmax) else None
        fit = Taught(recipe.fit, self, int(labels.max()) + 1, stack)
        return replace(recipe, fit=fit, stack=None, version=f"{recipe.version}+{self!r}")


@dataclass(frozen=True, slots=True)
class Taught:
    """A `fit` by way of teachers. A value, for worker processes."""

    fit: Callable[..., Target]
    control: PATE
    classes: int
    stack: Any

    def __call__(self, x: Any, y: Any, seed: int) -> Target:
        control, n = self.control, count(x)
        why = control.too_few(n)
        if why:
            raise BadInput(f"training.pate: {why}")
        rng = np.random.default_rng([seed, 0x7EAC])
        order = rng.permutation(n)
        asked, private = np.sort(order[: control.answers]), order[int(n * control.public) :]
        given = np.asarray(to_numpy(y))
        count_ = self._votes(x, given.astype(np.int64), private, take(x, asked), seed)
        labels = noisy_max(count_, control.kind, control.noise, rng)
        if len(np.unique(labels)) < 2:
            raise BadInput("training.pate: every answer is the same class; take more teachers, fewer answers or a larger epsilon")
        return self.fit(take(x, asked), labels.astype(given.dtype), seed)

    def _votes(self, x: Any, y: Any, private: NDArray[Any], ask: Any, seed: int) -> NDArray[np.int64]:
        control = self.control
        weights = np.zeros((control.teachers, count(x)), np.int64)
        for i, own in enumerate(np.array_split(private, control.teachers)):
            weights[i, own] = 1
        learner: Learner = self.stack if self.stack is not None else Fits(self.fit)
        seeds = [(seed * 1009 + i) & 0x7FFF_FFFF for i in range(control.teachers)]
        out = train_many(learner, x, y, weights, seeds=seeds, ask=ask, classes=self.classes)
        # A teacher that could not be trained has no vote: one record less or more still moves one vote at most.
        votes = out.logits[0][np.isfinite(out.logits[0]).all((1, 2))].argmax(2)
        return np.asarray((votes[..., None] == np.arange(self.classes)).sum(0))


def noisy_max(votes: NDArray[Any], kind: str, noise: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """The class with most votes after noise ``(n,)``, of counts ``(n, classes)``."""
    drawn = rng.normal(0, noise, votes.shape) if kind == "gaussian" else rng.laplace(0, noise, votes.shape)
    return np.asarray((votes + drawn).argmax(1), np.int64)
