"""Judging whether the worlds are told apart: on victims that the judge trains, from records the attacker never had."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.case import Distinguisher, Property
from ..core.errors import BadInput
from ..core.evidence import Baseline
from ..core.random import RowRandom
from ..core.target import Response, count, take, to_numpy
from .opinion import Opinion, failed
from .statistics import clopper_pearson

MEASURE = "worlds told apart"
LINE = 0.7  # right for seven victims in ten

Draw = Callable[[NDArray[np.bool_], float, int, RowRandom], NDArray[np.int64]]


def judge(
    case: Property, claim: Distinguisher | None, queries: int, *, draw: Draw, shown: Callable[[Response], Response], seed: int = 0
) -> Opinion:
    """Train victims of both worlds, show their answers as the endpoint would, and count how often the attacker is right.

    `broken` where the Clopper-Pearson interval of that share lies above one half.

    Args:
        draw: ``(flag, share, size, rng) -> rows`` of one training set.
        shown: What the endpoint lets out of a response.
    """
    if case.truth is None or case.truth_flag is None:
        raise BadInput("worlds are judged on victims; give truth= to train them from and truth_flag= for it")
    if case.victims < 1:
        raise BadInput(f"victims={case.victims} is not allowed; train at least one of each world")
    if claim is None:
        return Opinion(measure=MEASURE, rate=0.0, n=0, broken=False, why=("the attack claimed nothing",))
    value, world = _asked(case, claim, draw, shown, RowRandom(seed).fork(0x71C7))
    if not np.isfinite(value).all():
        return failed(MEASURE, len(world), f"a decision is a finite number; {int((~np.isfinite(value)).sum())} are not")
    right = (value > 0) == (world == 1)
    interval = clopper_pearson(int(right.sum()), len(right))
    each = [clopper_pearson(int(right[world == side].sum()), int((world == side).sum())) for side in (0, 1)]
    broken = interval.low > 0.5
    return Opinion(
        measure=MEASURE, rate=float(right.mean()), interval=interval, n=len(right), broken=broken, line=LINE,
        why=(f"the interval {interval} of the share of victims told right lies {'above' if broken else 'not above'} one half",),
        baseline=Baseline("a coin", 0.5), queries=float(queries) if broken else None,
        extra=claim.detail | {
            "right_by_share": {f"{case.shares[side]:g}": [each[side].low, each[side].high] for side in (0, 1)},
            "victims": len(right), "rows_of_a_victim": case.size,
        },
        rows={"row": np.arange(len(right)), "share": np.asarray(case.shares)[world], "value": value, "right": right},
    )  # fmt: skip


def _asked(
    case: Property, claim: Distinguisher, draw: Draw, shown: Callable[[Response], Response], rng: RowRandom
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """What the attacker says of each victim, and the world of each."""
    assert case.truth is not None
    flag, x, y = np.asarray(to_numpy(case.truth_flag), bool), case.truth.x, np.asarray(to_numpy(case.truth.y))
    if len(flag) != count(x) or len(y) != len(flag):
        raise BadInput(f"truth has {count(x)} records, {len(y)} labels and {len(flag)} flags; give one of each")
    world = np.arange(2 * case.victims) % 2
    value = np.zeros(len(world))
    for i, side in enumerate(world):
        rows = draw(flag, case.shares[side], case.size, rng.fork(i))
        victim = case.recipe.fit(take(x, rows), y[rows], int(rng.fork(i, 1).seed & 0x7FFFFFFF))
        value[i] = claim.decide(shown(_plain(victim.respond(claim.ask))))
    return value, world


def _plain(response: Any) -> Response:
    return Response(*(None if part is None else to_numpy(part) for part in (response.label, response.scores, response.logits)))
