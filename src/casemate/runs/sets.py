"""One cell of a set case: run the attack once over the whole set, judge the claim, make evidence of what is kept.

`set_part` does the work and keeps JSON-ready facts; `set_evidence` is pure, so that evidence made again from a stored part
is the same to the last digit.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..core.adversary import Adversary, Need
from ..core.attack import parameters
from ..core.availability import Harvest
from ..core.case import AnyCase, AnyClaim, Evade, Records, Stall
from ..core.control import Service
from ..core.endpoint import DAY, Endpoint
from ..core.errors import BadInput
from ..core.evidence import Check, Cost, Evidence, Verdict, plain
from ..core.oracle import Known, Meter, Oracle
from ..core.random import RowRandom
from ..core.target import Recipe, Response, Target, count, take
from ..judges.opinion import Opinion
from ..judges.poisoned import with_records
from ..judges.verdict import failures, unknowns, width_check
from ..trainers.limit import allowing
from .driver import Progress, drive_set
from .ended import end_check, scope_of, scoped
from .health import ASKING, FEW, differ
from .kinds import KINDS, Judging
from .named import numbered
from .part import Part
from .watched import PATIENCE, Watched, allowed, watched_recipe

SPARE = 4096  # ledger ids for questions about no row of the case: known members, self-checks
KEPT = 12  # claims on the way that are judged too, for the curve


def run_set(
    attack: Any, case: AnyCase, target: Target | None, adversary: Adversary, controls: tuple[Service, ...], known: Known,
    seed: int, progress: Progress | None = None,
) -> Evidence:  # fmt: skip
    """Attack, judge, and make evidence, in one go and without a store."""
    part = set_part(attack, case, target, adversary, controls, known, seed, progress)
    name, mark = ("artifact", None) if target is None else (target.name, target.fingerprint())
    return set_evidence(attack, case.kind, adversary, name, mark, seed, part)


def set_part(
    attack: Any, case: AnyCase, target: Target | None, adversary: Adversary, controls: tuple[Service, ...], known: Known,
    seed: int, progress: Progress | None = None, *, patience: float | None = PATIENCE, training: float | None = None,
) -> Part:  # fmt: skip
    """Run one set cell.

    Args:
        target: The deployed target; may be None for `Smuggle`, and for `Poison`, which retrains.
        patience: Seconds one call of the target may take before it counts as hanging.
        training: The same for one training. None: the seconds of the adversary's budget, an hour where it has none; never less
            than a call may take.

    Raises:
        TargetFailed: The target (or a retrained one) raised, hung, or answered nonsense.
    """
    began = time.perf_counter()
    limit = allowed(training or adversary.budget.seconds, patience)
    check_set(case, target)
    kind = KINDS[case.kind]
    ids = kind.size(case) + SPARE
    watched = None if target is None else Watched(target, patience)
    case, known = _watching(case, known, patience, limit)
    told, known = numbered(case, known, watched)
    meter = Meter(np.arange(ids))
    days = case.within_s / DAY if isinstance(case, Stall | Harvest) else adversary.budget.days
    door: Target = _Nobody() if watched is None else watched
    endpoint = Endpoint(
        door, controls, accounts=adversary.budget.accounts, days=days, retrain=_trainer(known.recipe, told, patience)
    )
    oracle = Oracle(endpoint, adversary, meter, known)
    before = None if target is None else target.state()
    start = _answers(case, watched, meter)
    tape = _Tape(attack, meter)
    until = None if adversary.budget.seconds is None else time.monotonic() + adversary.budget.seconds
    rng = RowRandom(seed).fork(zlib.crc32(attack.info.id.encode()))
    with allowing(limit):
        claim, stopped = drive_set(tape, oracle, told, rng, progress, until)
    opinion = kind.judge(Judging(
        attack=attack, case=told if hasattr(told, "recipe") else case, claim=claim, kept=tape.kept(), endpoint=endpoint,
        meter=meter, seed=seed, target=watched, recipe=known.recipe,
    ))  # fmt: skip
    facts = {
        "opinion": opinion.to_facts(), "stopped": stopped, "copy": oracle.on_copy, "kind": case.kind,
        "days": endpoint.now / DAY, "accounts": len(endpoint.used),
        "calls": sum(meter.total[kind] for kind in ASKING), "answers_changed": _changed(start, case, watched, meter),
        "scope": scope_of(attack, case, adversary, meter), "state_kept": target is None or target.state() == before,
        "budget_kept": _kept(meter, adversary, ids),
    }  # fmt: skip
    return Part(
        rows=opinion.rows,
        spent=dict(meter.total),
        facts=plain(facts),
        seconds=time.perf_counter() - began,
        claims=claim,
    )


def _watching(case: Any, known: Known, patience: float | None, limit: float) -> tuple[Any, Known]:
    """Both with their recipes under a clock, for each call of what they train and for each training."""
    if hasattr(case, "recipe"):
        case = replace(case, recipe=watched_recipe(case.recipe, patience, limit))
    if known.recipe is not None:
        known = replace(known, recipe=watched_recipe(known.recipe, patience, limit))
    return case, known


def _trainer(recipe: Recipe | None, case: Any, patience: float | None) -> Callable[[Records], Target] | None:
    """How the owner trains again, with an attacker's records in the data; None where nobody knows how."""
    recipe = getattr(case, "recipe", recipe)
    if recipe is None:
        return None

    def train(records: Records) -> Target:
        data = with_records(recipe.x, recipe.y, records, np.arange(len(np.asarray(records.index))))
        return Watched(recipe.fit(data.x, data.y, 0), patience)

    return train


def set_evidence(
    attack: Any, kind: str, adversary: Adversary, target_name: str, fingerprint: str | None, seed: int, part: Part
) -> Evidence:
    """Evidence from a part, fresh or stored. Pure."""
    facts = plain(part.facts)
    opinion = Opinion.from_facts(facts["opinion"], part.rows)
    health = _health(opinion, facts, part.spent)
    verdict, reasons = _verdict(opinion, health, scoped(facts.get("scope")))
    extra = dict(opinion.extra)
    if facts["stopped"]:
        extra["stopped"] = facts["stopped"]
    if kind == "stall" and opinion.extra.get("admitted"):
        extra["admitted_row_seconds"] = part.seconds / opinion.extra["admitted"]
    budget = adversary.budget
    spent = {kind: int(amount) for kind, amount in part.spent.items()}
    cost = Cost(
        opinion.queries, None if opinion.queries is not None else float(spent["queries"]), budget.accounts, budget.days,
        records=opinion.records,
    )  # fmt: skip
    return Evidence(
        attack=attack.info.id, params=parameters(attack), adversary=adversary.name, may=adversary.may.names,
        budget=str(budget), target=target_name, fingerprint=fingerprint, case=kind, seed=seed,
        measure=opinion.measure, rate=opinion.rate, interval=opinion.interval, n=opinion.n, verdict=verdict,
        reasons=reasons, baseline=opinion.baseline, cost=cost, spent=spent, health=health, rows=dict(part.rows),
        curves=opinion.curves, extra=extra, papers=attack.info.papers, seconds=part.seconds, claims=part.claims,
    )  # fmt: skip


def check_set(case: AnyCase, target: Target | None) -> None:
    """Say what is wrong with a set case before anything is spent on it."""
    if isinstance(case, Evade):
        raise BadInput("a case of kind 'evade' is attacked row by row, not as a set")
    kind = KINDS[case.kind]
    if target is None and not kind.targetless:
        raise BadInput(f"a case of kind {case.kind!r} needs a target")
    kind.check(case)


def _answers(case: AnyCase, target: Watched | None, meter: Meter) -> Response | None:
    """How a deterministic target answers a few inputs of the case; None where nothing can be told from asking it again."""
    x = KINDS[case.kind].again(case)
    if x is None or target is None or target.random:
        return None
    few = np.arange(min(FEW, count(x)))
    meter.count("health", len(few))
    return target.respond(take(x, few), rows=few)


def _changed(start: Response | None, case: AnyCase, target: Watched | None, meter: Meter) -> int | None:
    """Health check 2, where a hash cannot see it: how many of the first rows are answered otherwise at the end."""
    after = None if start is None else _answers(case, target, meter)
    return None if start is None or after is None else int(differ(start, after).sum())


@dataclass(frozen=True, slots=True)
class _Moment:
    queries: int
    claim: AnyClaim


class _Tape:
    """The attack, with every claim noted beside what had been spent by then."""

    def __init__(self, attack: Any, meter: Meter) -> None:
        self._attack, self._meter = attack, meter
        self._moments: list[_Moment] = []

    def __call__(self, oracle: Oracle, case: Any, *, rng: RowRandom) -> Generator[Any, None, None]:
        for claim in self._attack(oracle, case, rng=rng):
            self._moments.append(_Moment(self._meter.total["queries"] + self._meter.total["local"], claim))
            yield claim

    def kept(self) -> list[tuple[int, Any]]:
        """A few claims, the last among them, each with the calls made by then."""
        last = len(self._moments) - 1
        if last < 0:
            return []
        places = np.unique(np.linspace(0, last, min(KEPT, last + 1)).astype(int))
        return [(self._moments[i].queries, self._moments[i].claim) for i in places]


def _kept(meter: Meter, adversary: Adversary, size: int) -> bool:
    """Health check 23: the ledger stays within the budget, in total and by row."""
    budget, ids = adversary.budget, np.arange(size)
    ok = budget.queries is None or meter.total["queries"] <= budget.queries
    ok &= budget.records is None or meter.total["records"] <= budget.records
    for kind, cap in (("queries", budget.queries_per_row), ("gradients", budget.gradients_per_row)):
        ok &= cap is None or bool((meter.of(kind, ids) <= cap).all())
    return bool(ok)


def _health(opinion: Opinion, facts: dict[str, Any], spent: dict[str, int]) -> tuple[Check, ...]:
    changed = facts.get("answers_changed")
    detail = "hash before and after" + ("" if changed is None else "; the first rows asked again")
    if changed:
        detail = f"the target changed during the run: {changed} rows are answered otherwise than before it"
    found = [
        Check(2, "target untouched", bool(facts["state_kept"]) and not changed, detail),
        Check(23, "budget kept", bool(facts["budget_kept"]), "ledger against budget"),
        *opinion.checks,
        end_check(facts["stopped"], facts.get("scope"), spent),
    ]
    kind = facts.get("kind")
    if kind in KINDS and KINDS[kind].asking:  # the others are read off a file, a training or the ledger itself
        found.append(Check(39, "the attack asked", facts["calls"] > 0, f"{facts['calls']} calls"))
    if opinion.interval is not None:
        found.append(width_check(opinion.interval))
    return tuple(sorted(found, key=lambda check: check.number))


def _verdict(opinion: Opinion, health: tuple[Check, ...], scope: str) -> tuple[Verdict, tuple[str, ...]]:
    """The judge's rule decides a break; what is not broken is resisted only by a healthy attack that measured something.

    `scope` names the budget that a `resisted` stands for, where it may have held the attack back.
    """
    sick = failures(health)
    if opinion.broken:
        beside: tuple[str, ...] = ()
        if opinion.baseline is not None and opinion.baseline.rate >= opinion.rate:
            beside = (f"{opinion.baseline.name} does as well ({opinion.baseline.rate:.3f}): no skill is needed",)
        return Verdict.BROKEN, (*opinion.why, *beside, *sick)
    doubts = (*sick, *unknowns(health), *((opinion.undecided,) if opinion.undecided else ()))
    if opinion.n == 0 or doubts:
        return Verdict.INCONCLUSIVE, (*opinion.why, *doubts)
    if opinion.line is not None and opinion.interval is not None and opinion.interval.high >= opinion.line:
        undecided = f"{opinion.n} samples cannot exclude {opinion.line:g}: the interval is {opinion.interval}"
        return Verdict.INCONCLUSIVE, (*opinion.why, undecided)
    return Verdict.RESISTED, (*opinion.why, *((scope,) if scope else ()))


class _Nobody:
    """In place of a target where a case has none: any call is a mistake, and says so."""

    name, offers, random = "none", Need.NONE, False
    classes: int | None = None

    def respond(self, x: Any, *, rows: Any = None, draw: int = 0) -> Any:
        raise BadInput("no target is bound; this attack may not ask one")

    def gradient(self, x: Any, y: Any, loss: Any, *, rows: Any = None, draw: int = 0) -> Any:
        raise BadInput("no target is bound; this attack may not ask one")

    def fingerprint(self) -> str | None:
        return None

    def state(self) -> str:
        return ""
