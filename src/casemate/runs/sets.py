"""One cell of a set case: run the attack once over the whole set, judge the claim, make evidence of what is kept.

`set_part` does the work and keeps JSON-ready facts; `set_evidence` is pure, so that evidence made again from a stored part
is the same to the last digit.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..core.adversary import Adversary, Need
from ..core.attack import parameters
from ..core.case import AnyCase, AnyClaim, Copy, Evade, Infer, Poison, Smuggle, Stall
from ..core.control import Service
from ..core.errors import BadInput
from ..core.evidence import Check, Cost, Evidence, Verdict, plain
from ..core.oracle import DAY, Endpoint, Known, Meter, Oracle
from ..core.random import RowRandom
from ..core.target import Response, Target, count, take
from ..judges import copy, infer, poison, smuggle, stall
from ..judges.opinion import Opinion
from ..judges.verdict import failures, unknowns, width_check
from .driver import Progress, drive_set
from .health import ASKING, FEW, differ
from .part import Part
from .watched import PATIENCE, Watched, watched_recipe

SPARE = 4096  # ledger ids for questions about no row of the case: known members, self-checks
KEPT = 12  # claims on the way that are judged too, for the curve


def run_set(
    attack: Any, case: AnyCase, target: Target | None, adversary: Adversary, controls: tuple[Service, ...], known: Known,
    seed: int, progress: Progress | None = None,
) -> Evidence:  # fmt: skip
    """Attack, judge, and make evidence, in one go and without a store."""
    part = set_part(attack, case, target, adversary, controls, known, seed, progress)
    name, mark = ("artifact", None) if target is None else (target.name, target.fingerprint())
    return set_evidence(attack, case, adversary, name, mark, seed, part)


def set_part(
    attack: Any, case: AnyCase, target: Target | None, adversary: Adversary, controls: tuple[Service, ...], known: Known,
    seed: int, progress: Progress | None = None, *, patience: float | None = PATIENCE,
) -> Part:  # fmt: skip
    """Run one set cell.

    Args:
        target: The deployed target; may be None for `Smuggle`, and for `Poison`, which retrains.
        patience: Seconds one call of the target may take before it counts as hanging.

    Raises:
        TargetFailed: The target (or a retrained one) raised, hung, or answered nonsense.
    """
    began = time.perf_counter()
    check_set(case, target)
    watched = None if target is None else Watched(target, patience)
    if isinstance(case, Poison):
        case = replace(case, recipe=watched_recipe(case.recipe, patience))
    if known.recipe is not None:
        known = replace(known, recipe=watched_recipe(known.recipe, patience))
    meter = Meter(np.arange(_size(case) + SPARE))
    days = case.within_s / DAY if isinstance(case, Stall) else adversary.budget.days
    door: Target = _Nobody() if watched is None else watched
    endpoint = Endpoint(door, controls, accounts=adversary.budget.accounts, days=days)
    oracle = Oracle(endpoint, adversary, meter, known)
    before = None if target is None else target.state()
    start = _answers(case, watched, meter)
    tape = _Tape(attack, meter)
    until = None if adversary.budget.seconds is None else time.monotonic() + adversary.budget.seconds
    claim, stopped = drive_set(tape, oracle, case, RowRandom(seed).fork(zlib.crc32(attack.info.id.encode())), progress, until)
    opinion = _judge(attack, case, claim, tape, endpoint, meter, seed, watched)
    facts = {
        "opinion": opinion.to_facts(), "stopped": stopped, "copy": oracle.on_copy, "kind": case.kind,
        "days": endpoint.now / DAY, "accounts": len(endpoint.used),
        "calls": sum(meter.total[kind] for kind in ASKING), "answers_changed": _changed(start, case, watched, meter),
        "state_kept": target is None or target.state() == before, "budget_kept": _kept(meter, adversary, _size(case) + SPARE),
    }  # fmt: skip
    return Part(
        rows=opinion.rows,
        spent=dict(meter.total),
        facts=plain(facts),
        seconds=time.perf_counter() - began,
        claims=claim,
    )


def set_evidence(
    attack: Any, case: AnyCase, adversary: Adversary, target_name: str, fingerprint: str | None, seed: int, part: Part
) -> Evidence:
    """Evidence from a part, fresh or stored. Pure."""
    facts = plain(part.facts)
    opinion = Opinion.from_facts(facts["opinion"], part.rows)
    health = _health(opinion, facts)
    verdict, reasons = _verdict(opinion, health)
    extra = dict(opinion.extra)
    if facts["stopped"]:
        extra["stopped"] = facts["stopped"]
    if isinstance(case, Stall) and opinion.extra.get("admitted"):
        extra["admitted_row_seconds"] = part.seconds / opinion.extra["admitted"]
    budget = adversary.budget
    spent = {kind: int(amount) for kind, amount in part.spent.items()}
    cost = Cost(
        opinion.queries, None if opinion.queries is not None else float(spent["queries"]), budget.accounts, budget.days,
        records=opinion.records,
    )  # fmt: skip
    return Evidence(
        attack=attack.info.id, params=parameters(attack), adversary=adversary.name, may=adversary.may.names,
        budget=str(budget), target=target_name, fingerprint=fingerprint, case=case.kind, seed=seed,
        measure=opinion.measure, rate=opinion.rate, interval=opinion.interval, n=opinion.n, verdict=verdict,
        reasons=reasons, baseline=opinion.baseline, cost=cost, spent=spent, health=health, rows=dict(part.rows),
        curves=opinion.curves, extra=extra, papers=attack.info.papers, seconds=part.seconds, claims=part.claims,
    )  # fmt: skip


def check_set(case: AnyCase, target: Target | None) -> None:
    """Say what is wrong with a set case before anything is spent on it."""
    if isinstance(case, Evade):
        raise BadInput("a case of kind 'evade' is attacked row by row, not as a set")
    if target is None and not isinstance(case, Smuggle | Poison):
        raise BadInput(f"a case of kind {case.kind!r} needs a target")
    if isinstance(case, Infer | Stall) and not count(case.x):
        raise BadInput("the case has no rows; give at least one input")
    if isinstance(case, Copy) and case.queries < 1:
        raise BadInput(f"queries={case.queries} is not allowed; plan at least one")
    if isinstance(case, Poison):
        wrong = [f for f in case.fractions if not 0 < f < 1]
        if wrong or not case.fractions or not case.seeds:
            raise BadInput(f"fractions={case.fractions}, seeds={case.seeds}: give shares between 0 and 1, and at least one seed")
        if not count(case.recipe.x) or count(case.recipe.x) != len(case.recipe.y):
            raise BadInput(f"the recipe has {count(case.recipe.x)} inputs and {len(case.recipe.y)} labels; give one each")
        if len({str(label) for label in np.asarray(case.recipe.y).tolist()}) < 2:
            raise BadInput("the training labels have one class; nothing can be learned or poisoned")


def _answers(case: AnyCase, target: Watched | None, meter: Meter) -> Response | None:
    """How a deterministic target answers a few inputs of the case; None where nothing can be told from asking it again."""
    x = case.x if isinstance(case, Infer) else case.truth.x if isinstance(case, Copy) and case.truth is not None else None
    if x is None or target is None or target.random:
        return None
    few = np.arange(min(FEW, count(x)))
    meter.count("health", len(few))
    return target.respond(take(x, few), rows=few)


def _changed(start: Response | None, case: AnyCase, target: Watched | None, meter: Meter) -> int | None:
    """Health check 2, where a hash cannot see it: how many of the first rows are answered otherwise at the end."""
    after = None if start is None else _answers(case, target, meter)
    return None if start is None or after is None else int(differ(start, after).sum())


def _size(case: AnyCase) -> int:
    """Ledger ids a case needs: one for each candidate, planned question, or row sent."""
    if isinstance(case, Infer):
        return count(case.x)
    return case.queries if isinstance(case, Copy) else case.rows if isinstance(case, Stall) else 1


def _judge(
    attack: Any,
    case: AnyCase,
    claim: Any,
    tape: _Tape,
    endpoint: Endpoint,
    meter: Meter,
    seed: int,
    target: Watched | None,
) -> Opinion:
    if isinstance(case, Poison):
        # Only a rule for choosing records is compared with chance; random flips are chance.
        skilled = parameters(attack).get("order") != "random" and not attack.info.baseline
        opinion = poison.judge(case, claim, meter.total["records"], seed=seed, skilled=skilled, deployed=target)
        if any(check.number == 32 for check in opinion.checks):  # the one check that asks the deployed target
            meter.count("health", opinion.n)
        return opinion
    if isinstance(case, Infer):
        return infer.judge(case, claim, meter.total["queries"])
    if isinstance(case, Copy):
        return copy.judge(case, tape.kept(), endpoint, meter)
    if isinstance(case, Stall):
        return stall.judge(case, claim, meter)
    assert isinstance(case, Smuggle)
    from ..attacks.supply.scan import scan
    from ..attacks.supply.swap import digest_of

    return smuggle.judge(case, claim, digest=digest_of, scan=lambda path: scan(path).verdict)


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


def _health(opinion: Opinion, facts: dict[str, Any]) -> tuple[Check, ...]:
    changed = facts.get("answers_changed")
    detail = "hash before and after" + ("" if changed is None else "; the first rows asked again")
    if changed:
        detail = f"the target changed during the run: {changed} rows are answered otherwise than before it"
    found = [
        Check(2, "target untouched", bool(facts["state_kept"]) and not changed, detail),
        Check(23, "budget kept", bool(facts["budget_kept"]), "ledger against budget"),
        *opinion.checks,
    ]
    if facts.get("kind") in ("infer", "copy"):  # the others are read off a file, a training or the ledger itself
        found.append(Check(39, "the attack asked", facts["calls"] > 0, f"{facts['calls']} calls"))
    if opinion.interval is not None:
        found.append(width_check(opinion.interval))
    return tuple(sorted(found, key=lambda check: check.number))


def _verdict(opinion: Opinion, health: tuple[Check, ...]) -> tuple[Verdict, tuple[str, ...]]:
    """The judge's rule decides a break; what is not broken is resisted only by a healthy attack that measured something."""
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
    return Verdict.RESISTED, opinion.why


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
