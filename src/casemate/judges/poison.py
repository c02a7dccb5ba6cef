"""Judging poison: train with it and without it, on the same seeds, and compare on data held out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.case import Poison, Records
from ..core.errors import BadInput
from ..core.evidence import Baseline, Check, Interval
from ..core.random import RowRandom
from ..core.target import Target, count, take, to_numpy
from .opinion import Opinion, column, failed
from .statistics import clopper_pearson

MEASURE = "rise of the clean test error"
TOLERANCE = 0.01  # a smaller rise is not worth an attacker's while, whatever its interval
_BATCH = 4096
Wrong = NDArray[np.bool_]  # (seeds, rows): which rows a retrained model gets wrong


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
    n, size = count(truth.x), count(case.recipe.x)
    if claim is None:
        return Opinion(measure=MEASURE, rate=0.0, n=0, broken=False, why=("no record was written: the budget covers none",))
    if reason := invalid(claim, size, paid):
        return failed(MEASURE, n, reason)
    most = len(np.asarray(claim.index))
    marks = sorted({int(f * size) for f in case.fractions if int(f * size) <= most} | {0, most})
    wrong = {m: _errors(case, claim, m) for m in marks}
    clean = wrong[0]
    rise = wrong[most].astype(float) - clean
    rate, interval, spread = float(rise.mean()), paired(rise, seed), float(np.ptp(clean.mean(1)))
    asked = max(tolerance, spread)
    broken = interval.low > 0 and rate >= asked
    baseline = _chance(case, clean, most, seed) if skilled else Baseline("seed-to-seed variation", spread)
    first = next((m for m in marks if wrong[m].mean() - clean.mean() >= asked), None)
    return Opinion(
        measure=MEASURE, rate=rate, interval=interval, n=n, broken=broken, line=tolerance, baseline=baseline,
        why=(f"error rises by {rate:.3f} {interval} with {most} of {size} records; {asked:.3f} is asked",),
        queries=0.0 if broken else None, records=first if broken else None,
        checks=(*_checks(case, clean, deployed), _learns(case, clean, tolerance), _differs(case, claim)),
        curves={"test error": [_point(m / size, wrong[m], seed) for m in wrong]},
        extra=_extra(case, wrong, size) | {"seed_spread": spread, "tolerance": tolerance},
        rows={"row": np.arange(n), "truth": column(truth.y), "clean_wrong": clean.mean(0), "poisoned_wrong": wrong[most].mean(0)},
    )  # fmt: skip


def _chance(case: Poison, clean: Wrong, records: int, seed: int) -> Baseline:
    """What as many random flips do."""
    rise = _errors(case, random_flips(case, records, seed), records).astype(float) - clean
    return Baseline("random flips", float(rise.mean()), paired(rise, seed))


def _extra(case: Poison, wrong: dict[int, Wrong], size: int) -> dict[str, Any]:
    most = max(wrong)
    return {
        "fraction": most / size, "records": most, "largest_fraction_asked": max(case.fractions), "seeds": list(case.seeds),
        "clean_error": float(wrong[0].mean()), "poisoned_error": float(wrong[most].mean()),
        # No learner does better than this against malicious records (Kearns and Li 1993), whatever it learns.
        "kearns_li": [[m / size, m / (size - m)] for m in wrong],
    }  # fmt: skip


def invalid(claim: Records, size: int, paid: int) -> str:
    """What is wrong with a claim, or an empty string."""
    index = np.asarray(claim.index)
    if index.ndim != 1 or index.dtype.kind not in "iu" or not len(index):
        return "index must be whole numbers, at least one"
    if len(np.unique(index)) != len(index) or index.min() < 0 or index.max() >= size:
        return f"index must be different rows from 0 to {size - 1}"
    if count(claim.x) != len(index) or len(claim.y) != len(index):
        return f"{len(index)} rows are named, with {count(claim.x)} inputs and {len(claim.y)} labels"
    x = to_numpy(claim.x)
    if hasattr(x, "dtype") and x.dtype.kind == "f" and not np.isfinite(x).all():
        return "some inputs are not finite"
    return f"{len(index)} records are claimed and {paid} were written" if len(index) > paid else ""


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


@dataclass(frozen=True, slots=True)
class Data:
    """Training data ``x, y``."""

    x: Any
    y: Any


def poisoned_data(case: Poison, claim: Records | None, records: int) -> Data:
    """The training data with the first `records` of the claim in their places."""
    x, y = case.recipe.x, case.recipe.y
    if claim is None or not records:
        return Data(x, y)
    index, few = np.asarray(claim.index)[:records], np.arange(records)
    return Data(_put(x, index, take(claim.x, few)), _put(y, index, np.asarray(to_numpy(claim.y))[:records]))


def random_flips(case: Poison, records: int, seed: int) -> Records:
    """As many flips as the attack's, of rows and to classes chosen at random."""
    y = np.asarray(to_numpy(case.recipe.y))
    rng, classes = RowRandom(seed).fork(0xF11B), np.unique(y)
    index = np.argsort(rng.uniform(np.arange(len(y)), 0), kind="stable")[:records]
    step = 1 + rng.integers(index, 1, len(classes) - 1)
    flipped = classes[(np.searchsorted(classes, y[index]) + step) % len(classes)]
    return Records(index=index, x=take(case.recipe.x, index), y=flipped)


def _put(data: Any, index: NDArray[Any], rows: Any) -> Any:
    """A copy of `data` with `rows` in the places `index`, of whatever kind it is."""
    if hasattr(data, "iloc"):
        import pandas

        if not hasattr(rows, "iloc"):
            rows = pandas.Series(rows, dtype=data.dtype)
        both = pandas.concat([data, rows], ignore_index=True)
        places = np.arange(len(data))
        places[index] = len(data) + np.arange(len(index))
        return both.iloc[places].set_axis(data.index, axis=0)
    if isinstance(data, list | tuple):
        items = list(data)
        for place, row in zip(index, rows, strict=True):
            items[int(place)] = row
        return type(data)(items)
    if hasattr(data, "clone"):
        changed = data.clone()
        changed[index] = changed.new_tensor(to_numpy(rows))
        return changed
    changed = np.array(data)
    changed[index] = rows
    return changed


def _errors(case: Poison, claim: Records | None, records: int) -> Wrong:
    """One retraining for each seed of the case: which held-out rows each model gets wrong."""
    data = poisoned_data(case, claim, records)
    return np.stack([_wrong(case, case.recipe.fit(data.x, data.y, seed)) for seed in case.seeds])


def _wrong(case: Poison, model: Target) -> NDArray[np.bool_]:
    assert case.truth is not None
    return np.asarray(_labels(model, case.truth.x) != _truth(case))


def _truth(case: Poison) -> NDArray[Any]:
    """Held-out labels as models answer: names of classes by their place in sorted order, numbers as they are."""
    assert case.truth is not None
    y = np.asarray(to_numpy(case.truth.y))
    return (
        y
        if y.dtype.kind in "iufb"
        else np.searchsorted(np.unique(np.asarray(to_numpy(case.recipe.y)).astype(str)), y.astype(str))
    )


def _labels(model: Target, x: Any) -> NDArray[Any]:
    parts = [np.arange(start, min(start + _BATCH, count(x))) for start in range(0, count(x), _BATCH)]
    return np.concatenate([np.asarray(to_numpy(model.respond(take(x, part), rows=part).label)) for part in parts])


def _point(fraction: float, wrong: Wrong, seed: int) -> tuple[float, float, float, float]:
    interval = paired(wrong.astype(float), seed)
    return fraction, float(wrong.mean()), max(0.0, interval.low), interval.high


def _learns(case: Poison, clean: Wrong, tolerance: float) -> Check:
    """Check 37: every label moved on to the next class must spoil the model. A recipe it does not spoil ignores its data."""
    y = np.asarray(to_numpy(case.recipe.y))
    classes = np.unique(y)
    moved = classes[(np.searchsorted(classes, y) + 1) % len(classes)]
    spoiled = _wrong(case, case.recipe.fit(case.recipe.x, _put(case.recipe.y, np.arange(len(y)), moved), case.seeds[0]))
    before, after = float(clean[0].mean()), float(spoiled.mean())
    detail = f"with every label moved to another class the error goes from {before:.3f} to {after:.3f}"
    return Check(37, "recipe learns from its labels", after > before + tolerance, detail)


def _differs(case: Poison, claim: Records) -> Check:
    """Check 38: records equal to those they replace poison nothing."""
    index = np.asarray(claim.index)
    y = np.asarray(to_numpy(case.recipe.y))[index]
    same = y.astype(str) == np.asarray(to_numpy(claim.y)).astype(str)
    left = np.flatnonzero(same)
    if len(left):
        old, new = take(case.recipe.x, index[left]), take(claim.x, left)
        rows = [np.asarray(_plain(side), object).reshape(len(left), -1) for side in (old, new)]
        same[left] = (rows[0] == rows[1]).all(1) if rows[0].shape == rows[1].shape else False
    kept = int(same.sum())
    return Check(38, "records were changed", kept < len(index), f"{kept} of {len(index)} records are those they replace")


def _plain(x: Any) -> Any:
    return x.to_numpy(object) if hasattr(x, "iloc") else to_numpy(x)


def _checks(case: Poison, clean: Wrong, deployed: Target | None) -> tuple[Check, ...]:
    """Does the recipe repeat itself, and does it make what is deployed?"""
    assert case.truth is not None
    again = _wrong(case, case.recipe.fit(case.recipe.x, case.recipe.y, case.seeds[0]))
    differ = int((again != clean[0]).sum())
    found = [Check(31, "recipe repeats itself", differ == 0, f"{differ} rows differ with the same seed", fatal=False)]
    if deployed is not None:
        wrong = _labels(deployed, case.truth.x) != _truth(case)
        same = float((wrong == clean[0]).mean())
        found.append(
            Check(
                32,
                "recipe makes the deployed model",
                same >= 0.9,
                f"right and wrong on the same rows for {100 * same:.0f} %",
            )
        )
    return tuple(found)
