"""Judging inputs that were read out of gradients: against the very rows behind them, and against other people's."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from ..core.case import Leak, Recovered
from ..core.errors import BadInput
from ..core.evidence import Baseline
from ..core.target import to_numpy
from .opinion import Opinion, failed
from .statistics import clopper_pearson

MEASURE = "records recovered"
RECOGNISED = 20.0  # dB: the error is a tenth of the domain, root mean square
EXACT = 1e-3  # share of the domain by which no value is off
LINE = 0.2  # a share that matters: one record in five
MOST = 200.0  # dB of an error of nothing

Floats = NDArray[np.float64]


def judge(case: Leak, claim: Recovered | None) -> Opinion:
    """Match claims with the rows of their update, one to one, and count those that are recognised.

    The same is counted for records of other people in place of the claims: where records are all alike, looking like one is
    no leak. `broken` where the Clopper-Pearson interval lies above that.
    """
    truth, label, others = _given(case)
    if claim is None:
        return Opinion(measure=MEASURE, rate=0.0, n=0, broken=False, why=("the attack claimed nothing",))
    x = np.asarray(to_numpy(claim.x), np.float64)
    if x.shape != (len(truth), *case.shape) or not np.isfinite(x).all() or np.shape(claim.y) != (len(truth),):
        return failed(MEASURE, len(truth), f"a claim is {len(truth)} finite inputs of shape {case.shape} and a label for each")
    flat = x.reshape(len(x), -1)
    order = _matched(flat, truth, case.rows)
    noise = psnr(flat[order], truth, case.high - case.low)
    exact = np.abs(flat[order] - truth).max(1) <= EXACT * (case.high - case.low)
    hits, n = noise >= RECOGNISED, len(truth)
    interval, chance = clopper_pearson(int(hits.sum()), n), _chance(truth, others, case)
    broken = interval.low > chance
    told = np.asarray(claim.y)[order] == label
    return Opinion(
        measure=MEASURE, rate=float(hits.mean()), interval=interval, n=n, broken=broken, line=max(LINE, chance),
        why=(f"the interval {interval} of the share recognised lies {'above' if broken else 'not above'} {chance:.3f}, "
             "that of other people's records",),
        baseline=Baseline("other people's records", chance),
        extra=claim.detail | _extra(flat[order], truth, others, noise, exact, told)
        | {"labels_of_updates_right": _labels(np.asarray(claim.y), label, case.rows)},
        rows={"row": np.arange(n), "update": np.arange(n) // case.rows, "psnr": noise, "exact": exact, "label_right": told},
    )  # fmt: skip


def psnr(x: Floats, truth: Floats, span: float) -> Floats:
    """The peak signal-to-noise ratio of each row, in dB, at most `MOST`."""
    error = ((x - truth) ** 2).mean(1)
    return np.asarray(np.minimum(10 * np.log10(span**2 / np.maximum(error, 1e-300)), MOST))


def _given(case: Leak) -> tuple[Floats, NDArray[Any], Floats]:
    """True rows ``(n, d)``, their labels, and other people's records ``(m, d)``."""
    due = len(case.gradients) * case.rows
    if case.truth is None or len(case.truth.x) != due:
        held = 0 if case.truth is None else len(case.truth.x)
        raise BadInput(f"recovered inputs are judged by the true ones; give truth= with {due} rows, not {held}")
    truth = np.asarray(to_numpy(case.truth.x), np.float64).reshape(due, -1)
    others = np.zeros((0, truth.shape[1]))
    if case.others is not None:
        others = np.asarray(to_numpy(case.others.x), np.float64).reshape(-1, truth.shape[1])
    return truth, np.asarray(to_numpy(case.truth.y)), others


def _matched(x: Floats, truth: Floats, rows: int) -> NDArray[np.int64]:
    """Which claim goes with which true row ``(n,)``, each once, within its update: nobody can tell the order of a sum.

    The sum of logarithms is least, so that a row that is exact is matched, however well another one would do there.
    """
    found = np.zeros(len(truth), np.int64)
    for start in range(0, len(truth), rows):
        own = slice(start, start + rows)
        far = ((truth[own][:, None] - x[own][None]) ** 2).mean(2)
        found[own] = start + linear_sum_assignment(np.log(far + 1e-16))[1]
    return found


def _chance(truth: Floats, others: Floats, case: Leak) -> float:
    """The share recognised where other people's records are handed in, as many to an update; 0 where there are none."""
    if not len(others):
        return 0.0
    guess = others[np.arange(len(truth)) % len(others)]
    order = _matched(guess, truth, case.rows)
    return float((psnr(guess[order], truth, case.high - case.low) >= RECOGNISED).mean())


def _labels(found: NDArray[Any], truth: NDArray[Any], rows: int) -> float:
    """The share of labels found in each update, whichever row of it they belong to."""
    hits = 0
    for start in range(0, len(truth), rows):
        own, due = (each[start : start + rows].tolist() for each in (found, truth))
        hits += sum(min(own.count(label), due.count(label)) for label in set(due))
    return hits / len(truth)


def _extra(
    x: Floats, truth: Floats, others: Floats, noise: Floats, exact: NDArray[np.bool_], told: NDArray[np.bool_]
) -> dict[str, Any]:
    share = clopper_pearson(int(exact.sum()), len(exact))
    found: dict[str, Any] = {
        "exact": [float(exact.mean()), share.low, share.high], "psnr_median": float(np.median(noise)),
        "labels_right": float(told.mean()),
    }  # fmt: skip
    if len(others):
        own = ((x - truth) ** 2).sum(1)
        nearest = np.array([((others - row) ** 2).sum(1).min() for row in x])
        nearer = clopper_pearson(int((own < nearest).sum()), len(own))
        found["nearer_to_it_than_to_any_other_record"] = [float((own < nearest).mean()), nearer.low, nearer.high]
    return found
