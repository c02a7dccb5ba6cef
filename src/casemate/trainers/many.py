"""Train many models that differ in which rows they saw, and keep what they answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import BadInput
from ..core.identity import hash_data
from ..core.target import Response, count, take, to_numpy
from . import newton, pool
from ._given import Given, given
from ._own import judged
from .cache import Own, Shelf, memory, models
from .learners import MLP, Fits, Learner, Softmax
from .limit import now_allowed, too_long, within

Show = Callable[[int, int], None]
STACK = 64  # networks in a stack: of more, a step no longer fits into the processor's own memory
STACK_BYTES = 1 << 30  # and where one network is large, fewer
WIDE = 512  # units from which on a stack gains nothing: see `stacks`
LEAST_SCORE, LEAST_LABEL = 1e-30, 1e-12  # logits are finite also where a score is 0 or only a label is given


@dataclass(frozen=True, slots=True)
class Outcome:
    """What N models answer, in the order of their seeds.

    Args:
        logits: For each array asked, ``(N, q, k)``, float32 of `MLP` and float64 of the others; NaN for a model that has none.
        accuracy: Share of its own training rows that each model gets right ``(N,)``, by weight; NaN where it has no answers.
        loss: Mean cross-entropy on its own training rows ``(N,)``, in nats, by weight; NaN as above.
        failed: Models not to be used ``(N,)``: not trained, answers that are not finite, or no better on their own training
            rows than always naming the commonest class there.
        why: What is wrong with each; "" where nothing is.
        kept: Models whose answers were read from the cache ``(N,)``.
        seconds: By the clock, all in all.
    """

    logits: list[NDArray[Any]]
    accuracy: NDArray[np.float64]
    loss: NDArray[np.float64]
    failed: NDArray[np.bool_]
    why: tuple[str, ...]
    kept: NDArray[np.bool_]
    seconds: float

    @property
    def reasons(self) -> str:
        """In one line how many failed and of what; "" where none did."""
        said = [why for why in self.why if why]
        many = {why: said.count(why) for why in dict.fromkeys(said)}
        return "; ".join(f"{times} of {len(self.why)} models failed: {why}" for why, times in many.items())


def train_many(
    learner: Learner, x: Any, y: Any, weights: Any, *, seeds: Sequence[int], ask: Any, classes: int | None = None,
    cache: str | Path | None = None, device: str = "cpu", show: Show | None = None, limit: float | None = None,
) -> Outcome:  # fmt: skip
    """Train N models on rows of `x`, each on its own, and answer.

    A model depends on its learner, rows, labels and seed, never on the others. `MLP` and `Softmax` remember the models trained
    last, so that asking the same ones other questions costs a forward pass; `Fits` trains again, so ask all at once.

    Cost: 64 networks 64-64-10 on half of the scikit-learn digits, 60 passes, take 4 to 5 s on one core; 128 logistic
    regressions on half of its breast cancer data 0.1 s (benchmarks/shadows.py). Regressions of many coefficients, as the
    digits' 650, cost 12 ms each where 32 train on halves of the same labelled rows, 4 ms with ``tol=5e-5``, otherwise 30 to 40.

    Args:
        learner: `MLP`, `Softmax` or `Fits`.
        x: Inputs ``(n, ...)``: numbers for MLP and Softmax, which flatten them; whatever `fit` takes for Fits.
        y: Labels from 0 to k - 1, ``(n,)``, or ``(N, n)`` where models see unlike labels.
        weights: How often each row is in each model's training rows ``(N, n)``: 0, 1 or more; for Softmax anything from 0 up.
        seeds: One for each model, from 0 up.
        ask: Inputs to answer ``(q, ...)``, or a list or tuple of such arrays.
        classes: How many classes there are; None: the largest label and one.
        cache: A folder that keeps outputs between processes; None: nothing is written.
        device: Where MLP trains, such as "cuda"; the others know "cpu" only.
        show: Called with (models done, models).
        limit: Seconds one training may take, or one stack of networks that are trained together; None: what the run is given, an
            hour where nobody said. Infinity takes the limit off.

    Raises:
        TooLong: A training was cut: it says which, after how long, and what to do.
        BadInput: The arguments do not fit together. A model that cannot be trained raises nothing: it is in `failed`.
    """
    started = time.perf_counter()
    if limit is not None and not limit > 0:
        raise BadInput(f"limit={limit!r} is not allowed; give seconds above 0, or None")
    limit = now_allowed() if limit is None else limit
    shelf = Shelf(cache) if cache is not None else None
    work = _Work(given(learner, x, y, weights, seeds, ask, classes, device), shelf, show, limit)
    open_ = work.read()
    if open_ and isinstance(learner, Fits):
        work.fit(learner, open_)
    elif open_:
        work.train(open_)
    own = [work.own[i] for i in range(len(work.own))]
    why = tuple(each.why for each in own)
    return Outcome(
        work.logits, np.array([each.accuracy for each in own]), np.array([each.loss for each in own]),
        np.array([bool(each) for each in why]), why, work.kept, time.perf_counter() - started,
    )  # fmt: skip


def stacks(learner: MLP) -> bool:
    """Whether a stack is faster than one network after the other: False from 512 hidden units in a layer.

    On one core, against a plain loop (benchmarks/shadows.py): 128 units and batches of 32 4.6 times as fast, batches of 128
    2.4 times; 512 units 1.3 and 0.8 times; 1024 units and batches of 128 slower, 0.6. There, processes gain what cores there are.
    """
    return max((*learner.hidden, 0)) < WIDE


@dataclass(slots=True)
class _Work:
    """The models of one call: which are done, and what they answered."""

    of: Given
    shelf: Shelf | None
    show: Show | None
    limit: float
    logits: list[NDArray[Any]] = field(init=False)
    own: dict[int, Own] = field(init=False, default_factory=dict)
    names: list[str] = field(init=False)
    kept: NDArray[np.bool_] = field(init=False)
    _asked: list[str] = field(init=False)
    _told: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        of = self.of
        kind = np.float32 if isinstance(of.learner, MLP) and not of.learner.double else np.float64
        self.logits = [np.full((len(of.seeds), count(each), of.classes), np.nan, kind) for each in of.asked]
        self.names = models(of.learner, of.x, of.y, of.weights, of.seeds, of.classes, of.device)
        self.kept = np.zeros(len(of.seeds), bool)
        self._asked = [hash_data(each) for each in of.asked] if self.shelf is not None else []

    def read(self) -> list[int]:
        """Take what the cache holds; the models that are still to be asked."""
        for i, name in enumerate(self.names):
            found = self._found(name)
            if found:
                self.kept[i] = True
                self._done(i, [each[0] for each in found], found[0][1], keep=False)
            elif not self.of.weights[i].any():
                self.own[i] = Own(np.nan, np.nan, "it has no training rows")
        return [i for i in range(len(self.names)) if i not in self.own]

    def _found(self, name: str) -> list[tuple[NDArray[Any], Own]]:
        """What the cache holds of that model on each array asked; nothing where it lacks one."""
        if self.shelf is None or not name:
            return []
        found = [self.shelf.get(name, asked, into.shape[1:]) for asked, into in zip(self._asked, self.logits, strict=True)]
        return [each for each in found if each is not None] if None not in found else []

    def _done(self, model: int, answers: list[NDArray[Any]], own: Own, keep: bool = True) -> None:
        for into, answer in zip(self.logits, answers, strict=True):
            into[model] = answer
        self.own[model] = own
        # An error may be gone the next time; what was learned, or not, stays so.
        if keep and self.shelf is not None and self.names[model] and np.isfinite(own.loss):
            for asked, answer in zip(self._asked, answers, strict=True):
                self.shelf.put(self.names[model], asked, answer, own)
        self._tell(len(self.own))

    def _tell(self, done: int) -> None:
        """Forwards only: a group that has trained and is now read was counted while it trained."""
        if self.show is not None and done > self._told:
            self._told = done
            self.show(done, len(self.names))

    def train(self, open_: list[int]) -> None:
        """Networks and regressions: from memory where they are there, the others trained, group by group."""
        held = {i: memory.get(self.names[i]) for i in open_}
        known = [i for i in open_ if held[i] is not None]
        for start in range(0, len(known), STACK):
            some = known[start : start + STACK]
            self._answer(some, np.stack([held[i] for i in some]), [""] * len(some))  # type: ignore[misc]
        fresh = [i for i in open_ if held[i] is None]
        if isinstance(self.of.learner, MLP) and self.of.device == "cpu" and not stacks(self.of.learner):
            return self._lone(self.of.learner, fresh)
        size = self._group()
        for start in range(0, len(fresh), size):
            some = fresh[start : start + size]
            which = f"training {start + 1} to {start + len(some)} of {len(fresh)}, together,"
            with within(self.limit, too_long(which, self.limit)):
                made, why = self._trained(some)
            self._answer(some, made, why)
        return None

    def _group(self) -> int:
        learner = self.of.learner
        if not isinstance(learner, MLP):
            return STACK * 4
        from .stacked import length

        each = 4 * (8 if learner.double else 4) * length((self.of.x.shape[1], *learner.hidden, self.of.classes))
        most = STACK if self.of.device == "cpu" else len(self.names)
        return max(1, min(most, STACK_BYTES // each))

    def _trained(self, some: list[int]) -> tuple[NDArray[Any], list[str]]:
        of = self.of
        if isinstance(of.learner, Softmax):
            return newton.fit(of.learner, of.x, of.labels(some), of.weights[some], of.classes)
        from .stacked import train

        assert isinstance(of.learner, MLP)
        before = len(self.own)

        def show(step: int, steps: int) -> None:
            self._tell(before + (len(some) * step - 1) // steps)  # the last is done when it has answered

        rows, seeds = [of.rows(i) for i in some], [of.seeds[i] for i in some]
        made = train(of.learner, of.x, of.labels(some), rows, seeds, of.classes, device=of.device, show=show)
        return made, [""] * len(some)

    def _lone(self, learner: MLP, fresh: list[int]) -> None:
        of = self.of
        jobs = [(of.rows(i), of.seeds[i], None if of.y.ndim == 1 else of.y[i]) for i in fresh]
        shared = (learner, of.x, of.y if of.y.ndim == 1 else None, of.classes)
        for place, made, why in pool.spread(_network, shared, jobs, limit=self.limit):
            if made is None:
                self.own[fresh[place]] = Own(np.nan, np.nan, why)
            else:
                self._answer([fresh[place]], made[None], [""])

    def _answer(self, some: list[int], made: NDArray[Any], why: list[str]) -> None:
        """Ask the models trained, judge them on their own rows, and remember them."""
        of = self.of

        def ask(x: NDArray[Any]) -> NDArray[Any]:
            if isinstance(of.learner, MLP):
                from .stacked import answers

                return answers(made, of.learner, x, of.classes, of.device)
            return newton.answers(made, x)

        own = judged(lambda start, end: ask(of.x[start:end]), of.labels(some), of.weights[some], of.classes, why)
        said = [ask(each) for each in of.asked]
        for place, i in enumerate(some):
            if not why[place]:
                memory.put(self.names[i], made[place])
            self._done(i, [each[place] for each in said], own[place])

    def fit(self, learner: Fits, open_: list[int]) -> None:
        """The user's own function, one model after the other or in processes."""
        of = self.of
        jobs = [(of.rows(i), of.seeds[i], None if of.y.ndim == 1 else of.y[i]) for i in open_]
        shared = (learner.fit, of.x, of.y if of.y.ndim == 1 else None, of.asked, of.classes)
        for place, found, why in pool.spread(_fitted, shared, jobs, learner.workers, self.limit):
            i = open_[place]
            if found is None:
                self.own[i] = Own(np.nan, np.nan, why)
                self._tell(len(self.own))
                continue
            self._done(i, found[1], found[0])


def _network(shared: Any, job: Any) -> NDArray[Any]:
    """One network on its own: its weights."""
    from .stacked import train

    (learner, x, y, classes), (rows, seed, labels) = shared, job
    return np.asarray(train(learner, x, y if labels is None else labels, [rows], [seed], classes)[0])


def _fitted(shared: Any, job: Any) -> tuple[Own, list[NDArray[Any]]]:
    """One model of the user's: how it does on its own rows, and what it answers."""
    (fit, x, y, asked, classes), (rows, seed, labels) = shared, job
    labels = y if labels is None else labels
    target = fit(take(x, rows), labels[rows], seed)
    own, times = np.unique(rows, return_counts=True)
    logits = _logits(target.respond(take(x, own)), len(own), classes)
    verdict = judged(lambda start, end: logits[None, start:end], labels[own], times[None], classes, [""])[0]
    return verdict, [_logits(target.respond(each), count(each), classes) for each in asked]


def _logits(response: Response, rows: int, classes: int) -> NDArray[Any]:
    """Logits ``(rows, classes)``: as given, or the logarithm of the scores, or of nearly certain labels."""
    shown = response.logits if response.logits is not None else response.scores
    if shown is None:
        labels = np.asarray(to_numpy(response.label))
        if labels.shape != (rows,) or labels.dtype.kind not in "biu" or not ((labels >= 0) & (labels < classes)).all():
            raise BadInput(f"fit gave a model that answers neither scores nor labels from 0 to {classes - 1}")
        return np.where(labels[:, None] == np.arange(classes), 0.0, np.log(LEAST_LABEL))
    array = np.asarray(to_numpy(shown), float)
    if array.shape != (rows, classes):
        due = f"({rows}, {classes}) was due; its rows may lack a class"
        raise BadInput(f"fit gave a model that answers {array.shape} where {due}")
    return array if response.logits is not None else np.log(np.maximum(array, LEAST_SCORE))
