"""Poisoned training data: what a claim makes of the recipe's, and what is wrong with a claim."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.case import Misread, Poison, Records
from ..core.evidence import Check
from ..core.random import RowRandom
from ..core.target import count, take, to_numpy


def invalid(claim: Records, case: Poison, paid: int) -> str:
    """What is wrong with a claim, or an empty string.

    Records made for different trials are campaigns of their own: each is held to the rules by itself, and what was paid for is
    what one of them may write.
    """
    index = np.asarray(claim.index)
    if index.ndim != 1 or index.dtype.kind not in "iu" or not len(index):
        return "index must be whole numbers, at least one"
    if count(claim.x) != len(index) or len(claim.y) != len(index):
        return f"{len(index)} rows are named, with {count(claim.x)} inputs and {len(claim.y)} labels"
    if claim.trial is not None and not isinstance(case.aim, Misread):
        return f"records are made for trials, and the aim is {case.aim.kind}"
    if claim.trial is not None and np.shape(claim.trial) != index.shape:
        return f"{len(index)} rows are named, with trials of shape {np.shape(claim.trial)}"
    if reason := _numbers(claim, case):
        return reason
    size = count(case.recipe.x)
    for own in campaigns(claim):
        if reason := _places(index[own], size, paid):
            return reason
    return _beyond(claim, case, index, size)


def campaigns(claim: Records) -> list[NDArray[Any]]:
    """Which records of a claim are written together: those of each trial, or all of them."""
    if claim.trial is None:
        return [np.arange(len(np.asarray(claim.index)))]
    trial = np.asarray(claim.trial)
    return [np.flatnonzero(trial == which) for which in np.unique(trial)]


def _places(index: NDArray[Any], size: int, paid: int) -> str:
    if len(np.unique(index)) != len(index) or index.min() < 0:
        return f"index must be different rows: from 0 to {size - 1} to take a place, from {size} on to be added"
    added = np.sort(index[index >= size])
    if not np.array_equal(added, size + np.arange(len(added))):
        return f"added records are numbered {size}, {size + 1} and so on, without a gap"
    return f"{len(index)} records are claimed and {paid} were written" if len(index) > paid else ""


def _numbers(claim: Records, case: Poison) -> str:
    """Missing or infinite values are allowed only where honest records have some: pipelines that fill gaps expect them."""
    was, now = _floats(case.recipe.x), _floats(claim.x)
    if was is not None and now is not None:
        for what, found in (("NaN", np.isnan), ("infinite", np.isinf)):
            if found(now).any() and not found(was).any():
                return f"some inputs are {what}, and no honest record is"
    if (y := _floats(claim.y)) is not None and not np.isfinite(y).all():
        return "some labels are not finite"
    return ""


def _floats(x: Any) -> NDArray[Any] | None:
    """The fractional numbers of an array or frame; None where it has none."""
    if hasattr(x, "select_dtypes"):
        x = x.select_dtypes("floating").to_numpy()
    x = to_numpy(x)
    return np.asarray(x) if hasattr(x, "dtype") and getattr(x.dtype, "kind", "") == "f" else None


def _beyond(claim: Records, case: Poison, index: NDArray[Any], size: int) -> str:
    """Which of the case's own limits a claim breaks: labels it may not write, records too far from what they replace."""
    if case.labels and case.within is None:
        return ""
    if (index >= size).any():
        return "records may only take places here: an added one has no label or record to be held against"
    if not case.labels:
        own, was = np.asarray(to_numpy(claim.y)), np.asarray(to_numpy(case.recipe.y))[index]
        if (changed := int((own != was).sum())) > 0:
            return f"{changed} labels are changed, and the case asks for clean labels"
    if case.within is not None:
        bad = int((~np.asarray(case.within.check(take(case.recipe.x, index), claim.x))).sum())
        return f"{bad} records lie outside {case.within!r} of those whose places they take" if bad else ""
    return ""


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
    return with_records(x, y, claim, np.arange(records))


def with_records(x: Any, y: Any, claim: Records, chosen: NDArray[Any]) -> Data:
    """Training data ``x, y`` with the `chosen` records of a claim: in their places, or added at the end."""
    index, labels = np.asarray(claim.index)[chosen], np.asarray(to_numpy(claim.y))[chosen]
    inside = index < count(x)
    placed, added = chosen[inside], chosen[~inside]
    x, y = put(x, index[inside], take(claim.x, placed)), put(y, index[inside], labels[inside])
    return Data(put(x, None, take(claim.x, added)), put(y, None, labels[~inside])) if len(added) else Data(x, y)


def random_flips(case: Poison, records: int, seed: int) -> Records:
    """As many flips as the attack's, of rows and to classes chosen at random."""
    y = np.asarray(to_numpy(case.recipe.y))
    rng, classes = RowRandom(seed).fork(0xF11B), np.unique(y)
    index = np.argsort(rng.uniform(np.arange(len(y)), 0), kind="stable")[:records]
    step = 1 + rng.integers(index, 1, len(classes) - 1)
    flipped = classes[(np.searchsorted(classes, y[index]) + step) % len(classes)]
    return Records(index=index, x=take(case.recipe.x, index), y=flipped)


def put(data: Any, index: NDArray[Any] | None, rows: Any) -> Any:
    """A copy of `data` with `rows` in the places `index` (None: at its end), of whatever kind it is."""
    if hasattr(data, "iloc"):
        return _put_frame(data, index, rows)
    if isinstance(data, list | tuple):
        items = list(data)
        for place, row in zip(range(len(items), len(items) + len(rows)) if index is None else index, rows, strict=True):
            items[int(place) : int(place) + 1] = [row]
        return type(data)(items)
    if hasattr(data, "clone"):
        own = data.new_tensor(to_numpy(rows))
        if index is None:
            return data.new_tensor(np.concatenate([to_numpy(data), to_numpy(own)]))
        changed = data.clone()
        changed[index] = own
        return changed
    if index is None:
        return np.concatenate([np.asarray(data), np.asarray(rows).astype(np.asarray(data).dtype)])
    changed = np.array(data)
    changed[index] = rows
    return changed


def _put_frame(data: Any, index: NDArray[Any] | None, rows: Any) -> Any:
    import pandas

    if not hasattr(rows, "iloc"):
        rows = pandas.Series(rows, dtype=data.dtype)
    both = pandas.concat([data, rows], ignore_index=True)
    if index is None:
        return both
    places = np.arange(len(data))
    places[index] = len(data) + np.arange(len(index))
    return both.iloc[places].set_axis(data.index, axis=0)


def changed(case: Poison, claim: Records) -> Check:
    """Check 38: records equal to those they replace poison nothing."""
    index, size = np.asarray(claim.index), count(case.recipe.x)
    old = np.minimum(index, size - 1)
    same = np.asarray(to_numpy(case.recipe.y))[old].astype(str) == np.asarray(to_numpy(claim.y)).astype(str)
    left = np.flatnonzero(same & (index < size))
    same[index >= size] = False
    if len(left):
        before, after = take(case.recipe.x, index[left]), take(claim.x, left)
        rows = [np.asarray(_plain(side), object).reshape(len(left), -1) for side in (before, after)]
        same[left] = (rows[0] == rows[1]).all(1) if rows[0].shape == rows[1].shape else False
    kept = int(same.sum())
    return Check(38, "records were changed", kept < len(index), f"{kept} of {len(index)} records are those they replace")


def _plain(x: Any) -> Any:
    return x.to_numpy(object) if hasattr(x, "iloc") else to_numpy(x)
