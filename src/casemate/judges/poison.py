"""Judging poison: train with it and without it, on the same seeds, and compare on data held out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.case import Poison, Records
from ..core.errors import BadInput
from ..core.evidence import Baseline, Check, Interval
from ..core.poison import numeric
from ..core.random import RowRandom
from ..core.target import Target, count, take, to_numpy
from .exact.training import noise_floor
from .opinion import Opinion, column, failed
from .poisoned import changed, invalid, poisoned_data, put, random_flips
from .statistics import clopper_pearson

MEASURE = "rise of the clean test error"
SQUARED = "rise of the squared error, as a share of the variance of the truth"
TOLERANCE = 0.01  # a smaller rise is not worth an attacker's while, whatever its interval
_BATCH = 4096
# (seeds, rows): which rows a retrained model gets wrong; of numbers, squared errors as shares of the variance of the truth
Wrong = NDArray[Any]


def judge(
    case: Poison, claim: Records | None, paid: int, *, seed: int = 0, skilled: bool = True, deployed: Target | None = None,
    tolerance: float = TOLERANCE,
) -> Opinion:  # fmt: skip
    """Retrain at the declared fractions that were paid for, and at what was paid for in all.

    Args:
        paid: Records the ledger has for the attack; a claim of more is void.
        skilled: Whether random flips, as many, are the baseline; otherwise it is how much seeds alone differ.
        deployed: The deployed target, to see whether the recipe makes it. Costs ``n`` health rows.
        tolerance: The least rise that counts. `broken` when the rise is at least that and the spread of clean errors over
            seeds, and its interval (bootstrap, rows and seeds drawn, pairs kept) lies above 0.
    """
    truth = case.truth
    if truth is None or not count(truth.x):
        raise BadInput("poisoning is judged on data held out; give truth= with at least one row")
    n, size, measure = count(truth.x), count(case.recipe.x), SQUARED if numeric(case.recipe.y) else MEASURE
    if claim is None:
        return Opinion(measure=measure, rate=0.0, n=0, broken=False, why=("no record was written",))
    if reason := invalid(claim, case, paid):
        return failed(measure, n, reason)
    most = len(np.asarray(claim.index))
    marks = sorted({int(f * size) for f in case.fractions if int(f * size) <= most} | {0, most})
    wrong = {m: _errors(case, claim, m) for m in marks}
    clean = wrong[0]
    rise = wrong[most].astype(float) - clean
    rate, interval, spread = float(rise.mean()), paired(rise, seed), float(np.ptp(clean.mean(1)))
    asked = max(tolerance, spread)
    skilled = skilled and case.labels  # where labels may not be written, random flips are no measure of what chance does
    broken = interval.low > 0 and rate >= asked
    baseline = _chance(case, clean, most, seed) if skilled else Baseline("seed-to-seed variation", spread)
    first = next((m for m in marks if wrong[m].mean() - clean.mean() >= asked), None)
    return Opinion(
        measure=measure, rate=rate, interval=interval, n=n, broken=broken, line=tolerance, baseline=baseline,
        why=(f"error rises by {rate:.3f} {interval} with {most} of {size} records; {asked:.3f} is asked",),
        queries=0.0 if broken else None, records=first if broken else None,
        checks=(*_checks(case, clean, deployed), _learns(case, clean, tolerance), changed(case, claim)),
        curves={"test error": [_point(m / size, wrong[m], seed) for m in wrong]},
        extra=_extra(case, wrong, size) | {"seed_spread": spread, "tolerance": tolerance},
        rows={"row": np.arange(n), "truth": column(truth.y), "clean_wrong": clean.mean(0), "poisoned_wrong": wrong[most].mean(0)},
    )  # fmt: skip


def _chance(case: Poison, clean: Wrong, records: int, seed: int) -> Baseline:
    """What as many random flips do: a draw of its own for each seed, or one lucky draw would stand for all."""
    found = []
    for place, own in enumerate(case.seeds):
        data = poisoned_data(case, random_flips(case, records, seed + place), records)
        found.append(_wrong(case, case.recipe.fit(data.x, data.y, own)))
    rise = np.stack(found).astype(float) - clean
    return Baseline("random flips", float(rise.mean()), paired(rise, seed))


def _extra(case: Poison, wrong: dict[int, Wrong], size: int) -> dict[str, Any]:
    most = max(wrong)
    found = {
        "fraction": most / size, "records": most, "largest_fraction_asked": max(case.fractions), "seeds": list(case.seeds),
        "clean_error": float(wrong[0].mean()), "poisoned_error": float(wrong[most].mean()),
    }  # fmt: skip
    if wrong[0].dtype == bool:
        # No learner does better than this against malicious records (Kearns and Li 1993), whatever it learns.
        found["kearns_li"] = [[m / size, noise_floor(min(m / size, 0.5))] for m in wrong]
    return found


def paired(rise: NDArray[np.float64], seed: int, draws: int = 1000) -> Interval:
    """Percentile bootstrap of the mean of ``(seeds, rows)``, both drawn again: a row stays with itself in all of them.

    Where all rows are alike there is nothing to draw, and few rows would look certain: the exact bound of none in n is used.
    """
    seeds, n = rise.shape
    if np.ptp(rise) == 0:
        value, spare = float(rise.flat[0]), clopper_pearson(0, n).high
        return Interval(max(-1.0, value - spare), min(1.0, value + spare))
    ids = np.arange(draws)
    rows = RowRandom(seed).integers(ids, 0, n, (n,))
    picks = RowRandom(seed).integers(ids, 1, seeds, (seeds,))
    # The mean over drawn seeds is one weight a seed: average those first, then the drawn rows.
    weight = np.stack([(picks == s).sum(1) for s in range(seeds)], axis=1) / seeds
    found = [float((weight[d] @ rise)[rows[d]].mean()) for d in range(draws)]
    return Interval(float(np.quantile(found, 0.025)), float(np.quantile(found, 0.975)), "paired bootstrap", 0.95)


def _errors(case: Poison, claim: Records | None, records: int) -> Wrong:
    """One retraining for each seed of the case: which held-out rows each model gets wrong."""
    data = poisoned_data(case, claim, records)
    return np.stack([_wrong(case, case.recipe.fit(data.x, data.y, seed)) for seed in case.seeds])


def _wrong(case: Poison, model: Target) -> NDArray[np.bool_]:
    assert case.truth is not None
    own, truth = decided(case, model, case.truth.x), truth_of(case)
    if not numeric(case.recipe.y):
        return np.asarray(own != truth)
    return np.asarray((own.astype(float) - truth) ** 2 / max(float(truth.var()), 1e-300))


def truth_of(case: Poison) -> NDArray[Any]:
    """Held-out labels: numbers as they are; classes by their place among the classes of the training data, -1 for a new one."""
    assert case.truth is not None
    return places(case, case.truth.y)


def places(case: Poison, y: Any) -> NDArray[Any]:
    """Labels by their place among the sorted classes of the training data ``(n,)``; numbers to be met stay as they are."""
    labels, known = np.asarray(to_numpy(y)), np.asarray(to_numpy(case.recipe.y))
    if numeric(known):
        return labels.astype(float)
    if known.dtype.kind not in "iufb":
        if labels.dtype.kind in "iu":  # of names a number can only be a place
            return labels.astype(np.int64)
        known, labels = known.astype(str), labels.astype(str)
    classes = np.unique(known)
    found = np.searchsorted(classes, labels).clip(0, len(classes) - 1)
    return np.where(classes[found] == labels, found, -1)


def labels_of(model: Target, x: Any) -> NDArray[Any]:
    """What a model answers ``(n,)``."""
    parts = [np.arange(start, min(start + _BATCH, count(x))) for start in range(0, count(x), _BATCH)]
    return np.concatenate([np.asarray(to_numpy(model.respond(take(x, part), rows=part).label)) for part in parts])


def decided(case: Poison, model: Target, x: Any) -> NDArray[Any]:
    """What a model answers ``(n,)``, in the terms of `truth_of`.

    A model that knows the values of its classes answers with their places among its own, which need not be all of them. Where
    those values are names and the recipe's labels are numbers, the numbers are places among the names, as its answers are.
    """
    own = labels_of(model, x)
    values = np.array(getattr(getattr(model, "model", None), "values", ()))
    names = values.dtype.kind in "UO" and np.asarray(to_numpy(case.recipe.y)).dtype.kind in "iufb"
    if not len(values) or names or own.dtype.kind not in "iu":
        return places(case, own)
    named = places(case, values)
    return np.where(own >= 0, named[own.clip(0)], -1)


def _point(fraction: float, wrong: Wrong, seed: int) -> tuple[float, float, float, float]:
    interval = paired(wrong.astype(float), seed)
    return fraction, float(wrong.mean()), max(0.0, interval.low), interval.high


def _learns(case: Poison, clean: Wrong, tolerance: float) -> Check:
    """Check 37: every label moved on to the next class must spoil the model. A recipe it does not spoil ignores its data."""
    y = np.asarray(to_numpy(case.recipe.y))
    classes = np.unique(y)
    # Of numbers the order is turned round: the next number would be nearly the same.
    place = np.searchsorted(classes, y)
    moved = classes[len(classes) - 1 - place if numeric(y) else (place + 1) % len(classes)]
    spoiled = _wrong(case, case.recipe.fit(case.recipe.x, put(case.recipe.y, np.arange(len(y)), moved), case.seeds[0]))
    before, after = float(clean[0].mean()), float(spoiled.mean())
    other = "value" if numeric(y) else "class"
    detail = f"with every label moved to another {other} the error goes from {before:.3f} to {after:.3f}"
    return Check(37, "recipe learns from its labels", after > before + tolerance, detail)


def _checks(case: Poison, clean: Wrong, deployed: Target | None) -> tuple[Check, ...]:
    """Does the recipe repeat itself, and does it make what is deployed?"""
    assert case.truth is not None
    again = _wrong(case, case.recipe.fit(case.recipe.x, case.recipe.y, case.seeds[0]))
    differ = int((again != clean[0]).sum())
    found = [Check(31, "recipe repeats itself", differ == 0, f"{differ} rows differ with the same seed", fatal=False)]
    if deployed is not None:
        wrong = _wrong(case, deployed)
        same = float(np.isclose(wrong.astype(float), clean[0].astype(float), rtol=0.05, atol=1e-6).mean())
        detail = f"right and wrong on the same rows for {100 * same:.0f} %"
        found.append(Check(32, "recipe makes the deployed model", same >= 0.9, detail))
    return tuple(found)
