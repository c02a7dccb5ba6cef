"""Judging a drill: under which faults the system decides as the attacker wants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..core.availability import Drill, Drilled
from ..core.errors import BadInput
from ..core.evidence import Check
from ..core.goal import reached
from ..core.target import REJECT, count, to_numpy
from .opinion import Opinion, failed

MEASURE = "share of faults that fail open"
Tried = Callable[[str], tuple[Any, str]]


def judge(case: Drill, claim: Drilled | None, *, again: Tried, working: Any) -> Opinion:
    """`broken` when any fault makes the system decide any input as the attacker wants, which it does not while the model works.

    Every drill is repeated, and only what comes out again counts. There is no interval: the faults are named, not sampled.

    Args:
        again: Runs the drill of a fault once more: labels ``(n,)``, or None and what came instead.
        working: What the bound system decides around the working model, ``(n,)``; None where it decides nothing.
    """
    usual = np.asarray(to_numpy(case.usual))
    if reached(case.goal, usual, case.y).any():
        raise BadInput("a drill is judged on inputs that the system does not decide as the attacker wants; leave the others out")
    if claim is None:
        return Opinion(measure=MEASURE, rate=0.0, n=0, broken=False, why=("no fault was tried",))
    if problem := claim.malformed(case):
        return failed(MEASURE, len(claim.decided), problem)
    open_, lines, other = [], [], []
    for fault, labels in claim.decided.items():
        repeated, _ = again(fault)
        if not _same(labels, repeated):
            other.append(fault)
            labels = repeated
        met = 0 if labels is None else int(reached(case.goal, labels, case.y).sum())
        if met:
            open_.append(fault)
        lines.append(f"{fault}: {_words(labels, met, claim.said.get(fault, 'no decision'), usual)}")
    same = working is not None and bool((np.asarray(working) == usual).all())
    told = "of each input, the same" if same else "the bound fallback decides otherwise than the deployed system, or not at all"
    return Opinion(
        measure=MEASURE, rate=len(open_) / len(claim.decided), n=len(claim.decided), broken=bool(open_), why=tuple(lines),
        checks=(
            Check(4, "claim is valid", not other, f"repeated, another outcome: {', '.join(other)}" if other else "repeated"),
            Check(60, "fallback decides as the system does while the model works", same, told),
        ),
        queries=0.0 if open_ else None, extra={"open": open_, "faults": dict(_pairs(lines)), "inputs": count(case.x)},
    )  # fmt: skip


def _same(one: Any, other: Any) -> bool:
    if one is None or other is None:
        return one is other
    return bool(np.array_equal(np.asarray(to_numpy(one)), np.asarray(to_numpy(other))))


def _words(labels: Any, met: int, instead: str, usual: Any) -> str:
    """What was decided, in words."""
    if labels is None:
        return instead
    n = len(usual)
    if met:
        return f"allowed, {met} of {n} inputs decided as the attacker wants"
    if (labels == REJECT).all():
        return "queued: nothing is decided"
    return f"held, {int((labels == usual).sum())} of {n} inputs decided as usual, {int((labels == REJECT).sum())} queued"


def _pairs(lines: list[str]) -> list[tuple[str, str]]:
    return [(name, words) for name, _, words in (line.partition(": ") for line in lines)]
