"""Driving an attack: sending survivors back, packing dialogues, keeping the last claim whatever happens.

Three drivers, one for each scope. Each returns a `Trace`: the final claim and what was seen on the way.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.attack import Answer, Ask, Claim
from ..core.case import Evade
from ..core.errors import BudgetSpent, RunError
from ..core.errors import Refused as RefusedError
from ..core.goal import reached
from ..core.oracle import Oracle
from ..core.random import RowRandom
from ..core.target import count, take, to_numpy
from ..core.withheld import given

TENTHS = 10  # yields (or queries of a dialogue) it takes to have a last tenth
STILL = 0.05  # gain in the last tenth that says the attack was not done
PACK = 4096  # most rows of one packed model call: enough to fill it, small enough for memory
CONFIRM, SURELY = 21, 15  # answers asked of a success against a random target, and how many must agree: chance alone (one
# half) gives that once in twenty-five tries, and a row whose chance is small would otherwise pass on one of its many steps
LATE = "budget: the time was up"
Progress = Callable[[float], None]


def over(until: float | None) -> bool:
    """Whether a deadline, in `time.monotonic`, has passed."""
    return until is not None and time.monotonic() > until


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What an attack on rows left behind. All ``(n,)`` in the order of the case.

    Args:
        x: The claims.
        believed: Rows the attacker believes broken.
        broke_at: What each row had spent (queries, or local calls and gradients on a copy) when it was first seen broken.
        blocked: Rows the endpoint refused before they broke.
        improving: Rows still getting nearer in the last tenth of the attack: more steps might help.
        measured: Rows of which that is known.
        stopped: Why the attack ended early, or an empty string.
        by, stages: Of a cascade: which stage each claim is from (-1: none), and what each stage did.
    """

    x: Any
    believed: NDArray[np.bool_]
    broke_at: NDArray[np.float64]
    blocked: NDArray[np.bool_]
    improving: NDArray[np.bool_]
    measured: NDArray[np.bool_]
    stopped: str = ""
    by: NDArray[np.int64] | None = None
    stages: tuple[Any, ...] = ()


def drive_rows(
    attack: Any, oracle: Oracle, case: Evade, rng: RowRandom, progress: Progress | None = None, until: float | None = None,
) -> Trace:  # fmt: skip
    """Run an attack that works on many rows; rows that are done never cost another call."""
    book = _Book(oracle, case)
    talk: Generator[Any, Any, Any] = attack(oracle, case, rng=rng)
    at, stopped = None, ""
    blocked = np.zeros(len(case), bool)
    try:
        at = next(talk)
        while True:
            at, alive = book.note(at)
            if progress:
                progress(1 - alive.sum() / max(1, len(case)))
            if not alive.any() or over(until):
                stopped = LATE if alive.any() else ""
                talk.close()
                break
            if not alive.all():
                at = at.only(alive)
            at = talk.send(at)
    except StopIteration as end:
        if end.value is not None:
            at, _ = book.note(end.value)
    except BudgetSpent as spent:
        stopped = f"budget: {spent}"
    except RefusedError as refused:
        stopped = f"refused: {refused}"
        blocked = ~book.believed
    if at is not None:
        book.leave(at)
    return book.trace(blocked, stopped)


class _Book:
    """The driver's own record, by position in the case: what the attack says of itself is only noted."""

    def __init__(self, oracle: Oracle, case: Evade) -> None:
        self._oracle, self._case = oracle, case
        self._sorted = np.argsort(case.row)
        self._row = np.asarray(case.row)
        self._x: Any = None
        self.believed = np.zeros(len(case), bool)
        self._broke_at = np.full(len(case), np.nan)
        self._steps = 0
        self._late: deque[tuple[int, NDArray[np.int64], NDArray[np.float64]]] = deque()  # the steps of the last tenth so far
        self._loss = np.full((3, len(case)), np.nan)  # where first seen, at nine tenths, at the last

    def _places(self, row: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.asarray(self._sorted[np.searchsorted(self._row, row, sorter=self._sorted)])

    def note(self, at: Any) -> tuple[Any, NDArray[np.bool_]]:
        """Take in a yield; the record as it goes on, and which of its rows are still to be worked on."""
        broken = to_numpy(at.broken)
        places = self._places(at.row)
        at, broken = self._confirmed(at, broken, places)
        fresh = broken & ~self.believed[places]
        self._broke_at[places[fresh]] = spending(self._oracle, at.row[fresh])
        self.believed[places] |= broken
        self._late.append((self._steps, places, to_numpy(at.loss).astype(np.float64)))
        self._steps += 1
        self._fold()
        alive = ~broken if self._case.seek == "any" else np.ones(len(broken), bool)
        if not alive.all():
            self.leave(at.only(~alive))
        return at, alive

    def _confirmed(self, at: Any, broken: NDArray[np.bool_], places: NDArray[np.int64]) -> tuple[Any, NDArray[np.bool_]]:
        """Of a random target one answer is not the answer: what was seen to succeed is asked again, at the attacker's cost,
        and goes on where most answers say otherwise."""
        doubtful = np.flatnonzero(broken & ~self.believed[places])
        if not self._oracle.random or not len(doubtful):
            return at, broken
        x, rows = at.best[doubtful], np.asarray(at.row)[doubtful]
        y, votes = to_numpy(self._case.y)[places[doubtful]], np.zeros(len(doubtful))
        for _ in range(CONFIRM):
            votes += reached(self._case.goal, to_numpy(self._oracle.labels(x, rows=rows)), y)
        lucky = doubtful[votes < SURELY]
        if not len(lucky):
            return at, broken
        broken = broken.copy()
        broken[lucky] = False
        mark = at.broken.clone() if hasattr(at.broken, "clone") else at.broken.copy()
        mark[lucky] = False
        return replace(at, broken=mark), broken

    def leave(self, at: Any) -> None:
        """Keep the best of rows that go."""
        if self._x is None:
            self._x = at.best.new_empty((len(self._case), *at.best.shape[1:])) if hasattr(at.best, "new_empty") else None
            if self._x is None:
                self._x = np.empty((len(self._case), *at.best.shape[1:]), at.best.dtype)
            self._x[:] = _like(self._case.x, self._x)
        self._x[self._places(at.row)] = at.best

    def trace(self, blocked: NDArray[np.bool_], stopped: str) -> Trace:
        x = self._case.x if self._x is None else self._x
        improving, measured = self._improving()
        return Trace(
            x=x, believed=self.believed, broke_at=self._broke_at, blocked=blocked & ~self.believed,
            improving=improving, measured=measured, stopped=stopped,
        )  # fmt: skip

    def _fold(self) -> None:
        """Take in what lies before the last tenth of the steps, however many more there will be: so that no more is held."""
        while self._late and self._late[0][0] <= 0.9 * self._steps:
            _, places, loss = self._late.popleft()
            self._seen(places, loss, (1, 2))

    def _seen(self, places: NDArray[np.int64], loss: NDArray[np.float64], slots: tuple[int, ...]) -> None:
        loss = np.where(np.isfinite(loss), loss, np.nan)
        self._loss[0, places] = np.where(np.isnan(self._loss[0, places]), loss, self._loss[0, places])
        for slot in slots:
            self._loss[slot, places] = loss

    def _improving(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Health check 11: the best loss, rescaled to [0, 1], rose by more than 0.05 in the last tenth; where it is known."""
        if self._steps < TENTHS:
            return np.zeros(len(self._case), bool), np.zeros(len(self._case), bool)
        while self._late:
            _, places, loss = self._late.popleft()
            self._seen(places, loss, (2,))
        first, before, last = self._loss
        with np.errstate(invalid="ignore", divide="ignore"):
            rise = (last - before) / np.maximum(last - first, 1e-12)
            improving = ~self.believed & (rise > STILL) & (last - first > 1e-9)
        return np.asarray(improving), np.isfinite(self._loss).all(0)


def _like(x: Any, shape_of: Any) -> Any:
    return x if not hasattr(shape_of, "new_empty") or hasattr(x, "new_empty") else shape_of.new_tensor(np.asarray(x))


def spending(oracle: Oracle, rows: Any) -> NDArray[np.float64]:
    """What rows have cost so far: calls of the attacker's own copy where it has one, else deployed queries."""
    own = sum(oracle.spent(kind, rows) for kind in ("local", "gradients", "backwards"))
    return np.asarray(np.where(own > 0, own, oracle.spent("queries", rows)), np.float64)


def drive_dialogue(
    attack: Any, oracle: Oracle, case: Evade, rng: RowRandom, progress: Progress | None = None, until: float | None = None,
) -> Trace:  # fmt: skip
    """Run one generator for each row, and answer the questions of all rows in full model calls.

    Questions are packed in the order (round, row), so that which rows travel together never depends on timing.
    """
    talks = [_Talk(attack, oracle, case.only(np.array([i])), rng, i) for i in range(len(case))]
    for talk in talks:
        talk.step(None)
    order = sorted(talks, key=lambda talk: talk.row)
    while asking := [talk for talk in order if talk.ask is not None]:
        if over(until):
            for talk in asking:
                talk.give_up(LATE)
            break
        pack: list[_Talk] = []
        size = 0
        for talk in asking:
            if size and (size + talk.size > PACK or talk.account != pack[-1].account):
                _answer(pack, oracle, case)
                pack, size = [], 0
            pack.append(talk)
            size += talk.size
        _answer(pack, oracle, case)
        if progress:
            progress(1 - sum(talk.ask is not None for talk in talks) / len(talks))
    return _trace(talks)


class _Talk:
    """One row's dialogue: its generator, its open question, its last claim."""

    def __init__(self, attack: Any, oracle: Oracle, case: Evade, rng: RowRandom, place: int) -> None:
        self.row, self.place = int(case.row[0]), place  # its id, and where it stands among the others
        self.case, self._oracle = case, oracle
        self._talk: Generator[Any, Any, Any] = attack(oracle, case, rng=rng.generator(self.row))
        self.ask: Ask | None = None
        self.size = 0  # rows of the open question
        self.claim = Claim(take(case.x, [0]), False)
        self.broke_at, self.blocked, self.stopped = np.nan, False, ""
        self._asked = 0
        self._notes: list[tuple[int, float]] = []  # queries by then, and the nearest known

    @property
    def account(self) -> int | None:
        return None if self.ask is None else self.ask.account

    def step(self, reply: Answer | Exception | None) -> None:
        """Hand in a reply and go on to the next question, or to the end."""
        self.ask, self.size = None, 0
        try:
            found = self._talk.throw(reply) if isinstance(reply, Exception) else self._talk.send(reply)
            while isinstance(found, Claim):
                if count(found.x) != 1:
                    raise RunError(f"a dialogue claims one input of shape (1, ...); got {count(found.x)} rows")
                if self._take(found):
                    self._talk.close()
                    return
                found = self._talk.send(None)
        except StopIteration:
            return
        except BudgetSpent as spent:
            self.stopped = str(spent)
            return
        except RefusedError as refused:
            self.stopped, self.blocked = str(refused), True
            return
        if not isinstance(found, Ask):
            raise RunError(f"a dialogue yields Ask or Claim; {found!r} is neither")
        self.ask, self.size = found, count(found.x)
        if found.note is not None:
            self._notes.append((self._asked, float(found.note)))
        self._asked += self.size

    @property
    def measured(self) -> bool:
        """Whether the attack said how near it was, before a step and after."""
        return self._asked >= TENTHS and len(self._notes) > 1

    @property
    def improving(self) -> bool:
        """Health check 11: in the last tenth of its queries, or in its last step, it came nearer by more than 5 %."""
        if not self.measured or self.claim.broken:
            return False
        early = [note for asked, note in self._notes[:-1] if asked <= 0.9 * self._asked] or [self._notes[0][1]]
        return self._notes[-1][1] < (1 - STILL) * early[-1]

    def give_up(self, why: str = "budget: asks for more than is left") -> None:
        self.ask, self.size = None, 0
        self.stopped = self.stopped or why
        self._talk.close()

    def _take(self, claim: Claim) -> bool:
        """Note a claim; whether the row is finished."""
        self.claim = claim
        if claim.broken and np.isnan(self.broke_at):
            self.broke_at = float(spending(self._oracle, np.array([self.row]))[0])
        return claim.broken and self.case.seek == "any"


def _answer(pack: list[_Talk], oracle: Oracle, case: Evade) -> None:
    """Ask the open questions of a pack in one call, and hand each row its own part."""
    pack = _covered(pack, oracle)
    if not pack:
        return
    x = _join([talk.ask.x for talk in pack if talk.ask])
    sizes, talkers = [talk.size for talk in pack], np.array([talk.row for talk in pack])
    try:
        response, refused = oracle.ask(x, rows=np.repeat(talkers, sizes), account=pack[0].account)
    except RefusedError as refusal:  # a remote endpoint said no by itself, to the whole pack
        for talk in pack:
            talk.step(refusal)
        return
    # Once for all: of the many small questions of a round the answering costs more than the model.
    let_in = None if not refused.any() else np.concatenate([[0], np.cumsum(~refused)])  # rows let in before each
    label: Any = None
    scores: Any = None
    met: Any = None
    if response is not None:
        label, scores = to_numpy(response.label), None if response.scores is None else to_numpy(response.scores)
        places = np.repeat([talk.place for talk in pack], sizes)
        met = reached(case.goal, label, to_numpy(case.y)[places if let_in is None else places[~refused]])
    left, start = oracle.left(talkers).tolist(), 0
    for talk, size, own_left in zip(pack, sizes, left, strict=True):
        first, start = start, start + size
        if response is None or (let_in is not None and refused[first:start].any()):
            talk.step(RefusedError(f"{int(refused[first:start].sum())} of {size} rows refused"))
            continue
        part = slice(first, start) if let_in is None else slice(let_in[first], let_in[start])
        own_scores = None if scores is None else scores[part]
        talk.step(Answer(label[part], own_scores, met[part], min(own_left, oracle.affordable)))


def _covered(pack: list[_Talk], oracle: Oracle) -> list[_Talk]:
    """Those of a pack whose questions the budget covers; the others are told, and may ask for less."""
    whole = oracle.affordable
    for talk, own in zip(pack, oracle.left(np.array([talk.row for talk in pack])).tolist(), strict=True):
        # What is left of the campaign goes to the first rows in the canonical order.
        left = min(own, whole)
        if talk.size > left:
            talk.step(BudgetSpent(f"{talk.size} queries asked, {left:.0f} left"))
            if talk.ask is not None and talk.size > left:
                talk.give_up()  # it was told, and asks again: its last claim stands
        whole -= talk.size
    return [talk for talk in pack if talk.ask is not None]


def _join(parts: list[Any]) -> Any:
    if all(type(part) is np.ndarray for part in parts):
        return np.concatenate(parts)
    if isinstance(parts[0], list | tuple):
        return [item for part in parts for item in part]
    if hasattr(parts[0], "iloc"):
        import pandas

        return pandas.concat(parts, ignore_index=True)
    return np.concatenate([np.asarray(to_numpy(part)) for part in parts])


def _trace(talks: list[_Talk]) -> Trace:
    return Trace(
        x=_join([talk.claim.x for talk in talks]),
        believed=np.array([talk.claim.broken for talk in talks]),
        broke_at=np.array([talk.broke_at for talk in talks]),
        blocked=np.array([talk.blocked and not talk.claim.broken for talk in talks]),
        improving=np.array([talk.improving for talk in talks]),
        measured=np.array([talk.measured for talk in talks]),
        stopped=next((talk.stopped for talk in talks if talk.stopped), ""),
    )


def drive_set(
    attack: Any, oracle: Oracle, case: Any, rng: RowRandom, progress: Progress | None = None, until: float | None = None,
) -> tuple[Any, str]:  # fmt: skip
    """Run an attack that sees the whole set. The last claim stands when the budget ends it."""
    claim, stopped = None, ""
    try:
        for i, found in enumerate(attack(oracle, given(case.blind(), oracle.adversary, rng), rng=rng)):
            claim = found
            if progress:
                progress(1 - 1 / (i + 2))
            if over(until):
                stopped = LATE
                break
    except BudgetSpent as spent:
        stopped = f"budget: {spent}"
    except RefusedError as refused:
        stopped = f"refused: {refused}"
    return claim, stopped
