"""One trial of an attack on a rig: driven as in a real run, with everything it says noted on the way."""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..core.adversary import Adversary, Budget
from ..core.attack import Claim
from ..core.case import Evade, Inputs, Replica
from ..core.endpoint import Endpoint
from ..core.errors import BudgetSpent
from ..core.evidence import plain
from ..core.oracle import Meter, Oracle
from ..core.random import RowRandom
from ..core.target import count, take, to_numpy
from ..runs.cascade import drive as drive_inputs
from ..runs.driver import drive_set
from .contract import distance, global_random
from .rig import Rig, Setup, Variant

# Enough for every attack to get somewhere, and little enough that a contract takes seconds.
BUDGET = Budget(queries_per_row=60, gradients_per_row=20)
SETS = Budget(queries=400, records=20)


@dataclass(frozen=True, slots=True)
class Said:
    """One yield: rows, their best inputs, and which are believed broken. Of a set attack, the claim alone."""

    row: NDArray[np.int64]
    best: Any
    broken: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What came of it."""

    setup: Setup
    case: Any
    meter: Meter
    said: list[Said] = field(default_factory=list)
    claim: Any = None  # rows: the final inputs, in the order of the case; sets: the last claim
    believed: Any = None

    @property
    def charged(self) -> int:
        """Rows the ledger says the deployed model was asked about."""
        total = self.meter.total
        return total["queries"] + total["local"] + total["gradients"] - total["refused"] + total["judge"] + total["health"]

    def last(self) -> dict[int, Any]:
        """The last best input said of each row, by id; as numpy."""
        found = {}
        for said in self.said:
            for i, row in enumerate(said.row.tolist()):
                found[row] = take(said.best, [i])
        return found


class Gate:
    """An endpoint's limit that lets in so many rows and then refuses for ever."""

    def __init__(self, after: int) -> None:
        self.after, self.start = after, 0

    def admit(self, state: int, account: str, rows: Any, now: float) -> tuple[int, NDArray[np.bool_]]:
        inside = max(0, min(len(rows), self.after - state))
        return state + inside, np.arange(len(rows)) < inside

    def answer(self, state: Any, response: Any) -> Any:
        return response

    def wait(self, state: int, account: str, now: float) -> float:
        return 0.0


class Tapped:
    """An attack that is listened to. Claims are copied, so that later changes of them cannot hide."""

    def __init__(self, attack: Any, said: list[Said]) -> None:
        self.info, self._attack, self._said = attack.info, attack, said

    def __call__(self, oracle: Any, case: Any, *, rng: Any) -> Generator[Any, Any, Any]:
        talk = self._attack(oracle, case, rng=rng)
        step: Callable[[], Any] = partial(next, talk)
        while True:
            try:
                found = step()
            except StopIteration as end:
                self._note(end.value, case)
                return end.value
            self._note(found, case)
            try:
                reply = yield found
            except GeneratorExit:
                talk.close()
                raise
            except Exception as error:  # noqa: BLE001 - whatever the driver throws in goes on to the attack
                step = partial(talk.throw, error)
            else:
                step = partial(talk.send, reply)

    def _note(self, found: Any, case: Any) -> None:
        if isinstance(found, Claim):
            self._said.append(Said(np.asarray(case.row), _copied(found.x), np.array([found.broken])))
        elif hasattr(found, "best") and len(found.row):
            self._said.append(Said(np.array(found.row), _copied(found.best), np.array(to_numpy(found.broken), bool)))
        elif isinstance(found, Inputs):
            self._said.append(Said(np.asarray(case.row), _copied(found.x), np.array(to_numpy(found.broken), bool)))
        elif self.info.scope == "set" and found is not None:
            self._said.append(Said(np.zeros(0, int), found, np.zeros(0, bool)))


def _copied(x: Any) -> Any:
    return to_numpy(x).copy() if hasattr(x, "detach") else copy.copy(x) if isinstance(x, list | tuple) else x.copy()


def adversary_of(attack: Any, budget: Budget | None = None) -> Adversary:
    """Who holds exactly what the attack declares, and nothing more."""
    budget = budget or (BUDGET if attack.info.case == "evade" else SETS)
    # A copy: an attack that lifts its own cap must not lift that of the one who checks.
    return Adversary(name="somebody", may=attack.info.needs, budget=replace(budget))


def trial(
    attack: Any,
    rig: Rig,
    *,
    variant: Variant | None = None,
    seed: int = 0,
    budget: Budget | None = None,
    adversary: Adversary | None = None,
    services: tuple[Any, ...] = (),
    index: Any = None,
    seek: Literal["any", "nearest"] = "nearest",
    setup: Setup | None = None,
    drive: Callable[..., Any] | None = None,
    noise: int = 0,
) -> Trial:
    """Drive an attack once.

    Args:
        index: Rows of the case to attack, in this order; all of them in theirs when left out.
        seek: ``nearest`` keeps every row to the end, so that two trials can be compared call by call.
        drive: Instead of the driver for its scope.
        noise: What global generators are seeded with: no attack may care.
    """
    made = setup or rig.make(variant or Variant())
    case: Any = made.case
    if isinstance(case, Evade):
        case = replace(case if index is None else case.only(np.asarray(index)), seek=seek)
    rows = case.row if isinstance(case, Evade) else np.arange(1 << 14)
    found = Trial(setup=made, case=case, meter=Meter(rows))
    oracle = oracle_of(attack, found, adversary or adversary_of(attack, budget or rig.budget), services)
    tapped = attack if attack.info.scope == "cascade" else Tapped(attack, found.said)  # whose stages are tried one by one
    with global_random(noise):
        if not isinstance(case, Evade):
            claim, _ = drive_set(tapped, oracle, case, RowRandom(seed))
            return replace(found, claim=claim)
        trace = (drive or drive_inputs)(tapped, oracle, case, RowRandom(seed))
    return replace(found, claim=to_numpy(trace.x), believed=trace.believed)


def oracle_of(attack: Any, of: Trial, adversary: Adversary, services: tuple[Any, ...] = ()) -> Oracle:
    """The door the attack goes through."""
    target: Any = of.setup.target
    budget, retrain = adversary.budget, of.setup.retrain
    endpoint = Endpoint(target, services, accounts=budget.accounts, days=budget.days, retrain=retrain)
    return Oracle(endpoint, adversary, of.meter, of.setup.known)


def shards(attack: Any, rig: Rig, size: int) -> Trial:
    """The claims of all rows, made in shards of `size` that know nothing of each other."""
    parts = [trial(attack, rig, index=part) for part in _parts(count(rig.make(Variant()).case.x), size)]  # type: ignore[union-attr]
    claims = [part.claim for part in parts]
    return replace(parts[0], claim=joined(claims), believed=np.concatenate([part.believed for part in parts]))


def _parts(n: int, size: int) -> Iterator[NDArray[np.int64]]:
    return (np.arange(start, min(start + size, n)) for start in range(0, n, size))


def joined(parts: list[Any]) -> Any:
    """Claims one after the other."""
    if isinstance(parts[0], list | tuple):
        return [item for part in parts for item in part]
    if hasattr(parts[0], "iloc"):
        import pandas

        return pandas.concat(parts)
    return np.concatenate([np.asarray(part) for part in parts])


def shuffled(shuffle: bool) -> Callable[..., Any]:
    """A driver that takes rows out on the way, always the same ones, and with `shuffle` turns round the others."""

    def drive(attack: Any, oracle: Any, case: Evade, rng: RowRandom) -> Any:
        talk = attack(oracle, case, rng=rng)
        order = RowRandom(99)
        try:
            at = next(talk)
            for step in range(1, 1 << 20):
                keep = np.arange(len(at.row))
                if step % 2 == 0 and len(keep) > 3:
                    keep = np.delete(keep, order.uniform(at.row, (step, 0)).argmin())
                if shuffle:
                    keep = keep[order.uniform(at.row[keep], (step, 1)).argsort()]
                at = talk.send(at.only(keep))
        except (StopIteration, BudgetSpent):
            talk.close()
        return _Nothing(case.x, np.zeros(len(case), bool))

    return drive


@dataclass(frozen=True, slots=True)
class _Nothing:
    x: Any
    believed: Any


def unlike(a: Any, b: Any, probe: Any = None) -> float:
    """How far two claims of a set attack are apart."""
    if a is None or b is None:
        return 0.0 if a is b else np.inf
    if isinstance(a, Replica):
        pairs = [(a.labels(probe), b.labels(probe))]
        pairs += [(v, b.parameters.get(k)) for k, v in a.parameters.items()]
        return max(distance(*pair) for pair in pairs)
    return 0.0 if plain(_frames_out(a)) == plain(_frames_out(b)) else np.inf


def _frames_out(claim: Any) -> dict[str, Any]:
    values = {name: getattr(claim, name) for name in claim.__dataclass_fields__}
    return {k: v.to_csv() if hasattr(v, "to_csv") else v for k, v in values.items()}
