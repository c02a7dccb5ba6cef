"""Judging a round of federated training: the joint model with the attacker's updates beside the one without."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import BadInput
from ..core.evidence import Baseline, Check
from ..core.federated import Federated, Update
from .opinion import Opinion, Points, failed
from .poison import TOLERANCE, paired

RISE = "rise of the joint model's error"
REACHED = "part of the way to the wanted model"
ENOUGH = 0.5  # of the way, where nothing else says what the wanted model is worth
Floats = NDArray[np.float64]


def judge(
    case: Federated, claim: Update | None, kept: Sequence[Update] = (), *, seed: int = 0, tolerance: float = TOLERANCE
) -> Opinion:
    """One round with the claim and one without, from the same start.

    Args:
        kept: Claims on the way, fewer clients first: the first that breaks says how many were needed.
        tolerance: The least rise that counts; where no error is measured, half of the way to the wanted model does.

    Raises:
        BadInput: What `evaluate` gives is no error.
    """
    measure = REACHED if case.evaluate is None else RISE
    if claim is None or (reason := claim.malformed(case)):
        return failed(measure, 0, "no update was sent" if claim is None else reason)
    sent, own = case.sent(), np.asarray(claim.updates, np.float64)
    clean, after = case.joined(sent), case.joined(among(sent, own))
    way, line = reached(clean, after, claim.wanted), ENOUGH if case.evaluate is None else tolerance
    rate, interval, n = way, None, 1
    if case.evaluate is not None:
        rise = _errors(case, after) - _errors(case, clean)
        rate, n, interval = float(rise.mean()), len(rise), paired(rise[None], seed) if len(rise) > 1 else None
    broken = rate >= line and (interval is None or interval.low > 0)
    needed = _needed(case, sent, clean, [*kept, claim], line) if broken else None
    few = f"; {needed} would do" if needed is not None and needed < len(own) else ""
    why = f"{len(own)} of {len(sent)} clients take the joint model {100 * way:.3g} % of the way to the wanted one{few}"
    silent = _silent(case, sent, clean, len(own), claim.wanted)
    idle = "" if broken or silent.rate < line else f"{silent.name} do {silent.rate:.3g}: this attack is weaker than none"
    extra: dict[str, Any] = {
        "clients": len(sent), "attackers": len(own), "needed": needed, "reached": way,
        "moved": float(np.linalg.norm(after - clean)), "honest_step": float(np.linalg.norm(clean - np.asarray(case.start))),
    }  # fmt: skip
    more, curves = _told(case, sent, clean, after, [*kept, claim])
    return Opinion(
        measure=measure, rate=rate, interval=interval, n=n, broken=broken, line=line, queries=0.0 if broken else None,
        why=(why,), curves=curves, extra=extra | more, baseline=silent, checks=(_other(sent, own),), undecided=idle,
    )  # fmt: skip


def _told(
    case: Federated, sent: Floats, clean: Floats, after: Floats, claims: Sequence[Update]
) -> tuple[dict[str, Any], dict[str, Points]]:
    """The errors behind a rise, by number of clients and by round; nothing where no error is measured."""
    if case.evaluate is None:
        return {}, {}
    good, bad = (float(_errors(case, params).mean()) for params in (clean, after))
    more: dict[str, Any] = {"clean_error": good, "poisoned_error": bad}
    curves = {"error by clients": _by_clients(case, sent, claims, good)}
    if case.rounds > 1:
        curves["by round"] = _lasting(case, clean, after)
        more["rise_in_the_end"] = curves["by round"][-1][1]
    return more, curves


def _other(sent: Floats, own: Floats) -> Check:
    """Check 38: updates equal to the honest ones poison nothing."""
    return Check(38, "updates were changed", bool((sent[: len(own)] != own).any()), "against what these clients would send")


def among(sent: Floats, own: Floats) -> Floats:
    """The updates of a round with the attacker's in the first places."""
    return np.concatenate([own, sent[len(own) :]])


def reached(clean: Floats, after: Floats, wanted: Any) -> float:
    """How much nearer the wanted parameters a round ends than an honest one: 1 there, 0 as far off, below 0 further."""
    goal = np.asarray(wanted, np.float64)
    far = float(np.linalg.norm(clean - goal))
    return 1 - float(np.linalg.norm(after - goal)) / far if far else 0.0


def _errors(case: Federated, params: Floats) -> Floats:
    assert case.evaluate is not None
    found = np.atleast_1d(np.asarray(case.evaluate(params.copy()), np.float64))
    if found.ndim != 1 or not len(found) or not np.isfinite(found).all():
        raise BadInput(f"evaluate gave errors of shape {found.shape}; give one finite number, or one for each row")
    return found


def _value(case: Federated, clean: Floats, after: Floats, wanted: Any) -> float:
    """The measure of a joint model."""
    if case.evaluate is None:
        return reached(clean, after, wanted)
    return float(_errors(case, after).mean() - _errors(case, clean).mean())


def _needed(case: Federated, sent: Floats, clean: Floats, claims: Sequence[Update], line: float) -> int | None:
    """The fewest clients with which a claim reached the line."""
    enough = []
    for claim in claims:
        after = case.joined(among(sent, np.asarray(claim.updates, np.float64)))
        if _value(case, clean, after, claim.wanted) >= line:
            enough.append(len(claim.updates))
    return min(enough, default=None)


def _by_clients(case: Federated, sent: Floats, claims: Sequence[Update], good: float) -> Points:
    """The error against the share of clients that are the attacker's."""
    points = {0: good}
    for claim in claims:
        after = case.joined(among(sent, np.asarray(claim.updates, np.float64)))
        points[len(claim.updates)] = float(_errors(case, after).mean())
    return [(m / len(sent), error, error, error) for m, error in sorted(points.items())]


def _lasting(case: Federated, clean: Floats, after: Floats) -> Points:
    """The rise after each round; in all but the first every client is honest."""
    points = []
    for round in range(case.rounds):
        if round:
            clean, after = (case.joined(case.sent(params, round), params) for params in (clean, after))
        rise = _value(case, clean, after, clean)
        points.append((float(round + 1), rise, rise, rise))
    return points


def _silent(case: Federated, sent: Floats, clean: Floats, mine: int, wanted: Any) -> Baseline:
    """What the same clients do by sending nothing: no skill is needed for that."""
    after = case.joined(among(sent, np.zeros((mine, sent.shape[1]))))
    return Baseline("clients that send nothing", _value(case, clean, after, wanted))


