"""Judging reconstructions of classes: a prototype looks like everybody; only a leak looks more like a member."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.case import Holdout, Invert, Recovered
from ..core.errors import BadInput
from ..core.evidence import Baseline
from ..core.random import RowRandom
from ..core.target import to_numpy
from .opinion import Opinion, failed
from .statistics import clopper_pearson

MEASURE = "nearer to a member"
LINE = 0.75  # of the classes
FEWEST = 6  # classes: with five, all of them nearer to a member are still within chance

Floats = NDArray[np.float64]


def judge(case: Invert, claim: Recovered | None, queries: int, seed: int = 0) -> Opinion:
    """Compare each reconstruction with the nearest member of its class and with the nearest of as many others.

    The measure is the share of classes in which the member is nearer; by chance that is one half. `broken` where the
    Clopper-Pearson interval lies above it.
    """
    members, others = _given(case)
    if claim is None:
        return Opinion(measure=MEASURE, rate=0.0, n=0, broken=False, why=("the attack claimed nothing",))
    x, y = np.asarray(to_numpy(claim.x), np.float64), np.asarray(to_numpy(claim.y))
    if x.shape != (len(y), *case.shape) or not np.isfinite(x).all() or set(y.tolist()) - set(case.classes):
        return failed(MEASURE, len(case.classes), f"a claim is finite inputs of shape {case.shape}, of classes {case.classes}")
    found = [_compared(x[i].ravel(), c, members, others, RowRandom(seed).fork(i)) for i, c in enumerate(y.tolist())]
    kept = [i for i, one in enumerate(found) if one is not None]
    far = np.array([one[:2] for one in found if one is not None], float).reshape(-1, 2)
    nearer = far[:, 0] < far[:, 1]
    interval = clopper_pearson(int(nearer.sum()), len(nearer))
    broken = interval.low > 0.5
    few = f"{len(nearer)} classes have members and others; {FEWEST} are the fewest that can show anything"
    span = case.high - case.low
    noise = 10 * np.log10(span**2 * x[0].size / np.maximum(far**2, 1e-300)) if len(far) else np.zeros((0, 2))
    return Opinion(
        measure=MEASURE, rate=float(nearer.mean()) if len(nearer) else 0.0, interval=interval, n=len(nearer), broken=broken,
        line=LINE, undecided=few if len(nearer) < FEWEST else "",
        why=(f"the interval {interval} of classes whose reconstruction is nearer to a member lies "
             f"{'above' if broken else 'not above'} one half",),
        baseline=Baseline("chance", 0.5), queries=float(queries) if broken else None,
        extra=claim.detail | {
            "psnr_member": noise[:, 0].tolist(), "psnr_other": noise[:, 1].tolist(),
            "psnr_class_mean": [found[i][2] for i in kept],  # type: ignore[index]
            "left_out": [int(y[i]) for i, one in enumerate(found) if one is None],
        },
        rows={"row": np.arange(len(nearer)), "label": y[kept], "member": far[:, 0], "other": far[:, 1], "nearer": nearer},
    )  # fmt: skip


def _given(case: Invert) -> tuple[Holdout, Holdout]:
    if case.truth is None or case.others is None:
        raise BadInput("reconstructions are judged by members and by others; give truth= (members) and others=")
    return case.truth, case.others


def _compared(x: Floats, label: int, members: Holdout, others: Holdout, rng: RowRandom) -> tuple[float, float, float] | None:
    """Distance to the nearest member, to the nearest other, and PSNR to the mean of the class; None where a side is empty."""
    sides = [_of(side, label, len(x)) for side in (members, others)]
    size = min(len(side) for side in sides)
    if not size:
        return None
    # The larger side would be nearer by its number alone.
    picked = [side[np.argsort(rng.fork(i).uniform(np.arange(len(side)), 0))[:size]] for i, side in enumerate(sides)]
    near = [float(np.sqrt(((side - x) ** 2).sum(1).min())) for side in picked]
    span = max(float(np.ptp(np.concatenate(sides))), 1e-300)
    error = ((np.concatenate(sides).mean(0) - x) ** 2).mean()
    return near[0], near[1], float(10 * np.log10(span**2 / max(error, 1e-300)))


def _of(side: Holdout, label: Any, size: int) -> Floats:
    own = np.asarray(to_numpy(side.y)) == label
    return np.asarray(np.asarray(to_numpy(side.x), np.float64).reshape(-1, size)[own])
