"""Costly inputs: what is counted, and what honest inputs cost."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.availability import Sponge, Work
from ...core.constraint import Ball
from ...core.errors import BadInput
from ...core.table import Table
from ...core.target import count, take, to_numpy
from ...judges import sponge
from ...judges.opinion import Opinion
from .kind import Built, Judging, Kind

if TYPE_CHECKING:
    from ...core.adversary import Adversary
    from ..bench import Bench
    from ..plan import Cell
    from ..profiles import Profile

HONEST = 200  # honest inputs that set what is usual
REPEATS = 5  # times an answer is timed


def check(case: Sponge) -> None:
    n = count(case.x)
    if not n:
        raise BadInput("the case has no rows; give at least one honest input")
    if not isinstance(case.work, Work):
        raise BadInput(f"work={case.work!r} counts nothing; give casemate.core.availability.Work(count=...)")
    for name in ("inputs", "asks"):
        value = getattr(case, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise BadInput(f"{name}={value!r} is not allowed; give a whole number from 1")
    if not case.factor >= 1:
        raise BadInput(f"factor={case.factor!r} is not allowed; give how many times the costliest honest input, at least 1")
    if hasattr(case.x, "dtype"):
        _domain(case)
    elif isinstance(case.x, list | tuple) and case.room < 1:
        raise BadInput(f"longest={case.longest!r} leaves no room; give the length an input may have, at least 1")


def _domain(case: Sponge) -> None:
    """Arrays: finite, and inside a domain that is not empty."""
    x = np.asarray(to_numpy(case.x))
    if x.dtype.kind not in "fiu" or not np.isfinite(x).all():
        raise BadInput(f"x of {x.dtype} is not finite numbers; clean the honest inputs first")
    low = x.min(0) if case.low is None else np.asarray(to_numpy(case.low), float)
    high = x.max(0) if case.high is None else np.asarray(to_numpy(case.high), float)
    if not (np.isfinite(low).all() and np.isfinite(high).all() and (low <= high).all()):
        raise BadInput(f"low={case.low!r}, high={case.high!r}: give finite ends of the domain, low at most high")


def judge(at: Judging) -> Opinion:
    queries = at.meter.total["queries"]
    if at.claim is None or at.claim.malformed(at.case):
        return sponge.judge(at.case, at.claim, queries=queries)
    usual = at.case.work(at.case.x)
    middle = int(np.argsort(usual, kind="stable")[len(usual) // 2])
    worst = int(np.argmax(at.case.work(at.claim.x)))
    seconds = {
        "honest_median_seconds": _timed(at, take(at.case.x, [middle])),
        "costliest_median_seconds": _timed(at, take(at.claim.x, [worst])),
    }
    return sponge.judge(at.case, at.claim, seconds=seconds, queries=queries)


def _timed(at: Judging, x: Any) -> float:
    """The median time of an answer to one input."""
    found = []
    for _ in range(REPEATS):
        at.meter.count("judge", 1)
        began = time.perf_counter()
        at.target.respond(x, rows=np.zeros(1, np.int64))
        found.append(time.perf_counter() - began)
    return statistics.median(found)


def work_here(bench: Bench) -> Work | None:
    """The bound counter, or what can be counted of the target by itself."""
    from ...targets.work import work_of
    from ..bench import _Loader

    binding = bench.system.binding(bench.component)
    if binding is None or binding.work is None:
        return None if bench.target is None else work_of(bench.target)
    count_: Any = _Loader(Path(bench.system.folder or "."), bench.component).find("work", binding.work)
    return Work(count=count_, name=f"work ({binding.work.rpartition(':')[2]})")


def build(bench: Bench, cell: Cell) -> Built:
    from ..bench import rows_of

    assert bench.data is not None
    work = work_here(bench)
    assert work is not None
    within, ball = bench.within, bench.within if isinstance(bench.within, Ball) else None
    # Anybody can send any input of the domain: a ball, or edits that keep a meaning, bind who wants to fool, not who wants to
    # burden. What a form accepts binds everybody.
    return Built(Sponge(
        x=take(bench.data.x, rows_of(bench.data, HONEST)), work=work, low=ball.low if ball else None,
        high=ball.high if ball else None, within=within if isinstance(within, Table) else None, asks=int(cell.params["asks"]),
    ))  # fmt: skip


def why_not(bench: Bench, adversary: Adversary) -> str | None:
    found = work_here(bench)
    return "no work is bound (target.work), and nothing of this target can be counted" if found is None else None


def planned(bench: Bench, chosen: Profile) -> int:
    return chosen.asks


def judged(bench: Bench, chosen: Profile) -> int:
    return 2 * REPEATS


SPONGE = Kind(
    check=check, judge=judge, build=build, why_not=why_not, size=lambda case: int(case.asks), asks=planned, judged=judged,
    plan=lambda case: {"queries": int(case.asks)},
)
